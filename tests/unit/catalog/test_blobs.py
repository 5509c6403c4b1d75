"""Blobs: held under every name they are asked for."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from hubsync.catalog import blobs as module
from hubsync.catalog.catalog import Catalog
from hubsync.catalog.tables import blobs
from hubsync.model.digest import Digest, GitOid
from tests.unit.catalog.making import held, lfs, oid, plain, publish, repo


def keys(catalog: Catalog) -> dict[str, bool]:
    with catalog._session.reading() as connection:
        rows = connection.execute(select(blobs.c.key, blobs.c.held))
        return {row.key: row.held for row in rows}


def test_nothing_is_held_at_first(catalog: Catalog) -> None:
    snapshot = publish(catalog, 1, [plain("a", b"1"), lfs("b", b"2")]).snapshot
    assert [entry.digest for entry in catalog.entries(snapshot)] == [None, None]
    assert set(catalog.held([Digest.of(b"1"), Digest.of(b"2")])) == set()
    assert list(catalog.all_held()) == []
    catalog.record_blobs([])
    assert catalog.drop_unneeded([]) == []


def test_a_held_blob_shows_in_every_tree_that_has_it(catalog: Catalog) -> None:
    one = publish(catalog, 1, [plain("a", b"1"), lfs("b", b"1")], of=repo("org/one"))
    catalog.record_blobs([held(b"1")])
    two = publish(catalog, 1, [plain("c", b"1"), lfs("d", b"1")], of=repo("org/two"))
    for snapshot in (one.snapshot, two.snapshot):
        for entry in catalog.entries(snapshot):
            assert entry.digest == Digest.of(b"1")
            assert catalog.entry(snapshot, entry.entry.path) == entry


def test_an_lfs_blob_says_nothing_of_a_plain_file(catalog: Catalog) -> None:
    """Its git id is not known, so the plain file has to be fetched."""
    snapshot = publish(catalog, 1, [plain("a", b"1"), lfs("b", b"1")]).snapshot
    catalog.record_blobs([held(b"1", as_lfs=True)])
    assert [entry.held for entry in catalog.entries(snapshot)] == [False, True]
    catalog.record_blobs([held(b"1")])
    assert [entry.held for entry in catalog.entries(snapshot)] == [True, True]


def test_recording_twice_is_recording_once(catalog: Catalog) -> None:
    for _ in range(2):
        catalog.record_blobs([held(b"1"), held(b"1"), held(b"2", as_lfs=True)])
    assert list(catalog.all_held()) == sorted(
        [held(b"1"), held(b"2", as_lfs=True)], key=lambda blob: blob.digest
    )


def test_held_blobs_are_found_by_digest_and_by_git_id(catalog: Catalog) -> None:
    contents = [b"%d" % n for n in range(2500)]
    catalog.record_blobs([held(content) for content in contents[:1500]])
    digests = [Digest.of(content) for content in contents]
    assert set(catalog.held(digests)) == set(digests[:1500])
    oids = [GitOid.of_blob(content) for content in contents]
    assert catalog.held_by_git_oid(iter(oids)) == {
        GitOid.of_blob(content): held(content) for content in contents[:1500]
    }


def test_held_blobs_are_found_by_range(catalog: Catalog) -> None:
    contents = [b"%d" % n for n in range(10)]
    catalog.record_blobs([held(content) for content in contents[:9]])
    publish(catalog, 1, [lfs("a", contents[9])])
    ordered = sorted(Digest.of(content) for content in contents[:9])
    assert catalog.held_between(ordered[2], ordered[5]) == set(ordered[2:6])
    assert catalog.held_between(Digest("0" * 64), Digest("f" * 64)) == set(ordered)


def test_all_held_blobs_come_once_over_several_pages(catalog: Catalog) -> None:
    blobs_held = [held(b"%d" % n) for n in range(module._PAGE_ROWS + 5)]
    catalog.record_blobs(blobs_held)
    ordered = sorted(blobs_held, key=lambda blob: blob.digest)
    assert list(catalog.all_held()) == ordered
    assert list(catalog.unneeded_blobs()) == ordered


def test_only_blobs_that_no_tree_needs_are_unneeded(catalog: Catalog) -> None:
    old = publish(catalog, 1, [plain("a", b"old"), plain("b", b"both")])
    publish(catalog, 2, [plain("a", b"new"), lfs("c", b"both"), lfs("d", b"large")])
    catalog.record_blobs(
        [held(b"old"), held(b"new"), held(b"both"), held(b"large"), held(b"stray")]
    )
    assert list(catalog.unneeded_blobs()) == [held(b"stray")]
    catalog.forget(old.repo, old.snapshot)
    assert {blob.digest for blob in catalog.unneeded_blobs()} == {
        Digest.of(b"old"),
        Digest.of(b"stray"),
    }


def test_dropping_leaves_what_a_tree_needs_by_then(catalog: Catalog) -> None:
    tree = [plain("a", b"1"), lfs("b", b"2")]
    snapshot = publish(catalog, 1, tree).snapshot
    catalog.record_blobs([held(b"1"), held(b"2"), held(b"3")])
    digests = [Digest.of(b"1"), Digest.of(b"2"), Digest.of(b"3")]
    assert catalog.drop_unneeded(digests) == [Digest.of(b"3")]
    assert f"git:{GitOid.of_blob(b'3')}" not in keys(catalog)
    assert [entry.held for entry in catalog.entries(snapshot)] == [True, True]
    assert {blob.digest for blob in catalog.all_held()} == set(digests[:2])


def test_dropping_with_a_grace_leaves_what_came_in_since(catalog: Catalog) -> None:
    catalog.record_blobs([held(b"1")])
    now = datetime.now(UTC)
    before, after = now - timedelta(hours=1), now + timedelta(hours=1)
    assert list(catalog.unneeded_blobs(before)) == []
    assert catalog.drop_unneeded([Digest.of(b"1")], before) == []
    assert list(catalog.unneeded_blobs(after)) == [held(b"1")]
    assert catalog.drop_unneeded([Digest.of(b"1")], after) == [Digest.of(b"1")]


def test_bytes_are_needed_that_are_held_or_that_a_tree_names_by_digest(
    catalog: Catalog,
) -> None:
    publish(catalog, 1, [plain("a", b"1"), lfs("b", b"2")])
    catalog.record_blobs([held(b"3")])
    digests = [Digest.of(b"%d" % n) for n in range(5)]
    assert catalog.needed(digests) == {Digest.of(b"2"), Digest.of(b"3")}


def test_a_lost_blob_is_to_be_fetched_again(catalog: Catalog) -> None:
    tree = [plain("a", b"1"), lfs("b", b"1"), plain("c", b"2")]
    snapshot = publish(catalog, 1, tree).snapshot
    catalog.record_blobs([held(b"1"), held(b"2")])
    catalog.mark_lost(Digest.of(b"1"))
    assert [entry.held for entry in catalog.entries(snapshot)] == [False, False, True]
    assert set(catalog.held([Digest.of(b"1")])) == set()
    assert catalog.held_by_git_oid([GitOid.of_blob(b"1")]) == {}
    assert list(catalog.all_held()) == [held(b"2")]
    catalog.record_blobs([held(b"1")])
    assert all(entry.held for entry in catalog.entries(snapshot))


def test_what_somebody_has_brought_in_again_is_not_lost(catalog: Catalog) -> None:
    """Found missing, and fetched anew before that could be written down."""
    snapshot = publish(catalog, 1, [plain("a", b"1")]).snapshot
    catalog.record_blobs([held(b"1")])
    assert not catalog.mark_lost(Digest.of(b"1"), is_there=lambda: True)
    assert [entry.held for entry in catalog.entries(snapshot)] == [True]
    assert catalog.mark_lost(Digest.of(b"1"), is_there=lambda: False)
    assert not catalog.mark_lost(Digest.of(b"1")), "it is lost already"


def test_referrers_name_repo_commit_and_path(catalog: Catalog) -> None:
    one = publish(catalog, 1, [plain("a", b"1"), lfs("b", b"1")], of=repo("org/one"))
    two = publish(catalog, 2, [plain("a", b"1")], of=repo("org/one"))
    other = publish(catalog, 3, [lfs("z", b"1")], of=repo("org/two"))
    catalog.record_blobs([held(b"1")])
    found = catalog.referrers(Digest.of(b"1"))
    assert [(row.repo.name, snap.commit.oid, path) for row, snap, path in found] == [
        ("org/one", oid(2), "a"),
        ("org/one", oid(1), "a"),
        ("org/one", oid(1), "b"),
        ("org/two", oid(3), "z"),
    ]
    assert found[0][0] == catalog.find_repo(repo("org/one"))
    assert [snapshot for _, snapshot, _ in found] == [
        two.snapshot,
        one.snapshot,
        one.snapshot,
        other.snapshot,
    ]
    assert catalog.referrers(Digest.of(b"unknown")) == []


def test_referrers_of_lfs_content_are_known_before_it_is_held(catalog: Catalog) -> None:
    publish(catalog, 1, [lfs("z", b"1")])
    assert [path for _, _, path in catalog.referrers(Digest.of(b"1"))] == ["z"]


def test_a_damaged_blob_is_remembered_until_it_is_held_again(catalog: Catalog) -> None:
    """What was never asked for is not damaged, though it is not held either."""
    content, other = [plain("a", b"1"), lfs("b", b"2")], lfs("c", b"never held")
    snapshot = publish(catalog, 1, [*content, other]).snapshot
    catalog.record_blobs([held(b"1"), held(b"2", as_lfs=True)])
    assert catalog.damaged() == []
    for data in (b"1", b"2"):
        catalog.mark_lost(Digest.of(data))
    state = catalog.state(snapshot)
    assert (state.files_held, state.damaged, state.pointers) == (0, 2, 2)
    assert [one.damaged for one in catalog.entries(snapshot)] == [True, True, False]
    named = {one.name: [path for _, _, path in one.files] for one in catalog.damaged()}
    assert named == {
        f"git:{GitOid.of_blob(b'1').hex}": ["a"],
        f"sha256:{Digest.of(b'2').hex}": ["b"],
    }
    catalog.record_blobs([held(b"1")])
    assert [one.damaged for one in catalog.entries(snapshot)] == [False, True, False]
    catalog.record_blobs([held(b"2", as_lfs=True)])
    assert catalog.damaged() == []
    assert catalog.state(snapshot).damaged == 0


def test_a_damaged_blob_that_is_forgotten_is_damaged_no_more(catalog: Catalog) -> None:
    done = publish(catalog, 1, [lfs("a", b"1")])
    catalog.record_blobs([held(b"1", as_lfs=True)])
    catalog.mark_lost(Digest.of(b"1"))
    catalog.forget(done.repo, None)
    assert catalog.damaged() == []
    again = publish(catalog, 1, [lfs("a", b"1")]).snapshot
    assert catalog.state(again).damaged == 0
