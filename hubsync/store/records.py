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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hubsync.model.record import RecordDamagedError, RepoRecord, RevisionRecord
from hubsync.model.repo import RepoId
from hubsync.model.revision import is_commit
from hubsync.store.disk import explained, make_folders, sync_folder, write_durably
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


class StoreRecords:
    """Implements `ports.records.Records`."""

    def __init__(self, root: StoreRoot) -> None:
        self._root = root

    def holds(self, repo: RepoId, oid: str) -> bool:
        return self._revision(repo, oid).is_file()

    def write_revision(self, record: RevisionRecord) -> None:
        path = self._revision(record.repo, record.commit.oid)
        with explained(path), self._folder(record.repo, create=True):
            if not (path.parent / _REPO).exists():
                # What tells a reader which repo the folder is.
                first = emit_repo(RepoRecord(record.repo, record.hub_id))
                write_durably(path.parent / _REPO, first)
            write_durably(path, emit_revision(record))

    def write_repo(self, record: RepoRecord) -> bool:
        path = self._path(record.repo) / _REPO
        data = emit_repo(record)
        with explained(path), self._folder(record.repo, create=True):
            with suppress(FileNotFoundError):
                if path.read_bytes() == data:
                    return False
            write_durably(path, data)
        return True

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
                # Last what says which repo it is: killed before, it is repeated.
                for file in sorted(path.iterdir(), key=lambda one: one.name == _REPO):
                    file.unlink(missing_ok=True)
                path.rmdir()

    def commits(self) -> Iterator[tuple[RepoId, str]]:
        return self._named(_REVISION)

    def hidden(self) -> Iterator[tuple[RepoId, str]]:
        return self._named(_FORGOTTEN)

    def read_revision(self, repo: RepoId, oid: str) -> RevisionRecord:
        path = self._revision(repo, oid)
        with explained(path):
            record = parse_revision(path.read_bytes(), str(path))
        if record.commit.oid != oid:
            raise RecordDamagedError(f"{path} is the record of {record.commit.oid}")
        return record

    def repos(self) -> Iterator[RepoRecord]:
        for folder in self._folders():
            path = folder / _REPO
            with explained(path):
                yield parse_repo_record(path.read_bytes(), str(path))

    def _named(self, suffix: str) -> Iterator[tuple[RepoId, str]]:
        for folder in self._folders():
            names = [one.name for one in folder.iterdir()]
            found = [name[:40] for name in names if name[40:] == suffix]
            oids = sorted(filter(is_commit, found))
            if oids:
                path = folder / _REPO
                with explained(path):
                    record = parse_repo_record(path.read_bytes(), str(path))
                for oid in oids:
                    yield record.repo, oid

    def _folders(self) -> Iterator[Path]:
        for folder in sorted(self._root.records.glob("[0-9a-f][0-9a-f]/*")):
            if (folder / _REPO).is_file():
                yield folder

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
                with suppress(FileNotFoundError):
                    (folder / f"{oid}{old}").rename(folder / f"{oid}{new}")
            sync_folder(folder)
