"""Trees read back exactly, whatever was published or forgotten in between."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from hubsync.catalog import trees
from hubsync.catalog.catalog import Catalog, SnapshotRow
from hubsync.catalog.tables import blobs, file_spans
from hubsync.model.digest import Digest
from hubsync.model.errors import IntegrityError
from hubsync.model.snapshot import SnapshotState, TreeEntry
from tests.unit.catalog.making import held, lfs, plain, publish, repo

PATHS = ["a", "a.b", "b/c", "b/d", "B", "ü", "\U0001f600", "\uffff", "%_'\""]
A, B = (False, b"a"), (True, b"b")
# Few paths and few contents, so that files come, go and come back; a number is
# mostly the newest commit, whose loss is what spans have to recover from.
TREE = st.dictionaries(
    st.sampled_from(PATHS[:2]) | st.sampled_from(PATHS), st.sampled_from([A, B])
)
STEP = st.one_of(TREE, st.just(-1), st.integers(0, 5))
COUNTER = itertools.count()


def as_entries(tree: dict[str, tuple[bool, bytes]]) -> list[TreeEntry]:
    return [
        lfs(path, content) if in_lfs else plain(path, content)
        for path, (in_lfs, content) in tree.items()
    ]


def by_path(entries: Sequence[TreeEntry]) -> list[TreeEntry]:
    return sorted(entries, key=lambda entry: entry.path)


def recorded(catalog: Catalog, snapshot: SnapshotRow) -> list[TreeEntry]:
    return [entry.entry for entry in catalog.entries(snapshot)]


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEP, max_size=14))
@example(steps=[{"a": A}, {"a": A}, {}, -1, -1, {}, {"a": A}])
@example(steps=[{"a": A}, {"a": B}, {"a": A}, 1, {"a": B}, 0, -1, {"a": A}])
def test_every_tree_reads_back_exactly(
    catalog: Catalog, steps: list[dict[str, tuple[bool, bytes]] | int]
) -> None:
    """A tree is published, or (a number) one of those recorded is forgotten."""
    me = repo(f"org/n{next(COUNTER)}")
    alive: dict[SnapshotRow, list[TreeEntry]] = {}
    for number, step in enumerate(steps):
        if isinstance(step, int):
            if alive:
                snapshot = list(alive)[step % len(alive)]
                row = catalog.find_repo(me)
                assert row is not None
                catalog.forget(row, snapshot)
                del alive[snapshot]
        else:
            entries = as_entries(step)
            alive[publish(catalog, number, entries, of=me).snapshot] = entries
        for snapshot, entries in alive.items():
            assert recorded(catalog, snapshot) == by_path(entries)
            found = {path: catalog.entry(snapshot, path) for path in PATHS}
            assert [
                entry.entry for entry in found.values() if entry is not None
            ] == sorted(entries, key=lambda entry: PATHS.index(entry.path))


def spans(catalog: Catalog) -> int:
    with catalog._session.reading() as connection:
        return connection.scalar(select(func.count()).select_from(file_spans)) or 0


def blob_rows(catalog: Catalog) -> int:
    with catalog._session.reading() as connection:
        return connection.scalar(select(func.count()).select_from(blobs)) or 0


def test_an_unchanged_file_costs_one_row_for_all_commits(catalog: Catalog) -> None:
    tree = {f"f{n}": plain(f"f{n}", b"%d" % n) for n in range(100)}
    for commit in range(10):
        tree["changing"] = plain("changing", b"c%d" % commit)
        publish(catalog, commit, list(tree.values()))
    assert spans(catalog) == 100 + 10


def test_forgetting_leaves_no_rows_behind(catalog: Catalog) -> None:
    first = publish(catalog, 1, [plain("a", b"1"), plain("same", b"s")])
    second = publish(catalog, 2, [plain("a", b"2"), plain("same", b"s")])
    third = publish(catalog, 3, [plain("a", b"3"), plain("same", b"s")])
    catalog.forget(second.repo, second.snapshot)
    assert (spans(catalog), blob_rows(catalog)) == (3, 3)
    catalog.forget(third.repo, third.snapshot)
    assert (spans(catalog), blob_rows(catalog)) == (2, 2)
    catalog.forget(first.repo, first.snapshot)
    assert (spans(catalog), blob_rows(catalog)) == (0, 0)


def test_a_large_tree_goes_in_at_once(catalog: Catalog) -> None:
    """More rows than PostgreSQL gets by INSERT: they are copied."""
    tree = [plain(f"d/{n}\t\\N\r\n{n}", b"%d" % (n % 1500)) for n in range(2000)]
    tree += [lfs(f"l/{n}", b"%d" % n) for n in range(1000)]
    snapshot = publish(catalog, 1, tree).snapshot
    assert recorded(catalog, snapshot) == by_path(tree)
    tree = [lfs(entry.path, entry.path.encode()) for entry in tree]
    snapshot = publish(catalog, 2, tree).snapshot
    assert recorded(catalog, snapshot) == by_path(tree)


def test_entries_come_in_the_order_of_their_bytes(catalog: Catalog) -> None:
    snapshot = publish(catalog, 1, [plain(path, b"") for path in PATHS]).snapshot
    paths = [entry.path for entry in recorded(catalog, snapshot)]
    assert paths == sorted(PATHS, key=str.encode)


@pytest.mark.parametrize("path", ["A", "a/", "", "a\0", "\ud800", "%", "' OR 1=1"])
def test_a_path_that_is_not_there_is_none(catalog: Catalog, path: str) -> None:
    snapshot = publish(catalog, 1, [plain("a", b"1")]).snapshot
    assert catalog.entry(snapshot, path) is None


def test_files_know_the_commit_since_which_they_are_as_they_are(
    catalog: Catalog,
) -> None:
    same = plain("same", b"s")
    made = [publish(catalog, n, [plain("a", b"%d" % n), same]) for n in (1, 2)]
    made.append(publish(catalog, 3, [plain("a", b"2"), plain("new", b""), same]))
    expected = [{"a": 1, "same": 1}, {"a": 2, "same": 1}]
    expected.append({"a": 2, "new": 3, "same": 1})
    for one, since in zip(made, expected, strict=True):
        found = catalog.changes(one.snapshot)
        assert {path: commit.title for path, commit in found.items()} == {
            path: f"commit {number}" for path, number in since.items()
        }
    catalog.forget(made[0].repo, made[0].snapshot)
    assert catalog.changes(made[0].snapshot) == {}
    assert catalog.changes(made[2].snapshot)["same"].title == "commit 2"


def test_an_empty_tree_is_complete(catalog: Catalog) -> None:
    snapshot = publish(catalog, 1).snapshot
    state = catalog.state(snapshot)
    assert (state.state, state.files, state.bytes) == (SnapshotState.COMPLETE, 0, 0)
    assert catalog.entries(snapshot) == []


def test_the_state_follows_what_is_held(catalog: Catalog) -> None:
    tree = [
        plain("p", b"plain"),
        plain("q", b"plain"),
        lfs("l", b"large"),
        lfs("m", b"m"),
    ]
    snapshot = publish(catalog, 1, tree).snapshot
    seen = []
    for blob in (None, held(b"large", as_lfs=True), held(b"plain"), held(b"m")):
        if blob:
            catalog.record_blobs([blob])
        state = catalog.state(snapshot)
        seen.append((state.state, state.files_held, state.bytes_held, state.pointers))
        assert (state.files, state.bytes) == (4, 16)
        assert state.files_held == sum(
            entry.held for entry in catalog.entries(snapshot)
        )
    assert seen == [
        (SnapshotState.PARTIAL, 0, 0, 2),
        (SnapshotState.PARTIAL, 1, 5, 1),
        (SnapshotState.POINTERS, 3, 15, 1),
        (SnapshotState.COMPLETE, 4, 16, 0),
    ]


def test_sizes_beyond_32_bits_are_kept(catalog: Catalog) -> None:
    size = 3 * 2**40
    big = TreeEntry("big", size, lfs("", b"x").git_oid, lfs("", b"x").lfs)
    other = TreeEntry("other", size, lfs("", b"y").git_oid, lfs("", b"y").lfs)
    snapshot = publish(catalog, 1, [big, other]).snapshot
    assert snapshot.bytes == 2 * size
    assert catalog.state(snapshot).bytes == 2 * size
    assert recorded(catalog, snapshot) == [big, other]


def test_a_size_that_held_bytes_contradict_is_refused(catalog: Catalog) -> None:
    honest = lfs("a", b"12345")
    lying = TreeEntry("a", 4, honest.git_oid, honest.lfs)
    catalog.record_blobs([held(b"12345", as_lfs=True)])
    with pytest.raises(IntegrityError, match="4 bytes, but it has 5"):
        publish(catalog, 1, [lying])
    assert publish(catalog, 1, [honest]).new_commit


def test_a_lie_about_bytes_nobody_holds_blocks_no_honest_repo(
    catalog: Catalog,
) -> None:
    honest = lfs("a", b"12345")
    publish(
        catalog, 1, [TreeEntry("a", 4, honest.git_oid, honest.lfs)], of=repo("e/vil")
    )
    snapshot = publish(catalog, 1, [honest]).snapshot
    assert recorded(catalog, snapshot) == [honest]


def known_by(entry: TreeEntry, xet_hash: str) -> TreeEntry:
    return replace(entry, xet_hash=xet_hash)


X, Y = "1" * 64, "2" * 64


def test_a_file_is_found_by_its_xet_hash_and_by_its_digest(catalog: Catalog) -> None:
    one = known_by(lfs("w", b"w"), X)
    made = publish(catalog, 1, [one, lfs("v", b"v"), plain("p", b"p")])
    assert [got.entry.path for got in catalog.having(made.snapshot, X)] == ["w"]
    digest = Digest.of(b"v").hex
    assert [got.entry.path for got in catalog.having(made.snapshot, digest)] == ["v"]
    assert catalog.having(made.snapshot, Y) == []
    assert catalog.having(made.snapshot, Digest.of(b"p").hex) == []
    got = catalog.entry(made.snapshot, "w")
    assert got is not None
    assert got.entry.xet_hash == X


def test_what_one_hub_says_of_a_blob_does_not_count_in_another_repo(
    catalog: Catalog,
) -> None:
    publish(catalog, 1, [known_by(lfs("w", b"w"), X)], of=repo("e/vil"))
    made = publish(catalog, 2, [lfs("w", b"w")])
    assert catalog.having(made.snapshot, X) == []


def test_a_file_is_found_in_the_commits_that_have_it_only(catalog: Catalog) -> None:
    first = publish(catalog, 1, [known_by(lfs("w", b"1"), X)])
    second = publish(catalog, 2, [known_by(lfs("w", b"2"), Y)])
    assert len(catalog.having(first.snapshot, X)) == 1
    assert catalog.having(first.snapshot, Y) == []
    assert catalog.having(second.snapshot, X) == []


def test_a_xet_hash_that_is_told_later_is_filled_in(catalog: Catalog) -> None:
    """What was pulled before hashes were kept gets them with the next commit."""
    first = publish(catalog, 1, [lfs("w", b"w"), lfs("v", b"v")])
    publish(catalog, 2, [known_by(lfs("w", b"w"), X), known_by(lfs("v", b"2"), Y)])
    assert [got.entry.path for got in catalog.having(first.snapshot, X)] == ["w"]
    assert catalog.having(first.snapshot, Y) == []
    # No word is no news, and the first word stays.
    third = publish(catalog, 3, [known_by(lfs("w", b"w"), Y), lfs("v", b"2")])
    assert [got.entry.path for got in catalog.having(third.snapshot, X)] == ["w"]
    assert [got.entry.path for got in catalog.having(third.snapshot, Y)] == ["v"]


def test_looking_a_hash_up_reads_no_tree(catalog: Catalog) -> None:
    if not catalog.is_sqlite:
        pytest.skip("PostgreSQL plans by statistics")
    statements = {
        trees._BY_XET_HASH: (1, X, X),
        trees._BY_BLOB: (1, f"sha256:{X}"),
    }
    for statement, values in statements.items():
        plan = catalog._session.rows(f"EXPLAIN QUERY PLAN {statement}", *values)
        (step,) = [row[-1] for row in plan if row[-1].startswith("SEARCH s ")]
        assert "repo_id=? AND path=?" in step or "blob_id=? AND repo_id=?" in step
        assert not [row[-1] for row in plan if row[-1].startswith("SCAN")]
