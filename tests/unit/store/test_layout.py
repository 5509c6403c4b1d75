import os
import subprocess
import sys
from pathlib import Path

import pytest

from hubsync.model.digest import Digest
from hubsync.model.errors import ExitCode
from hubsync.ports.blobs import StoreBusyError, StoreLayoutError, StoreReadOnlyError
from hubsync.store import layout
from hubsync.store.layout import QUARANTINE_KEPT, StoreRoot
from hubsync.store.leftovers import clean_leftovers
from hubsync.store.local import LocalBlobs
from tests.contract.made import begin, by_digest, fill
from tests.unit.store.conftest import Mounter

HOLD = """
import sys
from pathlib import Path
from hubsync.store.layout import StoreRoot

root = StoreRoot.open(Path(sys.argv[1]), create=False)
with getattr(root, sys.argv[2])():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_new_store_says_its_version_and_has_its_folders(tmp_path: Path) -> None:
    root = StoreRoot.open(tmp_path / "new" / "store", create=True)

    assert (root.path / "VERSION").read_bytes() == b"1\n"
    assert (root.hub / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f59")
    assert {path.name for path in root.path.iterdir()} == {
        "VERSION",
        "LOCK",
        "blobs",
        "partial",
        "trash",
        "quarantine",
        "records",
        "hub",
    }


def test_a_store_opens_again(root: StoreRoot) -> None:
    assert StoreRoot.open(root.path, create=False) == root
    assert StoreRoot.open(root.path, create=True) == root


def test_an_empty_disk_becomes_a_store_and_its_lost_and_found_does_not_matter(
    tmp_path: Path,
) -> None:
    (tmp_path / "lost+found").mkdir()

    StoreRoot.open(tmp_path, create=True)


def test_a_store_whose_creation_was_interrupted_is_finished(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / ".VERSION.0123.tmp").write_bytes(b"")

    StoreRoot.open(tmp_path, create=True)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreLayoutError, match=r"thesis\.tex") as caught:
        StoreRoot.open(tmp_path, create=True)

    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_is_no_store_is_not_made_one_unasked(tmp_path: Path) -> None:
    with pytest.raises(StoreLayoutError, match="not a hubsync store") as caught:
        StoreRoot.open(tmp_path, create=False)
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreLayoutError, match="is a file"):
        StoreRoot.open(tmp_path / "file", create=True)


def test_a_store_of_a_newer_layout_is_refused_with_what_to_do(root: StoreRoot) -> None:
    (root.path / "VERSION").write_text("2\n")

    with pytest.raises(StoreLayoutError, match="layout 2") as caught:
        StoreRoot.open(root.path, create=True)
    assert "newer hubsync" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["", "one\n", "-1\n", "²\n"])
def test_a_version_that_is_none_is_refused(root: StoreRoot, text: str) -> None:
    (root.path / "VERSION").write_text(text)

    with pytest.raises(StoreLayoutError, match="not a hubsync store"):
        StoreRoot.open(root.path, create=True)


def test_folders_that_a_copy_left_out_are_made_again(root: StoreRoot) -> None:
    root.trash.rmdir()
    again = StoreRoot.open(root.path, create=False)

    assert again.trash.is_dir()


def test_opening_for_reading_writes_nothing(root: StoreRoot) -> None:
    root.trash.rmdir()
    StoreRoot.open(root.path, create=False, read_only=True)

    assert not root.trash.exists()


def test_the_views_have_a_lock_of_their_own(root: StoreRoot) -> None:
    with (
        root.lock_exclusive(),
        root.lock_views(0),
        root.lock_views(0),
        pytest.raises(StoreBusyError, match="views"),
    ):
        root.lock_views(0.01, alone=True).__enter__()
    with root.lock_views(0, alone=True), pytest.raises(StoreBusyError):
        root.lock_views(0.01).__enter__()
    with root.lock_views(0):
        assert StoreRoot.open(root.path, create=True) == root


def test_many_may_hold_the_lock_shared(root: StoreRoot) -> None:
    with root.lock_shared(), root.lock_shared():
        pass


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("lock_shared", "lock_exclusive"),
        ("lock_exclusive", "lock_shared"),
        ("lock_exclusive", "lock_exclusive"),
    ],
)
def test_the_lock_is_refused_naming_who_has_it_and_free_after_kill_9(
    root: StoreRoot, theirs: str, ours: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, root.path, theirs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusyError) as caught, getattr(root, ours)():
            pass
        assert caught.value.exit_code is ExitCode.BUSY
        if Path("/proc/locks").exists():
            assert f"process {other.pid} (python" in str(caught.value)
        other.kill()
        other.wait()

        with getattr(root, ours)():
            pass


def test_the_lock_is_waited_for(root: StoreRoot) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, root.path, "lock_exclusive"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout
        assert other.stdin
        assert other.stdout.readline() == b"held\n"
        other.stdin.close()  # it ends at some time from now on

        with root.lock_shared(60):
            pass


def test_a_folder_nobody_may_write_says_so(as_anybody: Path) -> None:
    as_anybody.chmod(0o555)

    with pytest.raises(StoreReadOnlyError, match="Permission denied") as caught:
        StoreRoot.open(as_anybody / "store", create=True)
    assert caught.value.hint


def test_a_store_of_somebody_else_is_read_but_not_locked(as_anybody: Path) -> None:
    root = StoreRoot.open(as_anybody / "store", create=True)
    blobs = LocalBlobs(root)
    fill(blobs, by_digest(b"data"), b"data")
    for folder in (root.path, root.partial, root.trash, root.quarantine):
        folder.chmod(0o555)

    again = StoreRoot.open(root.path, create=False)
    assert LocalBlobs(again).has(Digest.of(b"data"))
    with pytest.raises(StoreReadOnlyError), again.lock_shared():
        pass
    with pytest.raises(StoreReadOnlyError):
        LocalBlobs(again).begin(by_digest(b"new"))


def test_a_read_only_mount_serves_and_refuses_to_change(small_disk: Mounter) -> None:
    disk = small_disk("size=4m")
    root = StoreRoot.open(disk / "store", create=True)
    held = fill(LocalBlobs(root), by_digest(b"data"), b"data")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    again = StoreRoot.open(root.path, create=False)
    blobs = LocalBlobs(again)
    with blobs.open(held.digest) as file:
        assert file.read() == b"data"
    for change in (
        lambda: blobs.begin(by_digest(b"new")),
        lambda: blobs.remove(held.digest),
        lambda: blobs.quarantine(held.digest),
        lambda: again.lock_exclusive().__enter__(),
        lambda: StoreRoot.open(disk / "another", create=True),
    ):
        with pytest.raises(StoreReadOnlyError):
            change()


def test_a_store_opened_for_reading_changes_nothing(blobs: LocalBlobs) -> None:
    held = fill(blobs, by_digest(b"data"), b"data")
    reader = LocalBlobs(StoreRoot.open(blobs.root.path, create=False, read_only=True))
    for change in (
        lambda: reader.begin(by_digest(b"new")),
        lambda: reader.remove(held.digest),
        lambda: reader.quarantine(held.digest),
        lambda: reader.root.lock_shared().__enter__(),
    ):
        with pytest.raises(StoreReadOnlyError):
            change()


def test_leftovers_are_cleaned_and_what_is_in_use_or_young_is_not(
    blobs: LocalBlobs,
) -> None:
    root = blobs.root
    (root.trash / "x").write_bytes(b"x")
    (root.staging / "models--dead--one" / "snapshot").mkdir(parents=True)
    (root.staging / "models--dead--one.lock").touch()
    for name in (b"old", b"young", b"held"):
        ingest = begin(blobs, by_digest(name))
        ingest.write(name[:1])
        if name != b"held":
            ingest.abort()
    for name in (b"old", b"held"):
        os.utime(root.partial / by_digest(name).key, (0, 0))

    clean_leftovers(root)

    assert not list(root.trash.iterdir())
    assert not list(root.staging.iterdir())
    assert blobs.partial_bytes(by_digest(b"old")) == 0
    assert blobs.partial_bytes(by_digest(b"young")) == 1
    assert blobs.partial_bytes(by_digest(b"held")) == 1


def test_a_view_being_laid_out_is_not_cleaned_away(root: StoreRoot) -> None:
    (root.staging / "models--a--b").mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path;"
        "from hubsync.store.lock import open_locked;"
        "open_locked(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, root.staging / "models--a--b.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout
        other.stdout.readline()
        clean_leftovers(root)

        assert (root.staging / "models--a--b").is_dir()
        other.kill()
        other.wait()
    clean_leftovers(root)
    assert not list(root.staging.iterdir())


def test_quarantine_keeps_the_newest_few(blobs: LocalBlobs) -> None:
    for n in range(QUARANTINE_KEPT + 5):
        data = b"%d" % n
        blobs.quarantine(fill(blobs, by_digest(data), data).digest)

    kept = {path.read_bytes() for path in blobs.root.quarantine.iterdir()}
    assert kept == {b"%d" % n for n in range(5, QUARANTINE_KEPT + 5)}


def test_quarantine_keeps_few_of_large_files_and_always_the_newest(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "QUARANTINE_BYTES", 1_000_000)
    kept = []
    for n in range(6):
        data = b"%d" % n * (300_000 if n < 5 else 2_000_000)
        blobs.quarantine(fill(blobs, by_digest(data), data).digest)
        kept.append([one.stat().st_size for one in blobs.root.quarantine.iterdir()])

    assert [sum(sizes) for sizes in kept[:5]] == [
        *(300_000, 600_000, 900_000, 900_000, 900_000)
    ]
    assert kept[5] == [2_000_000]
