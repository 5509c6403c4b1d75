"""One large file over many connections, and what can happen to some of them."""

import asyncio
import errno
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hubsync.model.spans import Spans
from hubsync.ports.blobs import HeldBlob, Ingest, NoRoomError
from hubsync.ports.hub import UnavailableError
from hubsync.store.disk import StoreIOError
from hubsync.store.ingest import LocalIngest
from hubsync.store.journal import journal_of, read_journal
from hubsync.store.local import LocalBlobs
from hubsync.transfer import engine as engine_module
from hubsync.transfer.engine import Engine, Fetch
from tests.testhub import Fault, HubRepo, Lfs, Seen, TestHub
from tests.unit.transfer.fetching import QUICK, Fetching, Watcher, fetch_of

DATA = os.urandom(400_000)
PART_BYTES = 64_000
PARTS = {"part_bytes_max": PART_BYTES}
TOP = Path(__file__).parents[3]
# The blob's bytes, fetched by a process of its own, which can be killed.
DRIVER = """
import asyncio, sys
from pathlib import Path
from hubsync.model.digest import Digest, GitOid
from hubsync.model.snapshot import TreeEntry
from hubsync.ports.hub import Source
from hubsync.transfer.engine import Fetch
from tests.unit.transfer.fetching import Fetching
root, size, digest, url = sys.argv[1:]
entry = TreeEntry("w.bin", int(size), GitOid("0" * 40), Digest(digest))
fetch = Fetch("test:org/files", entry, lambda _: Source(url))
Fetching(Path(root)).run([fetch], part_bytes_max=64_000, read_timeout_s=60.0)
"""


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("org/files")
    repo.commit({"w.bin": Lfs(DATA), "other.bin": Lfs(DATA[::-1])})
    return repo


@pytest.fixture
def item(hub: TestHub, repo: HubRepo) -> Fetch:
    return fetch_of(hub, repo, "w.bin")


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path / "store")


def parts(hub: TestHub) -> list[Seen]:
    return hub.log.matching(role="cdn")


def asked(one: Seen) -> tuple[int, int]:
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", one.headers.get("Range", ""))
    assert found, "each part has a beginning and an end"
    return int(found[1]), int(found[2]) + 1


def there(fetching: Fetching, item: Fetch) -> Spans:
    partial = fetching.local.root.partial / item.want.key
    found = read_journal(journal_of(partial))
    assert found is not None, "what has gaps has a journal"
    return found


def until(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def test_it_comes_in_parts_over_several_connections_each_byte_once(
    hub: TestHub, item: Fetch, fetching: Fetching
) -> None:
    report = fetching.run([item], **PARTS)
    spans = sorted(asked(one) for one in parts(hub))

    assert fetching.read(DATA) == DATA
    assert report.bytes_fetched == len(DATA)
    assert report.requests == len(spans) + 1, "the hub is asked for the way once"
    assert spans[0][0] == 0
    assert [start for start, _ in spans[1:]] == [stop for _, stop in spans[:-1]]
    assert spans[-1][1] == len(DATA)
    assert all(stop - start <= PART_BYTES for start, stop in spans)
    assert fetching.watcher.verified[item.path] == len(DATA)


class Along:
    """Reads along, and looks what is there when it is told of a start over."""

    def __init__(self) -> None:
        self.there_at_restarts: list[int] = []
        self.read = b""

    def begun(self, ingest: Ingest) -> None:
        self._ingest, self._file = ingest, ingest.reader()

    def advanced(self) -> None: ...

    def restarted(self) -> None:
        self.there_at_restarts.append(self._ingest.offset)

    def verified(self) -> None:
        with self._file:
            self.read = self._file.read()


class TestFaultsOfOnePart:
    @pytest.mark.parametrize("kind", ["truncate", "no_length", "stall"])
    def test_what_is_lacking_of_it_is_fetched_and_nothing_else(
        self, hub: TestHub, item: Fetch, fetching: Fetching, kind: str
    ) -> None:
        hub.faults.add(Fault(kind, role="cdn", after=2, at=700))  # type: ignore[arg-type]
        report = fetching.run([item], read_timeout_s=0.5, **PARTS)
        assert fetching.read(DATA) == DATA
        assert (report.bytes_fetched, report.retries) == (len(DATA), 1)

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("etag_changes", role="cdn", after=3),
            Fault("ignore_range", role="cdn", after=3),
            Fault("wrong_range", role="cdn", after=3),
            Fault("unsatisfiable", role="cdn", after=3),
        ],
        ids=lambda fault: fault.kind,
    )
    def test_one_that_is_of_another_file_starts_it_over(
        self, hub: TestHub, item: Fetch, fetching: Fetching, fault: Fault
    ) -> None:
        hub.faults.add(fault)
        report = fetching.run([item], **PARTS)
        assert fetching.read(DATA) == DATA
        assert report.bytes_fetched < 2 * len(DATA)
        assert list(fetching.local.root.quarantine.iterdir()) == []

    def test_after_a_range_that_was_ignored_it_comes_in_one_stream(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("ignore_range", role="cdn", after=3, times=-1))
        fetching.run([item], **PARTS)
        assert fetching.read(DATA) == DATA
        assert "Range" not in parts(hub)[-1].headers

    def test_who_reads_along_hears_of_a_start_over_when_nothing_old_is_there(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("ignore_range", role="cdn", after=3))
        along = Along()
        fetching.run([replace(item, watch=along)], **PARTS)
        assert along.there_at_restarts == [0]
        assert along.read == DATA

    def test_one_wrong_byte_is_found_and_all_is_fetched_once_more(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        def spoil(one: Seen) -> None:
            if one.role == "cdn" and not spoilt:
                spoilt.append(one)
                hub.faults.add(Fault("flip", role="cdn", at=asked(one)[0]))

        spoilt: list[Seen] = []
        hub.hooks.append(spoil)
        report = fetching.run([item], **PARTS)
        assert fetching.read(DATA) == DATA
        assert report.bytes_fetched == 2 * len(DATA)


class TestAllLanesAtOnce:
    def test_an_address_that_expires_under_all_is_asked_for_once(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        expired: list[str] = []

        def expire(one: Seen) -> None:
            """The first address is good for three parts, for whoever asks."""
            if one.role != "cdn":
                return
            first = parts(hub)[0].path
            if one.path == first and len(parts(hub)) > 3:
                expired.append(one.path)
                hub.faults.add(Fault("expire", match=re.escape(first)))

        hub.hooks.append(expire)
        report = fetching.run([item], retries_max=1, **PARTS)
        assert fetching.read(DATA) == DATA
        assert len(expired) > 1
        assert len(hub.hub_requests("/resolve/")) == 2
        assert report.bytes_fetched == len(DATA)

    @pytest.mark.parametrize("fault", ["truncate", "reset"])
    def test_a_line_that_breaks_under_all_counts_once(
        self, hub: TestHub, item: Fetch, fetching: Fetching, fault: str
    ) -> None:
        """Eight connections that break are one failure, not eight."""
        # Long enough that all have failed before the first one asks again.
        quick = {"backoff_base_s": 0.3, "backoff_max_s": 0.3}
        times = 8 if fault == "truncate" else 16  # aiohttp asks once more by itself
        hub.faults.add(Fault(fault, role="cdn", times=times, after=1))  # type: ignore[arg-type]
        report = fetching.run([item], retries_max=2, **PARTS, **quick)
        assert fetching.read(DATA) == DATA
        assert report.retries >= 7
        notes = [one for one in fetching.watcher.notes if "again in" in one]
        assert 1 <= len(notes) <= 2, "nor is it eight sentences"

    def test_a_host_that_stays_away_is_given_up_all_the_same(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        dead = Fault("status", role="cdn", status=503, times=-1, after=4)
        hub.faults.add(dead)
        with pytest.raises(UnavailableError):
            fetching.run([item], retries_max=3, **PARTS)
        assert len(parts(hub)) <= 4 + 8 * 5

    def test_a_rate_is_kept_over_all(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        started = time.monotonic()
        fetching.run([item], rate_bytes_per_s=200_000, **PARTS)
        # One second's worth is saved up at the start.
        assert time.monotonic() - started >= len(DATA) / 200_000 - 1.0


class TestAtALowRate:
    """What we hold back ourselves is neither a slow connection nor a silence."""

    def test_no_connection_is_taken_for_too_slow(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        watched = {"rate_min_bytes_per_s": 1_000_000, "rate_window_s": 1.0}
        report = fetching.run([item], rate_bytes_per_s=150_000, **watched)
        assert fetching.read(DATA) == DATA
        assert report.retries == 0

    def test_the_run_is_not_taken_for_stalled(
        self,
        hub: TestHub,
        item: Fetch,
        fetching: Fetching,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(engine_module, "STALL_LOOK_S", 0.02)
        # No block is full, so nothing is written, before the last byte has come.
        slow = {"rate_bytes_per_s": 150_000, "block_bytes": 1_000_000}
        fetching.run([item], stall_timeout_s=0.5, **slow)
        assert fetching.read(DATA) == DATA

    def test_a_silent_host_is_still_noticed(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("drip", role="cdn", at=1000, every_s=0.05))
        watched = {"rate_min_bytes_per_s": 1000, "rate_window_s": 0.4}
        report = fetching.run([item], rate_bytes_per_s=400_000, **watched)
        assert fetching.read(DATA) == DATA
        assert any("too slow" in note for note in fetching.watcher.notes)
        assert report.retries == 1


class TestBrokenOff:
    def stall_later_parts(self, hub: TestHub) -> None:
        """Parts after the third give some bytes and then nothing more."""
        hub.faults.add(Fault("stall", role="cdn", after=3, times=-1, at=6000))

    def test_what_has_arrived_out_of_order_is_kept_when_interrupted(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        self.stall_later_parts(hub)

        async def interrupted() -> None:
            task = asyncio.create_task(
                fetching.fetch([item], read_timeout_s=60.0, **PARTS)
            )
            await asyncio.to_thread(
                until, lambda: fetching.partial(item) > PART_BYTES // 2
            )
            await asyncio.to_thread(until, lambda: len(parts(hub)) > 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(interrupted())
        kept = there(fetching, item)
        assert kept.total == fetching.partial(item)
        hub.faults.clear()
        hub.log.clear()
        report = fetching.run([item], **PARTS)
        assert fetching.read(DATA) == DATA
        assert report.bytes_fetched == len(DATA) - kept.total
        again = Spans(asked(one) for one in parts(hub))
        assert list(again) == kept.missing(len(DATA))

    def test_after_kill_9_only_what_is_missing_is_fetched(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        self.stall_later_parts(hub)
        want = item.want
        assert want.digest
        partial = fetching.local.root.partial / want.key
        command = [sys.executable, "-c", DRIVER, str(fetching.local.root.path)]
        more = [str(want.size_bytes), want.digest.hex, item.source.url]
        with subprocess.Popen([*command, *more], cwd=TOP) as process:
            try:
                until(lambda: len(parts(hub)) > 5, 60)
                until(lambda: journal_of(partial).exists())
                until(lambda: fetching.partial(item) > PART_BYTES // 2)
            finally:
                process.send_signal(signal.SIGKILL)
        kept = there(fetching, item)
        assert 0 < kept.total < len(DATA)
        hub.faults.clear()
        hub.log.clear()
        report = fetching.run([item], **PARTS)
        assert fetching.read(DATA) == DATA
        assert report.bytes_fetched == len(DATA) - kept.total
        assert list(Spans(asked(one) for one in parts(hub))) == kept.missing(len(DATA))

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
    def test_a_disk_that_fails_in_the_middle_ends_it_with_its_own_error(
        self,
        hub: TestHub,
        item: Fetch,
        fetching: Fetching,
        monkeypatch: pytest.MonkeyPatch,
        code: int,
    ) -> None:
        calls: list[int] = []
        pwrite, pwritev, splice = os.pwrite, os.pwritev, os.splice

        def fail_at(at: int) -> None:
            calls.append(at)
            if len(calls) >= 12:
                raise OSError(code, os.strerror(code))

        def failing(fd: int, blocks: object, at: int) -> int:
            fail_at(at)
            real = pwritev if isinstance(blocks, list) else pwrite
            return real(fd, blocks, at)  # type: ignore[arg-type]

        def failing_splice(
            source: int, to: int, most: int, offset_dst: int | None = None, **more: int
        ) -> int:
            if offset_dst is None:  # into a pipe
                return splice(source, to, most, **more)
            fail_at(offset_dst)
            return splice(source, to, most, offset_dst=offset_dst)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", failing)
            patch.setattr(os, "pwritev", failing)
            patch.setattr(os, "splice", failing_splice)
            with pytest.raises((NoRoomError, StoreIOError), match="disk"):
                fetching.run([item], **PARTS)
        kept = fetching.partial(item)
        # A disk that is bad may have lost what it took before; a full one has not.
        assert (kept > 0) is (code == errno.ENOSPC)
        assert fetching.run([item], **PARTS).bytes_fetched == len(DATA) - kept
        assert fetching.read(DATA) == DATA


class TestTogether:
    def test_of_two_runs_one_fetches_and_the_other_waits(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("slow", role="cdn", times=-1, rate=300_000))
        other = Fetching(fetching.local.root.path)

        async def both() -> int:
            runs = (fetching.fetch([item], **PARTS), other.fetch([item], **PARTS))
            reports = await asyncio.gather(*runs)
            return sum(report.bytes_fetched for report in reports)

        assert asyncio.run(both()) == len(DATA)
        assert fetching.read(DATA) == DATA
        assert len(other.recorded) == len(fetching.recorded) == 1

    def test_who_waits_holds_nothing_that_others_may_wait_for(
        self, hub: TestHub, fetching: Fetching
    ) -> None:
        small = {f"{n}.txt": b"small %d" % n for n in range(8)}
        repo = hub.create_repo("org/small")
        repo.commit(dict(small))
        items = [fetch_of(hub, repo, path) for path in small]
        other = fetching.local.begin(items[0].want)
        assert isinstance(other, LocalIngest)

        def all_the_others_are_held() -> bool:
            return len(list(fetching.local.digests())) == len(small) - 1

        def complete() -> None:
            until(all_the_others_are_held)
            other.write(small[items[0].path])
            other.complete()

        completing = threading.Thread(target=complete)
        completing.start()
        # One worker, which begins all of them together.
        fetching.run(items, connections_max=1)
        completing.join()
        assert len(fetching.recorded) == len(small)

    def test_waiting_for_another_process_is_no_stall(
        self,
        hub: TestHub,
        item: Fetch,
        fetching: Fetching,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(engine_module, "STALL_LOOK_S", 0.02)
        other = fetching.local.begin(item.want)
        assert isinstance(other, LocalIngest)

        def complete() -> None:
            other.write(DATA)
            other.complete()

        timer = threading.Timer(0.8, complete)
        timer.start()
        report = fetching.run([item], stall_timeout_s=0.2)
        timer.join()
        assert report.requests == 0

    def test_small_files_and_parts_share_the_connections(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        inside: list[int] = []

        def seen(one: Seen) -> None:
            inside.append(sum(other.ended is None for other in parts(hub)))

        hub.hooks.append(seen)
        items = [fetch_of(hub, repo, path) for path in ("w.bin", "other.bin")]
        fetching.run(items, connections_max=3, **PARTS)
        assert max(inside) <= 3 + 1, "one may end while the next begins"

    def test_few_open_files_allow_few_connections(self, fetching: Fetching) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        found = []
        try:
            for soft in (64, 100, 256):
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limits[1]))
                engine = Engine(fetching.blobs, QUICK, Watcher())
                # A connection twice, an ingest and a pipe each, and one
                # ingest that waits to be published.
                assert 6 * engine._files <= soft
                found.append(engine._files)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert found == [4, 10, 36]


def test_blocks_of_zeros_stay_holes(
    hub: TestHub, repo: HubRepo, fetching: Fetching
) -> None:
    sparse = os.urandom(100_000) + bytes(9_000_000) + os.urandom(100_000)
    repo.commit({"sparse.bin": Lfs(sparse)})
    item = fetch_of(hub, repo, "sparse.bin")
    fetching.run([item], block_bytes=262_144, part_bytes_max=2_000_000)
    assert fetching.read(sparse) == sparse
    assert item.want.digest
    path = LocalBlobs(fetching.local.root).path(item.want.digest)
    probe = path.with_name("probe")
    with probe.open("wb") as file:
        file.truncate(1_000_000)
    if not probe.stat().st_blocks:
        assert path.stat().st_blocks * 512 < len(sparse) // 2


def test_what_is_held_has_no_partial_and_no_journal_left(
    item: Fetch, fetching: Fetching
) -> None:
    fetching.run([item], **PARTS)
    assert list(fetching.local.root.partial.iterdir()) == []
    assert isinstance(fetching.local.begin(item.want), HeldBlob)
