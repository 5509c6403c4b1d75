"""What interrupted commands left goes, beside commands that go on."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubsync.ports.blobs import Ingest
from hubsync.store.journal import journal_of
from hubsync.store.layout import StoreRoot
from hubsync.store.leftovers import clean_leftovers
from hubsync.store.local import LocalBlobs
from hubsync.store.lock import open_locked
from hubsync.store.trash import LocalTrash
from tests.contract.made import begin, by_digest, fill

DATA = b"0123456789" * 10


def behind_a_gap(blobs: LocalBlobs, data: bytes = DATA) -> Ingest:
    """An ingest with a journal."""
    ingest = begin(blobs, by_digest(data))
    ingest.write(data[50:60], 50)
    return ingest


def partial_of(blobs: LocalBlobs, data: bytes = DATA) -> Path:
    return blobs.root.partial / by_digest(data).key


def age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (0, 0))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_an_old_partial_goes_with_its_journal(blobs: LocalBlobs) -> None:
    behind_a_gap(blobs).abort()
    partial = partial_of(blobs)
    age(partial, journal_of(partial))
    clean_leftovers(blobs.root)
    assert files(blobs.root.partial) == set()


def test_a_young_partial_keeps_its_journal_however_old_that_is(
    blobs: LocalBlobs,
) -> None:
    behind_a_gap(blobs).abort()
    partial = partial_of(blobs)
    age(journal_of(partial))
    clean_leftovers(blobs.root)
    assert files(blobs.root.partial) == {partial.name, journal_of(partial).name}


def test_a_partial_that_somebody_has_is_not_touched_however_old(
    blobs: LocalBlobs,
) -> None:
    ingest = behind_a_gap(blobs)
    partial = partial_of(blobs)
    age(partial, journal_of(partial))
    clean_leftovers(blobs.root, 0.0)
    assert files(blobs.root.partial) == {partial.name, journal_of(partial).name}
    ingest.write(DATA[:50], 0)
    ingest.write(DATA[60:], 60)
    assert ingest.complete().size_bytes == len(DATA)


def test_a_journal_without_its_partial_goes(blobs: LocalBlobs) -> None:
    """It would speak for the next partial of that name."""
    behind_a_gap(blobs).abort()
    partial = partial_of(blobs)
    partial.unlink()
    clean_leftovers(blobs.root)
    assert files(blobs.root.partial) == {journal_of(partial).name}, "it is young"
    age(journal_of(partial))
    clean_leftovers(blobs.root)
    assert files(blobs.root.partial) == set()


def test_half_a_journal_goes_when_it_is_old(root: StoreRoot) -> None:
    half = root.partial / ".sha256-x.journal.tmp"
    half.touch()
    clean_leftovers(root)
    assert half.exists()
    age(half)
    clean_leftovers(root)
    assert not half.exists()


def test_partials_come_and_go_beside_it(blobs: LocalBlobs) -> None:
    """Every ingest ends in the right bytes, whatever is cleaned meanwhile."""
    over = threading.Event()

    def clean() -> None:
        while not over.is_set():
            clean_leftovers(blobs.root, 0.0)

    cleaning = threading.Thread(target=clean)
    cleaning.start()
    try:
        for n in range(150):
            data = b"%03d" % n * 30
            ingest = behind_a_gap(blobs, data)
            if n % 3 == 0:
                ingest.abort()
                ingest = begin(blobs, by_digest(data))
            for span in ingest.missing():
                ingest.write(data[span[0] : span[1]], span[0])
            assert ingest.complete().digest == by_digest(data).digest
    finally:
        over.set()
        cleaning.join()
    clean_leftovers(blobs.root, -1.0)
    assert files(blobs.root.partial) == set()


@contextmanager
def laid_out(root: StoreRoot, name: str) -> Iterator[Path]:
    """As the view does it: the lock first, then the folder."""
    root.staging.mkdir(exist_ok=True)
    lock = root.staging / f"{name}.lock"
    fd = open_locked(lock)
    (root.staging / name).mkdir()
    try:
        yield root.staging / name
    finally:
        (root.staging / name).rmdir()
        lock.unlink()
        os.close(fd)


def test_views_are_laid_out_beside_it(root: StoreRoot) -> None:
    over = threading.Event()

    def clean() -> None:
        while not over.is_set():
            clean_leftovers(root, 3600.0)

    cleaning = threading.Thread(target=clean)
    cleaning.start()
    try:
        for _ in range(300):
            with laid_out(root, "models--a--b") as staging:
                assert staging.is_dir()
    finally:
        over.set()
        cleaning.join()


def test_the_trash_holds_the_same_blob_twice_and_gives_it_back_once(
    blobs: LocalBlobs,
) -> None:
    trash = LocalTrash(blobs.root)
    digest = fill(blobs, by_digest(DATA), DATA).digest
    first = trash.put(digest, 1.5)
    assert first
    assert (first.size_bytes, first.since_s) == (len(DATA), 1.5)
    assert trash.put(digest, 2.0) is None
    fill(blobs, by_digest(DATA), DATA)
    second = trash.put(digest, 2.0)
    assert second
    assert {item.name for item in trash.items()} == {first.name, second.name}
    assert trash.put_back(first)
    assert not trash.put_back(second)
    assert blobs.has(digest, len(DATA))
    trash.delete(second)
    trash.delete(second)
    assert list(trash.items()) == []


def test_a_blob_comes_back_though_its_folder_is_gone(blobs: LocalBlobs) -> None:
    trash = LocalTrash(blobs.root)
    digest = fill(blobs, by_digest(DATA), DATA).digest
    item = trash.put(digest, 1.0)
    assert item
    folder = blobs.path(digest).parent
    folder.rmdir()
    folder.parent.rmdir()
    assert trash.put_back(item)
    assert blobs.has(digest)
