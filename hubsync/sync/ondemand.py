"""Asking the upstream for what a client wants and the store does not have."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.model.globs import matches
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import DEFAULT_BRANCH, HEAD, canonical, may_be_short_commit
from hubsync.model.snapshot import TreeEntry
from hubsync.model.spans import Span
from hubsync.ports.blobs import BlobStore, HeldBlob, Ingest
from hubsync.ports.hub import Hub, RepoNotFoundError, UnavailableError
from hubsync.sync.incoming import Incoming
from hubsync.sync.lease import GroupRecorder, leased
from hubsync.sync.planner import Selection
from hubsync.sync.pull import Puller
from hubsync.sync.request import PullRequest
from hubsync.transfer.fetch import Fetch, Passer, Watch

K = TypeVar("K")
T = TypeVar("T")
log = logging.getLogger("hubsync.ondemand")

NOTHING = Selection(exclude=("*",))  # the tree is recorded, no file is fetched
QUESTIONS_MAX = 8  # that are with the upstream at once
REFRESHES_MAX = 2  # they may fetch what has changed, and nobody waits
FETCHES_MAX = 16
ANSWERS_KEPT = 10_000
LAYOUT_DELAY_S = 1.0
DOWN_KEPT_MAX_S = 300.0


@dataclass(frozen=True, slots=True)
class OnDemandOptions:
    """What may be asked of the upstream, and how often."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    refresh_after_s: float = 300.0
    no_kept_s: float = 30.0  # a "no such repo" of the upstream is believed this long
    down_kept_s: float = 10.0  # and when it does not answer, it is left alone

    def allows(self, repo: RepoId) -> bool:
        """Whether *repo* may be asked for."""
        return matches(repo, self.allow) and not matches(repo, self.deny)


class NotAllowedHereError(HubsyncError):
    """The configuration does not let this repo be asked for."""

    exit_code = ExitCode.NOT_ALLOWED


class LeftAloneError(UnavailableError):
    """The upstream failed a moment ago, and is not asked again at once."""


class OnDemand:
    """Makes repos and blobs known and held when they are asked for.

    One of it for a store and all its servers: of many who ask for the same, one
    request goes to the upstream.  Lives in one event loop.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        blobs: BlobStore,
        puller: Puller,
        open_hub: Callable[[str], Hub],
        open_engine: Callable[[], AbstractAsyncContextManager[Passer]],
        lock_store: Callable[[], AbstractContextManager[None]],
        upstreams: Sequence[str],
        options: OnDemandOptions,
    ) -> None:
        self._catalog, self._blobs, self._puller = catalog, blobs, puller
        self._open_hub, self._open_engine = open_hub, open_engine
        self._lock_store, self._upstreams = lock_store, upstreams
        self._options = options
        self._hubs: dict[str, Hub] = {}
        self._engine: Passer | None = None
        self._engine_context: AbstractAsyncContextManager[Passer] | None = None
        self._questions = asyncio.Semaphore(QUESTIONS_MAX)
        self._refreshes = asyncio.Semaphore(REFRESHES_MAX)
        self._fetches = asyncio.Semaphore(FETCHES_MAX)
        self._asked: dict[_Question, asyncio.Task[None]] = {}
        self._refused: dict[_Question, tuple[float, HubsyncError]] = {}
        # By upstream, or by repo where only that repo's requests failed.
        self._down_until: dict[str | RepoId, float] = {}
        self._checked: dict[_Question, float] = {}
        self._coming: dict[str, tuple[Incoming, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._layouts: dict[tuple[int, int], tuple[RepoRow, SnapshotRow]] = {}
        self._laying_out: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop; what has come of blobs is kept for the next time."""
        # Clients have these already: they are on their way into the catalog.
        coming = self._coming.values()
        verified = [task for incoming, task in coming if incoming.is_verified]
        await asyncio.gather(*verified, return_exceptions=True)
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine_context is not None:
            await self._engine_context.__aexit__(None, None, None)
        for hub in self._hubs.values():
            await hub.aclose()

    def has_upstream(self, row: RepoRow) -> bool:
        """Whether there is anybody to ask: not for what was added here."""
        return row.repo.upstream in self._upstreams

    def _require_allowed(self, repo: RepoId) -> None:
        if not self._options.allows(repo):
            raise NotAllowedHereError(
                f"this mirror is not configured to fetch {repo}",
                hint="serve.allow and serve.deny say what is.",
            )

    async def learn(
        self, row: RepoRow | None, repo_type: RepoType, name: str, revision: str | None
    ) -> None:
        """Ask the upstream for a repo, or a revision, that is not recorded.

        When this returns it is.  *row* is the repo, where it is the revision that
        is not known.

        Raises:
            NotAllowedHereError: nobody may ask for it, by configuration.
            HubError: what the upstream says, now or a little while ago.
        """
        upstreams = [row.repo.upstream] if row else self._upstreams
        repos = [RepoId(upstream, repo_type, name) for upstream in upstreams]
        repos = [repo for repo in repos if self._options.allows(repo)] or repos
        self._require_allowed(repos[0])
        question = _Question(repo_type, name, _wanted(revision))
        until, refusal = self._refused.get(question, (0.0, None))
        if refusal is not None and time.monotonic() < until:
            raise refusal.with_traceback(None)
        task = self._asked.get(question)
        if task is None:
            if row is not None:
                self._require_up(row.repo)
            task = self._start(self._learn(question, repos))
            self._asked[question] = task
            task.add_done_callback(lambda _: self._asked.pop(question, None))
        # Others may wait for it too: one who leaves does not end it.
        await asyncio.shield(task)

    async def _learn(self, question: "_Question", repos: Sequence[RepoId]) -> None:
        error: HubsyncError | None = None
        for repo in repos:
            try:
                self._require_up(repo)
                await self._pull(
                    PullRequest(repo, question.revision, NOTHING, contents=False),
                    self._questions,
                )
            except RepoNotFoundError as refusal:
                error = error or refusal
            except HubsyncError as refusal:
                self._note_down(repo, refusal)
                error = refusal
                break
            else:
                _keep(self._checked, question, time.monotonic())
                return
        assert error is not None, "there is an upstream"
        self._remember(question, error)
        raise error

    def _require_up(self, repo: RepoId) -> None:
        down = self._down_until
        left_s = (
            max(down.get(repo.upstream, 0.0), down.get(repo, 0.0)) - time.monotonic()
        )
        if left_s > 0:
            # Not why: that may tell of a repo that is not for whoever asks now.
            raise LeftAloneError(
                f"{repo.upstream} has just failed, and is left alone for a moment",
                retry_after_s=left_s,
            )

    def _note_down(self, repo: RepoId, error: HubsyncError) -> None:
        """If it does not answer, or wants to be left alone, nobody asks it again.

        What fails with this repo alone does not keep others from theirs.
        """
        if isinstance(error, UnavailableError) and not isinstance(
            error, LeftAloneError
        ):
            wait_s = max(self._options.down_kept_s, error.retry_after_s or 0.0)
            until = time.monotonic() + min(wait_s, DOWN_KEPT_MAX_S)
            _keep(self._down_until, repo if error.answered else repo.upstream, until)

    def _remember(self, question: "_Question", error: HubsyncError) -> None:
        if isinstance(error, UnavailableError):
            return  # `_note_down` has it
        until = time.monotonic() + self._options.no_kept_s
        _keep(self._refused, question, (until, error))

    def used(self, row: RepoRow, revision: str | None) -> None:
        """Somebody reads *revision*: look in the background whether it has moved.

        What is held goes on being served meanwhile, and when nobody answers.
        """
        wanted = _wanted(revision)
        if not self.has_upstream(row) or may_be_short_commit(wanted):
            return
        question = _Question(row.repo.repo_type, row.repo.name, wanted)
        now = time.monotonic()
        checked = self._checked.get(question)
        if checked is not None and now - checked < self._options.refresh_after_s:
            return
        if not self._options.allows(row.repo):
            return
        _keep(self._checked, question, now)
        self._start(self._refresh(row, wanted))

    async def _refresh(self, row: RepoRow, revision: str) -> None:
        try:
            self._require_up(row.repo)
            selection = await asyncio.to_thread(self._held_of, row, revision)
            if selection is not None:
                contents = selection.paths is None or bool(selection.paths)
                await self._pull(
                    PullRequest(row.repo, revision, selection, contents=contents),
                    self._refreshes,
                )
        except HubsyncError as error:
            # Nothing that was held is lost by it; the next one asks again.
            self._note_down(row.repo, error)
            log.warning("cannot refresh %s at %s: %s", row.repo, revision, error)

    def _held_of(self, row: RepoRow, revision: str) -> Selection | None:
        """What a newer commit must hold before the ref may move to it.

        That is what this one does: whoever has read a file goes on finding it,
        also when the upstream is gone the moment after.
        """
        snapshot = self._catalog.resolve(row, revision)
        if snapshot is None:
            return None
        entries = self._catalog.entries(snapshot)
        held = frozenset(one.entry.path for one in entries if one.held)
        return Selection() if len(held) == len(entries) else Selection(paths=held)

    async def _pull(self, request: PullRequest, turn: asyncio.Semaphore) -> None:
        # It may be led to another name, which may not be asked for.
        request = replace(request, admit=self._require_allowed)
        async with turn:
            with ExitStack() as stack:
                await asyncio.to_thread(stack.enter_context, self._lock_store())
                await self._puller.pull(request)

    def bring(self, row: RepoRow, snapshot: SnapshotRow, entry: TreeEntry) -> Incoming:
        """Fetch the bytes of *entry*, or join those who wait for them already.

        Raises:
            NotAllowedHereError: nobody may ask for it, by configuration.
        """
        assert self.has_upstream(row)
        self._require_allowed(row.repo)
        key = entry.want.key
        if key not in self._coming:
            self._require_up(row.repo)
            incoming = Incoming(entry.size_bytes)
            task = self._start(self._fetch(row, snapshot, entry, incoming))
            self._coming[key] = incoming, task
        return self._coming[key][0]

    async def pass_on(
        self, row: RepoRow, snapshot: SnapshotRow, entry: TreeEntry, span: Span
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of *span* of *entry*, of which nothing is kept.

        Raises:
            NotAllowedHereError: nobody may ask for it, by configuration.
            HubError, BlobCorruptError: as `transfer.passing.pass_on`.
        """
        assert self.has_upstream(row)
        self._require_allowed(row.repo)
        self._require_up(row.repo)
        engine = await self._opened_engine()
        try:
            async for block in engine.pass_on(self._item(row, snapshot, entry), span):
                yield block
        except HubsyncError as error:
            self._note_down(row.repo, error)
            raise

    def _item(
        self,
        row: RepoRow,
        snapshot: SnapshotRow,
        entry: TreeEntry,
        watch: Watch | None = None,
    ) -> Fetch:
        hub = self._hub(row.repo.upstream)
        locate = partial(hub.locate, row.repo, snapshot.commit.oid)
        return Fetch(str(row.repo), entry, locate, watch)

    async def _fetch(
        self, row: RepoRow, snapshot: SnapshotRow, entry: TreeEntry, incoming: Incoming
    ) -> None:
        error: BaseException | None = None
        try:
            async with self._fetches:
                with ExitStack() as stack:
                    await asyncio.to_thread(stack.enter_context, self._lock_store())
                    item = self._item(row, snapshot, entry, incoming)
                    engine = await self._opened_engine()
                    await engine.fetch_all([item], self._record)
        except HubsyncError as failure:
            log.warning("cannot fetch %s of %s: %s", entry.path, row.repo, failure)
            self._note_down(row.repo, failure)
            error = failure
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._coming.pop(entry.want.key, None)
            incoming.end(error)
        if error is None:
            self._lay_out_soon(row, snapshot)

    def _record(self, group: Sequence[Ingest | HeldBlob]) -> None:
        with leased(self._catalog, "fetch on demand") as lease:
            GroupRecorder(self._catalog, self._blobs, lease)(group)

    def _hub(self, upstream: str) -> Hub:
        if upstream not in self._hubs:
            self._hubs[upstream] = self._open_hub(upstream)
        return self._hubs[upstream]

    async def _opened_engine(self) -> Passer:
        if self._engine is None:
            self._engine_context = self._open_engine()
            self._engine = await self._engine_context.__aenter__()
        return self._engine

    def _lay_out_soon(self, row: RepoRow, snapshot: SnapshotRow) -> None:
        """Show what has come in the folder views: once for many files."""
        self._layouts[row.id, snapshot.id] = row, snapshot
        if self._laying_out is None or self._laying_out.done():
            self._laying_out = self._start(self._lay_out())

    async def _lay_out(self) -> None:
        while self._layouts:
            await asyncio.sleep(LAYOUT_DELAY_S)  # more of it may be coming
            _, (row, snapshot) = self._layouts.popitem()
            try:
                await asyncio.to_thread(self._puller.lay_out, row, snapshot)
            except HubsyncError as error:
                log.warning("cannot lay out %s: %s", row.repo, error)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task


def _wanted(revision: str | None) -> str:
    if revision in (None, HEAD):
        return DEFAULT_BRANCH
    return canonical(revision)


def _keep(kept: dict[K, T], key: K, value: T) -> None:
    """As the newest of all; the oldest makes room."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > ANSWERS_KEPT:
        kept.pop(next(iter(kept)))


@dataclass(frozen=True, slots=True)
class _Question:
    repo_type: RepoType
    name: str
    revision: str
