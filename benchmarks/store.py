"""``python -m benchmarks.store``: the store beside what the machine can do at all.

Publishing many small blobs beside ``tar`` writing the same files (which syncs
none of them); ``hubsync verify --all`` beside a bare loop of
``hashlib.file_digest`` with as many threads; gc of a catalog of many blobs.
"""

import argparse
import hashlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.measure import settle
from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.model.digest import Descriptor, Digest
from hubsync.ports.blobs import HeldBlob
from hubsync.retention.gc import GcOptions, collect
from hubsync.store.ingest import LocalIngest
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.store.trash import LocalTrash

BLOB_BYTES = 10_000
GROUP = 512
MIB = 2**20


def open_store(folder: Path) -> tuple[LocalBlobs, Catalog]:
    root = StoreRoot.open(folder, create=True)
    return LocalBlobs(root, reserve_bytes=1), Catalog.open(sqlite_url(root.catalog))


def contents(count: int) -> Iterator[bytes]:
    base = os.urandom(BLOB_BYTES - 8)
    for number in range(count):
        yield base + number.to_bytes(8, "big")


def publish(blobs: LocalBlobs, catalog: Catalog, count: int) -> float:
    """Seconds to make *count* blobs durable and written down, hashing included."""
    began = time.perf_counter()
    group: list[LocalIngest] = []
    for data in contents(count):
        ingest = blobs.begin(Descriptor(len(data), Digest.of(data)))
        assert isinstance(ingest, LocalIngest)
        ingest.write(data)
        ingest.verify()
        group.append(ingest)
        if len(group) == GROUP:
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


def floor_of_tar(work: Path, count: int) -> float:
    """Seconds in which tar writes as many files, then ``sync``."""
    source, target = work / "source", work / "target"
    for folder in (source, target):
        folder.mkdir()
    for number, data in enumerate(contents(count)):
        (source / f"{number}").write_bytes(data)
    subprocess.run(["tar", "-cf", work / "all.tar", "-C", source, "."], check=True)
    shutil.rmtree(source)
    settle()
    began = time.perf_counter()
    subprocess.run(["tar", "-xf", work / "all.tar", "-C", target], check=True)
    os.sync()
    seconds = time.perf_counter() - began
    shutil.rmtree(target)
    (work / "all.tar").unlink()
    return seconds


def bare_loop(paths: list[Path]) -> float:
    """Seconds to hash all of *paths* with as many threads as there are cores."""

    def digest(path: Path) -> str:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, found in zip(paths, pool.map(digest, paths), strict=True):
            assert found == path.name
    return time.perf_counter() - began


def verify_all(root: Path) -> float:
    """Seconds of ``hubsync verify --all`` without the start of the interpreter."""
    command = [sys.executable, "-m", "hubsync"]
    began = time.perf_counter()
    subprocess.run([*command, "db", "check", "--root", root, "-q"], check=True)
    start = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run([*command, "verify", "--all", "--root", root, "-q"], check=True)
    return time.perf_counter() - began - start


def measure_publish(work: Path, count: int, rounds: int) -> None:
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(floor_of_tar(work, count))
        blobs, catalog = open_store(work / "store")
        settle()
        ours.append(publish(blobs, catalog, count))
        catalog.close()
        shutil.rmtree(work / "store")
    rate = count / statistics.median(ours)
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    print(
        f"publish of {count} blobs of {BLOB_BYTES} bytes: {rate:.0f} a second, "
        f"{statistics.median(ratios):.2f}x of tar -x and one sync"
    )


def measure_verify(work: Path, large_mib: int, small: int, rounds: int) -> None:
    blobs, catalog = open_store(work / "store")
    publish(blobs, catalog, small)
    for _ in range(4):
        data = os.urandom(large_mib * MIB // 4)
        ingest = blobs.begin(Descriptor(len(data), Digest.of(data)))
        assert isinstance(ingest, LocalIngest)
        ingest.write(data)
        catalog.record_blobs([ingest.complete()])
    paths = [blobs.path(digest) for digest in blobs.digests()]
    catalog.close()
    ratios = []
    for _ in range(rounds):
        floor = bare_loop(paths)
        ratios.append(floor / verify_all(work / "store"))
    shutil.rmtree(work / "store")
    print(
        f"verify --all of {large_mib} MiB in 4 blobs and {small} small ones: "
        f"{statistics.median(ratios):.2f}x of a bare loop "
        f"({min(ratios):.2f}-{max(ratios):.2f}, {rounds} rounds; asked: 0.95x)"
    )


def measure_gc(work: Path, rows: int) -> None:
    """Of *rows* blobs, none of which any tree needs; the files are not there."""
    blobs, catalog = open_store(work / "store")
    for start in range(0, rows, 50_000):
        stop = min(start + 50_000, rows)
        names = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(start, stop)]
        catalog.record_blobs([HeldBlob(Digest(name), BLOB_BYTES) for name in names])
    began = time.perf_counter()
    report = collect(
        catalog,
        blobs,
        LocalTrash(blobs.root),
        dry_run=False,
        options=GcOptions(),
        clean_leftovers=lambda: None,
    )
    seconds = time.perf_counter() - began
    assert report.blobs == rows
    catalog.close()
    shutil.rmtree(work / "store")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"gc of {rows} rows: {seconds:.1f} s, {rows / seconds:.0f} a second, "
        f"peak memory {peak:.0f} MiB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store")
    parser.add_argument("--blobs", type=int, default=100_000)
    parser.add_argument("--large-mib", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="does it run at all?")
    parser.add_argument("--dir", type=Path, help="where the temporary folder goes")
    args = parser.parse_args()
    if args.quick:
        args.blobs, args.large_mib, args.rows, args.rounds = 600, 8, 3000, 1
    with tempfile.TemporaryDirectory(prefix="hubsync-bench-", dir=args.dir) as name:
        work = Path(name)
        measure_gc(work, args.rows)
        measure_verify(work, args.large_mib, args.blobs // 20, args.rounds)
        measure_publish(work, args.blobs, args.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
