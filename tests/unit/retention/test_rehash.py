"""Hashing large blobs again, told of piece by piece."""

import errno
import os
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import pytest

from hubsync.cli.verify_progress import HashingProgress
from hubsync.model.digest import Digest
from hubsync.ports.blobs import HeldBlob
from hubsync.ports.progress import SilentProgress
from hubsync.retention.rehash import PIECE_BYTES, inspected
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.contract.made import by_digest, fill

LARGE = b"large" * (PIECE_BYTES // 2)  # two pieces, and a half
SMALL = b"small"


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    blobs = LocalBlobs(StoreRoot.open(tmp_path / "store", create=True))
    for data in (SMALL, LARGE):
        fill(blobs, by_digest(data), data)
    return blobs


def held(data: bytes) -> HeldBlob:
    return HeldBlob(Digest.of(data), len(data))


def make_huge(blobs: LocalBlobs) -> HeldBlob:
    """Sparse, and so large that reading it would take minutes."""
    huge = HeldBlob(Digest.of(b"huge"), 1 << 40)
    path = blobs.path(huge.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(huge.size_bytes)
    return huge


class Sums(SilentProgress):
    """What was told of each blob, and in which order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.arrived: Counter[str] = Counter()
        self.verified: Counter[str] = Counter()

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        self.events.append(("started", path))

    def file_advanced(self, path: str, size_bytes: int) -> None:
        self.events.append(("advanced", path))
        self.arrived[path] += size_bytes

    def file_verified(self, path: str, size_bytes: int) -> None:
        self.verified[path] += size_bytes

    def file_done(self, path: str) -> None:
        self.events.append(("done", path))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_we_have_no_means_to_read_is_not_damaged(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Damaged is what goes to quarantine: a server short of files has good ones."""

    def short_of_it(_: Digest) -> BinaryIO:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(blobs, "open", short_of_it)
    with pytest.raises(OSError, match=os.strerror(number)):
        list(inspected(blobs, [held(SMALL)], lambda _blob, _size_bytes: None))


def test_a_large_blob_advances_before_it_is_done(blobs: LocalBlobs) -> None:
    seen = Sums()
    hashing = HashingProgress(seen)
    wanted = [held(SMALL), held(LARGE)]
    for blob, found in inspected(blobs, wanted, hashing.hashed):
        assert found is None
        hashing.checked(blob)
    sums = {str(blob.digest): blob.size_bytes for blob in wanted}
    assert seen.arrived == sums
    assert seen.verified == sums
    large = [what for what, path in seen.events if path == str(Digest.of(LARGE))]
    assert large == ["started", *["advanced"] * 3, "done"]


@pytest.mark.parametrize("change", [-PIECE_BYTES, PIECE_BYTES])
def test_a_large_blob_of_another_length_is_found_and_sums_up(
    blobs: LocalBlobs, change: int
) -> None:
    path = blobs.path(Digest.of(LARGE))
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(len(LARGE) + change)
    seen = Sums()
    hashing = HashingProgress(seen)
    for blob, found in inspected(blobs, [held(LARGE)], hashing.hashed):
        assert found == f"{len(LARGE) + change} bytes long instead of {len(LARGE)}"
        hashing.checked(blob)
    assert seen.arrived == {str(Digest.of(LARGE)): len(LARGE)}


def test_a_large_blob_holds_up_nobody_else(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small ones are read beside it, however many come after it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    wanted = [make_huge(blobs), *[held(SMALL)] * 2000]
    finding = inspected(blobs, wanted, lambda _blob, _size_bytes: None)
    found = [next(finding) for _ in range(1900)]
    assert found == [(held(SMALL), None)] * 1900
    finding.close()


def test_whoever_stops_does_not_wait_for_large_blobs(blobs: LocalBlobs) -> None:
    """As Ctrl-C does, which comes while the caller waits for the threads."""

    def interrupt(_blob: HeldBlob, _size_bytes: int) -> None:
        raise KeyboardInterrupt

    huge = make_huge(blobs)
    with pytest.raises(KeyboardInterrupt):
        list(inspected(blobs, [huge] * 9, interrupt))
