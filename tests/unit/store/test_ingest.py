"""One ingest under many threads, and several that share a disk."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from hubsync.model.digest import Descriptor, Digest
from hubsync.ports.blobs import BlobCorruptError, NoRoomError
from hubsync.store import ingest as ingest_module
from hubsync.store.disk import StoreIOError
from hubsync.store.handle import Handle
from hubsync.store.ingest import LocalIngest
from hubsync.store.journal import journal_of
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.contract.made import begin, by_digest, read
from tests.unit.store.conftest import Mounter

MIB = 1 << 20
DATA = Random(1).randbytes(300_000)
WANT = by_digest(DATA)


def began(blobs: LocalBlobs, want: Descriptor = WANT) -> LocalIngest:
    ingest = blobs.begin(want)
    assert isinstance(ingest, LocalIngest)
    return ingest


class Held:
    """A system call of another thread that lasts until the test lets go of it."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str) -> None:
        self.inside, self.go = threading.Event(), threading.Event()
        self.fds: list[int] = []
        real = getattr(os, name)

        def call(fd: int, *args: object) -> object:
            if threading.current_thread() is self.thread:
                self.fds.append(fd)
                self.inside.set()
                assert self.go.wait(20)
            return real(fd, *args)

        patch.setattr(os, name, call)
        self.thread = threading.Thread()
        self.error: BaseException | None = None

    def run(self, work: Callable[[], object]) -> None:
        def noticed() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - looked at by the test
                self.error = error

        self.thread = threading.Thread(target=noticed)
        self.thread.start()
        assert self.inside.wait(20)

    def finish(self) -> None:
        self.go.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


ENDS: list[Callable[[LocalIngest], object]] = [
    LocalIngest.abort,
    LocalIngest.discard,
    lambda ingest: ingest.reject("wrong"),
]


class TestEndedUnderAThread:
    @pytest.mark.parametrize("end", ENDS, ids=["abort", "discard", "reject"])
    @pytest.mark.parametrize("call", ["pwrite", "preadv"])
    def test_a_file_in_use_is_closed_by_who_used_it_last(
        self,
        blobs: LocalBlobs,
        monkeypatch: pytest.MonkeyPatch,
        end: Callable[[LocalIngest], object],
        call: str,
    ) -> None:
        """Its number would be another file's by now, and the write would go there."""
        ingest = began(blobs, by_digest(bytes(9 * MIB)))
        ingest.write(DATA, 0)
        held = Held(monkeypatch, call)
        if call == "pwrite":
            held.run(lambda: ingest.write(b"late", 1_000_000))
        else:
            held.run(lambda: ingest.hash_ahead(1000))
        end(ingest)
        [fd] = set(held.fds)

        assert is_open(fd)
        held.finish()
        assert not is_open(fd)
        assert held.error is None

    def test_one_that_failed_leaves_the_next_partial_alone(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not a byte, and not a journal that would speak for it."""
        ingest = began(blobs)
        held = Held(monkeypatch, "pwrite")
        held.run(lambda: ingest.write(b"late", 1000))
        ingest.discard()
        another = LocalBlobs(blobs.root).begin(WANT, wait=False)
        assert isinstance(another, LocalIngest), "its name is free"
        another.write(DATA[:500], 0)
        held.finish()

        assert not journal_of(another.path).exists()
        assert another.path.read_bytes() == DATA[:500]
        another.write(DATA[500:])
        assert another.complete().digest == WANT.digest

    def test_the_others_are_told_why(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        ingest = began(blobs)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", fail)
            with pytest.raises(StoreIOError, match="Input/output"):
                ingest.write(DATA[:10], 0)
        with pytest.raises(StoreIOError, match="Input/output"):
            ingest.write(DATA[10:20], 10)
        with pytest.raises(StoreIOError, match="Input/output"):
            ingest.hash_ahead(10)
        with pytest.raises(StoreIOError, match="Input/output"):
            ingest.checkpoint()
        ingest.abort()

    def test_after_a_rejection_they_are_told_that(self, blobs: LocalBlobs) -> None:
        ingest = began(blobs)
        ingest.reject("a web page")
        with pytest.raises(BlobCorruptError, match="web page"):
            ingest.write(b"x", 0)

    def test_a_failed_checkpoint_throws_all_away(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        ingest = began(blobs)
        ingest.write(DATA[1000:2000], 1000)
        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreIOError):
            ingest.checkpoint()

        assert blobs.partial_bytes(WANT) == 0
        assert not list(blobs.root.partial.iterdir())


def test_a_handle_is_used_up_once(tmp_path: Path) -> None:
    handle = Handle(os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT))
    with handle.use() as outer, handle.use() as inner:
        assert outer == inner
        with handle.end() as first, handle.end() as second:
            assert (first, second) == (outer, None)
        assert is_open(outer)
    assert not is_open(outer)
    with pytest.raises(AssertionError), handle.use():
        pass


class TestHoles:
    def test_zeros_take_no_room_and_count_as_bytes(self, blobs: LocalBlobs) -> None:
        data = DATA + bytes(8 * MIB) + DATA
        ingest = began(blobs, by_digest(data))
        for start in reversed(range(0, len(data), MIB)):
            ingest.write(data[start : start + MIB], start)
        ingest.verify()
        blobs.publish([ingest])

        path = blobs.path(Digest.of(data))
        assert path.read_bytes() == data
        if has_holes(path.parent):
            assert path.stat().st_blocks * 512 < len(data) - 6 * MIB

    def test_a_file_of_zeros_only_is_whole(self, blobs: LocalBlobs) -> None:
        data = bytes(9 * MIB)
        ingest = began(blobs, by_digest(data))
        for start in reversed(range(0, len(data), MIB)):
            ingest.write(data[start : start + MIB], start)

        assert read(blobs, ingest.complete().digest) == data

    def test_zeros_over_what_was_there_are_written(self, blobs: LocalBlobs) -> None:
        """What a journal does not speak for may lie there all the same."""
        data = bytes(200_000)
        first = began(blobs, by_digest(data))
        first.write(data[100_000:], 100_000)
        first.abort()
        with first.path.open("r+b") as file:
            file.write(b"garbage" * 1000)

        again = began(blobs, by_digest(data))
        again.write(data[:100_000], 0)
        assert read(blobs, again.complete().digest) == data

    def test_one_that_died_before_the_file_had_its_length_has_it_now(
        self, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = DATA + bytes(100_000)
        first = began(blobs, by_digest(data))
        first.write(DATA[:1000])

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", die)
            with pytest.raises(KeyboardInterrupt):
                first.write(data[-100_000:], len(DATA))
        first.abort()

        again = began(blobs, by_digest(data))
        again.write(data[-100_000:], len(DATA))
        again.write(data[1000 : len(DATA)], 1000)
        assert read(blobs, again.complete().digest) == data


def has_holes(folder: Path) -> bool:
    path = folder / "probe"
    with path.open("wb") as file:
        file.truncate(MIB)
    blocks = path.stat().st_blocks
    path.unlink()
    return not blocks


class TestSharedRoom:
    def test_what_one_was_promised_is_not_promised_to_another(
        self, small_disk: Mounter
    ) -> None:
        blobs = LocalBlobs(StoreRoot.open(small_disk("size=4m") / "s", create=True))
        first = began(blobs, Descriptor(2 * MIB, Digest.of(b"1")))
        second = Descriptor(3 * MIB, Digest.of(b"2"))
        with pytest.raises(NoRoomError, match="are needed"):
            blobs.begin(second)
        assert len(list(blobs.root.partial.iterdir())) == 1, "no empty one is left"
        first.abort()

        began(blobs, second).abort()

    def test_what_is_written_is_needed_no_more(self, small_disk: Mounter) -> None:
        blobs = LocalBlobs(StoreRoot.open(small_disk("size=4m") / "s", create=True))
        first = began(blobs, Descriptor(2 * MIB, Digest.of(b"1")))
        first.write(b"x" * MIB, MIB)
        # 3 MiB are free, 1 of them is spoken for.
        second = began(blobs, Descriptor(3 * MIB // 2, Digest.of(b"2")))
        first.restart()
        second.abort()
        first.write(b"x" * 2 * MIB)
        first.abort()

        assert blobs._room._promised_bytes == 0

    def test_what_was_resumed_is_not_needed_again(self, small_disk: Mounter) -> None:
        blobs = LocalBlobs(StoreRoot.open(small_disk("size=4m") / "s", create=True))
        want = Descriptor(3 * MIB, Digest.of(b"1"))
        first = began(blobs, want)
        first.write(b"x" * 2 * MIB, MIB)
        first.abort()

        again = began(blobs, want)
        assert again.missing() == [(0, MIB)]
        again.abort()

    def test_a_partial_for_which_there_is_no_room_is_kept(
        self, small_disk: Mounter
    ) -> None:
        folder = small_disk("size=4m")
        blobs = LocalBlobs(StoreRoot.open(folder / "s", create=True))
        want = Descriptor(2 * MIB, Digest.of(b"1"))
        first = began(blobs, want)
        first.write(b"x" * MIB)
        first.abort()
        other = began(blobs, Descriptor(5 * MIB // 2, Digest.of(b"2")))

        with pytest.raises(NoRoomError):
            blobs.begin(want)
        other.abort()
        again = began(blobs, want)
        assert again.offset == MIB
        again.abort()

    def test_it_is_checked_while_bytes_come(
        self, small_disk: Mounter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ingest_module, "ROOM_CHECK_BYTES", 4000)
        folder = small_disk("size=4m")
        blobs = LocalBlobs(StoreRoot.open(folder / "s", create=True))
        first = begin(blobs, Descriptor(MIB, Digest.of(b"1")))
        second = begin(blobs, Descriptor(MIB, Digest.of(b"2")))
        (folder / "somebody else's").write_bytes(bytes(5 * MIB // 2))

        with pytest.raises(NoRoomError):
            first.write(b"x" * 5000, 0)
        second.abort()
        first.write(b"x" * 5000, 0)
        first.abort()
