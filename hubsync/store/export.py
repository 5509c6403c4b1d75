"""Plain files in a person's folder."""

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import HubsyncError, NotHeldError, UsageError
from hubsync.model.paths import HostilePathError, check_export_path, name_clashes
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import NoRoomError, StoreBusyError
from hubsync.store.apart import require_apart
from hubsync.store.beneath import parent_of
from hubsync.store.copying import Copier, read_sha256
from hubsync.store.disk import check_room, is_out_of_room
from hubsync.store.local import LocalBlobs
from hubsync.store.lock import try_lock
from hubsync.wire.lfs import emit_pointer

# One for the whole folder, at its top: after a kill -9 there is one file to
# find, and the next checkout takes it away.
TEMPORARY = ".hubsync-checkout.partial"
_OUTSIDE = "Name a folder that is outside of the store and does not have it inside."
_USE_THE_CACHE = "Nothing was written. Use the cache folder that `hubsync pull` prints."


class FolderError(HubsyncError):
    """The folder to check out to cannot be written."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written.  *files* counts pointers and unchanged files too."""

    files: int
    bytes: int
    pointers: int
    unchanged: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """One file to be written: a pointer's text, or a blob."""

    path: str
    size_bytes: int
    digest: Digest
    pointer: bytes | None


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

    With *skip_smudge*, LFS files are what ``GIT_LFS_SKIP_SMUDGE=1 git clone``
    leaves: pointers.  With *link*, files share the store's bytes: a reflink,
    or else a hard link (which is read-only), or else a copy.  Every blob is
    hashed on the way, whether it is copied or linked.

    Raises:
        HostilePathError: a name that a folder may not get.
        NotHeldError: a file whose bytes are not held.
        UsageError: *target* is in the store, or the store in it; two names that
            are one in some folders; a link or a folder is in the way; a file has
            other content there, and *force* is off.
        StoreBusyError: another checkout is writing there.
        IntegrityError: a blob's bytes are not what its name says.
        NoRoomError, FolderError: the folder cannot take it.
    """
    require_apart(target, blobs.root, hint=_OUTSIDE)
    _check_names([one.entry.path for one in entries])
    _check_held(entries, skip_smudge=skip_smudge)
    files = [_file(one, skip_smudge=skip_smudge) for one in entries]
    with _explained(target), _claimed(target) as top:
        todo = [file for file in files if not _is_there(top, file)]
        _check_free(target, top, todo, force=force)
        if not link:
            check_room(target, sum(file.size_bytes for file in todo), 0)
        copier = Copier(blobs, link=link)
        for file in todo:
            _write(top, file, copier)
        elsewhere = os.fstat(top).st_dev != blobs.root.path.stat().st_dev
    return ExportReport(
        files=len(files),
        bytes=sum(file.size_bytes for file in files),
        pointers=sum(file.pointer is not None for file in files),
        unchanged=len(files) - len(todo),
        warnings=(
            *_warnings(entries, files),
            *_link_warnings(copier, link=link, elsewhere=elsewhere),
        ),
    )


def _check_names(paths: Sequence[str]) -> None:
    try:
        for path in paths:
            check_export_path(path)
            _check_not_ours(path)
    except HostilePathError as error:
        error.hint = _USE_THE_CACHE
        raise
    for first, second in name_clashes(paths):
        raise UsageError(
            f"{first!r} and {second!r} differ only in case or spelling of "
            "characters: one folder may not hold both",
            hint=_USE_THE_CACHE,
        )


def _check_not_ours(path: str) -> None:
    if path.casefold() == TEMPORARY:
        raise HostilePathError(path, "hubsync uses that name itself")


def _check_held(entries: Sequence[HeldEntry], *, skip_smudge: bool) -> None:
    absent = [
        one.entry
        for one in entries
        if not one.held and not (skip_smudge and one.entry.is_lfs)
    ]
    if absent:
        pointers = sum(entry.is_lfs for entry in absent)
        raise NotHeldError(
            f"{len(absent)} files are not held, for example {absent[0].path}",
            hint="Pull them first"
            + (", or check out pointers with --skip-smudge." if pointers else "."),
        )


def _file(one: HeldEntry, *, skip_smudge: bool) -> _File:
    entry = one.entry
    if skip_smudge and entry.lfs:
        pointer = emit_pointer(entry.lfs, entry.size_bytes)
        return _File(entry.path, len(pointer), Digest.of(pointer), pointer)
    assert one.digest, "checked before"
    return _File(entry.path, entry.size_bytes, one.digest, None)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else target
        if is_out_of_room(error):
            raise NoRoomError(f"{target} is full: {error.strerror}") from error
        raise FolderError(
            f"cannot write {where} in {target}: {error.strerror}"
        ) from error


@contextmanager
def _claimed(target: Path) -> Iterator[int]:
    """Open *target*, making it if need be, for one checkout at a time."""
    target.mkdir(parents=True, exist_ok=True)
    top = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _lock(top):
            raise StoreBusyError(f"another checkout is writing to {target}")
        _drop(top)
        try:
            yield top
        finally:
            _drop(top)
    finally:
        os.close(top)


def _lock(top: int) -> bool:
    try:
        return try_lock(top, fcntl.LOCK_EX)
    except OSError:
        return True  # no locks on folders here (NFS): on the person's own head


def _drop(top: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(TEMPORARY, dir_fd=top)


def _is_there(top: int, file: _File) -> bool:
    """Whether the folder has that very content already."""
    with parent_of(top, file.path, create=False) as folder:
        if folder is None:
            return False
        name = file.path.rpartition("/")[2]
        found = _lstat(folder, name)
        if (
            found is None
            or not stat.S_ISREG(found.st_mode)
            or found.st_size != file.size_bytes
        ):
            return False
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(fd, "rb", buffering=0) as stream:
            return read_sha256(stream) == file.digest.hex


def _check_free(target: Path, top: int, todo: Sequence[_File], *, force: bool) -> None:
    taken: list[str] = []
    for file in todo:
        with parent_of(top, file.path, create=False) as folder:
            if folder is None:
                continue
            found = _lstat(folder, file.path.rpartition("/")[2])
        if found is None:
            continue
        if stat.S_ISDIR(found.st_mode):
            raise UsageError(
                f"{target} has a folder named {file.path}, which is to be a file",
                hint="Choose another folder, or remove that one.",
            )
        taken.append(file.path)
    if taken and not force:
        raise UsageError(
            f"{target} has {len(taken)} of the files with other content, for "
            f"example {taken[0]}",
            hint="Choose another folder, or overwrite them with --force.",
        )


def _lstat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def _write(top: int, file: _File, copier: Copier) -> None:
    """Make the file aside, then give it its name: nobody meets half of it.

    Without fsync, as git does it: a checkout can be made again from the store.
    """
    if file.pointer is not None:
        copier.write(top, TEMPORARY, file.pointer)
    else:
        copier.place(top, TEMPORARY, file.digest)
    with parent_of(top, file.path, create=True) as folder:
        name = file.path.rpartition("/")[2]
        os.rename(TEMPORARY, name, src_dir_fd=top, dst_dir_fd=folder)


def _warnings(entries: Sequence[HeldEntry], files: Sequence[_File]) -> Iterator[str]:
    odd = [
        one.entry.path
        for one, file in zip(entries, files, strict=True)
        if file.pointer is not None
        and GitOid.of_blob(file.pointer) != one.entry.git_oid
    ]
    if odd:
        yield (
            f"{len(odd)} pointers were committed in another spelling than git-lfs's "
            f"own, which git would keep, for example {odd[0]}"
        )


def _link_warnings(copier: Copier, *, link: bool, elsewhere: bool) -> Iterator[str]:
    if link and copier.copies:
        why = (
            "the folder is on another file system than the store"
            if elsewhere
            else "this file system shares no bytes between files"
        )
        yield f"{copier.copies} files were copied, not linked: {why}"
    if copier.hard_links:
        yield (
            f"{copier.hard_links} files are hard links into the store and read-only: "
            "replace them, do not edit them"
        )
