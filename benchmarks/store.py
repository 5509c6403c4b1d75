"""``python -m benchmarks.store``: the store beside what the machine can do at all.

Publishing many small blobs beside ``tar`` writing the same files (which syncs
none of them); ``hubsync verify --all`` beside a bare loop of
``hashlib.file_digest`` with as many threads; gc of a catalog of many blobs.
"""

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.command import Group, Plan, Size, main
from benchmarks.commands import Runner, hubsync, require
from benchmarks.measure import Figure, Section, alternating, compared, rounds, settle
from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.model.digest import Descriptor, Digest
from hubsync.ports.blobs import HeldBlob
from hubsync.store.ingest import LocalIngest
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs

BLOB_BYTES = 10_000
GROUP_BLOBS = 512
LARGE_BLOBS = 4
ROWS_AT_ONCE = 50_000
BLOCK_BYTES = 2**20
MIB = 2**20
# A folder, an inode and a name take more room than 10 kB of content.
BLOB_ON_DISK_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Bench:
    """What the parts share."""

    plan: Plan
    runner: Runner

    @property
    def store(self) -> Path:
        return self.plan.work / "store"

    def drop(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)


def sections(plan: Plan) -> Iterator[Section]:
    """One after another, each with a store of its own that it deletes."""
    require("tar")
    blobs, large = plan.sizes["blobs"], plan.sizes["verify_mib"] * MIB
    plan.require_room(max(4 * blobs * BLOB_ON_DISK_BYTES, 2 * large))
    with Runner() as runner:
        bench = Bench(plan, runner)
        for part, measure in PARTS.items():
            if plan.wants(part):
                try:
                    yield from measure(bench)
                finally:
                    bench.drop()


def _open(folder: Path) -> tuple[LocalBlobs, Catalog]:
    root = StoreRoot.open(folder, create=True)
    return LocalBlobs(root, reserve_bytes=1), Catalog.open(sqlite_url(root.catalog))


def _contents(count: int) -> Iterator[bytes]:
    base = os.urandom(BLOB_BYTES - 8)
    for number in range(count):
        yield base + number.to_bytes(8, "big")


def _publish(blobs: LocalBlobs, catalog: Catalog, count: int) -> float:
    """Seconds to make *count* blobs durable and written down, hashing included."""
    began = time.perf_counter()
    group: list[LocalIngest] = []
    for data in _contents(count):
        ingest = blobs.begin(Descriptor(len(data), Digest.of(data)))
        assert isinstance(ingest, LocalIngest)
        ingest.write(data)
        ingest.verify()
        group.append(ingest)
        if len(group) == GROUP_BLOBS:
            _publish_group(blobs, catalog, group)
            group = []
    if group:
        _publish_group(blobs, catalog, group)
    return time.perf_counter() - began


def _publish_group(
    blobs: LocalBlobs, catalog: Catalog, group: list[LocalIngest]
) -> None:
    held = [ingest.verified for ingest in group]
    blobs.publish(group)
    catalog.record_blobs([one for one in held if one])


def measure_publish(bench: Bench) -> Iterator[Section]:
    """Publishing, and gc of what was published: files and all."""
    count, work = bench.plan.sizes["blobs"], bench.plan.work
    archive = _archive(work, count)
    freed: list[float] = []

    def publish() -> float:
        blobs, catalog = _open(bench.store)
        settle()
        seconds = _publish(blobs, catalog, count)
        catalog.close()
        settle()
        freed.append(count / bench.runner.run(_gc(bench.store)).seconds)
        left = sum(1 for _ in blobs.digests())
        assert not left, f"gc has left {left} blobs"
        bench.drop()
        return seconds

    runs: dict[str, Callable[[], float]] = {
        "hubsync": publish,
        "tar": partial(_unpack, archive, work / "target", is_synced=False),
        "tar, sync": partial(_unpack, archive, work / "target", is_synced=True),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in rounds(bench.plan.rounds, bench.plan.seconds_max):
        for name, seconds in alternating(number, runs).items():
            taken[name].append(seconds)
    archive.unlink()
    ours = taken["hubsync"]
    yield Section(
        f"publish of {count} blobs of {BLOB_BYTES} bytes, in groups of {GROUP_BLOBS}",
        [
            compared(
                "time", "tar -x, and one sync at the end", ours, taken["tar, sync"]
            ),
            compared("time", "tar -x, nothing synced", ours, taken["tar"]),
        ],
        [
            Figure("published", "blobs/s", None, [count / one for one in ours]),
            Figure("deleted by gc afterwards", "blobs/s", None, freed),
        ],
        (
            "hubsync hashes, syncs every group and writes rows; tar writes the files.",
            "gc is the whole command, with the start of the interpreter.",
        ),
    )


def _archive(work: Path, count: int) -> Path:
    source, archive = work / "source", work / "all.tar"
    source.mkdir()
    for number, data in enumerate(_contents(count)):
        (source / f"{number}").write_bytes(data)
    subprocess.run(["tar", "-cf", archive, "-C", source, "."], check=True)
    shutil.rmtree(source)
    return archive


def _unpack(archive: Path, target: Path, *, is_synced: bool) -> float:
    target.mkdir()
    settle()
    began = time.perf_counter()
    subprocess.run(["tar", "-xf", archive, "-C", target], check=True)
    if is_synced:
        os.sync()
    seconds = time.perf_counter() - began
    shutil.rmtree(target)
    return seconds


def measure_verify(bench: Bench) -> Iterator[Section]:
    """Everything is in the page cache, for both: this is about hashing."""
    large_mib = bench.plan.sizes["verify_mib"]
    small = max(bench.plan.sizes["blobs"] // 20, 1)
    empty = bench.plan.work / "empty"
    _open(empty)[1].close()
    blobs, catalog = _open(bench.store)
    _publish(blobs, catalog, small)
    catalog.record_blobs(_large_blobs(blobs, large_mib * MIB // LARGE_BLOBS))
    paths = [blobs.path(digest) for digest in blobs.digests()]
    catalog.close()
    settle()
    _bare_loop(paths)  # warm-up

    def verify(root: Path) -> float:
        command = hubsync("verify", "--all", "--root", str(root), "-q")
        return bench.runner.run(command).seconds

    runs = {
        "bare": partial(_bare_loop, paths),
        "start": partial(verify, empty),
        "whole": partial(verify, bench.store),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in rounds(bench.plan.rounds, bench.plan.seconds_max):
        for name, seconds in alternating(number, runs).items():
            taken[name].append(seconds)
    shutil.rmtree(empty)
    start = statistics.median(taken["start"])
    hashing = [max(whole - start, 1e-3) for whole in taken["whole"]]
    yield Section(
        f"verify --all of {LARGE_BLOBS} blobs, {large_mib} MiB, and {small} small ones",
        [
            compared("without its start", "a bare loop", hashing, taken["bare"], 0.95),
            compared("the whole command", "a bare loop", taken["whole"], taken["bare"]),
        ],
        notes=[
            f"The bare loop: hashlib.file_digest in {os.cpu_count()} threads.",
            f"The start is `verify --all` of an empty store: {start:.2f} s.",
        ],
    )


def _large_blobs(blobs: LocalBlobs, size_bytes: int) -> list[HeldBlob]:
    held = []
    for _ in range(LARGE_BLOBS):
        seed, whole = os.urandom(BLOCK_BYTES), hashlib.sha256()
        counts = range(0, size_bytes, BLOCK_BYTES)
        blocks = (seed[: min(BLOCK_BYTES, size_bytes - at)] for at in counts)
        for block in blocks:
            whole.update(block)
        ingest = blobs.begin(Descriptor(size_bytes, Digest(whole.hexdigest())))
        assert isinstance(ingest, LocalIngest)
        for at in counts:
            ingest.write(seed[: min(BLOCK_BYTES, size_bytes - at)])
        held.append(ingest.complete())
    return held


def _bare_loop(paths: list[Path]) -> float:
    """Seconds to hash all of *paths* with as many threads as there are cores."""

    def digest(path: Path) -> str:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, found in zip(paths, pool.map(digest, paths), strict=True):
            assert found == path.name
    return time.perf_counter() - began


def measure_gc(bench: Bench) -> Iterator[Section]:
    """Of rows that no tree needs.  Their files are not there: this is the catalog."""
    count = bench.plan.sizes["rows"]
    rate = Figure("forgotten", "rows/s")
    taken = Figure("time of `hubsync gc`", "s")
    peak = Figure("its peak memory", "MiB")
    for _ in rounds(min(bench.plan.rounds, GC_ROUNDS), bench.plan.seconds_max):
        _fill_catalog(bench.store, count)
        settle()
        done = bench.runner.run(_gc(bench.store))
        _, catalog = _open(bench.store)
        assert not any(True for _ in catalog.all_held()), "gc has left rows"
        catalog.close()
        bench.drop()
        rate.values.append(count / done.seconds)
        taken.values.append(done.seconds)
        peak.values.append(done.rss_bytes / MIB)
    yield Section(f"gc of {count} rows", figures=[taken, rate, peak])


def _fill_catalog(store: Path, count: int) -> None:
    _, catalog = _open(store)
    for start in range(0, count, ROWS_AT_ONCE):
        numbers = range(start, min(start + ROWS_AT_ONCE, count))
        names = (hashlib.sha256(b"%d" % number).hexdigest() for number in numbers)
        catalog.record_blobs([HeldBlob(Digest(name), BLOB_BYTES) for name in names])
    catalog.close()


def _gc(store: Path) -> list[str]:
    return hubsync("gc", "--root", str(store), "--grace", "0", "-q")


GC_ROUNDS = 3  # to fill the catalog takes as long as to empty it
PARTS: dict[str, Callable[[Bench], Iterator[Section]]] = {
    "publish": measure_publish,
    "verify": measure_verify,
    "gc": measure_gc,
}
GROUP = Group(
    "store",
    tuple(PARTS),
    {
        "blobs": Size(100_000, 600, "blobs that are published"),
        "verify_mib": Size(4096, 16, "MiB of large blobs that are verified"),
        "rows": Size(1_000_000, 3000, "rows of which gc gets rid"),
    },
    sections,
)

if __name__ == "__main__":
    sys.exit(main([GROUP]))
