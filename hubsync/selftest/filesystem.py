"""What a file system is, and which of the things that a store uses it can do."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hubsync.selftest.process import Mouth, Worker

_FICLONE = 0x40049409  # linux/fs.h
_SPARSE_BYTES = 1 << 20
_MOUNTS = Path("/proc/self/mountinfo")

# Locks there may be this machine's alone, or none at all, while every call for
# one succeeds.
NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs"),
        *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3"),
        *("smbfs", "virtiofs", "vboxsf", "wekafs", "weka", "panfs"),
    }
)
_IN_MEMORY = frozenset({"ramfs", "tmpfs"})


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a folder's file system comes from."""

    type: str
    source: str
    point: str
    options: str


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What was found out by trying."""

    mount: Mount
    hard_links: bool
    symlinks: bool
    reflinks: bool
    holes: bool  # zeros that were never written take no room
    folder_fsync: bool
    locks: bool  # a second process is kept out
    case_sensitive: bool
    one_device: bool  # folders and files have the same st_dev

    def warnings(self) -> Iterator[str]:
        """What a person should know before a store is kept here."""
        kind = self.mount.type
        if not self.locks:
            yield (
                "a lock that one process holds keeps no other out: run one hubsync "
                "command at a time, or keep the store elsewhere"
            )
        elif kind in NETWORK or kind.startswith("fuse"):
            yield (
                f"{kind} may tell two machines that both have the same lock: let "
                "only one machine write to the store (serving from several is fine)"
            )
        if kind in _IN_MEMORY:
            yield f"{kind} is in memory: a power cut takes everything"
        if not self.folder_fsync:
            yield (
                "folders cannot be synced: a power cut may take what was "
                "acknowledged just before"
            )
        if not self.hard_links:
            yield "no hard links: views hold symlinks into blobs/ instead"
        if not self.symlinks:
            yield "no symlinks: views cannot be laid out (set [store] views = [])"
        if not self.case_sensitive:
            yield (
                "names that differ only in case are one: a view of a repo that has "
                "two such files shows one of them (the store itself holds both)"
            )
        if not self.one_device:
            yield "folders here are on several devices: renames between them may fail"


def find_mount(folder: Path) -> Mount:
    """The mount that *folder* is on: by path, since btrfs' st_dev is in no list."""
    best = Mount("unknown", "", "", "")
    here = os.fsencode(folder.resolve()) + b"/"
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return best
    for line in lines:
        # 36 35 98:0 /root /mount rw,noatime shared:1 - ext4 /dev/vda rw
        head, _, tail = line.partition(b" - ")
        words, (kind, source, *_) = head.split(b" "), tail.split(b" ")
        point = words[4].decode("unicode_escape").encode("latin-1")
        is_above = here.startswith(point.rstrip(b"/") + b"/")
        if is_above and len(point) >= len(os.fsencode(best.point)):
            best = Mount(
                kind.decode(),
                os.fsdecode(source),
                os.fsdecode(point),
                words[5].decode(),
            )
    return best


def place_beside(root: Path) -> Path:
    """A folder on the file system that a store at *root* is, or would be, on.

    Beside the store if that is the same file system, else in it.
    """
    there = root
    while not there.is_dir() and there != there.parent:
        there = there.parent
    above = there.parent
    if there != root or not _shares_device(there, above):
        return there
    return above if os.access(above, os.W_OK) else there


def _shares_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev and find_mount(one) == find_mount(
        other
    )


def probe(folder: Path) -> FileSystem:
    """Try everything in *folder*, which is empty and ours."""
    file = folder / "file"
    file.write_bytes(b"x")
    inner = folder / "inner"
    inner.mkdir()
    (folder / "UPPER").touch()
    return FileSystem(
        mount=find_mount(folder),
        hard_links=_can(lambda: os.link(file, folder / "link")),
        symlinks=_can(lambda: (folder / "symlink").symlink_to("file")),
        reflinks=_can(lambda: _reflink(file, folder / "clone")),
        holes=_has_holes(folder / "holes"),
        folder_fsync=_can(lambda: _sync(folder)),
        locks=_locks_hold(folder / "lock"),
        case_sensitive=not (folder / "upper").exists(),
        one_device=len({one.lstat().st_dev for one in (folder, file, inner)}) == 1,
    )


def _can(work: Callable[[], None]) -> bool:
    try:
        work()
    except OSError:
        return False
    return True


def _reflink(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        fcntl.ioctl(new, _FICLONE, old.fileno())


def _has_holes(path: Path) -> bool:
    with path.open("wb") as file:
        file.truncate(_SPARSE_BYTES)
        try:
            os.lseek(file.fileno(), 0, os.SEEK_DATA)
        except OSError as error:
            return error.errno == errno.ENXIO  # no data up to the end
    return False


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _locks_hold(path: Path) -> bool:
    """Whether another process is refused the lock that we hold."""

    def try_it(mouth: Mouth) -> None:
        with path.open("rb") as theirs:
            try:
                fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                mouth.say("refused")

    with path.open("wb") as ours:
        try:
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        other = Worker.start("other", try_it)
        other.wait()
        with suppress(OSError):
            fcntl.flock(ours, fcntl.LOCK_UN)
    heard = list(other.hear())
    other.close()
    return [one["word"] for one in heard] == ["refused"]
