"""What the adapter asks of a hub, and what it makes of the answers."""

import hashlib
from datetime import UTC, datetime

import pytest

from hubsync.hubs.huggingface import HubOptions, HuggingFaceHub
from hubsync.model.digest import GitOid
from hubsync.model.paths import HostilePathError
from hubsync.model.repo import RepoType
from hubsync.model.revision import InvalidRevisionError, RefName
from hubsync.model.snapshot import TreeEntry
from hubsync.ports.hub import HubAnswerError, RevisionNotFoundError, Source
from hubsync.wire.hf import WireError
from tests.pulling import Talk
from tests.testhub import Fault, HubRepo, Lfs, TestHub
from tests.unit.hubs.asking import QUICK, Asking, repo_of

WEIGHTS = b"weights" * 100


@pytest.fixture
def tiny(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("org/tiny")
    repo.commit({"config.json": b"{}\n"}, "First\n\nWith a body", author="bob")
    repo.commit({"a/b.bin": Lfs(WEIGHTS), "c d/é+?#.txt": b"x"}, "Second")
    return repo


@pytest.fixture
def asking(hub: TestHub) -> Asking:
    return Asking(hub.endpoint)


def head(repo: HubRepo, revision: str = "main") -> str:
    commit = repo.resolve(revision)
    assert commit
    return commit


class TestResolve:
    def test_an_unknown_repo_costs_two_requests(
        self, asking: Asking, tiny: HubRepo
    ) -> None:
        found = asking.resolve("org/tiny")
        assert found.commit.oid == head(tiny)
        assert (found.commit.title, found.commit.authors) == ("Second", ("alice",))
        assert found.commit.committed_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
        assert found.ref == RefName.branch("main")
        assert found.info
        assert found.info.hub_id == tiny.hub_id
        assert "siblings" not in found.info.card
        assert asking.requests == 2

    def test_a_known_repo_costs_one_request_changed_or_not(
        self, hub: TestHub, asking: Asking, tiny: HubRepo
    ) -> None:
        old = head(tiny)
        assert asking.resolve("org/tiny", heads={old}).info is None
        assert asking.requests == 1
        new = tiny.commit({"README.md": b"hello"}, "Third")
        found = asking.resolve("org/tiny", heads={old})
        assert (found.commit.oid, found.info) == (new, None)
        assert asking.requests == 1
        assert len(hub.requests) == 2

    def test_only_the_first_page_of_the_history_is_read(
        self, asking: Asking, tiny: HubRepo
    ) -> None:
        for number in range(49):
            tiny.commit({"n": str(number).encode()}, f"Commit {number}")
        assert asking.resolve("org/tiny").commit.title == "Commit 48"
        assert asking.requests == 2

    def test_a_rewritten_history_is_seen_and_the_info_read(
        self, asking: Asking, tiny: HubRepo
    ) -> None:
        found = asking.resolve("org/tiny", heads={"0" * 40})
        assert found.info
        assert found.info.hub_id == tiny.hub_id

    def test_a_renamed_repo_is_followed_and_named_anew(
        self, asking: Asking, tiny: HubRepo
    ) -> None:
        commit = head(tiny)
        tiny.rename("org/large")
        for heads in (None, {commit}):
            found = asking.resolve("org/tiny", heads=heads)
            assert found.repo == repo_of("org/large")
            assert found.info
            assert found.info.hub_id == tiny.hub_id
            assert found.commit.oid == commit

    def test_a_name_in_other_case_is_the_hubs_name(
        self, asking: Asking, tiny: HubRepo
    ) -> None:
        assert asking.resolve("Org/Tiny").repo == repo_of("org/tiny")

    def test_types_are_different_places(self, hub: TestHub, asking: Asking) -> None:
        data = hub.create_repo("org/tiny", "dataset")
        data.commit({"x.csv": b"1"})
        space = hub.create_repo("org/tiny", "space")
        space.commit({"app.py": b"2"})
        for repo, kind in ((data, RepoType.DATASET), (space, RepoType.SPACE)):
            found = asking.resolve("org/tiny", repo_type=kind)
            assert found.commit.oid == head(repo)
            assert found.repo.repo_type is kind

    def test_every_way_to_name_a_revision(self, asking: Asking, tiny: HubRepo) -> None:
        old = tiny.git.history(head(tiny))[1].sha
        tiny.branch("dev/x", old)
        tiny.tag("v1", old)
        tiny.tag("both", head(tiny))
        tiny.branch("both", old)
        tiny.open_pr(old, 7)
        tiny.convert("parquet", old)
        tiny.branch("abcdef1", old)  # a branch that looks like a short commit
        for revision, ref in {
            "dev/x": "refs/heads/dev/x",
            "refs/heads/dev/x": "refs/heads/dev/x",
            "v1": "refs/tags/v1",
            "refs/tags/v1": "refs/tags/v1",
            "both": "refs/heads/both",
            "refs/pr/7": "refs/pr/7",
            "refs/convert/parquet": "refs/convert/parquet",
            "abcdef1": "refs/heads/abcdef1",
            old: None,
            old[:7]: None,
            old[:39]: None,
        }.items():
            for heads in (None, {old}):
                found = asking.resolve("org/tiny", revision, heads=heads)
                assert found.commit.oid == old, revision
                assert found.ref == (ref and RefName(ref)), revision
                assert (found.info is None) == (heads is not None), revision

    def test_head_is_the_default_branch(self, asking: Asking, tiny: HubRepo) -> None:
        found = asking.resolve("org/tiny", "HEAD")
        assert found.ref == RefName.branch("main")

    def test_a_pull_request_of_a_known_repo_costs_one_request(
        self, asking: Asking, tiny: HubRepo
    ) -> None:
        tiny.open_pr(head(tiny), 1)
        asking.resolve("org/tiny", "refs/pr/1", heads={head(tiny)})
        assert asking.requests == 1

    def test_an_empty_repo_has_nothing_to_pull(
        self, hub: TestHub, asking: Asking
    ) -> None:
        hub.create_repo("org/empty")
        for heads in (None, {"0" * 40}):
            with pytest.raises(RevisionNotFoundError, match="no commit yet"):
                asking.resolve("org/empty", heads=heads)

    def test_a_revision_git_would_refuse_is_not_sent(
        self, hub: TestHub, asking: Asking
    ) -> None:
        with pytest.raises(InvalidRevisionError):
            asking.resolve("org/tiny", "../x")
        assert hub.requests == []

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("status", match="/commits/", times=-1, status=503),
            Fault("status", match="/commits/", times=-1, status=404),
            Fault("status", match="/commits/", times=-1, status=400),
            Fault("status", match="/commits/", times=-1, status=200, body="[]"),
            Fault("status", match="/commits/", times=-1, status=200, body="[7]"),
            Fault("html", match="/commits/", times=-1),
        ],
        ids=["503", "404", "400", "empty", "nonsense", "html"],
    )
    def test_a_hub_without_histories_gives_versions_without_titles(
        self, hub: TestHub, asking: Asking, tiny: HubRepo, fault: Fault
    ) -> None:
        hub.faults.add(fault)
        found = asking.resolve("org/tiny")
        assert (found.commit.oid, found.commit.title) == (head(tiny), "")
        assert found.commit.committed_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
        assert any("without title" in note for note in asking.talk.notes)

    def test_a_history_of_another_commit_is_refused(
        self, hub: TestHub, asking: Asking, tiny: HubRepo
    ) -> None:
        commit = f'{{"id":"{"0" * 40}","title":"","date":"2026-01-01T00:00:00Z"}}'
        hub.faults.add(
            Fault("status", match="/commits/", status=200, body=f"[{commit}]", times=2)
        )
        with pytest.raises(HubAnswerError, match="begins with"):
            asking.resolve("org/tiny")
        with pytest.raises(HubAnswerError, match="asked for"):
            asking.resolve("org/tiny", head(tiny), heads={"0" * 40})

    def test_info_that_makes_no_sense_is_refused(
        self, hub: TestHub, asking: Asking, tiny: HubRepo
    ) -> None:
        hub.faults.add(
            Fault("status", status=200, body='{"id":"org/tiny","sha":"../../etc"}')
        )
        with pytest.raises(WireError, match="sha"):
            asking.resolve("org/tiny")


class TestTree:
    def test_files_are_listed_with_what_identifies_them(
        self, asking: Asking, tiny: HubRepo
    ) -> None:
        entries = {one.path: one for one in asking.tree("org/tiny", head(tiny))}
        assert entries.keys() == {"config.json", "a/b.bin", "c d/é+?#.txt"}
        weights = entries["a/b.bin"]
        assert weights.lfs
        assert weights.lfs.hex == hashlib.sha256(WEIGHTS).hexdigest()
        assert weights.size_bytes == len(WEIGHTS)
        assert entries["config.json"].lfs is None
        assert asking.requests == 1

    @pytest.mark.parametrize("relative", [False, True])
    def test_all_pages_are_read(
        self, hub: TestHub, asking: Asking, relative: bool
    ) -> None:
        repo = hub.create_repo("org/many")
        repo.commit({f"{n:03}.txt": str(n).encode() for n in range(25)})
        hub.page_size = 10
        url = f"/api/models/org/many/tree/{head(repo)}"
        if relative:  # as some mirrors send it
            link = f'<{url}?recursive=true&cursor=0>; rel="next", <x>; rel="first"'
            hub.faults.add(
                Fault("status", status=200, body="[]", headers={"Link": link})
            )
        assert len(asking.tree("org/many", head(repo))) == 25
        assert asking.requests == 3 + relative

    def test_a_page_that_fails_is_asked_for_again(
        self, hub: TestHub, asking: Asking
    ) -> None:
        repo = hub.create_repo("org/many")
        repo.commit({f"{n:03}.txt": str(n).encode() for n in range(25)})
        hub.page_size = 10
        hub.faults.add(Fault("status", match="cursor=10", status=504))
        hub.faults.add(Fault("reset", match="cursor=20"))
        assert len(asking.tree("org/many", head(repo))) == 25

    def test_half_a_listing_is_never_taken_for_the_whole(
        self, hub: TestHub, asking: Asking
    ) -> None:
        repo = hub.create_repo("org/many")
        repo.commit({f"{n:03}.txt": str(n).encode() for n in range(25)})
        hub.page_size = 10
        hub.faults.add(Fault("html", match="cursor=20"))
        with pytest.raises(HubAnswerError, match="text/html"):
            asking.tree("org/many", head(repo))

    def test_pages_that_repeat_are_refused(
        self, hub: TestHub, asking: Asking, tiny: HubRepo
    ) -> None:
        url = f"/api/models/org/tiny/tree/{head(tiny)}?recursive=true&expand=false"
        again = {"Link": f'<{url}>; rel="next"'}
        hub.faults.add(Fault("status", status=200, body="[]", headers=again))
        with pytest.raises(HubAnswerError, match="no end"):
            asking.tree("org/tiny", head(tiny))
        assert asking.requests == 1

    def test_s24_pages_without_end_are_refused(self, hub: TestHub) -> None:
        repo = hub.create_repo("org/many")
        repo.commit({f"{n:03}.txt": b"" for n in range(25)})
        hub.page_size = 1
        asking = Asking(hub.endpoint, options=HubOptions(pages_max=5))
        with pytest.raises(HubAnswerError, match="no end"):
            asking.tree("org/many", head(repo))
        assert asking.requests == 5

    def test_a_page_on_another_host_is_not_asked_for(
        self, hub: TestHub, tiny: HubRepo
    ) -> None:
        asking = Asking(hub.endpoint, hub.add_token("hf_secret"))
        away = {"Link": f'<{hub.cdn_endpoint}/x?cursor=1>; rel="next"'}
        hub.faults.add(Fault("status", status=200, body="[]", headers=away))
        with pytest.raises(HubAnswerError, match="another host"):
            asking.tree("org/tiny", head(tiny))
        assert hub.log.matching(role="cdn") == []

    @pytest.mark.parametrize(
        ("rows", "error"),
        [
            ([{"type": "file", "path": "../x", "size": 1, "oid": "0" * 40}], "segment"),
            ([{"type": "file", "path": "x", "size": 1, "oid": "0" * 40}] * 2, "twice"),
        ],
    )
    def test_s1_names_that_could_escape_are_refused(
        self,
        asking: Asking,
        tiny: HubRepo,
        rows: list[dict[str, object]],
        error: str,
    ) -> None:
        tiny.tree_override = lambda _: rows
        with pytest.raises(HostilePathError, match=error):
            asking.tree("org/tiny", head(tiny))


class TestLocate:
    def locate(self, token: str | bool | None, name: str = "org/tiny") -> Source:
        hub = HuggingFaceHub(
            "huggingface", "http://hub.test/", token, options=QUICK, progress=Talk()
        )
        entry = TreeEntry("c d/é+?#%.txt", 1, GitOid("0" * 40))
        return hub.locate(repo_of(name, RepoType.DATASET), "1" * 40, entry)

    def test_names_are_quoted_and_slashes_kept(self) -> None:
        source = self.locate(False)
        path = f"datasets/org/tiny/resolve/{'1' * 40}/c%20d/%C3%A9%2B%3F%23%25.txt"
        assert source.url == f"http://hub.test/{path}"
        assert source.headers == {}

    def test_the_token_goes_along(self) -> None:
        source = self.locate("hf_x")
        assert source.headers == {"Authorization": "Bearer hf_x"}
