import errno
import os
import resource
import threading
from pathlib import Path

import pytest

from hubsync.model.digest import Descriptor, Digest
from hubsync.model.errors import ExitCode
from hubsync.ports.blobs import BlobCorruptError, NoRoomError, StoreReadOnlyError
from hubsync.store import disk, syncing
from hubsync.store import ingest as ingest_module
from hubsync.store.disk import StoreIOError
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.contract.made import begin, by_digest, by_oid, fill, read
from tests.unit.store.conftest import Mounter

DATA = b"0123456789" * 1000
DIGEST = Digest.of(DATA)
WANT = by_digest(DATA)


def test_a_blob_is_a_read_only_file_named_by_its_digest(blobs: LocalBlobs) -> None:
    fill(blobs, WANT, DATA)
    path = blobs.root.path / "blobs/sha256" / DIGEST.hex[:2] / DIGEST.hex[2:4]

    assert blobs.path(DIGEST) == path / DIGEST.hex
    assert blobs.path(DIGEST).stat().st_mode & 0o777 == 0o444
    assert not list(blobs.root.partial.iterdir())


def test_a_partial_longer_than_the_blob_starts_over(blobs: LocalBlobs) -> None:
    (blobs.root.partial / WANT.key).write_bytes(DATA + b"more")

    assert blobs.partial_bytes(WANT) == 0
    ingest = begin(blobs, WANT)
    assert ingest.offset == 0
    ingest.write(DATA)
    assert ingest.complete().digest == DIGEST


def test_a_partial_that_a_crash_damaged_is_found_out(blobs: LocalBlobs) -> None:
    (blobs.root.partial / WANT.key).write_bytes(bytes(5000))
    ingest = begin(blobs, WANT)
    assert ingest.offset == 5000
    ingest.write(DATA[5000:])

    with pytest.raises(BlobCorruptError):
        ingest.complete()
    assert len(list(blobs.root.quarantine.iterdir())) == 1
    assert fill(blobs, WANT, DATA).digest == DIGEST


def test_a_whole_partial_left_read_only_by_a_crash_is_completed(
    as_anybody: Path,
) -> None:
    blobs = LocalBlobs(StoreRoot.open(as_anybody / "store", create=True))
    partial = blobs.root.partial / WANT.key
    partial.write_bytes(DATA)
    partial.chmod(0o444)

    ingest = begin(blobs, WANT)
    assert ingest.offset == len(DATA)
    assert ingest.complete().digest == DIGEST
    assert read(blobs, DIGEST) == DATA


def test_a_blob_of_another_size_than_its_own_is_replaced(blobs: LocalBlobs) -> None:
    fill(blobs, WANT, DATA)
    blobs.path(DIGEST).chmod(0o644)
    os.truncate(blobs.path(DIGEST), 7)

    fill(blobs, WANT, DATA)
    assert read(blobs, DIGEST) == DATA
    assert [path.stat().st_size for path in blobs.root.quarantine.iterdir()] == [7]


def test_a_blob_fetched_twice_stays_the_file_that_views_link_to(
    blobs: LocalBlobs,
) -> None:
    fill(blobs, WANT, DATA)
    before = blobs.path(DIGEST).stat().st_ino
    fill(blobs, by_oid(DATA), DATA)

    assert blobs.path(DIGEST).stat().st_ino == before
    assert not list(blobs.root.partial.iterdir())


def test_files_that_are_not_blobs_are_not_listed(blobs: LocalBlobs) -> None:
    fill(blobs, WANT, DATA)
    (blobs.path(DIGEST).parent / "README").touch()
    (blobs.root.blobs / "zz").mkdir()

    assert list(blobs.digests()) == [DIGEST]


def test_a_used_up_ingest_is_a_bug_of_the_caller(blobs: LocalBlobs) -> None:
    ingest = begin(blobs, WANT)
    ingest.abort()

    for misuse in (lambda: ingest.write(b"x"), ingest.complete, ingest.restart):
        with pytest.raises(AssertionError):
            misuse()


def test_wrong_bytes_do_not_touch_the_partial_of_the_next_holder(
    blobs: LocalBlobs,
) -> None:
    first = begin(blobs, WANT)
    first.write(b"wrong")
    with pytest.raises(BlobCorruptError):
        first.complete()
    second = begin(blobs, WANT)
    second.write(DATA)
    first.abort()

    assert second.complete().digest == DIGEST


def test_who_comes_while_wrong_bytes_are_put_aside_keeps_a_partial_of_its_own(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomers = []
    real = StoreRoot.set_aside

    def set_aside(root: StoreRoot, path: Path, key: str) -> None:
        real(root, path, key)
        newcomers.append(begin(blobs, WANT))

    monkeypatch.setattr(StoreRoot, "set_aside", set_aside)
    first = begin(blobs, WANT)
    with pytest.raises(BlobCorruptError):
        first.complete()

    newcomers[0].write(DATA)
    assert newcomers[0].complete().digest == DIGEST


def test_many_threads_bring_in_one_blob_once(blobs: LocalBlobs) -> None:
    digests: list[Digest] = []
    threads = [
        threading.Thread(target=lambda: digests.append(fill(blobs, WANT, DATA).digest))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert digests == [DIGEST] * 8
    assert list(blobs.digests()) == [DIGEST]


class TestRoom:
    def test_a_blob_that_cannot_fit_is_refused_before_its_first_byte(
        self, small_disk: Mounter
    ) -> None:
        blobs = LocalBlobs(StoreRoot.open(small_disk("size=1m") / "s", create=True))

        with pytest.raises(NoRoomError, match=r"2\.0 MB are needed") as caught:
            blobs.begin(Descriptor(2_000_000, DIGEST))
        assert caught.value.exit_code is ExitCode.NO_ROOM
        assert not list(blobs.root.partial.iterdir())

    def test_nothing_fits_however_little_is_free(self, small_disk: Mounter) -> None:
        root = StoreRoot.open(small_disk("size=1m") / "s", create=True)
        LocalBlobs(root, reserve_bytes=1 << 50).check_room([])

    def test_many_blobs_fit_together_or_none_is_begun(
        self, small_disk: Mounter
    ) -> None:
        blobs = LocalBlobs(StoreRoot.open(small_disk("size=1m") / "s", create=True))
        wants = [Descriptor(450_000, Digest.of(b"%d" % n)) for n in range(3)]
        with pytest.raises(NoRoomError, match=r"1\.4 MB are needed"):
            blobs.check_room(wants)
        assert not list(blobs.root.partial.iterdir())

        begin(blobs, wants[0]).write(bytes(300_000))

        blobs.check_room(wants[:2])  # 900 kB, of which 300 are there: 700 are free
        with pytest.raises(NoRoomError, match=r"1\.1 MB are needed"):
            blobs.check_room(wants)

    def test_the_reserve_stays_free(self, small_disk: Mounter) -> None:
        root = StoreRoot.open(small_disk("size=1m") / "s", create=True)
        blobs = LocalBlobs(root, reserve_bytes=900_000)
        fill(blobs, WANT, DATA)

        with pytest.raises(NoRoomError, match="kept in reserve"):
            blobs.begin(Descriptor(500_000, Digest.of(b"other")))

    def test_the_reserve_is_watched_while_bytes_come(
        self, small_disk: Mounter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ingest_module, "ROOM_CHECK_BYTES", 4000)
        folder = small_disk("size=1m")
        blobs = LocalBlobs(
            StoreRoot.open(folder / "s", create=True), reserve_bytes=500_000
        )
        ingest = begin(blobs, WANT)
        (folder / "somebody else's").write_bytes(bytes(700_000))

        with pytest.raises(NoRoomError):
            ingest.write(DATA)
        ingest.abort()

    def test_a_full_disk_keeps_what_was_fetched_and_goes_on_when_there_is_room(
        self, small_disk: Mounter
    ) -> None:
        folder = small_disk("size=1m")
        blobs = LocalBlobs(StoreRoot.open(folder / "s", create=True))
        data = os.urandom(600_000)
        ingest = begin(blobs, by_digest(data))
        (folder / "other").write_bytes(bytes(700_000))
        with pytest.raises(NoRoomError, match="the disk is full") as caught:
            ingest.write(data)
        assert caught.value.hint
        ingest.abort()
        kept = blobs.partial_bytes(by_digest(data))
        assert 0 < kept < len(data)
        (folder / "other").unlink()

        again = begin(blobs, by_digest(data))
        assert again.offset == kept
        again.write(data[kept:])
        assert read(blobs, again.complete().digest) == data

    def test_out_of_inodes_is_told_from_out_of_bytes_and_loses_nothing(
        self, small_disk: Mounter
    ) -> None:
        folder = small_disk("size=4m,nr_inodes=16")
        blobs = LocalBlobs(StoreRoot.open(folder / "s", create=True))
        ingest = begin(blobs, WANT)
        ingest.write(DATA)
        others = fill_inodes(folder)
        with pytest.raises(NoRoomError, match="out of inodes"):
            ingest.complete()
        for path in others:
            path.unlink()

        again = begin(blobs, WANT)
        assert again.offset == len(DATA)
        assert again.complete().digest == DIGEST

    def test_a_file_larger_than_the_limit_fails_alone(self, blobs: LocalBlobs) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        try:
            ingest = begin(blobs, WANT)
            with pytest.raises(NoRoomError, match="larger than"):
                ingest.write(DATA)
            ingest.abort()
            fill(blobs, by_digest(b"small"), b"small")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert blobs.has(Digest.of(b"small"))

    def test_too_many_open_files_says_what_to_raise(self, blobs: LocalBlobs) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            with pytest.raises(StoreIOError, match="Too many open files") as caught:
                blobs.begin(WANT)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert "ulimit -n" in str(caught.value.hint)


class TestADiskThatFails:
    """An I/O error is never followed by an acknowledgement of what it hit."""

    def test_f4_a_failed_fsync_is_final(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ingest = begin(blobs, WANT)
        ingest.write(DATA)
        calls = failing(monkeypatch, "fsync", at=1)
        with pytest.raises(StoreIOError, match="Input/output error"):
            ingest.complete()

        assert calls == [1], "never retried"
        assert not blobs.has(DIGEST)
        assert blobs.partial_bytes(WANT) == 0
        assert fill(blobs, WANT, DATA).digest == DIGEST

    @pytest.mark.parametrize("at", [1, 2, 3])
    def test_a_folder_that_cannot_be_synced_leaves_no_blob_to_believe_in(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, at: int
    ) -> None:
        ingest = begin(blobs, WANT)
        ingest.write(DATA)
        with monkeypatch.context() as patch:
            count_sync_folder(patch, at)
            with pytest.raises(StoreIOError):
                ingest.complete()

        assert not blobs.has(DIGEST)
        assert fill(blobs, WANT, DATA).digest == DIGEST

    def test_a_blob_found_there_is_not_believed_before_its_name_is_durable(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(blobs, WANT, DATA)
        another_process = LocalBlobs(blobs.root)
        with monkeypatch.context() as patch:
            count_sync_folder(patch, 1)
            with pytest.raises(StoreIOError):
                another_process.begin(WANT)

    def test_a_failed_write_throws_the_partial_away(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ingest = begin(blobs, WANT)
        ingest.write(DATA[:100])
        failing(monkeypatch, "pwrite", at=1)
        with pytest.raises(StoreIOError):
            ingest.write(DATA[100:])

        assert blobs.partial_bytes(WANT) == 0
        assert not list(blobs.root.partial.iterdir())

    def test_a_folder_nobody_may_write_is_no_disk_error(self, as_anybody: Path) -> None:
        blobs = LocalBlobs(StoreRoot.open(as_anybody / "s", create=True))
        blobs.root.partial.chmod(0o555)

        with pytest.raises(StoreReadOnlyError, match="no access"):
            blobs.begin(WANT)


def fill_inodes(disk: Path) -> list[Path]:
    made: list[Path] = []
    while os.statvfs(disk).f_favail:
        path = disk / f"f{len(made)}"
        path.touch()
        made.append(path)
    return made


def failing(patch: pytest.MonkeyPatch, name: str, *, at: int) -> list[int]:
    """Let the *at*-th call of ``os.<name>`` fail as a broken disk does."""
    calls: list[int] = []
    real = getattr(os, name)

    def call(*args: object) -> object:
        calls.append(len(calls) + 1)
        if len(calls) == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*args)

    patch.setattr(os, name, call)
    return calls


def count_sync_folder(patch: pytest.MonkeyPatch, at: int) -> None:
    calls: list[Path] = []
    real = disk.sync_folder

    def sync(path: Path) -> None:
        calls.append(path)
        if len(calls) == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(path)

    patch.setattr(syncing, "sync_folder", sync)
