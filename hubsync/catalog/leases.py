"""Leases: what running commands are about to need, so that gc lets it be.

A command opens a lease, claims the names of all blobs that its tree will have,
and only then looks which of them are held.  From that moment gc drops none of
them.  The lease ends in the transaction that publishes the tree: from then on
the tree keeps them.

Whoever dies with a lease is found out (`is_dead`), and whoever was taken for
dead is fenced: each later write asks in its own transaction whether the lease
is still there, and refuses if not.

No wall clock decides anything here; ``opened_at`` is for people.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from hubsync.catalog.bulk import chunks, insert
from hubsync.catalog.errors import CatalogError
from hubsync.catalog.owner import Owner
from hubsync.catalog.tables import lease_claims, leases
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import ExitCode

TTL_S = 60.0  # without a beat, of a process that we cannot look at

_ID_BITS = 62
_GC_LOCK = 0x68_75_62_67_63  # any number nobody else is likely to use

Name = Digest | GitOid


class LeaseLostError(CatalogError):
    """What this command had claimed is claimed no more.

    It made no sign of life for so long that a gc took it for dead, and what it
    counted on may have been deleted since.
    """

    exit_code = ExitCode.BUSY
    retryable = True

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"{purpose} was paused for so long that a gc took it for dead",
            hint="Nothing was published. Run it again: what was fetched is resumed.",
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that this process holds."""

    id: int
    purpose: str


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease that somebody holds."""

    id: int
    purpose: str
    owner: Owner
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Watch:
    """Who judges other people's leases, and what its own clock says."""

    here: Owner = field(default_factory=Owner.this_process)
    monotonic_s: float = field(default_factory=time.monotonic)
    ttl_s: float = TTL_S


# Serialisation.  SQLite has one writer at a time.  On PostgreSQL all who claim,
# record or publish may do so side by side, but none beside a gc that decides.
# These come first in their transaction, before any row is locked: no deadlock.


def keep_gc_out(connection: Connection) -> None:
    """Until the transaction ends, no gc decides what is needed."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(_GC_LOCK)))


def keep_all_out(connection: Connection) -> None:
    """Until the transaction ends, nobody begins to need anything."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_GC_LOCK)))


# The holder's side


def open_lease(connection: Connection, purpose: str, now: datetime) -> Lease:
    lease = Lease(secrets.randbits(_ID_BITS), purpose)
    connection.execute(
        leases.insert().values(
            id=lease.id,
            purpose=purpose,
            owner=Owner.this_process().to_json(),
            beat=0,
            opened_at=now,
        )
    )
    return lease


def claim(connection: Connection, lease: Lease, names: Iterable[Name]) -> None:
    """Have gc leave the blobs of these *names* visible, held or not."""
    keep_gc_out(connection)
    require(connection, lease)
    ordered = sorted(set(names), key=lambda name: name.hex)
    rows = ({"key": _key(name), "lease_id": lease.id} for name in ordered)
    insert(connection, lease_claims, rows, keep_existing=True)


def require(connection: Connection, lease: Lease | None) -> None:
    """Raise unless *lease* is still there.  None: nothing was claimed.

    Raises:
        LeaseLostError: a gc took its holder for dead.
    """
    if lease is None:
        return
    there = select(leases.c.id).where(leases.c.id == lease.id)
    if connection.scalar(there) is None:
        raise LeaseLostError(lease.purpose)


def beat(connection: Connection, lease: Lease) -> bool:
    """Give a sign of life; False when it comes too late."""
    mine = leases.update().where(leases.c.id == lease.id)
    return bool(connection.execute(mine.values(beat=leases.c.beat + 1)).rowcount)


def drop(connection: Connection, ids: Iterable[int]) -> None:
    """End leases, claims first."""
    for chunk in chunks(ids):
        for table, column in (
            (lease_claims, lease_claims.c.lease_id),
            (leases, leases.c.id),
        ):
            connection.execute(table.delete().where(column.in_(chunk)))


def _key(name: Name) -> str:
    kind = "sha256" if isinstance(name, Digest) else "git"
    return f"{kind}:{name.hex}"


# The gc's side


def is_dead(row: Row[Any], watch: Watch) -> bool:
    """Whether whoever holds the lease *row* cannot be waited for.

    Where we can look at the process, that decides, and a clock does not: one
    that is stopped may go on, and what it claimed is then still there.
    """
    owner = Owner.from_json(row.owner)
    if owner.shares_processes_with(watch.here):
        running = owner.is_running()
        if running is not None:
            return not running
    return (
        _is_observed(row, watch)
        and watch.monotonic_s - row.observed_monotonic_s >= watch.ttl_s
    )


def _is_observed(row: Row[Any], watch: Watch) -> bool:
    """Whether the last beat was noticed already, by a clock that is ours."""
    return bool(
        row.observed_beat == row.beat
        and row.observed_boot == watch.here.boot_id
        # Where nothing tells one boot from the next, a clock set back does.
        and row.observed_monotonic_s <= watch.monotonic_s
    )


def list_leases(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(select(leases).order_by(leases.c.opened_at)).all()


def dead_ids(connection: Connection, watch: Watch) -> list[int]:
    return [row.id for row in list_leases(connection) if is_dead(row, watch)]


def drop_dead(connection: Connection, watch: Watch) -> int:
    """End the leases of the dead, and note the beats of the others."""
    keep_all_out(connection)
    rows = list_leases(connection)
    dead = {row.id for row in rows if is_dead(row, watch)}
    drop(connection, sorted(dead))
    for row in rows:
        visible = Owner.from_json(row.owner).shares_processes_with(watch.here)
        if not (row.id in dead or visible or _is_observed(row, watch)):
            connection.execute(
                leases.update()
                .where(leases.c.id == row.id)
                .values(
                    observed_beat=row.beat,
                    observed_boot=watch.here.boot_id,
                    observed_monotonic_s=watch.monotonic_s,
                )
            )
    return len(dead)


def to_row(row: Row[Any]) -> LeaseRow:
    return LeaseRow(row.id, row.purpose, Owner.from_json(row.owner), row.opened_at)
