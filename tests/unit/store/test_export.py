import errno
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import IntegrityError, NotHeldError, UsageError
from hubsync.model.paths import HostilePathError
from hubsync.model.snapshot import HeldEntry, TreeEntry
from hubsync.ports.blobs import NoRoomError, StoreBusyError
from hubsync.store import copying
from hubsync.store.export import TEMPORARY, ExportReport, FolderError, write_folder
from hubsync.store.local import LocalBlobs
from hubsync.wire.lfs import emit_pointer
from tests.contract.made import absent, hold, lfs, plain
from tests.contract.view import README, WEIGHTS, files_in
from tests.unit.store.conftest import Mounter


@pytest.fixture
def entries(blobs: LocalBlobs) -> list[HeldEntry]:
    return [
        hold(blobs, plain("README.md", README), README),
        hold(blobs, plain("sub/empty", b""), b""),
        hold(blobs, lfs("sub/deep/model.bin", WEIGHTS), WEIGHTS),
    ]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "target"


WHOLE = {"README.md": README, "sub/empty": b"", "sub/deep/model.bin": WEIGHTS}
POINTER = emit_pointer(Digest.of(WEIGHTS), len(WEIGHTS))


def test_every_file_is_written_plain_and_writable(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    report = write_folder(target, entries, blobs)

    assert files_in(target) == WHOLE
    assert report == ExportReport(
        files=3, bytes=len(README) + len(WEIGHTS), pointers=0, unchanged=0
    )
    for path in target.rglob("*"):
        assert not path.is_symlink()
    assert (target / "README.md").stat().st_mode & 0o600 == 0o600
    assert (target / "README.md").stat().st_nlink == 1


def test_with_skip_smudge_lfs_files_are_pointers(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    report = write_folder(target, entries, blobs, skip_smudge=True)

    assert files_in(target) == WHOLE | {"sub/deep/model.bin": POINTER}
    assert report.pointers == 1
    assert report.bytes == len(README) + len(POINTER)


def test_pointers_need_no_contents(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    some = [*entries[:2], absent(entries[2].entry)]
    write_folder(target, some, blobs, skip_smudge=True)

    assert (target / "sub/deep/model.bin").read_bytes() == POINTER


def test_pointers_are_what_git_lfs_itself_leaves(
    blobs: LocalBlobs, target: Path, tmp_path: Path
) -> None:
    """A clone with GIT_LFS_SKIP_SMUDGE=1 has the blobs as git has them."""
    if not shutil.which("git-lfs"):
        pytest.skip("git-lfs is not installed")
    contents = {"model.bin": WEIGHTS, "empty.bin": b"", "one.bin": b"1"}
    entries = [hold(blobs, lfs(path, data), data) for path, data in contents.items()]
    write_folder(target, entries, blobs, skip_smudge=True)

    for path, data in contents.items():
        cleaned = subprocess.run(
            ["git-lfs", "clean", path],
            input=data,
            check=True,
            capture_output=True,
            cwd=new_git_folder(tmp_path),
        )
        assert (target / path).read_bytes() == cleaned.stdout


def new_git_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "git"
    subprocess.run(["git", "init", "-q", folder], check=True)
    return folder


def test_a_pointer_of_another_spelling_is_pointed_out(
    blobs: LocalBlobs, target: Path
) -> None:
    odd = TreeEntry("odd.bin", 3, GitOid("1" * 40), Digest.of(b"odd"))
    report = write_folder(target, [absent(odd)], blobs, skip_smudge=True)

    assert "odd.bin" in report.warnings[0]


def test_a_file_that_is_not_held_stops_it_before_the_first_write(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    with pytest.raises(NotHeldError, match=r"more\.bin") as caught:
        write_folder(target, [*entries, absent(lfs("more.bin", b"more"))], blobs)

    assert "--skip-smudge" in str(caught.value.hint)
    assert not target.exists()


def test_a_plain_file_that_is_not_held_stops_pointers_too(
    blobs: LocalBlobs, target: Path
) -> None:
    missing = [absent(plain("README.md", README))]
    with pytest.raises(NotHeldError, match=r"README\.md"):
        write_folder(target, missing, blobs, skip_smudge=True)


@pytest.mark.parametrize(
    "path",
    [
        "../escape",
        "/etc/passwd",
        "a/../../b",
        ".git/config",
        "sub/.GIT/hooks/post-checkout",
        "git~1/config",
        "aux.txt",
        "trailing ",
        "a:stream",
        TEMPORARY,
        TEMPORARY.upper(),
    ],
)
def test_a_name_a_folder_may_not_get_stops_it_before_the_first_write(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path, path: str
) -> None:
    hostile = hold(blobs, plain(path, b"x"), b"x")
    with pytest.raises(HostilePathError) as caught:
        write_folder(target, [*entries, hostile], blobs)

    assert "Nothing was written" in str(caught.value.hint)
    assert not target.exists()


def test_names_that_are_one_elsewhere_stop_it_before_the_first_write(
    blobs: LocalBlobs, target: Path
) -> None:
    both = [hold(blobs, plain(name, b"x"), b"x") for name in ("Readme", "README")]
    with pytest.raises(UsageError, match="differ only in case"):
        write_folder(target, both, blobs)

    assert not target.exists()


def written(folder: Path) -> dict[Path, tuple[int, int]]:
    """Which file each is, and when it was written; not when it was read."""
    found = {path: path.stat() for path in folder.rglob("*")}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def test_doing_it_again_leaves_equal_files_alone(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    write_folder(target, entries, blobs)
    before = written(target)
    report = write_folder(target, entries, blobs)

    assert report.unchanged == report.files == 3
    assert written(target) == before


def test_what_is_missing_is_added_and_what_is_the_persons_own_stays(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    write_folder(target, entries, blobs)
    (target / "README.md").unlink()
    (target / "notes").write_bytes(b"mine")
    report = write_folder(target, entries, blobs)

    assert files_in(target) == WHOLE | {"notes": b"mine"}
    assert report.unchanged == 2


@pytest.mark.parametrize("own", [b"my own words", b"# hullo\n"])
def test_a_file_with_other_content_is_not_overwritten_unasked(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path, own: bytes
) -> None:
    target.mkdir(parents=True)
    (target / "README.md").write_bytes(own)
    with pytest.raises(UsageError, match=r"README\.md") as caught:
        write_folder(target, entries, blobs)
    assert "--force" in str(caught.value.hint)
    assert files_in(target) == {"README.md": own}

    write_folder(target, entries, blobs, force=True)
    assert files_in(target) == WHOLE


def test_pointers_are_replaced_by_contents_when_forced(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    write_folder(target, entries, blobs, skip_smudge=True)
    write_folder(target, entries, blobs, force=True)

    assert files_in(target) == WHOLE


@pytest.mark.parametrize("force", [False, True])
def test_a_link_in_the_way_of_a_folder_is_never_followed(
    blobs: LocalBlobs,
    entries: list[HeldEntry],
    target: Path,
    tmp_path: Path,
    force: bool,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target.mkdir(parents=True)
    (target / "sub").symlink_to(outside)
    with pytest.raises(UsageError, match="is a link or a file there"):
        write_folder(target, entries, blobs, force=force)

    assert not list(outside.iterdir())
    assert [path.name for path in target.iterdir()] == ["sub"]


def test_a_link_in_place_of_a_file_is_replaced_not_written_through(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(README)
    target.mkdir(parents=True)
    (target / "README.md").symlink_to(victim)
    with pytest.raises(UsageError):
        write_folder(target, entries, blobs)
    write_folder(target, entries, blobs, force=True)

    assert victim.read_bytes() == README
    assert not (target / "README.md").is_symlink()


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_in_place_of_a_file_is_the_persons_to_remove(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path, force: bool
) -> None:
    (target / "README.md").mkdir(parents=True)
    with pytest.raises(UsageError, match="a folder named README"):
        write_folder(target, entries, blobs, force=force)

    assert files_in(target) == {}


def test_a_damaged_blob_stops_the_checkout_and_gets_no_name(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    damage(blobs)
    for link in (False, True):
        with pytest.raises(IntegrityError, match="damaged"):
            write_folder(target, entries, blobs, link=link)

        assert "sub/deep/model.bin" not in files_in(target)
        assert TEMPORARY not in files_in(target)


def damage(blobs: LocalBlobs) -> None:
    path = blobs.path(Digest.of(WEIGHTS))
    path.chmod(0o644)
    path.write_bytes(WEIGHTS[:-1] + b"!")


def test_links_share_bytes_with_the_store_and_say_so(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    report = write_folder(target, entries, blobs, link=True)
    shared = (target / "README.md").stat().st_nlink > 1

    assert files_in(target) == WHOLE
    assert shared == bool(report.warnings)
    if shared:
        assert "read-only" in report.warnings[0]
        assert (target / "README.md").stat().st_mode & 0o777 == 0o444
    assert write_folder(target, entries, blobs, link=True).unchanged == 3


def test_reflinks_are_tried_first_and_writable(
    blobs: LocalBlobs,
    entries: list[HeldEntry],
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Most file systems have none: the ioctl's own work is done by hand here."""
    cloned: list[int] = []

    def clone(fd: int, request: int, source: int) -> int:
        assert request == copying._FICLONE
        cloned.append(os.sendfile(fd, source, 0, 10_000_000))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clone)
    report = write_folder(target, entries, blobs, link=True)

    assert files_in(target) == WHOLE
    assert len(cloned) == 3
    assert report.warnings == ()
    assert (target / "README.md").stat().st_nlink == 1


def test_where_nothing_can_be_shared_bytes_are_copied(
    blobs: LocalBlobs, entries: list[HeldEntry], small_disk: Mounter
) -> None:
    target = small_disk("size=4m") / "target"
    report = write_folder(target, entries, blobs, link=True)

    assert files_in(target) == WHOLE
    (warning,) = report.warnings
    assert "3 files were copied, not linked" in warning
    assert "another file system" in warning


def test_a_folder_without_room_says_so(
    blobs: LocalBlobs, entries: list[HeldEntry], small_disk: Mounter
) -> None:
    target = small_disk("size=8k")

    with pytest.raises(NoRoomError):
        write_folder(target, entries, blobs)
    with pytest.raises(NoRoomError, match="is full"):
        write_folder(target, entries, blobs, link=True)
    assert TEMPORARY not in files_in(target)


def test_a_folder_nobody_may_write_says_so(blobs: LocalBlobs, as_anybody: Path) -> None:
    as_anybody.chmod(0o555)

    with pytest.raises(FolderError, match="Permission denied"):
        write_folder(as_anybody / "target", [], blobs)


def test_what_a_killed_checkout_left_is_taken_away(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    target.mkdir(parents=True)
    (target / TEMPORARY).write_bytes(b"half")
    write_folder(target, entries, blobs)

    assert files_in(target) == WHOLE


def test_one_checkout_at_a_time(
    blobs: LocalBlobs, entries: list[HeldEntry], target: Path
) -> None:
    target.mkdir(parents=True)
    fd = os.open(target, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(StoreBusyError):
        write_folder(target, entries, blobs)
    os.close(fd)

    write_folder(target, entries, blobs)
    assert files_in(target) == WHOLE


def test_a_folder_that_cannot_be_locked_is_written_all_the_same(
    blobs: LocalBlobs,
    entries: list[HeldEntry],
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_folder(target, entries, blobs)

    assert files_in(target) == WHOLE


def test_an_empty_tree_is_an_empty_folder(blobs: LocalBlobs, target: Path) -> None:
    assert write_folder(target, [], blobs).files == 0
    assert list(target.iterdir()) == []
