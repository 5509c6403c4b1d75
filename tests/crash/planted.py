"""Bugs that the crash tests must find, each planted into an open store."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

from hubsync.catalog.tables import lease_claims
from hubsync.model.digest import Descriptor, Digest
from hubsync.ports.blobs import HeldBlob, Ingest
from hubsync.retention.gc import GcOptions, GcReport
from hubsync.selftest.roles import OpenStore
from hubsync.store.ingest import LocalIngest
from hubsync.store.local import LocalBlobs
from hubsync.store.shelf import Shelf
from hubsync.store.syncing import Watch, sync_files
from hubsync.wiring import App


class RowFirst(LocalBlobs):
    """Row before rename: the catalog says "held" before there is a name."""

    app: App

    def publish(self, ingests: Sequence[Ingest]) -> None:
        held = [one.verified for one in ingests if one.verified]
        self.app.catalog.record_blobs(held)
        super().publish(ingests)


class AtFinalName(LocalBlobs):
    """Written at the final name: a blob is visible before it is whole."""

    def begin(
        self, want: Descriptor, *, wait: bool = True
    ) -> LocalIngest | HeldBlob | None:
        ingest = super().begin(want, wait=wait)
        if isinstance(ingest, LocalIngest) and want.digest:
            final = self.path(want.digest)
            final.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(ingest.path, final)
        return ingest


class UnsyncedShelf(Shelf):
    """No directory fsync: a power cut may take the name of what was said."""

    def make_durable(self, placed: Mapping[Digest, Path | None], since: int) -> None:
        pass

    def confirm(self, digest: Digest) -> None:
        pass


class UnsyncedFolders(LocalBlobs):
    """No directory fsync, by way of the shelf."""

    def publish(self, ingests: Sequence[Ingest]) -> None:
        shelf = UnsyncedShelf(self.root)
        shelf.watch = self._shelf.watch
        self._shelf = shelf
        super().publish(ingests)


class UnsyncedBytes(LocalBlobs):
    """No file fsync: a power cut leaves a name without its bytes."""

    def publish(self, ingests: Sequence[Ingest]) -> None:
        ours = _local(ingests)
        placed = {
            one.verified.digest: one.path if one.put() else None
            for one in ours
            if one.verified
        }
        self._shelf.make_durable(placed, self._shelf.watch.begin())
        for one in ours:
            one.abort()


class SecondSync(LocalBlobs):
    """Retry after a failed fsync: the second one says yes to bytes that are gone."""

    def publish(self, ingests: Sequence[Ingest]) -> None:
        with ExitStack() as stack, suppress(OSError):
            opened = [stack.enter_context(one.opened()) for one in _local(ingests)]
            watch = Watch(self.root.partial)  # one that has not heard of it
            sync_files(opened, watch, watch.begin())
        super().publish(ingests)


class DeafSync(UnsyncedBytes):
    """A failed fsync that nobody hears of."""

    def publish(self, ingests: Sequence[Ingest]) -> None:
        for one in _local(ingests):
            with one.opened() as fd, suppress(OSError):
                os.fsync(fd)
        super().publish(ingests)


class GcWithoutLease(App):
    """Gc that does not ask what running commands are about to need."""

    def collect(
        self, options: GcOptions, *, dry_run: bool, force: bool = False
    ) -> GcReport:
        self.catalog._session.write(lambda tx: tx.execute(lease_claims.delete()))
        return super().collect(options, dry_run=dry_run, force=force)


class UnlinkFirst(App):
    """Unlink before commit: a row stays behind that has no bytes."""

    def collect(
        self, options: GcOptions, *, dry_run: bool, force: bool = False
    ) -> GcReport:
        for blob in list(self.catalog.unneeded_blobs()):
            self.blobs.remove(blob.digest)
        return super().collect(options, dry_run=dry_run, force=force)


def _local(ingests: Sequence[Ingest]) -> list[LocalIngest]:
    return [one for one in ingests if isinstance(one, LocalIngest)]


def _store(kind: type[LocalBlobs]) -> Callable[[App], App]:
    def plant(app: App) -> App:
        blobs = kind(app.root)
        if isinstance(blobs, RowFirst):
            blobs.app = app
        return replace(app, blobs=blobs)

    return plant


def _app(kind: type[App]) -> Callable[[App], App]:
    return lambda app: kind(**{one.name: getattr(app, one.name) for one in fields(app)})


BUGS = {
    "row before rename": _store(RowFirst),
    "write at the final name": _store(AtFinalName),
    "no directory fsync": _store(UnsyncedFolders),
    "no file fsync": _store(UnsyncedBytes),
    "retry after failed fsync": _store(SecondSync),
    "failed fsync ignored": _store(DeafSync),
    "gc without lease": _app(GcWithoutLease),
    "unlink before commit": _app(UnlinkFirst),
}


def with_bug(open_store: OpenStore, name: str) -> OpenStore:
    """The store that *open_store* opens, with the bug of that name; "": none."""

    @contextmanager
    def opened() -> Iterator[App]:
        with open_store() as app:
            yield BUGS[name](app)

    return opened if name else open_store
