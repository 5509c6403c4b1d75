"""Several processes that answer on one address, and the one that watches them.

Workers are spawned, not forked: a fork after an event loop, threads or SQLite
have been at work copies locks that nobody will let go, and workers are started
again at any time.  Each opens its own catalog and store.  What a worker gets is
pickled to it by `multiprocessing`; the other way goes a pipe, which is also how a
worker learns that the parent is gone, however it ended.

What one process has to do for all of them (fetching from the upstream, say) is
given to `supervise` as *beside*.  It runs in the parent's event loop.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.resource_tracker import ensure_running

from hubsync.model.errors import HubsyncError
from hubsync.serve.events import Event
from hubsync.serve.listen import again, bind, close, share, url_of
from hubsync.serve.metrics import RESTARTS, Boards, Metrics, make_boards
from hubsync.serve.options import ServeOptions
from hubsync.serve.tls import Tls

log = logging.getLogger("hubsync.serve")

RESTART_MIN_S, RESTART_MAX_S = 0.5, 30.0
STEADY_S = 60.0  # a worker that lived so long is started again without delay
KILL_AFTER_S = 5.0  # after the time to drain
Said = tuple[str, HubsyncError | None]  # "ready", or "failed" and why


class WorkerDiedError(HubsyncError):
    """A worker ended at its start and could not say why."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker gets from the parent."""

    number: int
    sockets: Sequence[socket.socket]  # the parent's: bound, shared
    boards: Boards
    link: Connection
    beside: socket.socket | None = None  # whose other end `Beside` has

    def metrics(self) -> Metrics:
        return Metrics(self.boards, self.number)

    def listeners(self) -> list[socket.socket]:
        """The worker's own sockets on the parent's addresses."""
        return [again(one) for one in self.sockets]

    def ready(self, url: str) -> None:
        """Tell the parent that we listen."""
        self.link.send(("ready", None))

    def failed(self, error: HubsyncError) -> None:
        """Tell the parent why we end."""
        self.link.send(("failed", error))

    def stop_with_parent(self, stop: asyncio.Event) -> None:
        """Set *stop* when the parent is gone: nobody else would end us."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(self.link.fileno())
            stop.set()

        # The parent says nothing: there is something to read when it has ended.
        loop.add_reader(self.link.fileno(), gone)


Work = Callable[[Orders], None]
Attach = Callable[[socket.socket], None]
Beside = Callable[[Metrics], AbstractAsyncContextManager[Attach]]


async def supervise(
    work: Work,
    options: ServeOptions,
    on_ready: Callable[[str], None],
    beside: Beside | None = None,
) -> None:
    """Run `ServeOptions.workers` processes until SIGTERM or SIGINT.

    Args:
        work: what a worker does: something that can be pickled.  It serves on
            `Orders.listeners`, says `Orders.ready`, and ends at SIGTERM.
        options: as the workers have them.
        on_ready: called once, when all of them listen, with where.
        beside: entered before the first worker is started, and left after the
            last has ended; gets where the parent counts, and what it gives is
            called with the other end of each worker's `Orders.beside`.

    Raises:
        PortTakenError, HubsyncError: as `listen.bind`.
        HubsyncError: a worker failed before all were ready; its own error.
    """
    Tls.of(options)  # a bad certificate is said once, and by us
    sockets = bind(options)
    try:
        share(sockets)
        boards = make_boards(options.workers + 1)
        metrics = Metrics(boards, options.workers)
        async with beside(metrics) if beside else nullcontext() as attach:
            supervisor = Supervisor(
                work, options, sockets, boards, metrics, attach=attach
            )
            await supervisor.run(on_ready)
    finally:
        close(sockets, options)


class Supervisor:
    """Starts workers, and starts them again."""

    def __init__(
        self,
        work: Work,
        options: ServeOptions,
        sockets: Sequence[socket.socket],
        boards: Boards,
        metrics: Metrics,
        *,
        attach: Attach | None = None,
    ) -> None:
        self._work, self._options, self._attach = work, options, attach
        self._sockets, self._boards, self._metrics = sockets, boards, metrics
        self._stop = asyncio.Event()
        self._failure: HubsyncError | None = None
        self._all_ready = False
        self._ready: set[int] = set()
        self._running: dict[int, SpawnProcess] = {}

    async def run(self, on_ready: Callable[[str], None]) -> None:
        """Until a signal comes, or a worker fails before all are ready."""
        self._on_ready = on_ready
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if self._options.tls_cert is not None:
            loop.add_signal_handler(signal.SIGHUP, self._send, signal.SIGHUP)
        keepers = [
            asyncio.create_task(self._keep(number))
            for number in range(self._options.workers)
        ]
        try:
            stopped = asyncio.create_task(self._stop.wait())
            # A keeper ends before only by an error of ours.
            await asyncio.wait([stopped, *keepers], return_when="FIRST_COMPLETED")
        finally:
            self._stop.set()
            self._send(signal.SIGTERM)
            await self._ended(keepers)
        if self._failure is not None:
            raise self._failure

    async def _ended(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        patience_s = self._options.drain_s + KILL_AFTER_S
        _, late = await asyncio.wait(keepers, timeout=patience_s)
        if late:
            log.warning(Event("workers do not end: killed", count=len(late)))
            self._send(signal.SIGKILL)
        await asyncio.gather(*keepers)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            _kill(process, number)

    async def _keep(self, number: int) -> None:
        """Have worker *number* run, until the end."""
        loop = asyncio.get_running_loop()
        delay_s = RESTART_MIN_S
        while not self._stop.is_set():
            started = loop.time()
            status = await self._live(number)
            if self._stop.is_set():
                return
            if not self._all_ready:
                self._fail(
                    WorkerDiedError(
                        f"a worker ended at its start with exit status {status}",
                        hint="What it said is above, if it could say anything.",
                    )
                )
                return
            if loop.time() - started > STEADY_S:
                delay_s = RESTART_MIN_S
            self._metrics.add(RESTARTS)
            log.error(
                Event(
                    "worker died",
                    worker=number,
                    exit_status=status,
                    restart_in_s=delay_s,
                )
            )
            await _unless(self._stop, delay_s)
            delay_s = min(2 * delay_s, RESTART_MAX_S)

    async def _live(self, number: int) -> int | None:
        """One life of a worker; its exit status, negative for a signal."""
        ours, theirs = get_context("spawn").Pipe()
        with ours, theirs, ExitStack() as ends:
            own_end = None
            if self._attach is not None:
                other_end, own_end = socket.socketpair()
                ends.enter_context(own_end)
                self._attach(other_end)
            orders = Orders(number, self._sockets, self._boards, theirs, own_end)
            process = get_context("spawn").Process(
                target=self._work, args=(orders,), name=f"worker-{number}"
            )
            _start(process)
            theirs.close()  # its ends, or we would never see that it is gone
            ends.close()
            self._running[number] = process
            loop = asyncio.get_running_loop()
            ended = asyncio.Event()
            loop.add_reader(process.sentinel, ended.set)
            loop.add_reader(ours.fileno(), self._hear, number, ours)
            try:
                if self._stop.is_set():
                    _kill(process, signal.SIGTERM)  # asked to while it started
                await ended.wait()
            finally:
                loop.remove_reader(process.sentinel)
                if not ours.closed:
                    self._hear(number, ours)
                    loop.remove_reader(ours.fileno())
                del self._running[number]
                process.join()
            return process.exitcode

    def _hear(self, number: int, link: Connection) -> None:
        """Take what a worker has said, if it has said anything."""
        try:
            while link.poll():
                what, error = link.recv()
                if what == "ready":
                    self._is_ready(number)
                elif not self._all_ready:
                    self._fail(error)
                else:
                    log.error(Event("worker failed", worker=number, reason=str(error)))
        except (EOFError, ConnectionError):
            asyncio.get_running_loop().remove_reader(link.fileno())

    def _is_ready(self, number: int) -> None:
        self._ready.add(number)
        if len(self._ready) == self._options.workers and not self._all_ready:
            self._all_ready = True
            scheme = "https" if self._options.tls_cert else "http"
            self._on_ready(url_of(self._sockets, scheme))

    def _fail(self, error: HubsyncError) -> None:
        self._failure = self._failure or error
        self._stop.set()


def _start(process: SpawnProcess) -> None:
    """Start it deaf to SIGINT, which it inherits.

    Ctrl-C reaches the whole group, and the parent decides what comes of it: a
    worker that is still importing would only say where it was interrupted.
    """
    ensure_running()  # or `start` does, and lets the signal in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(process: SpawnProcess, number: signal.Signals) -> None:
    if process.pid and process.is_alive():
        os.kill(process.pid, number)


async def _unless(stop: asyncio.Event, wait_s: float) -> None:
    """Wait, but not once *stop* is set."""
    try:
        async with asyncio.timeout(wait_s):
            await stop.wait()
    except TimeoutError:
        return
