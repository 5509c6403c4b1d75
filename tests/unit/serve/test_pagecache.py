"""What is said to be in memory is; what cannot be told is said not to be."""

import os
from pathlib import Path

import pytest

from hubsync.model.units import MIB
from hubsync.serve.pagecache import PageCache


@pytest.fixture
def file(tmp_path: Path) -> int:
    path = tmp_path / "blob"
    path.write_bytes(os.urandom(4 * MIB + 5))
    return os.open(path, os.O_RDWR)


@pytest.fixture
def cache(file: int) -> PageCache:
    cache = PageCache()
    if not cache.has(file, 0, MIB):
        pytest.skip("this kernel does not tell")
    return cache


def test_what_was_just_written_is_there(cache: PageCache, file: int) -> None:
    assert cache.has(file, 0, 4 * MIB + 5)
    assert cache.has(file, 4095, 4097)
    assert cache.has(file, 4 * MIB, 4 * MIB + 5)


def test_what_was_dropped_is_not(cache: PageCache, file: int) -> None:
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    if cache.has(file, 0, 1):
        pytest.skip("this file system is in memory")
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)  # else more comes than asked
    os.pread(file, 1, 2 * MIB + 1)
    assert cache.has(file, 2 * MIB, 2 * MIB + 4096)
    assert not cache.has(file, 2 * MIB - 1, 2 * MIB + 1)
    assert not cache.has(file, 2 * MIB, 2 * MIB + 4097)
    assert not cache.has(file, 0, 4 * MIB)


def test_behind_the_end_there_is_nothing(cache: PageCache, file: int) -> None:
    assert not cache.has(file, 5 * MIB, 6 * MIB)


def test_of_what_cannot_be_asked_the_answer_is_no(cache: PageCache, file: int) -> None:
    ours, theirs = os.pipe()
    assert not cache.has(ours, 0, 10)
    os.close(ours)
    os.close(theirs)
    assert not cache.has(ours, 0, 10)
    assert cache.has(file, 0, MIB)
