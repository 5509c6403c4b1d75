"""One row of a list, and the items of a collection."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.listed import Listed
from hubsync.model.repo import RepoId, RepoType
from hubsync.wire.hf_fields import WireError
from hubsync.wire.hf_list import expand_of, parse_collection, parse_listed

RECORDINGS = Path(__file__).parents[2] / "recordings" / "huggingface"
SHA = "1" * 40


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))


def parse(obj: object, repo_type: RepoType = RepoType.MODEL) -> Listed | None:
    return parse_listed("huggingface", repo_type, obj)


class TestListed:
    def test_a_recorded_row_without_expand_tells_no_commit(self) -> None:
        (row,) = recorded("models.list")["response"]["json"]
        found = parse(row)
        assert found
        assert found.repo == RepoId("huggingface", RepoType.MODEL, "wzshiming/gpt2")
        assert found.hub_id == "6ab2b9f6148b5cae56d6e842"
        assert (found.head, found.last_modified, found.used_bytes) == (None, None, None)
        assert (found.gated, found.disabled, found.private) == (False, False, False)
        assert "license:mit" in found.tags

    def test_a_recorded_row_with_its_commit(self) -> None:
        cases = recorded("refs-and-misc")["cases"]
        row = next(
            one["json_one_entry"] for one in cases if "search=" in str(one["request"])
        )
        found = parse(row)
        assert found
        assert found.head == "ba4838faad89e968c36f39e76e95319d756714fe"
        assert found.last_modified == datetime(2026, 6, 12, 10, 46, 19, tzinfo=UTC)

    @pytest.mark.parametrize("repo_type", list(RepoType))
    def test_recorded_infos_have_what_a_look_reads(self, repo_type: RepoType) -> None:
        info = recorded(f"{repo_type.plural}.info")["response"]["json"]
        found = parse(info, repo_type)
        assert found
        assert found.repo == RepoId("huggingface", repo_type, info["id"])
        assert (found.hub_id, found.head) == (info["_id"], info["sha"])
        assert found.used_bytes == info["usedStorage"]
        assert found.last_modified

    def test_no_more_than_its_name_need_be_told(self) -> None:
        repo = RepoId("huggingface", RepoType.MODEL, "gpt2")
        assert parse({"id": "gpt2"}) == Listed(repo, None, None, None)

    def test_null_is_not_told(self) -> None:
        keys = ["_id", "sha", "lastModified", "gated", "tags", "usedStorage"]
        assert parse({"id": "gpt2", **dict.fromkeys(keys)}) == parse({"id": "gpt2"})

    @pytest.mark.parametrize(
        ("said", "meant"),
        [(False, False), (True, True), ("auto", True), ("manual", True), ("", False)],
    )
    def test_how_access_is_given_is_gated(self, said: object, meant: bool) -> None:
        found = parse({"id": "a/b", "gated": said})
        assert found
        assert found.gated is meant

    @pytest.mark.parametrize(
        ("row", "field"),
        [
            ([], "repo in a list"),
            ({}, "id"),
            ({"id": 7}, "id"),
            ({"id": "a/\0"}, "id"),
            ({"id": "a/b", "_id": 7}, "_id"),
            ({"id": "a/b", "sha": "../../etc"}, "sha of a/b"),
            ({"id": "a/b", "sha": SHA[:10]}, "sha of a/b"),
            ({"id": "a/b", "lastModified": "yesterday"}, "lastModified of a/b"),
            ({"id": "a/b", "lastModified": 7}, "lastModified of a/b"),
            ({"id": "a/b", "gated": 1}, "gated of a/b"),
            ({"id": "a/b", "disabled": "no"}, "disabled of a/b"),
            ({"id": "a/b", "private": []}, "private of a/b"),
            ({"id": "a/b", "usedStorage": -1}, "usedStorage of a/b"),
            ({"id": "a/b", "usedStorage": True}, "usedStorage of a/b"),
            ({"id": "a/b", "usedStorage": 2**63}, "usedStorage of a/b"),
            ({"id": "a/b", "tags": "x"}, "tags of a/b"),
            ({"id": "a/b", "tags": ["x", None]}, "tag of a/b"),
        ],
    )
    def test_nonsense_is_refused_by_the_name_of_its_field(
        self, row: object, field: str
    ) -> None:
        with pytest.raises(WireError) as caught:
            parse(row)
        assert caught.value.field == field

    @pytest.mark.parametrize("name", ["a/b--c", "../x", "a/b/c", "a/.git", "", "a/b "])
    def test_a_name_nobody_can_ask_for_is_passed_over(self, name: str) -> None:
        assert parse({"id": name, "sha": SHA}) is None


def test_spaces_are_not_asked_whether_they_are_gated() -> None:
    assert "gated" in expand_of(RepoType.DATASET)
    assert {*expand_of(RepoType.SPACE)} == {*expand_of(RepoType.MODEL)} - {"gated"}


class TestCollection:
    def test_papers_and_collections_are_left_out(self) -> None:
        kinds = ["model", "paper", "space", "collection", "dataset", "bucket"]
        items = [{"type": kind, "id": f"a/{kind}"} for kind in kinds]
        assert parse_collection("huggingface", {"items": items}) == [
            RepoId("huggingface", RepoType(kind), f"a/{kind}")
            for kind in ("model", "space", "dataset")
        ]

    def test_what_is_left_out_may_have_any_id(self) -> None:
        items: list[object] = [{"type": "paper"}, {"type": "model", "id": "a/../b"}]
        assert parse_collection("huggingface", {"items": items}) == [None]

    @pytest.mark.parametrize(
        "obj",
        [
            [],
            {},
            {"items": {}},
            {"items": [7]},
            {"items": [{"id": "a/b"}]},
            {"items": [{"type": "model"}]},
            {"items": [{"type": "model", "id": ["a/b"]}]},
        ],
    )
    def test_nonsense_is_refused(self, obj: object) -> None:
        with pytest.raises(WireError):
            parse_collection("huggingface", obj)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "_id", "sha", "items", "type", "tags", "gated"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "read", [parse, lambda obj: parse_collection("huggingface", obj)]
)
@given(obj=JSON)
def test_any_json_is_read_or_refused(
    read: Callable[[object], object], obj: object
) -> None:
    with contextlib.suppress(WireError):
        read(obj)
