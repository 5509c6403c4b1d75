"""The Hub's JSON: what we write is what it wrote, and we read back what we write."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.digest import Digest, GitOid
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, TreeEntry
from hubsync.wire import hf

RECORDINGS = Path(__file__).parents[2] / "recordings" / "huggingface"


def recorded(name: str) -> dict[str, object]:
    response: dict[str, object] = json.loads((RECORDINGS / f"{name}.json").read_text())[
        "response"
    ]
    return response


def compact(obj: object) -> bytes:
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()


TEXT = st.text(
    st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30
)
OIDS = st.binary(max_size=8).map(GitOid.of_blob)
TIMES = st.datetimes().map(
    lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000, tzinfo=UTC)
)
ENTRIES = st.builds(
    TreeEntry,
    path=TEXT,
    size_bytes=st.integers(0, 2**63 - 1),
    git_oid=OIDS,
    lfs=st.none() | st.binary(max_size=8).map(Digest.of),
)
COMMITS = st.builds(
    Commit,
    oid=OIDS.map(str),
    title=TEXT,
    message=TEXT,
    authors=st.lists(TEXT, max_size=3).map(tuple),
    committed_at=TIMES,
)
REFS = st.dictionaries(
    st.one_of(
        st.sampled_from(["main", "a/b", "v1.0"]).map(RefName.branch),
        st.sampled_from(["v1.0", "v2"]).map(RefName.tag),
        st.integers(1, 99).map(lambda n: RefName(f"refs/pr/{n}")),
        st.sampled_from(["parquet", "duckdb"]).map(
            lambda name: RefName(f"refs/convert/{name}")
        ),
    ),
    OIDS.map(str),
)
REPO = RepoId("huggingface", RepoType.MODEL, "org/name")


class TestRoundTrips:
    @given(ENTRIES)
    def test_tree_entry(self, entry: TreeEntry) -> None:
        through_json = json.loads(compact(hf.emit_tree_entry(entry)))
        assert hf.parse_tree_entry(through_json) == entry

    @given(ENTRIES, COMMITS)
    def test_expanded_tree_entry(self, entry: TreeEntry, commit: Commit) -> None:
        emitted = hf.emit_tree_entry(entry, last_commit=commit, expand=True)
        assert hf.parse_tree_entry(emitted) == entry
        assert list(emitted)[-1] == "lastCommit"

    @given(st.lists(COMMITS, max_size=3))
    def test_commits(self, commits: list[Commit]) -> None:
        emitted = json.loads(compact([hf.emit_commit(one) for one in commits]))
        assert hf.parse_commits(emitted) == commits

    @given(REFS)
    def test_refs(self, refs: dict[RefName, str]) -> None:
        assert hf.parse_refs(hf.emit_refs(refs, pull_requests=True)) == refs

    @given(TIMES)
    def test_time(self, when: datetime) -> None:
        assert hf.parse_time(hf.format_time(when)) == when

    @given(
        st.lists(ENTRIES, max_size=3),
        st.dictionaries(TEXT, TEXT | st.integers(0, 9) | st.none(), max_size=4),
        st.none() | st.just("6ab2b9f6148b5cae56d6e842"),
        OIDS,
        st.sampled_from(RepoType),
    )
    def test_info(
        self,
        siblings: list[TreeEntry],
        card: dict[str, object],
        hub_id: str | None,
        sha: GitOid,
        repo_type: RepoType,
    ) -> None:
        repo = RepoId("huggingface", repo_type, "org/name")
        emitted = hf.emit_info(
            name=repo.name,
            repo_type=repo_type,
            hub_id=hub_id,
            sha=sha.hex,
            card=card,
            siblings=siblings,
            last_modified=None,
            created_at=None,
        )
        info, head = hf.parse_info(repo, json.loads(compact(emitted)))
        assert (info.repo, info.hub_id, head) == (repo, hub_id, sha.hex)
        ours = ("_id", "id", "sha", "siblings", "modelId", "author", "xetEnabled")
        for key in card.keys() - ours:
            assert info.card[key] == card[key]


class TestRecordings:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("models.info", RepoType.MODEL),
            ("datasets.info", RepoType.DATASET),
            ("spaces.info", RepoType.SPACE),
        ],
    )
    def test_info_is_written_byte_for_byte(self, name: str, kind: RepoType) -> None:
        response = recorded(name)
        obj = response["json"]
        assert isinstance(obj, dict)
        repo = RepoId("huggingface", kind, obj["id"])
        info, sha = hf.parse_info(repo, obj)
        shuffled = dict(sorted(info.card.items()))  # as from a database
        emitted = hf.emit_info(
            name=repo.name,
            repo_type=kind,
            hub_id=info.hub_id,
            sha=sha,
            card=shuffled,
            siblings=[
                TreeEntry(one["rfilename"], 0, GitOid.of_blob(b""))
                for one in obj["siblings"]
            ],
            last_modified=hf.parse_time(obj["lastModified"]),
            created_at=hf.parse_time(obj["createdAt"]),
        )
        assert hashlib.sha256(compact(emitted)).hexdigest() == response["body_sha256"]

    @pytest.mark.parametrize(
        "name",
        [
            "cassette.models-deepset-roberta-base-squad2",
            "cassette.models-google-bert-bert-base-uncased",
            "cassette.models-sentence-transformers-paraphrase-albert-small-v2",
            "cassette.models-stabilityai-stable-diffusion-2-1",
        ],
    )
    def test_info_keeps_the_order_of_keys(self, name: str) -> None:
        obj = recorded(name)["json"]
        assert isinstance(obj, dict)
        info, sha = hf.parse_info(REPO, obj)
        emitted = hf.emit_info(
            name=info.repo.name,
            repo_type=RepoType.MODEL,
            hub_id=info.hub_id,
            sha=sha,
            card=dict(sorted(info.card.items())),
            siblings=[],
            last_modified=None,
            created_at=None,
        )
        assert list(emitted) == list(obj)

    def test_expand_gives_exactly_what_was_asked(self) -> None:
        obj = recorded("cassette.expand-xetEnabled")["json"]
        assert isinstance(obj, dict)
        emitted = hf.emit_info(
            name=obj["id"],
            repo_type=RepoType.SPACE,
            hub_id=obj["_id"],
            sha=GitOid.of_blob(b"").hex,
            card={"likes": 3, "xetEnabled": True},
            siblings=[],
            last_modified=None,
            created_at=None,
            expand=["xetEnabled", "no-such-key"],
        )
        assert compact(emitted) == compact(obj)

    def test_siblings_with_sizes(self) -> None:
        obj = recorded("model-info-blobs.mcpotato-42-eicar-street")["json"]
        assert isinstance(obj, dict)
        siblings = [
            TreeEntry(
                one["rfilename"],
                one["size"],
                GitOid(one["blobId"]),
                Digest(one["lfs"]["sha256"]) if "lfs" in one else None,
            )
            for one in obj["siblings"]
        ]
        info, sha = hf.parse_info(REPO, obj)
        emitted = hf.emit_info(
            name=info.repo.name,
            repo_type=RepoType.MODEL,
            hub_id=info.hub_id,
            sha=sha,
            card=info.card,
            siblings=siblings,
            last_modified=None,
            created_at=None,
            blobs=True,
        )
        assert emitted == obj

    @pytest.mark.parametrize("name", ["models.tree", "models.paths-info"])
    @pytest.mark.parametrize("xet", [False, True])
    def test_tree_is_written_byte_for_byte_and_tells_of_xet_on_demand(
        self,
        name: str,
        xet: bool,
    ) -> None:
        obj = recorded(name)["json"]
        assert isinstance(obj, list)
        emitted = []
        for one in obj:
            entry = hf.parse_tree_entry(one)
            if not xet:
                one.pop("xetHash", None)
            one.pop("securityFileStatus", None)
            if entry is None:
                emitted.append(hf.emit_directory(one["path"], one["oid"]))
                continue
            last = one.get("lastCommit")
            commit = last and Commit(
                last["id"], last["title"], committed_at=hf.parse_time(last["date"])
            )
            emitted.append(
                hf.emit_tree_entry(
                    entry, last_commit=commit, expand=bool(last), xet=xet
                )
            )
        assert compact(emitted) == compact(obj)

    @pytest.mark.parametrize("name", ["models.refs", "datasets.refs"])
    def test_refs_are_written_byte_for_byte(self, name: str) -> None:
        response = recorded(name)
        refs = hf.parse_refs(response["json"])
        body = compact(hf.emit_refs(refs, pull_requests=False))
        assert hashlib.sha256(body).hexdigest() == response["body_sha256"]

    @pytest.mark.parametrize(
        "name", ["models.commits", "commits.openai-community-gpt2"]
    )
    def test_commits_are_written_byte_for_byte_without_avatars(self, name: str) -> None:
        obj = recorded(name)["json"]
        assert isinstance(obj, list)
        emitted = [hf.emit_commit(commit) for commit in hf.parse_commits(obj)]
        for one in obj:
            for author in one["authors"]:
                del author["avatar"]
        assert compact(emitted) == compact(obj)

    def test_rate_limits(self) -> None:
        cases = json.loads((RECORDINGS / "ratelimit-headers-and-429.json").read_text())
        seen = [
            hf.parse_rate_limit(one["RateLimit"]) for one in cases["normal_headers"]
        ]
        assert seen == [
            hf.RateLimit("api", 499, 295),
            hf.RateLimit("resolvers", 2976, 166),
            hf.RateLimit("pages", 99, 236),
        ]
        limited = cases["http_429"][0]["headers"]["ratelimit"]
        assert hf.parse_rate_limit(limited) == hf.RateLimit("api", 0, 55)


FILE: dict[str, object] = {
    "type": "file",
    "oid": "0" * 40,
    "size": 3,
    "path": "f",
    "lfs": {"oid": "a" * 64, "size": 3, "pointerSize": 100},
}
INFO: dict[str, object] = {"_id": "1", "id": "org/name", "sha": "0" * 40}
COMMIT: dict[str, object] = {
    "id": "0" * 40,
    "title": "t",
    "date": "2026-01-01T00:00:00.000Z",
}


class TestRefusals:
    """Nothing of the wrong type or grammar gets past; the message names the field."""

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"type": "submodule"}, "type"),
            ({"type": None}, "type"),
            ({"path": None}, "path"),
            ({"path": 7}, "path"),
            ({"path": "a\udc80"}, "path"),
            ({"path": "a\0b"}, "path"),
            ({"size": None}, "size"),
            ({"size": -1}, "size"),
            ({"size": True}, "size"),
            ({"size": 3.0}, "size"),
            ({"size": "3"}, "size"),
            ({"size": 2**63}, "size"),
            ({"oid": "../../../etc/passwd"}, "oid"),
            ({"oid": "A" * 40}, "oid"),
            ({"oid": "0" * 40 + "\n"}, "oid"),
            ({"lfs": []}, "lfs"),
            ({"lfs": {"oid": "a" * 63, "size": 3}}, "lfs.oid"),
            ({"lfs": {"oid": "a" * 65, "size": 3}}, "lfs.oid"),
            ({"lfs": {"oid": "sha256:" + "a" * 64, "size": 3}}, "lfs.oid"),
            ({"lfs": {"oid": "a" * 64, "size": 4}}, "lfs.size"),
            ({"lfs": {"oid": "a" * 64}}, "lfs.size"),
            ({"lfs": {"sha256": "a" * 64, "size": 3}}, "lfs.oid"),
        ],
    )
    def test_tree_entry(self, change: dict[str, object], field: str) -> None:
        with pytest.raises(hf.WireError) as caught:
            hf.parse_tree_entry(FILE | change)
        assert caught.value.field.startswith(field) or field in caught.value.field
        assert caught.value.hint

    @pytest.mark.parametrize(
        "change",
        [
            {"sha": None},
            {"sha": "main"},
            {"id": "../../x"},
            {"id": None},
            {"_id": 7},
            {"cardData": {"deep": ["\ud800"]}},
            {"a\0b": 1},
            {"downloads": 2**64},
        ],
    )
    def test_info(self, change: dict[str, object]) -> None:
        with pytest.raises(hf.WireError):
            hf.parse_info(REPO, INFO | change)

    @pytest.mark.parametrize(
        "change",
        [
            {"id": "0" * 39},
            {"title": None},
            {"title": "\ud800"},
            {"authors": {}},
            {"authors": ["me"]},
            {"authors": [{"user": 1}]},
            {"date": None},
            {"date": "yesterday"},
            {"date": "2026-01-01T00:00:00"},
            {"date": "0001-01-01T00:00:00+23:00"},
        ],
    )
    def test_commit(self, change: dict[str, object]) -> None:
        with pytest.raises(hf.WireError):
            hf.parse_commits([COMMIT | change])

    @pytest.mark.parametrize(
        "refs",
        [
            [],
            {"branches": {}},
            {"branches": [{"name": "x", "ref": "x", "targetCommit": "0" * 40}]},
            {"branches": [{"ref": "refs/heads/../x", "targetCommit": "0" * 40}]},
            {"tags": [{"ref": "refs/tags/x", "targetCommit": "main"}]},
        ],
    )
    def test_refs(self, refs: object) -> None:
        with pytest.raises(hf.WireError):
            hf.parse_refs(refs)

    @pytest.mark.parametrize(
        "parse",
        [
            hf.parse_tree_entry,
            hf.parse_commits,
            hf.parse_refs,
            lambda obj: hf.parse_info(REPO, obj),
        ],
    )
    @given(
        obj=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["type", "oid", "size", "path", "lfs", "id", "sha"]
                    ),
                    inner,
                )
            ),
            max_leaves=10,
        )
    )
    def test_any_json_is_read_or_refused(
        self, parse: Callable[[object], object], obj: object
    ) -> None:
        with contextlib.suppress(hf.WireError):
            parse(obj)

    @pytest.mark.parametrize(
        "header", ["", "api;r=0;t=1", '"api";r=-1;t=1', '"api";t=1;r=1', '"a";r=1;t=']
    )
    def test_other_rate_limits_are_no_rate_limits(self, header: str) -> None:
        assert hf.parse_rate_limit(header) is None


def test_an_author_without_an_account_is_left_out() -> None:
    authors = [{"avatar": "x"}, {"user": "me"}]
    (commit,) = hf.parse_commits([COMMIT | {"authors": authors}])
    assert commit.authors == ("me",)


def test_s24_deep_cards_do_not_exhaust_the_stack() -> None:
    card: object = []
    for _ in range(100_000):
        card = [card]
    hf.parse_info(REPO, INFO | {"cardData": card})


def test_times_are_in_utc_with_milliseconds() -> None:
    east = timezone(timedelta(hours=2))
    when = datetime(2026, 1, 2, 5, 4, 5, 678999, tzinfo=east)
    assert hf.format_time(when) == "2026-01-02T03:04:05.678Z"


def test_a_repo_without_an_owner_or_a_hub() -> None:
    emitted = hf.emit_info(
        name="gpt2",
        repo_type=RepoType.MODEL,
        hub_id=None,
        sha="0" * 40,
        card={},
        siblings=[],
        last_modified=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert "author" not in emitted
    assert "_id" not in emitted
    assert emitted["createdAt"] == "2026-01-01T00:00:00.000Z"


def test_a_commit_without_a_date_is_given_one() -> None:
    assert hf.emit_commit(Commit("0" * 40))["date"] == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("text", [None, "", 5, "a" * 63, "A" * 64, ["a" * 64]])
def test_an_odd_xet_hash_is_no_reason_to_refuse_a_tree(text: object) -> None:
    lfs = {"oid": "b" * 64, "size": 1, "pointerSize": 130}
    row = {"type": "file", "path": "w", "size": 1, "oid": "c" * 40, "lfs": lfs}
    entry = hf.parse_tree_entry({**row, "xetHash": text})
    assert entry is not None
    assert entry.xet_hash is None
    entry = hf.parse_tree_entry({**row, "xetHash": "a" * 64})
    assert entry is not None
    assert entry.xet_hash == "a" * 64
