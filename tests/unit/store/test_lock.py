import fcntl
import os
from pathlib import Path

import pytest

from hubsync.store.lock import holder, is_still, open_locked


def test_a_file_that_took_over_the_name_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fd = open_locked(path)
    assert is_still(path, fd)
    path.unlink()
    path.touch()

    assert not is_still(path, fd)
    os.close(fd)


def test_a_file_left_read_only_by_a_crash_is_opened_all_the_same(
    as_anybody: Path,
) -> None:
    """A process died between chmod 0444 and rename."""
    path = as_anybody / "partial"
    path.write_bytes(b"whole")
    path.chmod(0o444)

    fd = open_locked(path)
    assert os.pwrite(fd, b"W", 0) == 1
    os.close(fd)


def test_a_file_in_a_folder_nobody_may_write_is_refused(as_anybody: Path) -> None:
    as_anybody.chmod(0o555)

    with pytest.raises(PermissionError):
        open_locked(as_anybody / "partial")


def test_a_link_is_not_followed_to_what_it_would_lock(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")

    with pytest.raises(OSError, match="symbolic links"):
        open_locked(tmp_path / "link")


def test_the_holder_of_what_nobody_holds_is_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert holder(tmp_path / "file") is None
    assert holder(tmp_path / "absent") is None


def test_a_file_renamed_while_its_lock_was_waited_for_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder gave it another name, and only then let go."""
    path, renamed = tmp_path / "partial", tmp_path / "blob"
    real = fcntl.flock

    def flock(fd: int, kind: int) -> None:
        if not renamed.exists():
            path.rename(renamed)
        real(fd, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    fd = open_locked(path)

    assert is_still(path, fd)
    assert not os.path.samestat(os.fstat(fd), renamed.stat())
    os.close(fd)
