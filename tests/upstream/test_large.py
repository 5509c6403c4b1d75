"""Much at once: memory stays flat, whatever the size and the number of files."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pulling import Mirror
from tests.testhub import HubRepo, Lfs, TestHub, Virtual
from tests.upstream.faulting import NIGHTLY

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Measured:
    """What one pull, a process of its own, has cost."""

    seconds: float
    peak_bytes: int


# Not ru_maxrss: that is at least what the process had before its exec, which is
# this one's memory.
_MEASURING = """
import pathlib, re, sys
from hubsync.cli.main import run
status = run(sys.argv[1:])
lines = pathlib.Path("/proc/self/status").read_text()
found = re.search(r"VmHWM:\\s+([0-9]+) kB", lines)
print(found[1], file=sys.stderr)
sys.exit(status)
"""


def measured_pull(mirror: Mirror, name: str) -> Measured:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURING, "pull", name, "-q"],
        env=mirror.environment(HUBSYNC_TRANSFER__READ_TIMEOUT="60s"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak_kib = int(done.stderr.splitlines()[-1])
    return Measured(time.monotonic() - begun, peak_kib * 1024)


def sparse_pull(hub: TestHub, mirror: Mirror, virtual: Virtual) -> Measured:
    """Pull a file of zeros that neither side stores."""
    repo = hub.create_repo("acme/sparse")
    repo.commit({"model.gguf": Lfs(virtual), "config.json": b"{}"})
    found = measured_pull(mirror, "acme/sparse")
    stat = mirror.blobs()[virtual.sha256].stat()
    assert stat.st_size == virtual.size
    assert stat.st_blocks * 512 < 512 * MIB, "zeros are not written"
    assert hub.lfs_bytes_sent == virtual.size
    return found


def test_a_file_of_512_mib_takes_no_more_memory_than_a_small_one(
    hub: TestHub, mirror: Mirror
) -> None:
    found = sparse_pull(hub, mirror, Virtual(2**29, "zeros"))
    assert found.peak_bytes <= 150 * MIB


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(NIGHTLY not in os.environ, reason=f"{NIGHTLY} is not set")
def test_a_sparse_file_of_60_gib_is_pulled_in_flat_memory(
    hub: TestHub, mirror: Mirror
) -> None:
    found = sparse_pull(hub, mirror, Virtual(60 * 2**30, "zeros"))
    assert found.peak_bytes <= 150 * MIB


def many_files(hub: TestHub, count: int) -> HubRepo:
    repo = hub.create_repo("acme/many")
    repo.commit(
        {f"d{n // 1000:03}/{n:06}.txt": b"file %d\n" % n * 20 for n in range(count)}
    )
    return repo


def test_f43_a_repo_of_10000_files_is_pulled_in_bounded_memory(
    hub: TestHub, mirror: Mirror
) -> None:
    many_files(hub, 10_000)
    found = measured_pull(mirror, "acme/many")
    assert found.peak_bytes < 300 * MIB
    assert len(mirror.blobs()) == 10_000
    assert len(hub.log.matching("/tree/")) == 11, "pages of 1000, folders too"
    assert mirror.json("show", "acme/many")["state"] == "complete"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(NIGHTLY not in os.environ, reason=f"{NIGHTLY} is not set")
def test_a_repo_of_100000_files_is_pulled_in_bounded_memory(
    hub: TestHub, mirror: Mirror, tmp_path: Path
) -> None:
    many_files(hub, 100_000)
    found = measured_pull(mirror, "acme/many")
    assert found.peak_bytes < 300 * MIB
    assert len(hub.log.matching("/tree/")) == 101
    assert mirror.json("show", "acme/many")["state"] == "complete"
