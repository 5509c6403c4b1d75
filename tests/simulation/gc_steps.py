"""kill -9 of a gc before its n-th step, for every n (F20).

Its own process, because a fork must not meet other threads.  Prints the number
of steps; fails with what was wrong after which of them.
"""

import itertools
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from pathlib import Path
from signal import SIGKILL

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.leases import Watch
from hubsync.model.digest import Digest
from hubsync.ports.trash import Trashed
from hubsync.retention.gc import GcOptions, GcReport, collect
from hubsync.store.layout import StoreRoot
from hubsync.store.leftovers import clean_leftovers
from hubsync.store.local import LocalBlobs
from hubsync.store.trash import LocalTrash
from tests.contract.made import by_digest, fill
from tests.unit.catalog.making import held, lfs, publish

NEEDED = [b"in a tree", b"claimed", b"in a tree, in the trash"]
UNNEEDED = [b"dropped 1", b"dropped 2", b"stray 1", b"stray 2", b"old trash"]


class Steps:
    """Dies before the step of that number."""

    def __init__(self, dies_at: int) -> None:
        self.left = dies_at

    def __call__(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), SIGKILL)
        self.left -= 1


class SteppingTrash(LocalTrash):
    def __init__(self, root: StoreRoot, step: Steps) -> None:
        super().__init__(root)
        self._step = step

    def put(self, digest: Digest, now_s: float) -> Trashed | None:
        self._step()
        return super().put(digest, now_s)

    def put_back(self, item: Trashed) -> bool:
        self._step()
        return super().put_back(item)

    def delete(self, item: Trashed) -> None:
        self._step()
        super().delete(item)


class SteppingCatalog(Catalog):
    step: Steps

    def drop_dead_leases(self, watch: Watch | None = None) -> int:
        self.step()
        return super().drop_dead_leases(watch)

    def drop_unneeded(
        self, digests: Sequence[Digest], older_than: datetime | None = None
    ) -> list[Digest]:
        self.step()
        return super().drop_unneeded(digests, older_than)

    def while_deciding(
        self, digests: Sequence[Digest], act: Callable[[AbstractSet[Digest]], None]
    ) -> None:
        def then_step(needed: AbstractSet[Digest]) -> None:
            act(needed)
            self.step()  # between the renames and the commit

        self.step()
        super().while_deciding(digests, then_step)


def make(folder: Path) -> None:
    """A store with something of everything; its lease is of a live process."""
    root = StoreRoot.open(folder, create=True)
    blobs, trash = LocalBlobs(root), LocalTrash(root)
    with Catalog.open(sqlite_url(root.catalog)) as catalog:
        for data in NEEDED + UNNEEDED:
            fill(blobs, by_digest(data), data)
            if b"stray" not in data and data != b"old trash":
                catalog.record_blobs([held(data, as_lfs=True)])
        publish(catalog, 1, [lfs(f"{n}", NEEDED[n]) for n in (0, 2)])
        catalog.claim(catalog.open_lease("a test"), [Digest.of(b"claimed")])
    for data in (b"in a tree, in the trash", b"old trash"):
        trash.put(Digest.of(data), 1.0)


def run_gc(folder: Path, dies_at: int) -> GcReport:
    root = StoreRoot.open(folder, create=False)
    step = Steps(dies_at)
    with SteppingCatalog.open(sqlite_url(root.catalog)) as catalog:
        catalog.step = step
        return collect(
            catalog,
            LocalBlobs(root),
            SteppingTrash(root, step),
            dry_run=False,
            options=GcOptions(),
            clean_leftovers=lambda: clean_leftovers(root),
        )


def look(folder: Path, *, whole: bool) -> None:
    """What is held is there, but for what a gc before ours had in the trash."""
    root = StoreRoot.open(folder, create=False)
    there = set(LocalBlobs(root).digests())
    in_trash = {item.digest for item in LocalTrash(root).items()}
    needed = {Digest.of(data) for data in NEEDED}
    with Catalog.open(sqlite_url(root.catalog)) as catalog:
        rows = {blob.digest for blob in catalog.all_held()}
    lost = Digest.of(b"in a tree, in the trash")
    assert needed <= there | in_trash
    assert rows - {lost} <= there, "a row without its bytes"
    if whole:
        assert (there, rows, in_trash) == (needed, needed, set())


def main() -> None:
    top = Path(sys.argv[1])
    made = os.fork()
    if made == 0:
        make(top / "made")
        os._exit(0)
    os.waitpid(made, 0)
    with Catalog.open(sqlite_url(top / "made/catalog.db")) as catalog:
        # Of this process, which lives as long as this goes on.
        lease = catalog.open_lease("the driver")
        catalog.claim(lease, [Digest.of(b"claimed")])
    for number in itertools.count():
        folder = top / str(number)
        shutil.copytree(top / "made", folder)
        child = os.fork()
        if child == 0:
            run_gc(folder, number)
            os._exit(0)
        died = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        look(folder, whole=not died)
        run_gc(folder, 10**9)
        look(folder, whole=True)
        shutil.rmtree(folder)
        if not died:
            sys.stdout.write(f"{number}\n")
            return


if __name__ == "__main__":
    main()
