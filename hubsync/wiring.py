"""Names every concrete class, once, and opens a store."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, replace
from pathlib import Path

from hubsync.catalog import schema
from hubsync.catalog.catalog import Catalog
from hubsync.config.schema import Settings, UpstreamSettings
from hubsync.model.errors import NotHeldError, UsageError
from hubsync.model.repo import LOCAL
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import HeldBlob, StoreReadOnlyError
from hubsync.ports.gate import Gate
from hubsync.ports.limiter import Budget
from hubsync.ports.progress import Progress, SilentProgress
from hubsync.ports.view import View
from hubsync.retention.gc import GcOptions, GcReport, collect
from hubsync.retention.verify import verify
from hubsync.store.apart import require_apart
from hubsync.store.ballast import ballast_dropped, keep_ballast
from hubsync.store.export import ExportReport, write_folder
from hubsync.store.layout import StoreRoot
from hubsync.store.leftovers import clean_leftovers
from hubsync.store.local import LocalBlobs
from hubsync.store.records import StoreRecords
from hubsync.store.secret import kept_secret
from hubsync.store.trash import LocalTrash
from hubsync.store.views.hf_cache import HfCacheView
from hubsync.sync.mirror import MirrorRunner, Outcome, Upstream
from hubsync.sync.ondemand import OnDemand, OnDemandOptions
from hubsync.sync.pull import Puller
from hubsync.sync.rebuild import needed_by_records, settle_forgotten
from hubsync.sync.rules import Rule
from hubsync.transfer.fetch import Passer
from hubsync.transfer.options import TransferOptions

ONDEMAND_RETRIES_MAX = 2
ONDEMAND_WAIT_MAX_S = 3.0  # for a hub that limits us; then it is left alone
STORE_WAIT_S = 5.0  # a client waits; whoever needs the store alone takes long
VIEWS_WAIT_S = 300.0  # somebody forgets a repo; what was pulled is worth the wait


@dataclass(frozen=True, slots=True)
class App:
    """An open store: its catalog, its blobs, its views."""

    settings: Settings
    root: StoreRoot
    catalog: Catalog
    blobs: LocalBlobs
    trash: LocalTrash
    records: StoreRecords
    views: tuple[View, ...]

    @property
    def upstream_order(self) -> tuple[str, ...]:
        """Of several repos of one name, whose is meant: first what was added here."""
        return (LOCAL, *self.settings.upstreams)

    def hub(
        self,
        upstream: str,
        progress: Progress,
        *,
        patient: bool = True,
        budget: Budget | None = None,
    ) -> Upstream:
        """The hub configured as *upstream*; not *patient*: while a client waits.

        Raises:
            UsageError: none is.
        """
        settings = self.settings.upstreams.get(upstream)
        if settings is None:
            known = ", ".join(self.settings.upstreams)
            what = (
                "what `hubsync add` recorded; there is no upstream to pull it from"
                if upstream == LOCAL
                else f"not a configured upstream (known: {known})"
            )
            raise UsageError(f"{upstream!r} is {what}")
        # Most commands ask no hub.
        from hubsync.hubs.huggingface import (  # noqa: PLC0415
            HubOptions,
            HuggingFaceHub,
        )

        transfer = self.settings.transfer
        options = HubOptions(
            connect_timeout_s=transfer.connect_timeout,
            read_timeout_s=transfer.read_timeout,
        )
        if not patient:
            options = replace(
                options,
                retries_max=ONDEMAND_RETRIES_MAX,
                rate_limit_wait_max_s=ONDEMAND_WAIT_MAX_S,
            )
        return HuggingFaceHub(
            upstream,
            settings.endpoint,
            token_of(settings),
            options=options,
            progress=progress,
            budget=budget,
        )

    def secret(self) -> bytes:
        """What the store's servers sign with."""
        return kept_secret(self.root)

    def gate(self) -> Gate:
        """Who is asked whether somebody may read what came from an upstream."""
        from hubsync.hubs.hf_gate import HfGate  # noqa: PLC0415 - as above

        upstreams = self.settings.upstreams.items()
        return HfGate({name: one.endpoint for name, one in upstreams})

    def puller(self, progress: Progress, *, patient: bool = True) -> Puller:
        options = transfer_options(self.settings)
        return Puller(
            catalog=self.catalog,
            blobs=self.blobs,
            records=self.records,
            views=self.views,
            open_hub=lambda upstream: self.hub(upstream, progress, patient=patient),
            open_engine=lambda: _open_engine(self.blobs, options, progress),
            progress=progress,
            lock_views=self._lock_views,
        )

    def mirror_runner(
        self, progress: Progress, told: Callable[[Rule, Outcome], None]
    ) -> MirrorRunner:
        """Carries out mirrors; *told* hears of each repo as it is done."""
        # Most commands fetch nothing.
        from hubsync.transfer.limiter import Gates  # noqa: PLC0415

        options = transfer_options(self.settings)
        # Several repos at once: what a hub says to one request holds for all of them.
        budget = Gates(options, note=progress.note)

        def open_hub(upstream: str) -> Upstream:
            return self.hub(upstream, progress, budget=budget)

        return MirrorRunner(
            catalog=self.catalog,
            puller=replace(self.puller(progress), open_hub=open_hub),
            open_hub=open_hub,
            open_engine=lambda: _open_engine(self.blobs, options, progress, budget),
            told=told,
        )

    def ondemand(self, options: OnDemandOptions) -> OnDemand:
        """For a server that fetches what it is asked for and does not hold."""
        progress = SilentProgress()
        transfer = transfer_options(self.settings)
        # A client waits: better a quick no, and it asks again.
        retries = min(transfer.retries_max, ONDEMAND_RETRIES_MAX)
        transfer = replace(
            transfer, retries_max=retries, rate_limit_wait_max_s=ONDEMAND_WAIT_MAX_S
        )
        return OnDemand(
            catalog=self.catalog,
            blobs=self.blobs,
            puller=self.puller(progress, patient=False),
            open_hub=lambda upstream: self.hub(upstream, progress, patient=False),
            open_engine=lambda: _open_engine(self.blobs, transfer, progress),
            lock_store=lambda: self.root.lock_shared(STORE_WAIT_S),
            upstreams=tuple(self.settings.upstreams),
            options=options,
        )

    def recheck(self, blob: HeldBlob) -> None:
        """Read *blob* again, and take it out of everybody's sight if it is damaged."""
        with self.root.lock_shared(STORE_WAIT_S):
            verify(
                self.catalog,
                self.blobs,
                self.views,
                [blob],
                lambda _: None,
                lock_views=self.lock_views_alone,
            )

    def lock_views_alone(self) -> AbstractContextManager[None]:
        """For who takes something out of the catalog, the records and the views."""
        return self.root.lock_views(VIEWS_WAIT_S, alone=True)

    def _lock_views(self) -> AbstractContextManager[None]:
        """For who only reads the store there is nothing to keep in step."""
        if self.root.read_only:
            return nullcontext()
        return self.root.lock_views(VIEWS_WAIT_S)

    def collect(
        self,
        options: GcOptions,
        *,
        dry_run: bool,
        force: bool = False,
    ) -> GcReport:
        """Delete what nobody needs, for `hubsync gc`.

        What revision records name stays, whatever the catalog says: it may be an
        old one, put back.
        """
        if not dry_run:
            settle_forgotten(self.catalog, self.records, self.lock_views_alone)
        # A `forget` that is at work has hidden records on purpose.
        with self._lock_views():
            also_needed = needed_by_records(self.catalog, self.records, self.blobs)
        return collect(
            self.catalog,
            self.blobs,
            self.trash,
            dry_run=dry_run,
            force=force,
            options=options,
            clean_leftovers=lambda: clean_leftovers(self.root),
            also_needed=also_needed,
        )

    def require_apart(self, folder: Path, *, hint: str) -> None:
        """Raise unless *folder* and the store have nothing to do with each other."""
        require_apart(folder, self.root, hint=hint)

    def write_folder(
        self,
        folder: Path,
        entries: Sequence[HeldEntry],
        *,
        skip_smudge: bool = False,
        link: bool = False,
        force: bool = False,
    ) -> ExportReport:
        """Plain files of *entries* in *folder*, for `hubsync checkout`."""
        return write_folder(
            folder, entries, self.blobs, skip_smudge=skip_smudge, link=link, force=force
        )


def _open_engine(
    blobs: LocalBlobs,
    options: TransferOptions,
    progress: Progress,
    budget: Budget | None = None,
) -> AbstractAsyncContextManager[Passer]:
    # Most pulls of a nightly run find nothing to fetch; aiohttp is slow to import.
    from hubsync.transfer.engine import Engine  # noqa: PLC0415

    return Engine(blobs, options, progress, budget)


def open_root(settings: Settings) -> StoreRoot:
    """The store's folders alone, when its catalog cannot be opened.

    Raises:
        NotHeldError: there is no store.
    """
    path = settings.store.root
    if not (path / "VERSION").is_file():
        raise NotHeldError(
            f"there is no hubsync store at {path}",
            hint="Pull something first, or name another place with --root.",
        )
    return StoreRoot.open(path, create=False)


def refuse_lost_catalog(settings: Settings) -> None:
    """Raise unless the catalog is there, or may be new.

    Raises:
        CatalogLostError: the store is one that had a catalog.
    """
    schema.refuse_lost(settings.catalog_url, StoreRoot(settings.store.root).is_used)


@contextmanager
def open_app(
    settings: Settings,
    *,
    create: bool = False,
    read_only: bool = False,
    or_read_only: bool = False,
    rebuild: bool = False,
    frees_room: bool = False,
    room_in: Path | None = None,
) -> Iterator[App]:
    """Open the store that *settings* name.

    Args:
        settings: which store, catalog and upstreams.
        create: make an empty store where there is none.
        read_only: write nothing, not even a lock; works on a read-only mount.
        or_read_only: the same, but only where the store cannot be written.
        rebuild: make an empty catalog where the store's own is lost.
        frees_room: have a little room to do so, even on a full disk.
        room_in: whose disk a plan has to fit on, if not the store's own.

    Raises:
        NotHeldError: there is no store, and *create* is off.
        StoreLayoutError, StoreReadOnlyError, CatalogLostError, SchemaError: as
            their rooms say.
    """
    path = settings.store.root
    if not create and not (path / "VERSION").is_file():
        raise NotHeldError(
            f"there is no hubsync store at {path}",
            hint="Pull something first, or name another place with --root.",
        )
    if or_read_only and (path / "VERSION").is_file():
        read_only = read_only or not os.access(path, os.W_OK)
    with ExitStack() as stack:
        root = StoreRoot.open(path, create=create, read_only=read_only)
        if not read_only and not os.access(path, os.W_OK):
            raise StoreReadOnlyError(
                f"the store {path} is read-only",
                hint="Check the mount and the folder's owner. What only reads works: "
                "serve, list, show, checkout, verify, gc --dry-run, pull --offline.",
            )
        if frees_room:
            stack.enter_context(ballast_dropped(root, settings.store.reserve))
        elif create and not read_only:
            keep_ballast(root, settings.store.reserve)
        catalog = Catalog.open(
            settings.catalog_url,
            read_only=read_only,
            is_used=(lambda: False) if rebuild else root.is_used,
        )
        stack.callback(catalog.close)
        blobs = LocalBlobs(root, reserve_bytes=settings.store.reserve, room_in=room_in)
        stack.callback(blobs.close)
        yield App(
            settings=settings,
            root=root,
            catalog=catalog,
            blobs=blobs,
            trash=LocalTrash(root),
            records=StoreRecords(root),
            views=(HfCacheView(root, blobs.path),) if settings.store.views else (),
        )


def token_of(settings: UpstreamSettings) -> str | None:
    """The configured token; None leaves it to the client library's stored login.

    Raises:
        UsageError: a token is configured and cannot be read.
    """
    if settings.token_file is not None:
        try:
            return settings.token_file.read_text("utf-8").strip()
        except OSError as error:
            raise UsageError(
                f"cannot read token_file {settings.token_file}: {error.strerror}"
            ) from error
    if settings.token_env is not None:
        return os.environ.get(settings.token_env) or None
    return None


def transfer_options(settings: Settings) -> TransferOptions:
    transfer = settings.transfer
    return TransferOptions(
        connections_max=transfer.max_connections,
        connections_per_file_max=transfer.connections_per_file,
        part_bytes_max=transfer.part_size,
        stall_timeout_s=transfer.stall_timeout,
        connect_timeout_s=transfer.connect_timeout,
        read_timeout_s=transfer.read_timeout,
        retries_max=transfer.retries,
        rate_bytes_per_s=transfer.rate_limit,
    )
