"""``records/<2 hex>/<32 hex>/``: a folder a repo, named by a hash of its name.

::

    repo.json                   names and refs, replaced when they change
    <commit>.json.gz            one commit and its tree
    <commit>.json.gz.forgotten  the catalog is about to forget it, or has

A repo's name is data in these files and never a path.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hubsync.model.record import (
    RecordDamagedError,
    RecordFolder,
    RecordGoneError,
    RepoRecord,
    RevisionRecord,
)
from hubsync.model.repo import RepoId
from hubsync.model.revision import is_commit
from hubsync.store.disk import (
    StoreIOError,
    explain,
    explained,
    make_folders,
    sync_folder,
    write_durably,
)
from hubsync.store.layout import StoreRoot
from hubsync.store.lock import is_still
from hubsync.wire.revision_record import (
    emit_repo,
    emit_revision,
    parse_repo_record,
    parse_revision,
)

_REPO = "repo.json"
_REVISION = ".json.gz"
_FORGOTTEN = ".json.gz.forgotten"
_OID_CHARS = 40


class StoreRecords:
    """Implements `ports.records.Records`."""

    def __init__(self, root: StoreRoot) -> None:
        self._root = root

    def holds(self, repo: RepoId, oid: str) -> bool:
        return self._revision(repo, oid).is_file()

    def write_revision(self, record: RevisionRecord, former: str | None = None) -> None:
        path = self._revision(record.repo, record.commit.oid)
        with explained(path), self._folder(record.repo, create=True):
            if not (path.parent / _REPO).exists():
                # What tells a reader which repo the folder is.
                names = [former] if former else []
                first = emit_repo(RepoRecord(record.repo, record.hub_id, names))
                write_durably(path.parent / _REPO, first)
                # Another process may have made the folders a moment ago.
                sync_folder(path.parent.parent)
                sync_folder(self._root.records)
            write_durably(path, emit_revision(record))

    def write_repo(self, repo: RepoId, read: Callable[[], RepoRecord]) -> bool:
        path = self._path(repo) / _REPO
        with self._folder(repo, create=True):
            record = read()
            assert record.repo == repo, "a folder is of one name"
            with explained(path):
                there = path.read_bytes() if path.exists() else b""
                recorded = frozenset(_oids(path.parent, _REVISION))
                _drop_unfinished(path.parent)
            # What cannot be read is replaced: the catalog says all that it said.
            with suppress(RecordDamagedError):
                before = parse_repo_record(there, str(path))
                record = record.keeping(before, recorded)
            data = emit_repo(record)
            if data == there:
                return False
            with explained(path):
                write_durably(path, data)
        return True

    def absorb(self, repo: RepoId, former: RepoId, mine: Container[str]) -> None:
        old, new = self._path(former), self._path(repo)
        if not old.is_dir():
            return
        # In one order everywhere: two repos may be trading their names.
        first, second = sorted([former, repo], key=self._path)
        with (
            explained(old),
            self._folder(first, create=False) as is_first,
            self._folder(second, create=False) as is_second,
        ):
            if not (is_first and is_second):
                return
            for oid in filter(mine.__contains__, _oids(old, _REVISION)):
                name = f"{oid}{_REVISION}"
                if (new / name).exists():  # written since, and knows as much
                    (old / name).unlink()
                else:
                    (old / name).rename(new / name)
            sync_folder(new)
            sync_folder(old)
            if not (_oids(old, _REVISION) or _oids(old, _FORGOTTEN)):
                _drop_folder(old)

    def hide(self, repo: RepoId, oids: Sequence[str]) -> None:
        self._rename(repo, oids, _REVISION, _FORGOTTEN)

    def unhide(self, repo: RepoId, oids: Sequence[str]) -> None:
        self._rename(repo, oids, _FORGOTTEN, _REVISION)

    def drop_hidden(self, repo: RepoId, oids: Sequence[str]) -> None:
        folder = self._path(repo)
        with explained(folder):
            for oid in oids:
                (folder / f"{oid}{_FORGOTTEN}").unlink(missing_ok=True)

    def drop_repo(self, repo: RepoId) -> None:
        path = self._path(repo)
        with explained(path), self._folder(repo, create=False) as is_there:
            if is_there:
                _drop_folder(path)

    def folders(self) -> Iterator[RecordFolder]:
        with explained(self._root.records):
            paths = sorted(self._root.records.glob("[0-9a-f][0-9a-f]/*"))
        for path in filter(Path.is_dir, paths):
            if found := self._read_folder(path):
                yield found

    def folder_of(self, repo: RepoId) -> RecordFolder | None:
        path = self._path(repo)
        return self._read_folder(path) if path.is_dir() else None

    def _read_folder(self, path: Path) -> RecordFolder | None:
        try:
            commits, hidden = _oids(path, _REVISION), _oids(path, _FORGOTTEN)
        except FileNotFoundError:
            return None  # its repo was renamed in that moment
        except OSError as error:
            raise explain(error, path) from error
        repo = self._read_repo(path / _REPO)
        if repo is None:
            if not (commits or hidden):
                return None  # whoever was to write the first record was killed
            repo = RecordDamagedError(f"the record {path / _REPO} is missing")
        return RecordFolder(f"{path.parent.name}/{path.name}", repo, commits, hidden)

    def is_of(self, folder: RecordFolder, repo: RepoId) -> bool:
        return self._path(repo) == self._root.records / folder.key

    def read_revision(self, folder: RecordFolder, oid: str) -> RevisionRecord:
        path = self._root.records / folder.key / f"{oid}{_REVISION}"
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise RecordGoneError(f"the record {path} is missing") from error
        except OSError as error:
            raise RecordDamagedError(str(explain(error, path))) from error
        record = parse_revision(data, str(path))
        if record.commit.oid != oid:
            raise RecordDamagedError(f"{path} is the record of {record.commit.oid}")
        return record

    def _read_repo(self, path: Path) -> RepoRecord | RecordDamagedError | None:
        try:
            with explained(path):
                if not path.exists():
                    return None
                return parse_repo_record(path.read_bytes(), str(path))
        except RecordDamagedError as error:
            return error
        except StoreIOError as error:
            return RecordDamagedError(str(error))

    def _path(self, repo: RepoId) -> Path:
        name = f"{repo.upstream}\0{repo.repo_type.value}\0{repo.name}"
        key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return self._root.records / key[:2] / key[:32]

    def _revision(self, repo: RepoId, oid: str) -> Path:
        assert is_commit(oid), "a record is named by a full commit id"
        return self._path(repo) / f"{oid}{_REVISION}"

    @contextmanager
    def _folder(self, repo: RepoId, *, create: bool) -> Iterator[bool]:
        """One process at a time in the repo's folder; whether it is there."""
        path = self._path(repo)
        while True:
            if create:
                make_folders(path, self._root.path)
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                if create:
                    continue  # taken out again in that moment
                yield False
                return
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if is_still(path, fd):
                    yield True
                    return
            finally:
                os.close(fd)

    def _rename(self, repo: RepoId, oids: Sequence[str], old: str, new: str) -> None:
        folder = self._path(repo)
        with explained(folder), self._folder(repo, create=False) as is_there:
            if not is_there:
                return
            for oid in oids:
                if (folder / f"{oid}{new}").exists() and new == _REVISION:
                    # Written again since then: it knows what is held now.
                    (folder / f"{oid}{old}").unlink(missing_ok=True)
                    continue
                with suppress(FileNotFoundError):
                    (folder / f"{oid}{old}").rename(folder / f"{oid}{new}")
            sync_folder(folder)


def _oids(folder: Path, suffix: str) -> tuple[str, ...]:
    """The commits that have a file with *suffix* in *folder*."""
    names = (one.name for one in folder.iterdir())
    found = (n[:_OID_CHARS] for n in names if n[_OID_CHARS:] == suffix)
    return tuple(sorted(filter(is_commit, found)))


def _drop_unfinished(folder: Path) -> None:
    """Whoever wrote these was killed: a living one would hold the folder's lock."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def _drop_folder(folder: Path) -> None:
    # Last what says which repo it is: killed before, it is repeated.
    for file in sorted(folder.iterdir(), key=lambda one: one.name == _REPO):
        file.unlink(missing_ok=True)
    folder.rmdir()
