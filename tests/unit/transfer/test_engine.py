"""Many files at once: what arrives, what is recorded, what one failure stops."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hubsync.model.digest import Descriptor, Digest, GitOid
from hubsync.ports.blobs import (
    BlobCorruptError,
    Block,
    HeldBlob,
    Ingest,
    NoRoomError,
)
from hubsync.ports.hub import FileNotFoundOnHubError, NotAllowedError
from hubsync.store import local
from hubsync.store.ingest import LocalIngest
from hubsync.store.local import LocalBlobs
from hubsync.transfer.engine import Engine, Fetch
from hubsync.transfer.limiter import RateLimiter
from tests.testhub import Fault, HubRepo, Lfs, TestHub
from tests.testhub.log import Seen
from tests.unit.transfer.fetching import QUICK, Fetching, Watcher, fetch_of

BIG = os.urandom(200_000)


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("org/files")
    small = {f"d/{n:02}.txt": f"small {n}".encode() for n in range(12)}
    repo.commit({"big.bin": Lfs(BIG), "empty": b"", "none.bin": Lfs(b""), **small})
    return repo


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path / "store")


SMALL = [f"d/{n:02}.txt" for n in range(12)]


def test_every_byte_arrives_and_is_recorded(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    items = [fetch_of(hub, repo, path) for path in ("big.bin", *SMALL)]
    report = fetching.run(items)
    assert fetching.read(BIG) == BIG
    small = [f"small {n}".encode() for n in range(12)]
    for data in small:
        assert fetching.read(data) == data
    assert {one.digest for one in fetching.recorded} == {
        Digest.of(data) for data in [BIG, *small]
    }
    assert GitOid.of_blob(small[0]) in {one.git_oid for one in fetching.recorded}
    assert report.bytes_fetched == len(BIG) + sum(map(len, small))
    assert (report.requests, report.retries) == (2 * 13, 0)
    assert len(hub.requests) == report.requests


def test_empty_files_cost_no_request(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    fetching.run([fetch_of(hub, repo, "empty")])
    assert fetching.read(b"") == b""
    assert hub.requests == []


def test_nothing_to_fetch_is_no_error(fetching: Fetching) -> None:
    assert fetching.run([]).requests == 0


def test_connections_are_used_again(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    """Also after a redirect, whose body nobody wants: its socket would be lost."""
    opened = set()
    open_connection = asyncio.selector_events._SelectorTransport.__init__  # type: ignore[attr-defined]

    def count(self: object, *args: object, **kwargs: object) -> None:
        opened.add(self)
        open_connection(self, *args, **kwargs)

    items = [fetch_of(hub, repo, path) for path in SMALL]
    with pytest.MonkeyPatch.context() as patch:
        target = asyncio.selector_events._SelectorTransport  # type: ignore[attr-defined]
        patch.setattr(target, "__init__", count)
        fetching.run(items, connections_max=1)
    assert len(opened) <= 2 + 2, "one on each side, and nothing else"


def test_identity_is_asked_for_and_nothing_is_told(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    fetching.run([fetch_of(hub, repo, "big.bin")])
    for one in hub.requests:
        assert one.headers["Accept-Encoding"] == "identity"
        assert "Referer" not in one.headers


def test_the_token_goes_to_the_hub_only(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    repo.gated = "manual"
    token = hub.add_token("hf_secret", approved={"org/files"})
    items = [fetch_of(hub, repo, path, token) for path in ("big.bin", *SMALL)]
    fetching.run(items)
    for one in hub.requests:
        assert one.notes == []
        sent = one.headers.get("Authorization")
        assert sent == (None if one.role == "cdn" else "Bearer hf_secret")


def test_a_file_that_is_held_already_costs_no_request(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    fetching.run([fetch_of(hub, repo, "big.bin")])
    hub.log.clear()
    fetching.run([fetch_of(hub, repo, "big.bin")])
    assert hub.requests == []
    assert len(fetching.recorded) == 2, "it is recorded all the same"


@pytest.mark.parametrize("in_flight", [2, 8])
def test_small_files_do_not_wait_for_large_ones(
    hub: TestHub, fetching: Fetching, in_flight: int
) -> None:
    repo = hub.create_repo("org/mixed")
    large = {f"{n}.bin": Lfs(os.urandom(30_000)) for n in range(in_flight)}
    repo.commit({**large, **{path: path.encode() for path in SMALL}})
    hub.faults.add(Fault("slow", role="cdn", times=-1, rate=20_000))
    items = [fetch_of(hub, repo, path) for path in (*large, *SMALL)]
    # Small enough for the large ones to come in parts.
    fetching.run(items, connections_max=in_flight, part_bytes_max=40_000)
    first = fetching.watcher.done[: len(SMALL)]
    assert len(set(first) & set(SMALL)) >= len(SMALL) - 2


def test_files_are_fetched_at_once(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    hub.faults.add(Fault("slow", role="cdn", times=-1, rate=400_000))
    large = hub.create_repo("org/large")
    names = [f"{n}.bin" for n in range(6)]
    large.commit({name: Lfs(os.urandom(100_000)) for name in names})
    fetching.run([fetch_of(hub, large, name) for name in names], connections_max=6)
    # All have begun before the first is done.
    resolved = [n for n, one in enumerate(hub.requests) if "/resolve/" in one.path]
    assert len(resolved) == 6
    assert resolved[-1] < 11


class TestGroupCommit:
    def test_blobs_that_arrive_meanwhile_are_recorded_together(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        groups: list[int] = []
        all_arrived = threading.Event()

        def record(group: Sequence[Ingest | HeldBlob]) -> None:
            groups.append(len(group))
            if len(groups) == 1:
                all_arrived.wait(20)

        def seen(one: Seen) -> None:
            if len(hub.requests) >= 24:
                all_arrived.set()

        hub.hooks.append(seen)
        items = [fetch_of(hub, repo, path) for path in SMALL]
        fetching.record = record  # type: ignore[method-assign]
        fetching.run(items)
        assert sum(groups) == 12
        assert len(groups) < 12

    def test_a_file_is_done_only_when_it_is_recorded(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        honest = fetching.record

        def record(group: Sequence[Ingest | HeldBlob]) -> None:
            assert len(fetching.watcher.done) == len(fetching.recorded)
            time.sleep(0.01)
            honest(group)

        fetching.record = record  # type: ignore[method-assign]
        fetching.run(fetch_of(hub, repo, path) for path in SMALL)
        assert len(fetching.recorded) == 12

    def test_a_recorder_that_fails_stops_the_run(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        def record(group: Sequence[Ingest | HeldBlob]) -> None:
            raise RuntimeError("the catalog is gone")

        hub.faults.add(Fault("stall", match="xet-bridge", times=-1, at=10))
        fetching.record = record  # type: ignore[method-assign]
        items = [fetch_of(hub, repo, path) for path in ("big.bin", *SMALL)]
        with pytest.raises(RuntimeError, match="catalog is gone"):
            fetching.run(items, read_timeout_s=60.0)
        assert fetching.watcher.done == []
        assert_let_go(fetching, items)


class TestFatalErrors:
    def test_what_is_done_is_recorded_and_what_is_not_is_kept(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("status", match=SMALL[7], status=403, times=-1))
        hub.faults.add(Fault("stall", match="xet-bridge", times=-1, at=100_000))
        big = fetch_of(hub, repo, "big.bin")
        items = [big, *(fetch_of(hub, repo, path) for path in SMALL)]
        with pytest.raises(NotAllowedError, match=r"07\.txt of test:org/files"):
            fetching.run(items, connections_max=2, read_timeout_s=60.0)
        assert len(fetching.recorded) == len(fetching.watcher.done) < 12
        for blob in fetching.recorded:
            assert fetching.local.has(blob.digest)
        assert fetching.partial(big) <= 100_000
        assert_let_go(fetching, items)

    def test_a_file_that_the_hub_lacks_stops_no_other(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("status", match=SMALL[7], status=404, times=-1))
        items = [fetch_of(hub, repo, path) for path in ("big.bin", *SMALL)]
        with pytest.raises(FileNotFoundOnHubError, match=r"07\.txt of test:org/files"):
            fetching.run(items)
        assert len(fetching.recorded) == len(fetching.watcher.done) == 12
        assert fetching.read(BIG) == BIG

    def test_a_file_that_is_wrong_upstream_stops_no_other(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("flip", match="xet-bridge", times=-1, at=7))
        items = [fetch_of(hub, repo, path) for path in ("big.bin", *SMALL)]
        with pytest.raises(BlobCorruptError, match="upstream's bytes of big"):
            fetching.run(items)
        assert len(fetching.recorded) == 12
        assert_let_go(fetching, items)

    def test_a_full_store_stops_the_run_at_once(
        self,
        hub: TestHub,
        repo: HubRepo,
        fetching: Fetching,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        class FullIngest(LocalIngest):
            """Its disk is full after the first bytes."""

            def write(
                self, block: Block | Sequence[Block], at: int | None = None
            ) -> None:
                if not at:  # the block behind may come at the same time
                    came = block if isinstance(block, Block) else b"".join(block)
                    super().write(came[:100], at)
                raise NoRoomError("full", hint="free some")

        monkeypatch.setattr(local, "LocalIngest", FullIngest)
        big = fetch_of(hub, repo, "big.bin")
        with pytest.raises(NoRoomError, match="full"):
            fetching.run([big])
        assert len(hub.requests) == 2, "asking again does not make room"
        assert fetching.partial(big) == 100

    def test_gated(self, hub: TestHub, repo: HubRepo, fetching: Fetching) -> None:
        repo.gated = "manual"
        with pytest.raises(NotAllowedError, match=r"big\.bin.*restricted") as caught:
            fetching.run([fetch_of(hub, repo, "big.bin")])
        assert caught.value.hint
        assert len(hub.requests) == 1

    def test_several_errors_at_once_are_one(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("status", status=404, times=-1))
        with pytest.raises(FileNotFoundOnHubError):
            fetching.run(fetch_of(hub, repo, path) for path in SMALL)


class TestInterruption:
    def test_what_has_arrived_is_kept_and_let_go(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("stall", role="cdn", at=100_000))
        big = fetch_of(hub, repo, "big.bin")

        async def interrupted() -> None:
            task = asyncio.create_task(fetching.fetch([big], read_timeout_s=60.0))
            while not fetching.partial(big):  # noqa: ASYNC110 - a file, no event
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(interrupted())
        kept = fetching.partial(big)
        assert 0 < kept <= 100_000
        report = fetching.run([big])  # would wait for ever if it were still held
        assert fetching.read(BIG) == BIG
        assert report.bytes_fetched == len(BIG) - kept

    def test_waiting_for_another_process_can_be_interrupted(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        big = fetch_of(hub, repo, "big.bin")
        other = fetching.local.begin(big.want)
        assert isinstance(other, LocalIngest)

        async def interrupted() -> None:
            task = asyncio.create_task(fetching.fetch([big]))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(task), 0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        started = time.monotonic()
        asyncio.run(interrupted())
        assert time.monotonic() - started < 10
        other.abort()
        assert fetching.run([big]).bytes_fetched == len(BIG)

    def test_an_ingest_that_comes_too_late_is_let_go(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        asked, come, let_go = threading.Event(), threading.Event(), threading.Event()

        class LateBlobs(LocalBlobs):
            def begin(
                self, want: Descriptor, *, wait: bool = True
            ) -> LocalIngest | HeldBlob | None:
                if not wait:
                    return None
                asked.set()
                assert come.wait(20)
                ingest = super().begin(want)
                assert isinstance(ingest, LocalIngest)
                abort = ingest.abort

                def noticed() -> None:
                    abort()
                    let_go.set()

                ingest.abort = noticed  # type: ignore[method-assign]
                return ingest

        async def interrupted() -> None:
            task = asyncio.create_task(fetching.fetch([fetch_of(hub, repo, "big.bin")]))
            await asyncio.to_thread(asked.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        fetching.blobs = LateBlobs(fetching.local.root)
        asyncio.run(interrupted())
        come.set()
        assert let_go.wait(20)

    def test_what_another_process_completed_is_not_fetched(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        big = fetch_of(hub, repo, "big.bin")
        other = fetching.local.begin(big.want)
        assert isinstance(other, LocalIngest)

        def complete() -> None:
            other.write(BIG)
            other.complete()

        timer = threading.Timer(0.1, complete)
        timer.start()
        report = fetching.run([big])
        timer.join()
        assert (report.bytes_fetched, report.requests) == (0, 0)
        assert len(fetching.recorded) == 1


class TestWaitingTogether:
    def test_one_429_silences_all(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        refused: list[float] = []
        meanwhile: list[str] = []

        def seen(one: Seen) -> None:
            if refused and time.monotonic() - refused[0] < 0.5:
                meanwhile.append(one.path)
            if SMALL[11] in one.path and not refused:
                refused.append(time.monotonic())

        hub.hooks.append(seen)
        empty = {"RateLimit": '"resolvers";r=0;t=0'}
        limit = Fault("status", match=SMALL[11], status=429, headers=empty)
        hub.faults.add(limit)
        items = [fetch_of(hub, repo, path) for path in SMALL]
        fetching.run(items, connections_max=2)
        assert refused
        assert len(meanwhile) <= 4, "what was on its way, and no more"

    def test_a_line_that_breaks_under_all_is_told_once(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("truncate", match="resolve-cache", at=3, times=12))
        slow = {"backoff_base_s": 0.2, "backoff_max_s": 0.2}
        report = fetching.run([fetch_of(hub, repo, path) for path in SMALL], **slow)
        assert report.retries == 12
        (note,) = [one for one in fetching.watcher.notes if "again in" in one]
        assert "broke" in note

    def test_a_rate_is_kept(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        started = time.monotonic()
        fetching.run([fetch_of(hub, repo, "big.bin")], rate_bytes_per_s=100_000)
        # One second's worth is saved up at the start.
        assert time.monotonic() - started >= len(BIG) / 100_000 - 1.0

    def test_an_idle_limiter_saves_up_one_second(self) -> None:
        async def taken() -> float:
            limiter, clock = RateLimiter(100), asyncio.get_running_loop().time
            started = clock()
            await limiter.take(50)
            await limiter.take(50)
            await limiter.take(10)
            return clock() - started

        assert 0.05 <= asyncio.run(taken()) < 0.9


def test_the_engine_can_be_used_again(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    async def twice() -> None:
        async with Engine(fetching.blobs, QUICK, Watcher()) as engine:
            for path in ("big.bin", *SMALL[:2]):
                await engine.fetch_all([fetch_of(hub, repo, path)], fetching.record)

    asyncio.run(twice())
    assert len(fetching.recorded) == 3


def assert_let_go(fetching: Fetching, items: Sequence[Fetch]) -> None:
    """Nobody holds any of them: a begin that does not wait gets each."""
    for item in items:
        ingest = fetching.local.begin(item.want, wait=False)
        assert ingest is not None, f"{item.path} is still held"
        if not isinstance(ingest, HeldBlob):
            ingest.abort()
