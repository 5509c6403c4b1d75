"""Whole downloads by real clients: over TLS, and of a repo."""

import hashlib
import os
import shutil
import ssl
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.request import Request

from benchmarks.commands import find, said_missing
from benchmarks.content import (
    LARGE,
    MIB,
    REPO,
    SNAPSHOT_LARGE,
    SNAPSHOT_REPO,
    SNAPSHOT_SMALL,
)
from benchmarks.measure import (
    BenchmarkError,
    Comparison,
    Section,
    alternating,
    rounds,
    settle,
    warm,
)
from benchmarks.server import serving_tls
from benchmarks.stand import HUBSYNC, NGINX, Stand, check

_DOWNLOAD = """\
import sys, time
from huggingface_hub import snapshot_download
began = time.perf_counter()
snapshot_download(sys.argv[1], local_dir=sys.argv[2])
print(time.perf_counter() - began)
"""
_IN_MEMORY = Path("/dev/shm")
FILES = SNAPSHOT_LARGE + SNAPSHOT_SMALL
FRONT = "nginx, the same answers kept"
ABOUT_FRONT = """\
A folder of files is nothing that snapshot_download can ask for: nginx stands in
front of hubsync, has kept each answer, and asks it nothing any more."""


def measure_tls(stand: Stand) -> Iterator[Section]:
    """One large file over TLS; curl takes it, which most of the work is."""
    if find("curl") is None:
        yield Section("serve: TLS", notes=[said_missing("curl")])
        return
    mib = stand.content.large_bytes // MIB
    compared = Comparison(
        f"GET of {mib} MiB over TLS, curl", NGINX, "MiB/s", "more", 0.9
    )
    folder = stand.nginx.certificate.parent
    key = folder / "key.pem"
    with serving_tls(stand.content.store, stand.nginx.certificate, key) as ours:
        bases = {
            HUBSYNC: f"{ours.url}/{REPO}/resolve/main/",
            NGINX: f"{stand.nginx.tls}/",
        }
        trusted = ssl.create_default_context(cafile=stand.nginx.certificate)
        for base in bases.values():
            check(stand, base, trusted)

        def get(base: str) -> float:
            certificate = str(stand.nginx.certificate)
            return stand.runner.run(
                [
                    "curl",
                    "-sf",
                    "--cacert",
                    certificate,
                    "-o",
                    "/dev/null",
                    base + LARGE,
                ]
            ).seconds

        runs = {name: partial(get, url) for name, url in bases.items()}
        for run in runs.values():
            run()  # warm-up
        for number in rounds(stand.plan.rounds, stand.plan.seconds_max):
            taken = alternating(number, runs)
            compared.add(mib / taken[HUBSYNC], mib / taken[NGINX])
    yield Section("serve: TLS", [compared])


def _check_download(stand: Stand, folder: Path) -> None:
    """Raise unless *folder* has the bytes that the Hub's name for them promises."""
    for path in folder.glob("*.safetensors"):
        url = f"{stand.ours.url}/{SNAPSHOT_REPO}/resolve/main/{path.name}"
        with urllib.request.urlopen(Request(url, method="HEAD")) as answer:
            promised = answer.headers["ETag"].strip('"')
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != promised:
            raise BenchmarkError(f"{path.name} was downloaded with other bytes")


def measure_snapshot(stand: Stand) -> Iterator[Section]:
    """What ``snapshot_download`` takes, in an empty folder each time."""
    size = SNAPSHOT_LARGE * stand.plan.sizes["snapshot_mib"] * MIB
    with _quick_folder(stand.plan.work, size) as folder:
        yield _measure_snapshot(stand, folder / "download", size)


@contextmanager
def _quick_folder(otherwise: Path, size: int) -> Iterator[Path]:
    """In memory, if it has room: how fast a disk is written is not compared here."""
    disk = os.statvfs(_IN_MEMORY) if _IN_MEMORY.is_dir() else None
    has_room = disk is not None and disk.f_bavail * disk.f_frsize > 2 * size
    place = _IN_MEMORY if has_room else otherwise
    with tempfile.TemporaryDirectory(prefix="hubsync-bench-", dir=place) as name:
        yield Path(name)


def _measure_snapshot(stand: Stand, target: Path, size: int) -> Section:
    compared = Comparison(
        f"snapshot_download, {FILES} files, {size // MIB} MiB",
        FRONT,
        "s",
        "less",
        1 / 1.05,
    )

    def download(endpoint: str) -> float:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        settle()
        warm(target, size)
        command = [sys.executable, "-c", _DOWNLOAD, SNAPSHOT_REPO, str(target)]
        home = str(stand.plan.work / "hf")
        done = stand.runner.run(command, {"HF_ENDPOINT": endpoint, "HF_HOME": home})
        found = [*target.glob("*.json"), *target.glob("*.safetensors")]
        assert len(found) == FILES, done.said
        return float(done.said.split()[-1])

    runs = {
        HUBSYNC: partial(download, stand.ours.url),
        NGINX: partial(download, stand.nginx.front),
    }
    for run in runs.values():
        run()  # after this nginx has every answer
        _check_download(stand, target)
    for number in rounds(stand.plan.rounds, stand.plan.seconds_max):
        taken = alternating(number, runs)
        compared.add(taken[HUBSYNC], taken[NGINX])
    return Section("serve: a warm snapshot_download", [compared], notes=[ABOUT_FRONT])
