"""What must be true of a store at every instant, whoever was killed just now.

The numbers are those of docs/adr/0008-crash-tests.md.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.digest import Digest
from hubsync.model.errors import HubsyncError
from hubsync.ports.blobs import NoRoomError
from hubsync.selftest.contents import Content
from hubsync.selftest.ledger import Ledger
from hubsync.selftest.roles import OpenStore
from hubsync.sync.rebuild import needed_by_records
from hubsync.wiring import App

OPEN_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    invariant: str  # I1 ...
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What one look at the store has found."""

    violations: tuple[Violation, ...]
    open_s: float  # how long it took to open it


def check(open_store: OpenStore, ledger: Ledger) -> Checked:
    """Look at a store that nobody is changing just now."""
    started = time.monotonic()
    try:
        with open_store() as app:
            took = time.monotonic() - started
            found = [*_slow(took), *_look(app, ledger)]
    except NoRoomError as error:
        ledger.full.append(str(error))
        found, took = [], time.monotonic() - started
    except HubsyncError as error:
        found = [Violation("I6", f"the store does not open: {error}")]
        took = time.monotonic() - started
    return Checked(tuple(found), took)


def _look(app: App, ledger: Ledger) -> Iterator[Violation]:
    yield from names_are_true(app)
    yield from versions_are_whole(app, ledger)
    yield from refs_lead_somewhere(app)
    yield from acknowledged_is_there(app, ledger)
    yield from held_is_there(app, ledger)
    yield from views_are_whole(app, ledger)
    yield from catalog_is_sound(app.root.catalog)
    for failure in ledger.failures:
        yield Violation("I9", f"a worker failed beside the others: {failure}")


def names_are_true(app: App) -> Iterator[Violation]:
    """I1: whatever stands under a digest has that digest."""
    for digest in app.blobs.digests():
        with app.blobs.path(digest).open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
        if found != digest.hex:
            yield Violation("I1", f"{digest} has other bytes (sha256:{found})")


def versions_are_whole(app: App, ledger: Ledger) -> Iterator[Violation]:
    """I2, I4: a visible version has all its files, and they are the right ones."""
    for row, snapshot in _snapshots(app):
        version = (row.repo.name, snapshot.commit.oid)
        name = f"{row.repo.name}@{snapshot.commit.oid[:10]}"
        entries = {one.entry.path: one for one in app.catalog.entries(snapshot)}
        for path, one in entries.items():
            if one.digest is None:
                yield Violation("I4", f"{name} is visible, and {path} is not held")
            elif not app.blobs.has(one.digest, one.entry.size_bytes):
                yield Violation("I2", f"{name} has {path}, whose bytes are gone")
        recorded = {path: one.digest for path, one in entries.items()}
        if version not in ledger.begun:
            yield Violation("I4", f"{name} is visible, and nobody published it")
        elif recorded != ledger.begun[version]:
            yield Violation("I4", f"{name} is visible with another tree")
        if version in ledger.gone:
            yield Violation("I3", f"{name} was forgotten, and is back")


def refs_lead_somewhere(app: App) -> Iterator[Violation]:
    """I4: a branch points to a visible version."""
    for row in app.catalog.repos():
        commits = {one.commit.oid for one in app.catalog.snapshots(row)}
        for ref in app.catalog.refs(row):
            if ref.commit not in commits:
                yield Violation("I4", f"{ref.name} of {row.repo} leads nowhere")


def acknowledged_is_there(app: App, ledger: Ledger) -> Iterator[Violation]:
    """I3: what somebody was told is there, until somebody asks to forget it."""
    there = {(row.repo.name, one.commit.oid) for row, one in _snapshots(app)}
    for name, commit in ledger.acknowledged.keys() - there:
        yield Violation("I3", f"{name}@{commit[:10]} was acknowledged, and is gone")
    for row, snapshot in _snapshots(app):
        # Written first: whatever becomes of the catalog, it can be made again.
        if not app.records.holds(row.repo, snapshot.commit.oid):
            name = f"{row.repo.name}@{snapshot.commit.oid[:10]}"
            if (row.repo.name, snapshot.commit.oid) not in ledger.leaving:
                yield Violation("I3", f"{name} has no revision record")


def held_is_there(app: App, ledger: Ledger) -> Iterator[Violation]:
    """I2, I5: a row has its bytes, and so has what a living worker counts on."""
    for blob in app.catalog.all_held():
        if not app.blobs.has(blob.digest, blob.size_bytes):
            yield Violation("I2", f"{blob.digest} is recorded as held, and not there")
    for worker, digests in ledger.stored.items():
        for digest in digests:
            if not app.blobs.has(digest):
                yield Violation("I5", f"{digest} was deleted beside {worker}")


def views_are_whole(app: App, ledger: Ledger) -> Iterator[Violation]:
    """I4: what a client sees in the cache folder is a whole version."""
    for folder in app.root.hub.glob("models--*"):
        name = "/".join(folder.name.split("--")[1:])
        for ref in folder.glob("refs/*"):
            if not (folder / "snapshots" / ref.read_text("ascii")).is_dir():
                yield Violation("I4", f"{ref} leads nowhere")
        for snapshot in folder.glob("snapshots/*"):
            files = ledger.begun.get((name, snapshot.name))
            if files is None:
                yield Violation("I4", f"{snapshot} is laid out, nobody published it")
                continue
            for path, digest in files.items():
                if not _is_blob(snapshot / path, app.blobs.path(digest), digest):
                    yield Violation("I4", f"{snapshot / path} is not {digest}")


def catalog_is_sound(path: Path) -> Iterator[Violation]:
    """I6: as the database itself sees it."""
    with closing(sqlite3.connect(path)) as connection:
        for question in ("integrity_check", "foreign_key_check"):
            said = connection.execute(f"PRAGMA {question}").fetchall()
            if said not in ([("ok",)], []):
                yield Violation("I6", f"{question} of {path.name}: {said[:3]}")


def nothing_is_left(app: App, contents: Sequence[Content]) -> Iterator[Violation]:
    """I7: after everything was gone on with and a gc, next to nothing is left over.

    What may stay for gc's two weeks is a journal's forerunner, and a partial of a
    plain file that somebody else stored first: one for each file at most, however
    many were killed.
    """
    root = app.root
    needed = {blob.digest for blob in app.catalog.all_held()}
    # A publish that was killed leaves a record, whose blobs can be brought back.
    needed |= needed_by_records(app.catalog, app.records, app.blobs)
    for digest in set(app.blobs.digests()) - needed:
        yield Violation("I7", f"{digest} was left by gc, and nobody needs it")
    may_stay = {f".{one.entry('').want.key}.journal.tmp" for one in contents}
    for one in contents:
        if not one.is_lfs:
            key = one.entry("").want.key
            may_stay |= {key, f"{key}.journal"}
    for folder in (root.partial, root.trash, root.quarantine):
        for path in sorted(folder.iterdir()):
            is_staging = path == root.staging and not any(path.iterdir())
            if not (is_staging or (folder == root.partial and path.name in may_stay)):
                yield Violation("I7", f"{path.relative_to(root.path)} was left over")


def _snapshots(app: App) -> Iterator[tuple[RepoRow, SnapshotRow]]:
    for row in app.catalog.repos():
        for snapshot in app.catalog.snapshots(row):
            yield row, snapshot


def _is_blob(link: Path, blob: Path, digest: Digest) -> bool:
    """Hard links are compared by what they are: reading all again takes time."""
    try:
        if link.samefile(blob):
            return True
        with link.open("rb") as file:
            return file_digest(file, "sha256").hexdigest() == digest.hex
    except FileNotFoundError:
        return False


def _slow(took: float) -> Iterator[Violation]:
    if took > OPEN_MAX_S:
        yield Violation("I6", f"it took {took:.1f} s to open the store")
