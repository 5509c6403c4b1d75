"""What a file system can do is found by trying; what it is, by its mount."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hubsync.selftest.filesystem import FileSystem, Mount, find_mount, place_beside

GOOD = FileSystem(
    Mount("ext4", "/dev/sda1", "/", "rw"),
    hard_links=True,
    symlinks=True,
    reflinks=False,
    holes=True,
    folder_fsync=True,
    locks=True,
    case_sensitive=True,
    one_device=True,
)


def test_a_good_file_system_needs_no_warning() -> None:
    assert list(GOOD.warnings()) == []


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"locks": False}, "keeps no other out"),
        ({"mount": Mount("nfs4", "nas:/x", "/mnt", "rw")}, "only one machine"),
        ({"mount": Mount("fuse.sshfs", "x", "/mnt", "rw")}, "only one machine"),
        ({"mount": Mount("tmpfs", "tmpfs", "/mnt", "rw")}, "in memory"),
        ({"folder_fsync": False}, "power cut"),
        ({"hard_links": False}, "symlinks into blobs/"),
        ({"symlinks": False}, "views = []"),
        ({"case_sensitive": False}, "case"),
        ({"one_device": False}, "several devices"),
    ],
)
def test_what_it_lacks_is_said(what: dict[str, object], said: str) -> None:
    warnings = list(replace(GOOD, **what).warnings())  # type: ignore[arg-type]
    assert len(warnings) == 1
    assert said in warnings[0]


def test_the_mount_is_the_one_that_is_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    here = tmp_path.resolve()
    table.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"23 22 0:40 / {here}/a\\040b rw,noatime shared:1 - btrfs /dev/sdb rw\n"
        f"24 22 0:41 / {here}/a rw - xfs /dev/sdc rw\n"
    )
    monkeypatch.setattr("hubsync.selftest.filesystem._MOUNTS", table)
    (tmp_path / "a b/deep").mkdir(parents=True)
    found = find_mount(tmp_path / "a b/deep")

    assert found == Mount("btrfs", "/dev/sdb", f"{here}/a b", "rw,noatime")
    assert find_mount(tmp_path / "ab").type == "ext4"


def test_where_there_is_no_table_of_mounts_it_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubsync.selftest.filesystem._MOUNTS", tmp_path / "none")
    assert find_mount(tmp_path).type == "unknown"


def test_the_scratch_store_is_beside_the_store_or_where_it_would_be(
    tmp_path: Path,
) -> None:
    assert place_beside(tmp_path / "not/there/yet") == tmp_path
    (tmp_path / "store").mkdir()
    assert place_beside(tmp_path / "store") == tmp_path


def test_trying_finds_what_this_file_system_can_do(tmp_path: Path) -> None:
    """In a process of its own: one that forks has no threads."""
    code = (
        "import sys; from pathlib import Path;"
        "from hubsync.selftest.filesystem import probe;"
        "f = probe(Path(sys.argv[1]));"
        "print(f.hard_links, f.symlinks, f.locks, f.folder_fsync, f.one_device)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True"] * 5, done.stderr
