"""One pull: resolve, plan, fetch, publish, check out.

The order is the promise: bytes, then rows, then the ref, then the view.  A
crash between any two leaves garbage that gc removes, never a hole.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.errors import NotWholeError
from hubsync.catalog.leases import Lease
from hubsync.catalog.rows import Publication, Published, RepoRow, SnapshotRow
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import NotHeldError, OfflineError
from hubsync.model.repo import RepoId
from hubsync.model.revision import (
    DEFAULT_BRANCH,
    RefName,
    canonical,
    check_revision,
    is_commit,
)
from hubsync.model.snapshot import Resolved, TreeEntry
from hubsync.model.units import format_size
from hubsync.ports.blobs import BlobStore, NoRoomError
from hubsync.ports.hub import Hub, Known
from hubsync.ports.progress import Progress
from hubsync.ports.records import Records
from hubsync.ports.view import View, ViewSnapshot
from hubsync.sync.lease import GroupRecorder, leased
from hubsync.sync.planner import Plan, Selection, Totals, plan_pull
from hubsync.sync.publish import Publisher
from hubsync.sync.request import PullRequest, PullResult
from hubsync.sync.stock import mark_lost, take_stock
from hubsync.transfer.fetch import Fetch, Fetcher, FetchReport

KNOWN_HEADS_MAX = 200
NOTHING_FETCHED = FetchReport(bytes_fetched=0, requests=0, retries=0)


@dataclass(frozen=True, slots=True)
class _Done:
    """What was decided, what it cost, and what can be seen now."""

    totals: Totals
    report: FetchReport
    published: Published
    files_fetched: int = 0


@dataclass(frozen=True, slots=True)
class Puller:
    """Carries out pulls.  The caller holds the store's shared lock meanwhile."""

    catalog: Catalog
    blobs: BlobStore
    records: Records
    views: Sequence[View]
    open_hub: Callable[[str], Hub]
    open_engine: Callable[[], AbstractAsyncContextManager[Fetcher]]
    progress: Progress
    lock_views: Callable[[], AbstractContextManager[None]] = nullcontext

    async def pull(self, request: PullRequest) -> PullResult:
        """Bring one repo at one revision into the store.

        Raises:
            OfflineError: offline, and not everything selected is held.
            HubError, BlobCorruptError, NoRoomError, HostilePathError: nothing
                becomes visible; what was fetched is kept and resumed.
        """
        started = time.monotonic()
        if request.revision is not None:
            check_revision(request.revision)
            request = replace(request, revision=canonical(request.revision))
        row = await asyncio.to_thread(self.catalog.find_repo, request.repo)
        if request.offline:
            return await self._pull_offline(request, row, started)
        hub = self.open_hub(request.repo.upstream)
        try:
            return await self._pull_online(request, row, hub, started)
        finally:
            await hub.aclose()

    async def _pull_offline(
        self, request: PullRequest, row: RepoRow | None, started: float
    ) -> PullResult:
        revision = request.revision or DEFAULT_BRANCH
        snapshot = None
        if row is not None:
            snapshot = await asyncio.to_thread(self.catalog.resolve, row, revision)
        if row is None or snapshot is None:
            hint = await asyncio.to_thread(self._held_elsewhere, request.repo, revision)
            raise OfflineError(f"{request.repo} at {revision} is not held", hint=hint)
        tree = await self._recorded_tree(snapshot)
        plan = await self._plan(tree, request)
        if plan.fetch and not request.dry_run:
            raise OfflineError(
                f"{len(plan.fetch)} selected files of {row.repo} at {revision} "
                f"({format_size(plan.fetch_bytes)}) are not held, for example "
                f"{plan.fetch[0].entry.path}",
                hint="Pull again without --offline, or select less with --include.",
            )
        # The ref is not moved: offline, the recorded refs are the truth.
        resolved = Resolved(row.repo, snapshot.commit, None, None)
        path = None
        if not request.dry_run:
            path = await asyncio.to_thread(self._check_out, row, snapshot)
        result = self._result(request, resolved, plan.totals, path, started=started)
        return replace(result, plan=plan) if request.dry_run else result

    def _held_elsewhere(self, repo: RepoId, revision: str) -> str:
        """What to do for *repo*, which is not held, but may be from elsewhere."""
        for row in self.catalog.find_by_name(repo.repo_type, repo.name):
            if row.repo != repo and self.catalog.resolve(row, revision):
                return f"It is held as {row.repo}: pull that with --offline."
        return "Pull it once without --offline, or see what is held: hubsync list"

    async def _pull_online(
        self, request: PullRequest, row: RepoRow | None, hub: Hub, started: float
    ) -> PullResult:
        resolved = await self._resolve(request, row, hub)
        request.admit(resolved.repo)
        if resolved.refusal is not None and request.contents:
            raise resolved.refusal
        recorded = None
        if row is not None and not request.force:
            recorded = await asyncio.to_thread(
                self.catalog.resolve, row, resolved.commit.oid
            )
        if recorded is not None:  # trees are immutable: no need to list it again
            tree = await self._recorded_tree(recorded)
        else:
            tree = await hub.tree(resolved.repo, resolved.commit.oid)
        _check_selected_path(request, resolved, tree)
        if request.dry_run:
            plan = await self._plan(tree, request)
            totals = plan.totals
            result = self._result(request, resolved, totals, None, started=started)
            warnings = result.warnings + await self._warn_of_room(plan)
            return replace(
                result,
                plan=plan,
                bytes_resumed=await asyncio.to_thread(self._partial_bytes, plan),
                requests=hub.requests,
                warnings=warnings,
                sends_contents=hub.sends_contents,
            )
        done = None
        if recorded is not None:
            done = await self._publish_unchanged(request, resolved, tree)
        if done is None:
            done = await self._bring_in(request, resolved, tree, hub)
        del tree  # laid out is what the catalog says, and memory is not for both
        path = await asyncio.to_thread(
            self._check_out, done.published.repo, done.published.snapshot, resolved.ref
        )
        result = self._result(request, resolved, done.totals, path, started=started)
        return replace(
            result,
            new_commit=done.published.new_commit,
            bytes_fetched=done.report.bytes_fetched,
            bytes_resumed=done.report.bytes_resumed,
            files_fetched=done.files_fetched,
            requests=hub.requests + done.report.requests,
        )

    async def _publish_unchanged(
        self, request: PullRequest, resolved: Resolved, tree: Sequence[TreeEntry]
    ) -> "_Done | None":
        """Publish a recorded commit of which everything is held, or None.

        That needs no lease: the tree keeps its blobs.  If somebody forgets it
        meanwhile, publishing finds that, and it is brought in as if it were new.
        """
        plan = await self._plan(tree, request)
        if plan.fetch:
            return None
        self._say_plan(plan)
        try:
            published = await asyncio.to_thread(
                self._publish, request, resolved, tree, None
            )
        except NotWholeError:
            return None
        return _Done(plan.totals, NOTHING_FETCHED, published)

    async def _bring_in(
        self,
        request: PullRequest,
        resolved: Resolved,
        tree: Sequence[TreeEntry],
        hub: Hub,
    ) -> "_Done":
        """Claim what is selected, see what of it is held, fetch the rest, publish."""
        async with self._leased(f"pull of {resolved.repo}") as lease:
            await asyncio.to_thread(
                self.catalog.claim, lease, _names(tree, request.selection)
            )
            plan = await self._plan(tree, request, mark_lost_too=True)
            # Not a thing that the first 90 % should have to find out.
            await asyncio.to_thread(self._check_room, plan)
            report = await self._fetch(hub, resolved, plan, lease)
            published = await asyncio.to_thread(
                self._publish, request, resolved, tree, lease
            )
        return _Done(plan.totals, report, published, len(plan.fetch))

    @asynccontextmanager
    async def _leased(self, purpose: str) -> AsyncIterator[Lease]:
        with ExitStack() as stack:
            holding = leased(self.catalog, purpose)
            lease = await asyncio.to_thread(stack.enter_context, holding)
            try:
                yield lease
            finally:
                await asyncio.to_thread(stack.close)

    async def _resolve(
        self, request: PullRequest, row: RepoRow | None, hub: Hub
    ) -> Resolved:
        if row is None:
            return await hub.resolve(request.repo, request.revision, None)
        if request.revision and is_commit(request.revision) and not request.force:
            recorded = await asyncio.to_thread(
                self.catalog.resolve, row, request.revision
            )
            if recorded is not None:  # a commit never changes: nothing to ask
                return Resolved(row.repo, recorded.commit, None, None)
        snapshots = await asyncio.to_thread(self.catalog.snapshots, row)
        heads = frozenset(one.commit.oid for one in snapshots[:KNOWN_HEADS_MAX])
        known = Known(row.hub_id, frozenset() if request.force else heads)
        return await hub.resolve(request.repo, request.revision, known)

    async def _recorded_tree(self, snapshot: SnapshotRow) -> list[TreeEntry]:
        held = await asyncio.to_thread(self.catalog.entries, snapshot)
        return [one.entry for one in held]

    async def _plan(
        self,
        tree: Sequence[TreeEntry],
        request: PullRequest,
        *,
        mark_lost_too: bool = False,
    ) -> Plan:
        return await asyncio.to_thread(
            self._plan_blocking, tree, request, mark_lost_too=mark_lost_too
        )

    def _plan_blocking(
        self, tree: Sequence[TreeEntry], request: PullRequest, *, mark_lost_too: bool
    ) -> Plan:
        stock = take_stock(self.catalog, self.blobs, request.repo, tree)
        if mark_lost_too:
            mark_lost(stock, self.catalog, self.blobs, self.progress.note)
        plan = plan_pull(tree, stock.digests, stock.oids, request.selection)
        request.admit_size(plan.totals)
        return plan

    def _partial_bytes(self, plan: Plan) -> int:
        return sum(self.blobs.partial_bytes(item.want) for item in plan.fetch)

    def _check_room(self, plan: Plan) -> None:
        self.blobs.check_room(item.want for item in plan.fetch)

    async def _warn_of_room(self, plan: Plan) -> tuple[str, ...]:
        try:
            await asyncio.to_thread(self._check_room, plan)
        except NoRoomError as error:
            return (f"this would be refused: {error}",)
        return ()

    def _say_plan(self, plan: Plan) -> None:
        self.progress.plan(
            len(plan.fetch),
            plan.fetch_bytes,
            reused_files=len(plan.reuse) + len(plan.share),
            reused_bytes=plan.totals.spared_bytes,
        )

    async def _fetch(
        self, hub: Hub, resolved: Resolved, plan: Plan, lease: Lease
    ) -> FetchReport:
        locate = partial(hub.locate, resolved.repo, resolved.commit.oid)
        name = str(resolved.repo)
        items = [Fetch(name, item.entry, locate) for item in plan.fetch]
        self._say_plan(plan)
        if not items:
            return NOTHING_FETCHED
        async with self.open_engine() as engine:
            record = GroupRecorder(self.catalog, self.blobs, lease)
            return await engine.fetch_all(items, record)

    def _publish(
        self,
        request: PullRequest,
        resolved: Resolved,
        tree: Sequence[TreeEntry],
        lease: Lease | None,
    ) -> Published:
        asked, now = request.repo.name, resolved.repo.name
        selection = request.selection

        def must_hold(path: str, is_lfs: bool) -> bool:  # noqa: FBT001 - as the catalog calls it
            return selection.wants(path) and not (is_lfs and selection.skip_smudge)

        record = Publication(
            repo=resolved.repo,
            info=resolved.info,
            commit=resolved.commit,
            entries=tree,
            refs=[resolved.ref] if resolved.ref else [],
            alias=asked if asked != now else None,
            accept_new_identity=request.force,
            must_hold=must_hold,
        )
        publisher = Publisher(self.catalog, self.records, self.lock_views)
        return publisher.publish(record, lease, brought_in=lease is not None)

    def lay_out(self, row: RepoRow, snapshot: SnapshotRow) -> Path | None:
        """Show *snapshot* in the views as it is held now; blocks."""
        return self._check_out(row, snapshot)

    def _check_out(
        self, row: RepoRow, snapshot: SnapshotRow, ref: RefName | None = None
    ) -> Path | None:
        refs = [ref] if ref else []
        with self.lock_views():
            return lay_out(self.catalog, self.views, row, snapshot, refs)

    def _result(
        self,
        request: PullRequest,
        resolved: Resolved,
        totals: Totals,
        path: Path | None,
        *,
        started: float,
    ) -> PullResult:
        return PullResult(
            repo=resolved.repo,
            revision=request.revision or DEFAULT_BRANCH,
            commit=resolved.commit,
            ref=resolved.ref,
            totals=totals,
            path=path,
            new_commit=False,
            bytes_fetched=0,
            requests=0,
            elapsed_s=time.monotonic() - started,
            warnings=_warnings(request, resolved, totals),
        )


def lay_out(
    catalog: Catalog,
    views: Sequence[View],
    row: RepoRow,
    snapshot: SnapshotRow,
    refs: Sequence[RefName],
) -> Path | None:
    """Lay *snapshot* out in every view, under its name and its former ones.

    Hold the views' lock: nobody may forget it in between.  Returns its folder in
    the first view, or None when no view is kept.
    """
    entries = catalog.entries(snapshot)
    if len(entries) != snapshot.files:
        raise NotHeldError(
            f"{row.repo} at {snapshot.commit.oid[:10]} was forgotten meanwhile"
        )
    state = catalog.state(snapshot).state
    # Another pull may have moved a ref on since: then it is not ours to move.
    now = {one.name: one.commit for one in catalog.refs(row)}
    refs = [ref for ref in refs if now.get(ref) == snapshot.commit.oid]
    first: Path | None = None
    for view in views:
        for repo in row.names:
            path = view.checkout(
                ViewSnapshot(repo, snapshot.commit.oid, entries, state, refs)
            )
            first = first or path
    return first


def _names(tree: Sequence[TreeEntry], selection: Selection) -> list[Digest | GitOid]:
    """What the blobs of the selected files are known by before they are held."""
    return [
        entry.blob_name
        for entry in tree
        if selection.wants(entry.path) and not (entry.lfs and selection.skip_smudge)
    ]


def _check_selected_path(
    request: PullRequest, resolved: Resolved, tree: Sequence[TreeEntry]
) -> None:
    wanted = request.selection.path
    if wanted is not None and all(entry.path != wanted for entry in tree):
        raise NotHeldError(
            f"{resolved.repo} at {resolved.commit.oid[:10]} has no file {wanted!r}",
            hint="See its files: "
            f"hubsync pull --dry-run {resolved.repo}@{resolved.commit.oid[:10]}",
        )


def _warnings(
    request: PullRequest, resolved: Resolved, totals: Totals
) -> tuple[str, ...]:
    warnings = []
    if resolved.repo.name != request.repo.name:
        warnings.append(
            f"{request.repo.name} is called {resolved.repo.name} upstream now; "
            "both names are kept"
        )
    if totals.skipped and not (totals.selected or totals.pointers):
        warnings.append("no file matches --include and --exclude: nothing was fetched")
    return tuple(warnings)
