"""Collecting: what goes, what stays, and what a crash leaves to the next one."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.model.digest import Digest
from hubsync.ports.trash import Trashed
from hubsync.retention import gc
from hubsync.retention.gc import GcOptions, GcReport, collect
from hubsync.retention.verify import verify
from hubsync.store.layout import StoreRoot
from hubsync.store.leftovers import clean_leftovers
from hubsync.store.local import LocalBlobs
from hubsync.store.trash import LocalTrash
from tests.contract.made import by_digest, fill
from tests.unit.catalog.making import held, lfs, publish

WHOLE = (b"kept", b"also kept")


@dataclass
class Site:
    """A store and its catalog; a commit needs `WHOLE`."""

    root: StoreRoot
    catalog: Catalog
    blobs: LocalBlobs
    trash: LocalTrash

    def put(self, *contents: bytes, record: bool = True) -> None:
        for data in contents:
            fill(self.blobs, by_digest(data), data)
            if record:
                self.catalog.record_blobs([held(data, as_lfs=True)])

    def gc(
        self,
        *,
        dry_run: bool = False,
        also_needed: AbstractSet[Digest] = frozenset(),
        catalog: Catalog | None = None,
        trash: LocalTrash | None = None,
        grace_s: float = 0.0,
        trash_kept_s: float = 0.0,
    ) -> GcReport:
        return collect(
            catalog or self.catalog,
            self.blobs,
            trash or self.trash,
            dry_run=dry_run,
            options=GcOptions(grace_s, trash_kept_s),
            clean_leftovers=lambda: clean_leftovers(self.root),
            also_needed=also_needed,
        )

    def there(self) -> set[Digest]:
        return set(self.blobs.digests())

    def in_trash(self) -> list[Digest]:
        return [item.digest for item in self.trash.items()]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    root = StoreRoot.open(tmp_path / "store", create=True)
    blobs = LocalBlobs(root)
    with Catalog.open(sqlite_url(root.catalog)) as catalog:
        made = Site(root, catalog, blobs, LocalTrash(root))
        made.put(*WHOLE)
        tree = [lfs(f"{n}.bin", data) for n, data in enumerate(WHOLE)]
        publish(catalog, 1, tree)
        yield made
        # Whatever a test did: what the commit needs is there.
        assert {Digest.of(data) for data in WHOLE} <= made.there()
        assert {blob.digest for blob in catalog.all_held()} <= made.there()


def digests(*contents: bytes) -> set[Digest]:
    return {Digest.of(data) for data in contents}


def test_what_nobody_needs_goes_and_the_rest_stays(site: Site) -> None:
    site.put(b"old", b"older")
    site.put(b"stray", record=False)
    told = site.gc(dry_run=True)
    assert site.there() == digests(*WHOLE, b"old", b"older", b"stray")
    done = site.gc()
    assert done == told
    assert (done.blobs, done.strays, done.bytes) == (2, 1, 3 + 5 + 5)
    assert site.there() == digests(*WHOLE)
    assert site.in_trash() == []
    assert site.gc() == GcReport(0, 0, 0, 0, 0, ())


def test_a_file_that_a_tree_names_stays_though_it_counts_as_lost(site: Site) -> None:
    """The next pull finds it."""
    site.catalog.mark_lost(Digest.of(WHOLE[0]))
    assert site.gc().strays == 0
    assert site.there() == digests(*WHOLE)


def test_what_revision_records_name_stays_and_can_be_brought_back(site: Site) -> None:
    """F16: the catalog is older than the store."""
    site.put(b"recorded")
    site.put(b"recorded stray", b"stray", record=False)
    item = site.trash.put(Digest.of(b"recorded stray"), time.time())
    assert item
    named = digests(b"recorded", b"recorded stray", *WHOLE)
    told = site.gc(dry_run=True, also_needed=named)
    assert (told.put_back, told.strays, told.blobs) == (1, 1, 0)
    done = site.gc(also_needed=named)
    assert (done.put_back, done.adoptable, done.strays, done.blobs) == (1, 1, 1, 0)
    assert site.there() == digests(*WHOLE, b"recorded", b"recorded stray")
    assert site.gc().strays == 1, "nothing names it any more"


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_any_number_of_blobs_goes_in_batches(
    site: Site, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(gc, "BATCH", batch)
    monkeypatch.setattr(gc, "LOOK", batch)
    site.put(*(b"old %d" % n for n in range(7)))
    site.put(*(b"stray %d" % n for n in range(5)), record=False)
    done = site.gc()
    assert (done.blobs, done.strays) == (7, 5)
    assert site.there() == digests(*WHOLE)


def test_a_grace_counts_for_rows_and_for_files(site: Site) -> None:
    site.put(b"young")
    site.put(b"young stray", b"old stray", record=False)
    old = site.blobs.path(Digest.of(b"old stray"))
    os.utime(old, (time.time() - 7200,) * 2)
    done = site.gc(grace_s=3600)
    assert (done.blobs, done.strays) == (0, 1)
    assert site.there() == digests(*WHOLE, b"young", b"young stray")


def test_the_trash_is_emptied_when_it_has_been_kept_long_enough(site: Site) -> None:
    site.put(b"old")
    site.gc(trash_kept_s=3600)
    assert site.in_trash() == [Digest.of(b"old")]
    site.gc(trash_kept_s=3600)
    assert site.in_trash() == [Digest.of(b"old")]
    (path,) = site.root.trash.iterdir()
    two_hours_ago = int((time.time() - 7200) * 1e9)
    path.rename(path.with_name(f"{Digest.of(b'old').hex}.{two_hours_ago}.1.2"))
    site.gc(trash_kept_s=3600)
    assert site.in_trash() == []


@pytest.mark.parametrize("how", ["held", "claimed", "in a tree"])
def test_what_a_gc_that_died_took_out_and_is_needed_comes_back(
    site: Site, how: str
) -> None:
    content = WHOLE[0] if how == "in a tree" else b"wanted"
    if how != "in a tree":
        site.put(content, record=how == "held")
    lease = site.catalog.open_lease("a test")
    if how == "in a tree":
        site.catalog.mark_lost(Digest.of(content))
    else:
        site.catalog.claim(lease, [Digest.of(content)])
    assert site.trash.put(Digest.of(content), 0.0)
    assert site.gc().put_back == 1
    assert Digest.of(content) in site.there()
    with site.blobs.open(Digest.of(content)) as file:
        assert file.read() == content
    assert site.in_trash() == []


def test_what_came_in_again_is_not_replaced_from_the_trash(site: Site) -> None:
    assert site.trash.put(Digest.of(WHOLE[0]), 0.0)
    site.put(WHOLE[0])
    inode = site.blobs.path(Digest.of(WHOLE[0])).stat().st_ino
    assert site.gc().put_back == 0
    assert site.blobs.path(Digest.of(WHOLE[0])).stat().st_ino == inode
    assert site.in_trash() == []


class DiskError(OSError):
    """The disk fails."""


def test_when_the_decision_fails_what_was_taken_out_comes_back(site: Site) -> None:
    """Nobody was held off to its end, so somebody may need it by now."""

    class Failing(LocalTrash):
        left = 2

        def put(self, digest: Digest, now_s: float) -> Trashed | None:
            self.left -= 1
            if self.left < 0:
                raise DiskError
            return super().put(digest, now_s)

    site.put(b"1", b"2", b"3", record=False)
    with pytest.raises(DiskError):
        site.gc(trash=Failing(site.root))
    assert site.there() == digests(*WHOLE, b"1", b"2", b"3")
    assert site.in_trash() == []
    assert site.gc().strays == 3


def test_a_decision_that_is_made_again_is_acted_upon_anew(site: Site) -> None:
    """PostgreSQL may ask for it, and somebody may need more by then."""
    site.put(b"1", b"2", record=False)

    class Again(Catalog):
        def while_deciding(
            self,
            asked: Sequence[Digest],
            act: Callable[[AbstractSet[Digest]], None],
        ) -> None:
            act(set())
            act({Digest.of(b"1")} & set(asked))

    done = site.gc(catalog=Again(site.catalog._session))
    assert site.there() == digests(*WHOLE, b"1")
    assert done.strays == 1
    assert site.in_trash() == []


def test_two_gcs_at_once_take_each_blob_once(site: Site) -> None:
    contents = [b"old %d" % n for n in range(40)]
    site.put(*contents[:20])
    site.put(*contents[20:], record=False)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(site.gc) for _ in range(4)]
        reports = [one.result() for one in done]
    assert site.there() == digests(*WHOLE)
    assert sum(one.blobs for one in reports) == 20
    assert sum(one.bytes for one in reports) == sum(map(len, contents))


# verify beside gc


def test_a_blob_that_gc_dropped_meanwhile_is_no_damage(site: Site) -> None:
    site.put(b"old")
    listed = list(site.catalog.all_held())
    site.gc()
    report = verify(site.catalog, site.blobs, [], listed, lambda _: None)
    assert report.damaged == ()


def test_a_blob_that_came_in_again_meanwhile_is_no_damage(site: Site) -> None:
    listed = list(site.catalog.all_held())
    looked = []

    class Late(LocalBlobs):
        """Fetched between our two looks."""

        def open(self, digest: Digest):  # type: ignore[no-untyped-def]
            looked.append(digest)
            if len(looked) == 1:
                path = self.path(digest)
                path.rename(path.with_suffix(".away"))
                try:
                    return super().open(digest)
                finally:
                    path.with_suffix(".away").rename(path)
            return super().open(digest)

    late = Late(site.root)
    report = verify(site.catalog, late, [], listed, lambda _: None)
    assert report.damaged == ()
    assert len(looked) == len(listed) + 2, "which file it is, and its bytes"


def test_a_blob_that_is_held_and_missing_is_damage(site: Site) -> None:
    site.put(b"lost")
    site.blobs.remove(Digest.of(b"lost"))
    listed = list(site.catalog.all_held())
    report = verify(site.catalog, site.blobs, [], listed, lambda _: None)
    assert [one.what for one in report.damaged] == ["missing"]
