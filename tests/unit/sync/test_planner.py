"""What a pull will fetch: every file in one place, every blob once."""

from collections.abc import Set as AbstractSet

import pytest
from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.digest import Digest, GitOid
from hubsync.model.snapshot import TreeEntry
from hubsync.sync.planner import Plan, Selection, plan_pull
from hubsync.wire.lfs import pointer_oid

CONTENTS = st.integers(0, 6).map(lambda n: b"%d" % n * n)


def lfs(path: str, content: bytes) -> TreeEntry:
    digest, size = Digest.of(content), len(content)
    return TreeEntry(path, size, pointer_oid(digest, size), digest)


def plain(path: str, content: bytes) -> TreeEntry:
    return TreeEntry(path, len(content), GitOid.of_blob(content))


SEGMENTS = st.sampled_from(["a", "b", "onnx", "m.bin", "c.json", "[x]", "A", ".x", "*"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.tuples(st.sampled_from([lfs, plain]), CONTENTS)).map(
    lambda files: [make(path, content) for path, (make, content) in files.items()]
)
GLOBS = st.one_of(
    PATHS,
    st.text(alphabet="abm.*?[]!-/xnjsoc", min_size=1, max_size=8),
    st.sampled_from(
        ["*", "*.json", "onnx/", "a/", "a/*", "**/*.bin", "[!a]*", "[", "/"]
    ),
)
SELECTIONS = st.builds(
    Selection,
    include=st.lists(GLOBS, max_size=3).map(tuple),
    exclude=st.lists(GLOBS, max_size=3).map(tuple),
    path=st.none() | PATHS,
    skip_smudge=st.booleans(),
)
HELD = st.sets(CONTENTS)


def plan(tree: list[TreeEntry], held: AbstractSet[bytes], selection: Selection) -> Plan:
    return plan_pull(
        tree,
        {Digest.of(content) for content in held},
        {GitOid.of_blob(content) for content in held},
        selection,
    )


def is_held(entry: TreeEntry, held: AbstractSet[bytes]) -> bool:
    if entry.lfs:
        return entry.lfs in {Digest.of(content) for content in held}
    return entry.git_oid in {GitOid.of_blob(content) for content in held}


@given(tree=TREES, held=HELD, selection=SELECTIONS)
def test_every_file_is_in_exactly_one_place(
    tree: list[TreeEntry], held: set[bytes], selection: Selection
) -> None:
    made = plan(tree, held, selection)
    fetched = [item.entry for item in made.fetch]
    placed = [*fetched, *made.reuse, *made.share, *made.pointers, *made.skipped]
    assert sorted(one.path for one in placed) == sorted(one.path for one in tree)


@given(tree=TREES, held=HELD, selection=SELECTIONS)
def test_every_place_holds_what_its_name_says(
    tree: list[TreeEntry], held: set[bytes], selection: Selection
) -> None:
    made = plan(tree, held, selection)
    assert all(not selection.wants(one.path) for one in made.skipped)
    chosen = [item.entry for item in made.fetch]
    chosen += [*made.reuse, *made.share, *made.pointers]
    assert all(selection.wants(one.path) for one in chosen)
    assert all(is_held(one, held) for one in made.reuse)
    assert all(one.is_lfs and selection.skip_smudge for one in made.pointers)
    for entry in [*(item.entry for item in made.fetch), *made.share, *made.pointers]:
        assert not is_held(entry, held)
    if selection.skip_smudge:
        assert not any(item.entry.is_lfs for item in made.fetch)


@given(tree=TREES, held=HELD, selection=SELECTIONS)
def test_every_blob_is_fetched_once_and_its_paths_are_counted(
    tree: list[TreeEntry], held: set[bytes], selection: Selection
) -> None:
    made = plan(tree, held, selection)
    keys = [item.want.key for item in made.fetch]
    assert len(keys) == len(set(keys))
    assert {one.want.key for one in made.share} <= set(keys)
    assert sum(item.paths for item in made.fetch) == len(made.fetch) + len(made.share)
    for item in made.fetch:
        shared = [one for one in made.share if one.want.key == item.want.key]
        assert item.paths == 1 + len(shared)


@given(tree=TREES, held=HELD, selection=SELECTIONS)
def test_the_numbers_add_up(
    tree: list[TreeEntry], held: set[bytes], selection: Selection
) -> None:
    made = plan(tree, held, selection)
    assert made.fetch_bytes == sum(item.entry.size_bytes for item in made.fetch)
    others = [*made.pointers, *made.skipped]
    assert made.totals.selected == len(tree) - len(others)
    assert made.totals.selected_bytes == sum(one.size_bytes for one in tree) - sum(
        one.size_bytes for one in others
    )


@given(tree=TREES, held=HELD, selection=SELECTIONS, data=st.data())
def test_the_order_of_the_listing_changes_nothing(
    tree: list[TreeEntry], held: set[bytes], selection: Selection, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(tree))
    assert plan(shuffled, held, selection) == plan(tree, held, selection)


@given(tree=TREES, held=HELD, selection=SELECTIONS)
def test_nothing_is_left_to_fetch_once_it_was_fetched(
    tree: list[TreeEntry], held: set[bytes], selection: Selection
) -> None:
    first = plan(tree, held, selection)
    wants = [item.want for item in first.fetch]
    again = plan_pull(
        tree,
        {Digest.of(content) for content in held}
        | {want.digest for want in wants if want.digest},
        {GitOid.of_blob(content) for content in held}
        | {want.git_oid for want in wants if want.git_oid},
        selection,
    )
    assert not again.fetch
    assert not again.share
    assert again.totals.selected == first.totals.selected
    assert (again.pointers, again.skipped) == (first.pointers, first.skipped)


@given(
    paths=st.lists(PATHS, unique=True),
    include=st.lists(GLOBS, max_size=3),
    exclude=st.lists(GLOBS, max_size=3),
)
def test_globs_select_what_huggingface_hub_selects(
    paths: list[str], include: list[str], exclude: list[str]
) -> None:
    theirs = filter_repo_objects(
        paths, allow_patterns=include or None, ignore_patterns=exclude or None
    )
    selection = Selection(tuple(include), tuple(exclude))
    assert [path for path in paths if selection.wants(path)] == list(theirs)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), {"a", "a/b.json", "onnx/m.bin", "x[1].txt"}),
        (Selection(include=("*.json",)), {"a/b.json"}),
        (Selection(include=("onnx/",)), {"onnx/m.bin"}),
        (Selection(exclude=("onnx/*", "a")), {"a/b.json", "x[1].txt"}),
        (Selection(include=("*",), exclude=("*",)), set()),
        (Selection(path="x[1].txt"), {"x[1].txt"}),
        (Selection(path="a"), {"a"}),
        (Selection(path="missing"), set()),
    ],
)
def test_a_selection_is_read_as_people_mean_it(
    selection: Selection, wanted: set[str]
) -> None:
    paths = {"a", "a/b.json", "onnx/m.bin", "x[1].txt"}
    assert {path for path in paths if selection.wants(path)} == wanted


def test_one_content_as_lfs_and_as_plain_file_is_two_blobs_to_a_hub() -> None:
    made = plan([lfs("a", b"x"), plain("b", b"x")], set(), Selection())
    assert [item.entry.path for item in made.fetch] == ["a", "b"]


def test_a_held_lfs_file_is_used_even_where_pointers_were_asked_for() -> None:
    made = plan([lfs("a", b"x")], {b"x"}, Selection(skip_smudge=True))
    assert [one.path for one in made.reuse] == ["a"]


def test_ten_thousand_paths_of_one_blob_are_one_download() -> None:
    tree = [plain(f"f{i}", b"x") for i in range(10_000)]
    made = plan(tree, set(), Selection())
    assert [(item.entry.path, item.paths) for item in made.fetch] == [("f0", 10_000)]
