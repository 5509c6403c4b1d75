"""Which repos a hub has, as the adapter reads it from the hub's lists."""

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest

from hubsync.hubs.huggingface import HuggingFaceHub
from hubsync.hubs.options import HubOptions
from hubsync.model.errors import HubsyncError, UsageError
from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.hub import (
    Hub,
    HubAnswerError,
    HubError,
    NotAllowedError,
    RepoNotFoundError,
    UnavailableError,
)
from hubsync.ports.listing import CollectionNotFoundError, Listed, Lister, Search
from hubsync.wire.hf import WireError
from tests.pulling import Talk
from tests.testhub import Fault, Lfs, Seen, TestHub
from tests.unit.hubs.asking import QUICK, Asking, repo_of
from tests.unit.hubs.scripted import Scripted, http_answer

SHA = "1" * 40


@pytest.fixture
def asking(hub: TestHub) -> Asking:
    return Asking(hub.endpoint)


@pytest.fixture
def three(hub: TestHub) -> list[str]:
    """The names of the repos of one owner; there are others."""
    names = [f"acme/{n}" for n in range(3)]
    hub.create_repos({name: {"a": b"1"} for name in [*names, "rival/0"]})
    return names


def names(found: list[Listed]) -> list[str]:
    return [one.repo.name for one in found]


def asked(hub: TestHub) -> list[list[tuple[str, str]]]:
    """The parameters of each request."""
    return [parse_qsl(urlsplit(one.path).query) for one in hub.requests]


def row(name: str, hub_id: str | None = None, **more: object) -> dict[str, object]:
    return {"_id": hub_id or name, "id": name, "sha": SHA, **more}


def rows(*found: dict[str, object], link: str = "") -> Fault:
    """One answer in place of the hub's."""
    headers = {"Link": f'<{link}>; rel="next"'} if link else {}
    return Fault("status", status=200, body=json.dumps(found), headers=headers)


class TestPages:
    def test_2500_repos_of_an_owner_are_3_requests(
        self, hub: TestHub, asking: Asking
    ) -> None:
        made = hub.create_repos({f"acme/{n}": {"a": b"1"} for n in range(2500)})
        hub.create_repos({"rival/x": {"a": b"1"}})
        found = asking.search(Search(author="acme"))
        assert asking.requests == 3
        assert len(found) == 2500
        assert {one.repo.name: one.head for one in found} == {
            one.name: one.resolve("main") for one in made
        }

    def test_what_is_sent(self, hub: TestHub, asking: Asking) -> None:
        search = Search(
            author="acme",
            text="a&b",
            task="text-generation",
            tags=("license:mit", "gguf"),
            gated=False,
        )
        assert asking.search(search) == []
        (params,) = asked(hub)
        expand = [
            "sha",
            "lastModified",
            "gated",
            "disabled",
            "private",
            "tags",
            "usedStorage",
        ]
        assert params == [
            ("author", "acme"),
            ("search", "a&b"),
            ("filter", "license:mit"),
            ("filter", "gguf"),
            ("pipeline_tag", "text-generation"),
            ("gated", "false"),
            ("sort", "createdAt"),
            ("direction", "-1"),
            ("limit", "1000"),
            *(("expand", key) for key in expand),
        ]

    def test_a_repo_that_comes_again_is_told_once(
        self, hub: TestHub, asking: Asking
    ) -> None:
        following = f"{hub.endpoint}/api/models?cursor=x"
        hub.faults.add(
            rows(row("a/1"), row("a/2"), link=following),
            # It was renamed between the pages.
            rows(row("a/2"), row("a/new", "a/1"), row("a/3")),
        )
        assert names(asking.search(Search())) == ["a/1", "a/2", "a/3"]

    def test_repos_without_ids_are_told_apart_by_their_names(
        self, hub: TestHub, asking: Asking
    ) -> None:
        found = [{"id": "a/1"}, {"id": "a/2"}, {"id": "a/1"}]
        hub.faults.add(Fault("status", status=200, body=json.dumps(found)))
        assert names(asking.search(Search())) == ["a/1", "a/2"]

    def test_a_repo_pushed_to_between_the_pages_is_not_missed(
        self, hub: TestHub, asking: Asking
    ) -> None:
        made = hub.create_repos({f"acme/{n}": {"a": b"1"} for n in range(6)})
        hub.list_page_rows = 2

        def push(seen: Seen) -> None:
            made[0].commit({"b": seen.path.encode()})

        hub.hooks.append(push)
        assert len(asking.search(Search(author="acme"))) == 6
        assert asking.requests == 3

    @pytest.mark.parametrize(
        ("limit", "requests", "last"),
        [(0, 0, ""), (1, 1, "1"), (3, 1, "3"), (5, 1, "5"), (7, 2, "7")],
    )
    def test_no_more_is_read_than_was_asked_for(
        self, hub: TestHub, asking: Asking, limit: int, requests: int, last: str
    ) -> None:
        hub.create_repos({f"acme/{n}": {"a": b"1"} for n in range(20)})
        hub.list_page_rows = 5
        assert len(asking.search(Search(limit=limit))) == limit
        assert asking.requests == requests
        assert [dict(one)["limit"] for one in asked(hub)] == [last] * requests

    def test_a_page_on_another_host_is_not_asked_for(self, hub: TestHub) -> None:
        asking = Asking(hub.endpoint, hub.add_token("hf_secret"))
        hub.faults.add(rows(row("a/1"), link=f"{hub.cdn_endpoint}/x?cursor=1"))
        with pytest.raises(HubAnswerError, match="list of models is on another host"):
            asking.search(Search())
        assert hub.log.matching(role="cdn") == []

    def test_a_page_that_comes_twice_is_refused(
        self, hub: TestHub, asking: Asking
    ) -> None:
        following = f"{hub.endpoint}/api/models?cursor=x"
        hub.faults.add(rows(link=following), rows(link=following))
        with pytest.raises(HubAnswerError, match="no end"):
            asking.search(Search())
        assert asking.requests == 2

    def test_s24_pages_without_end_are_refused(self, hub: TestHub) -> None:
        hub.create_repos({f"acme/{n}": {"a": b"1"} for n in range(9)})
        hub.list_page_rows = 1
        asking = Asking(hub.endpoint, options=HubOptions(pages_max=5))
        with pytest.raises(HubAnswerError, match="pages of the list of models of acme"):
            asking.search(Search(author="acme"))
        assert asking.requests == 5

    def test_a_relative_link_is_followed(self, hub: TestHub, asking: Asking) -> None:
        hub.faults.add(rows(row("a/1"), link="?cursor=x"), rows(row("a/2")))
        assert names(asking.search(Search())) == ["a/1", "a/2"]


class TestFound:
    def test_the_hub_chooses_by_all_that_was_asked(
        self, hub: TestHub, asking: Asking
    ) -> None:
        mit = ("license:mit", "gguf")
        task = "text-generation"
        hub.create_repo("acme/Tiny-Llama", tags=mit, pipeline_tag=task)
        hub.create_repo("acme/tiny-bert", tags=mit, pipeline_tag="fill-mask")
        hub.create_repo("acme/big-llama", tags=("gguf",), pipeline_tag=task)
        hub.create_repo("rival/tiny-llama", tags=mit, pipeline_tag=task, gated="auto")
        hub.create_repo("acme/secret-llama", tags=mit, private=True)
        for search, expected in {
            Search(author="ACME"): {"Tiny-Llama", "tiny-bert", "big-llama"},
            Search(text="TINY-l"): {"Tiny-Llama", "tiny-llama"},
            Search(author="acme", text="llama"): {"Tiny-Llama", "big-llama"},
            Search(tags=("license:mit", "gguf"), task=task): {
                "Tiny-Llama",
                "tiny-llama",
            },
            Search(gated=True): {"tiny-llama"},
            Search(gated=False): {"Tiny-Llama", "tiny-bert", "big-llama"},
            Search(author="nobody"): set(),
        }.items():
            found = asking.search(search)
            assert {one.repo.name.partition("/")[2] for one in found} == expected

    def test_the_highest_comes_first(self, hub: TestHub, asking: Asking) -> None:
        for name, likes, downloads in (("a", 5, 90), ("b", 40, 8), ("c", 300, 70)):
            hub.create_repo(f"acme/{name}", likes=likes, downloads=downloads)
        assert names(asking.search(Search(sort="likes"))) == [
            "acme/c",
            "acme/b",
            "acme/a",
        ]
        most = asking.search(Search(sort="downloads", limit=2))
        assert names(most) == ["acme/a", "acme/c"]

    def test_what_is_told_of_a_repo(self, hub: TestHub, asking: Asking) -> None:
        made = hub.create_repo("acme/tiny", "dataset", tags=("language:en",))
        head = made.commit({"x.bin": Lfs(b"weights")}, date="2026-03-04T05:06:07.000Z")
        expected = Listed(
            repo_of("acme/tiny", RepoType.DATASET),
            made.hub_id,
            head,
            datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
            used_bytes=7,
            tags=("language:en",),
        )
        assert asking.search(Search(), RepoType.DATASET) == [expected]
        assert asking.look("acme/tiny", RepoType.DATASET) == expected
        assert asking.search(Search()) == []

    def test_gated_and_disabled_are_told(self, hub: TestHub, asking: Asking) -> None:
        hub.create_repo("acme/gated", gated="manual").commit({"a": b"1"})
        hub.create_repo("acme/gone", disabled=True).commit({"a": b"1"})
        for found in (
            {one.repo.name: one for one in asking.search(Search(author="acme"))},
            {name: asking.look(name) for name in ("acme/gated", "acme/gone")},
        ):
            gated, gone = found["acme/gated"], found["acme/gone"]
            assert (gated.gated, gated.disabled) == (True, False)
            assert (gone.gated, gone.disabled) == (False, True)
            assert gated.head
            assert gone.head

    def test_private_repos_are_shown_to_whom_they_open(self, hub: TestHub) -> None:
        hub.create_repo("acme/own", private=True).commit({"a": b"1"})
        token = hub.add_token("hf_x", can_read={"acme/own"})
        (found,) = Asking(hub.endpoint, token).search(Search(author="acme"))
        assert found.private
        assert Asking(hub.endpoint).search(Search(author="acme")) == []

    def test_spaces_are_listed(self, hub: TestHub, asking: Asking) -> None:
        head = hub.create_repo("acme/app", "space").commit({"app.py": b"1"})
        (found,) = asking.search(Search(author="acme"), RepoType.SPACE)
        assert (found.repo.path, found.head) == ("spaces/acme/app", head)
        assert asking.look("acme/app", RepoType.SPACE) == found

    def test_a_repo_without_commits_has_no_head(
        self, hub: TestHub, asking: Asking
    ) -> None:
        hub.create_repo("acme/empty")
        assert [one.head for one in asking.search(Search())] == [None]
        assert asking.look("acme/empty").head is None

    def test_a_name_nobody_can_ask_for_is_left_out_and_noted(
        self, hub: TestHub, asking: Asking
    ) -> None:
        hub.faults.add(rows(row("a/old--name"), row("a/1")))
        assert names(asking.search(Search())) == ["a/1"]
        assert any("1 repo(s) with names" in note for note in asking.talk.notes)


class TestTrouble:
    def test_rows_of_another_owner_are_refused(
        self, hub: TestHub, asking: Asking
    ) -> None:
        hub.faults.add(rows(row("ACME/1"), row("rival/2")))
        with pytest.raises(HubAnswerError, match="lists huggingface:rival/2 where"):
            asking.search(Search(author="acme"))

    def test_a_hub_that_does_not_know_author_is_found_out(
        self, hub: TestHub, asking: Asking, three: list[str]
    ) -> None:
        found = rows(*[row(name) for name in [*three, "gpt2"]])
        hub.faults.add(found)
        with pytest.raises(HubAnswerError, match="of models of acme"):
            asking.search(Search(author="acme"))

    def test_an_empty_author_is_not_everybody(
        self, asking: Asking, three: list[str]
    ) -> None:
        with pytest.raises(HubAnswerError):
            asking.search(Search(author=""))

    def test_a_hub_that_does_not_know_gated_is_found_out(
        self, hub: TestHub, asking: Asking
    ) -> None:
        hub.faults.add(rows(row("a/1", gated="auto")))
        with pytest.raises(HubAnswerError, match="lists huggingface:a/1 where"):
            asking.search(Search(gated=False))

    @pytest.mark.parametrize(
        ("search", "repo_type"),
        [
            (Search(gated=True), RepoType.SPACE),
            (Search(task="fill-mask"), RepoType.SPACE),
            (Search(task="fill-mask"), RepoType.DATASET),
        ],
    )
    def test_what_the_hub_would_ignore_is_not_asked(
        self, hub: TestHub, asking: Asking, search: Search, repo_type: RepoType
    ) -> None:
        with pytest.raises(UsageError, match="cannot be searched"):
            asking.search(search, repo_type)
        assert hub.requests == []

    def test_a_sort_the_hub_does_not_have(self, asking: Asking) -> None:
        with pytest.raises(HubError, match='"sort" must be one of'):
            asking.search(Search(sort="name"))

    def test_a_limit_of_requests_is_waited_for(
        self, hub: TestHub, asking: Asking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.create_repos({f"acme/{n}": {"a": b"1"} for n in range(6)})
        hub.list_page_rows = 2
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)
            hub.world.clock.advance(seconds)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        hub.limits.windows["api"].quota = 2
        assert len(asking.search(Search(author="acme"))) == 6
        assert len(waited) == 1
        assert waited[0] > 1
        assert [one.status for one in hub.requests] == [200, 200, 429, 200]

    def test_a_limit_that_lasts_too_long_names_the_list(
        self, hub: TestHub, asking: Asking
    ) -> None:
        headers = {"Retry-After": "9999"}
        hub.faults.add(Fault("status", status=429, headers=headers, times=-1))
        with pytest.raises(UnavailableError, match="list of datasets of acme has to"):
            asking.search(Search(author="acme"), RepoType.DATASET)

    def test_a_page_that_fails_is_asked_for_again(
        self, hub: TestHub, asking: Asking, three: list[str]
    ) -> None:
        hub.list_page_rows = 2
        hub.faults.add(Fault("status", match="cursor=", status=504))
        hub.faults.add(Fault("reset", match="cursor="))
        assert sorted(names(asking.search(Search(author="acme")))) == three

    def test_half_a_list_is_never_taken_for_the_whole(
        self, hub: TestHub, asking: Asking, three: list[str]
    ) -> None:
        hub.list_page_rows = 2
        hub.faults.add(Fault("html", match="cursor="))
        with pytest.raises(HubAnswerError, match="text/html"):
            asking.search(Search(author="acme"))

    @pytest.mark.parametrize("body", ["{}", "[7]", '[{"id":"a/b","sha":"x"}]', "[{}]"])
    def test_a_list_that_makes_no_sense_is_refused(
        self, hub: TestHub, asking: Asking, body: str
    ) -> None:
        hub.faults.add(Fault("status", status=200, body=body))
        with pytest.raises(WireError):
            asking.search(Search())

    @pytest.mark.parametrize(
        ("status", "token", "error", "text"),
        [
            (401, None, NotAllowedError, "only to whom it knows"),
            (401, "hf_x", NotAllowedError, "refuses the token"),
            (403, "hf_x", NotAllowedError, "does not allow the list of models"),
            (404, None, HubError, "answered 404"),
            (400, None, HubError, "answered 400"),
        ],
    )
    def test_a_refusal_names_the_list_and_what_to_do(
        self, status: int, token: str | None, error: type[HubsyncError], text: str
    ) -> None:
        with (
            Scripted(lambda *_: http_answer(f"{status} No", b"")) as server,
            pytest.raises(error, match=text) as caught,
        ):
            Asking(server.endpoint, token or False).search(Search())
        assert type(caught.value) is error
        assert caught.value.hint


class TestLook:
    def test_a_look_is_one_request(self, hub: TestHub, asking: Asking) -> None:
        head = hub.create_repo("acme/tiny").commit({"a": b"1"})
        assert asking.look("acme/tiny").head == head
        assert asking.requests == 1

    def test_a_renamed_repo_is_named_anew(self, hub: TestHub, asking: Asking) -> None:
        made = hub.create_repo("acme/tiny")
        made.commit({"a": b"1"})
        made.rename("rival/large")
        found = asking.look("acme/tiny")
        assert (found.repo, found.hub_id) == (repo_of("rival/large"), made.hub_id)
        assert asking.requests == 2

    def test_a_missing_repo(self, asking: Asking) -> None:
        with pytest.raises(RepoNotFoundError, match="acme/none is not on"):
            asking.look("acme/none")

    def test_a_private_repo_is_shown_to_whom_it_opens(self, hub: TestHub) -> None:
        hub.create_repo("acme/own", private=True)
        token = hub.add_token("hf_x", can_read={"acme/own"})
        assert Asking(hub.endpoint, token).look("acme/own").private

    def test_a_new_name_that_cannot_be_used(self, hub: TestHub, asking: Asking) -> None:
        hub.faults.add(Fault("status", status=200, body='{"id":"acme/a--b"}'))
        with pytest.raises(HubAnswerError, match="cannot be used"):
            asking.look("acme/tiny")


class TestCollection:
    def test_repos_in_the_order_they_have(self, hub: TestHub, asking: Asking) -> None:
        slug = hub.create_collection(
            "acme/best-of-64f9a55bb3115b4f513ec026",
            [
                ("dataset", "acme/squad"),
                ("paper", "2307.09288"),
                ("model", "rival/tiny"),
                ("collection", "acme/more-64f9a55bb3115b4f513ec027"),
                ("space", "acme/app"),
                ("model", "rival/tiny"),
            ],
        )
        assert asking.collection(slug) == [
            repo_of("acme/squad", RepoType.DATASET),
            repo_of("rival/tiny"),
            repo_of("acme/app", RepoType.SPACE),
        ]
        assert asking.requests == 1

    def test_an_empty_collection(self, hub: TestHub, asking: Asking) -> None:
        assert asking.collection(hub.create_collection("acme/none-1", [])) == []

    def test_a_name_nobody_can_ask_for_is_left_out_and_noted(
        self, hub: TestHub, asking: Asking
    ) -> None:
        items = [("model", "a/old--name"), ("model", "a/1")]
        slug = hub.create_collection("acme/old-1", items)
        assert asking.collection(slug) == [repo_of("a/1")]
        assert any("1 repo(s) with names" in note for note in asking.talk.notes)

    def test_a_missing_collection_is_named(self, asking: Asking) -> None:
        with pytest.raises(CollectionNotFoundError, match="acme/no-1 is not") as caught:
            asking.collection("acme/no-1")
        assert "address of its page" in str(caught.value.hint)

    @pytest.mark.parametrize(
        ("status", "token", "error", "text"),
        [
            (401, None, CollectionNotFoundError, "collection acme/x-1 .*or it is priv"),
            (401, "hf_x", NotAllowedError, "refuses the token"),
            (403, "hf_x", NotAllowedError, "does not allow the collection acme/x-1"),
            (404, "hf_x", CollectionNotFoundError, "this token may not see it"),
        ],
    )
    def test_a_refusal_names_the_collection_and_what_to_do(
        self, status: int, token: str | None, error: type[HubsyncError], text: str
    ) -> None:
        with (
            Scripted(lambda *_: http_answer(f"{status} No", b"")) as server,
            pytest.raises(error, match=text) as caught,
        ):
            Asking(server.endpoint, token or False).collection("acme/x-1")
        assert caught.value.hint
        if status == 403:
            assert "/collections/acme/x-1 with a browser" in caught.value.hint

    @pytest.mark.parametrize(
        "slug", ["", "acme", "acme/", "/x", "a/b/c", "../x", "a/..", "a/b?c", "a/ä"]
    )
    def test_what_is_no_slug_is_not_sent(
        self, hub: TestHub, asking: Asking, slug: str
    ) -> None:
        with pytest.raises(UsageError, match="no collection"):
            asking.collection(slug)
        assert hub.requests == []


def test_one_object_is_hub_and_lister(hub: TestHub) -> None:
    adapter = HuggingFaceHub(
        "huggingface", hub.endpoint, False, options=QUICK, progress=Talk()
    )
    as_hub: Hub = adapter
    as_lister: Lister = adapter
    hub.create_repo("acme/tiny").commit({"a": b"1"})
    repo = RepoId("huggingface", RepoType.MODEL, "acme/tiny")
    head = asyncio.run(as_lister.look(repo)).head
    assert asyncio.run(as_hub.resolve(repo, None, None)).commit.oid == head
    assert as_hub.requests == as_lister.requests == len(hub.requests) == 3
