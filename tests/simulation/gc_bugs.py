"""Protocols that are wrong, planted so that the gc stress is seen to find them."""

import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from sqlalchemy import Connection

from hubsync.catalog import leases
from hubsync.catalog.catalog import Catalog
from hubsync.model.batches import batched
from hubsync.model.digest import Digest
from hubsync.retention import gc

# How long a wrong protocol leaves the door open: a slow disk would do the same.
MOMENT_S = 0.02

# For the life of the process; nothing is ever set back.
plant = pytest.MonkeyPatch()


def gc_ignores_leases() -> None:
    """As if nobody claimed anything."""
    plant.setattr(Catalog, "claim", lambda _self, _lease, _names: None)


def bytes_go_before_rows() -> None:
    """Unlink before commit: a crash in between leaves rows without bytes."""

    def drop_unneeded(self: Any) -> None:
        for batch in batched(self._unneeded(), gc.BATCH):
            digests = [blob.digest for blob in batch]

            def unlink(tx: Connection, digests: Sequence[Digest] = digests) -> None:
                leases.keep_all_out(tx)
                for digest in digests:
                    item = self.trash.put(digest, self.now_s)
                    if item:
                        self.trash.delete(item)

            self.catalog._session.write(unlink)
            self.catalog.drop_unneeded(digests)

    plant.setattr(gc._Gc, "drop_unneeded", drop_unneeded)


def gc_does_not_hold_others_off() -> None:
    """It looks, and acts on what it saw a moment ago."""

    def while_deciding(
        self: Catalog,
        digests: Sequence[Digest],
        act: Callable[[AbstractSet[Digest]], None],
    ) -> None:
        needed = self.needed(digests)
        time.sleep(MOMENT_S)
        act(needed)

    plant.setattr(Catalog, "while_deciding", while_deciding)


def claims_come_after_the_look() -> None:
    """What is held is looked up first, and claimed when it is to be recorded."""
    waiting: dict[int, list[Any]] = {}
    claim, publish = Catalog.claim, Catalog.publish

    def later(_: Catalog, lease: leases.Lease, names: Iterable[Any]) -> None:
        waiting.setdefault(lease.id, []).extend(names)

    def now(self: Catalog, record: Any, lease: leases.Lease | None = None) -> Any:
        if lease is not None:
            claim(self, lease, waiting.pop(lease.id, []))
        return publish(self, record, lease)

    plant.setattr(Catalog, "claim", later)
    plant.setattr(Catalog, "publish", now)


def everybody_is_taken_for_dead() -> None:
    """No bug while there is fencing: commands fail, and nothing else."""
    plant.setattr(leases, "is_dead", lambda _row, _watch: True)


def the_dead_go_on() -> None:
    """Taken for dead, and not fenced."""
    everybody_is_taken_for_dead()
    plant.setattr(leases, "require", lambda _tx, _lease: None)
    plant.setattr(leases, "claim", lambda _tx, _lease, _names: None)


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        gc_ignores_leases,
        bytes_go_before_rows,
        gc_does_not_hold_others_off,
        claims_come_after_the_look,
        everybody_is_taken_for_dead,
        the_dead_go_on,
    )
}
