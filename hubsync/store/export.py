"""Plain files in a person's folder."""

import fcntl
import hashlib
import os
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from hubsync.model.digest import Digest
from hubsync.model.errors import IntegrityError, NotHeldError, UsageError
from hubsync.model.paths import check_export_path, name_clashes
from hubsync.model.snapshot import HeldEntry, TreeEntry
from hubsync.model.units import MIB
from hubsync.store.disk import check_room, explained
from hubsync.store.local import LocalBlobs
from hubsync.wire.lfs import emit_pointer

_FICLONE = 0x40049409  # linux/fs.h


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written.  *files* counts pointers and unchanged files too."""

    files: int
    bytes: int
    pointers: int
    unchanged: int
    warnings: tuple[str, ...] = ()


def write_folder(
    target: Path,
    entries: Sequence[HeldEntry],
    blobs: LocalBlobs,
    *,
    skip_smudge: bool = False,
    link: bool = False,
    force: bool = False,
) -> ExportReport:
    """Write *entries* below *target*; every check comes before the first write.

    Raises:
        HostilePathError: a name that a folder may not get.
        NotHeldError: a file whose bytes are not held.
        UsageError: a file is there with other content, and *force* is off.
        IntegrityError: a blob's bytes are not what its name says.
    """
    _check_names(entries)
    _check_held(entries, skip_smudge=skip_smudge)
    with explained(target):
        target.mkdir(parents=True, exist_ok=True)
        todo = [one for one in entries if not _is_there(target, one, skip_smudge)]
        if not force:
            _check_free(target, todo)
        if not link:
            check_room(target, sum(_size(one, skip_smudge) for one in todo), 0)
        for one in todo:
            _write(target, one, blobs, skip_smudge=skip_smudge, link=link)
    return ExportReport(
        files=len(entries),
        bytes=sum(_size(one, skip_smudge) for one in entries),
        pointers=sum(_is_pointer(one.entry, skip_smudge) for one in entries),
        unchanged=len(entries) - len(todo),
    )


def _check_names(entries: Sequence[HeldEntry]) -> None:
    paths = [check_export_path(one.entry.path) for one in entries]
    for first, second in name_clashes(paths):
        raise UsageError(
            f"{first!r} and {second!r} differ only in case or spelling of "
            "characters: one folder may not hold both",
            hint="Use the cache folder that `hubsync pull` prints.",
        )


def _check_held(entries: Sequence[HeldEntry], *, skip_smudge: bool) -> None:
    absent = [
        one.entry
        for one in entries
        if not one.held and not _is_pointer(one.entry, skip_smudge)
    ]
    if absent:
        pointers = sum(entry.is_lfs for entry in absent)
        raise NotHeldError(
            f"{len(absent)} files are not held, for example {absent[0].path}",
            hint="Pull them first"
            + (", or check out pointers with --skip-smudge." if pointers else "."),
        )


def _is_pointer(entry: TreeEntry, skip_smudge: bool) -> bool:  # noqa: FBT001 - private
    return skip_smudge and entry.is_lfs


def _pointer(entry: TreeEntry) -> bytes:
    assert entry.lfs
    return emit_pointer(entry.lfs, entry.size_bytes)


def _size(one: HeldEntry, skip_smudge: bool) -> int:  # noqa: FBT001 - private
    if _is_pointer(one.entry, skip_smudge):
        return len(_pointer(one.entry))
    return one.entry.size_bytes


def _is_there(target: Path, one: HeldEntry, skip_smudge: bool) -> bool:  # noqa: FBT001 - private
    path = target / one.entry.path
    if path.is_symlink() or not path.is_file():
        return False
    if path.stat().st_size != _size(one, skip_smudge):
        return False
    if _is_pointer(one.entry, skip_smudge):
        return path.read_bytes() == _pointer(one.entry)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return one.digest is not None and found == one.digest.hex


def _check_free(target: Path, todo: Sequence[HeldEntry]) -> None:
    taken = [one.entry.path for one in todo if os.path.lexists(target / one.entry.path)]
    if taken:
        raise UsageError(
            f"{target} has {len(taken)} of the files with other content, for "
            f"example {taken[0]}",
            hint="Choose another folder, or overwrite them with --force.",
        )


def _write(
    target: Path,
    one: HeldEntry,
    blobs: LocalBlobs,
    *,
    skip_smudge: bool,
    link: bool,
) -> None:
    *parents, name = one.entry.path.split("/")
    with ExitStack() as stack:
        # Folder by folder, following no link: a link that somebody put there
        # must not lead us out of the target.
        folder = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, folder)
        for parent in parents:
            folder = _enter(folder, parent, target, one.entry.path)
            stack.callback(os.close, folder)
        temporary = f".{uuid.uuid4().hex}.hubsync"
        try:
            if _is_pointer(one.entry, skip_smudge):
                _write_bytes(folder, temporary, _pointer(one.entry))
            else:
                assert one.digest
                _place(folder, temporary, blobs, one.digest, link=link)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            _forget(folder, temporary)
            raise


def _enter(folder: int, name: str, target: Path, path: str) -> int:
    with suppress(FileExistsError):  # a folder, or what the open below refuses
        os.mkdir(name, dir_fd=folder)
    try:
        return os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder
        )
    except (NotADirectoryError, OSError) as error:
        raise UsageError(
            f"cannot write {path} below {target}: {name!r} is a link or a file there"
        ) from error


def _place(
    folder: int, name: str, blobs: LocalBlobs, digest: Digest, *, link: bool
) -> None:
    if link and (
        _reflink(folder, name, blobs.path(digest))
        or _hard_link(folder, name, blobs.path(digest))
    ):
        return
    sha256 = hashlib.sha256()
    fd = _create(folder, name)
    with blobs.open(digest) as source, os.fdopen(fd, "wb", buffering=0) as file:
        while block := source.read(MIB):
            sha256.update(block)
            view = memoryview(block)
            while view:
                view = view[file.write(view) :]
    if sha256.hexdigest() != digest.hex:
        raise IntegrityError(
            f"the blob {digest} is damaged on disk",
            hint="Mend it with: hubsync verify --all --repair",
        )


def _create(folder: int, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o644, dir_fd=folder)


def _write_bytes(folder: int, name: str, data: bytes) -> None:
    with os.fdopen(_create(folder, name), "wb") as file:
        file.write(data)


def _reflink(folder: int, name: str, source: Path) -> bool:
    fd = _create(folder, name)
    try:
        with source.open("rb") as file:
            fcntl.ioctl(fd, _FICLONE, file.fileno())
    except OSError:
        _forget(folder, name)  # this file system shares no bytes between files
        return False
    finally:
        os.close(fd)
    return True


def _hard_link(folder: int, name: str, source: Path) -> bool:
    try:
        os.link(source, name, dst_dir_fd=folder)
    except OSError:
        return False  # another file system, or one without links: copy
    return True


def _forget(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
