"""The Hugging Face cache layout, as ``huggingface_hub`` reads it offline.

::

    hub/models--org--name/blobs/<etag>            hard link to the blob
                          snapshots/<commit>/...  relative links to ../../blobs/<etag>
                          refs/main               40 hex, no newline, written last
                          trees/<commit>.json     only for complete snapshots

Source: the layout documented by the Hub ("local cache") and huggingface_hub
2.4's ``_tree_cache.py``.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hubsync.model.batches import batched
from hubsync.model.digest import Digest
from hubsync.model.paths import check_path
from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName, is_commit
from hubsync.model.snapshot import HeldEntry, SnapshotState, TreeEntry
from hubsync.ports.blobs import StoreReadOnlyError
from hubsync.ports.view import ViewSnapshot
from hubsync.store.disk import explained, make_folders, sync_folder, write_durably
from hubsync.store.layout import StoreRoot
from hubsync.store.lock import open_locked
from hubsync.store.views.hf_refs import (
    clear_the_way,
    drop_ref,
    drop_refs_to,
    is_without_refs,
)
from hubsync.store.views.links import (
    SnapshotLinks,
    drop_unused_blobs,
    etag,
    link_blob,
    link_text,
)


class HfCacheView:
    """A `View` under ``<root>/hub``; *blob_path* tells where a blob is.

    One process at a time changes a repo's folder; readers wait for nobody.
    """

    def __init__(self, root: StoreRoot, blob_path: Callable[[Digest], Path]) -> None:
        self._root, self._blob_path = root, blob_path

    def path(self, repo: RepoId, commit: str) -> Path:
        assert is_commit(commit), "a snapshot is named by a full commit id"
        return self._folder(repo) / "snapshots" / commit

    def checkout(self, snapshot: ViewSnapshot) -> Path:
        """As `View.checkout`.  Laying out again what is there changes nothing.

        Raises:
            StoreReadOnlyError: it would have to be written, and cannot be.
        """
        if self._root.read_only:
            return self._laid_out(snapshot)
        _check_refs(snapshot.refs)
        folder = self._folder(snapshot.repo)
        target = self.path(snapshot.repo, snapshot.commit)
        held = [one for one in snapshot.entries if one.held]
        with explained(folder), self._staging(snapshot.repo) as staging:
            for name in ("blobs", "snapshots", "refs"):
                make_folders(folder / name, self._root.hub)
            if _link_blobs(folder / "blobs", held, self._blob_path, staging):
                sync_folder(folder / "blobs")
            if not target.is_dir():
                _build(target, held, staging)
            elif SnapshotLinks(target, staging).refresh(snapshot.entries):
                drop_unused_blobs(folder)
            self._write_tree(folder, snapshot, staging)
            _move_refs(folder, snapshot.commit, snapshot.refs, staging)
        return target

    def _laid_out(self, snapshot: ViewSnapshot) -> Path:
        target = self.path(snapshot.repo, snapshot.commit)
        for one in snapshot.entries:
            if one.held and not (target / check_path(one.entry.path)).exists():
                raise StoreReadOnlyError(
                    f"{one.entry.path} of {snapshot.repo} is held and not laid out in "
                    f"{target}, and the store is read-only",
                    hint="Write its files elsewhere with: hubsync checkout REPO DIR",
                )
        return target

    def move_refs(self, repo: RepoId, commit: str, refs: Sequence[RefName]) -> None:
        """As `View.move_refs`."""
        assert is_commit(commit), "clients take anything else for a broken cache"
        _check_refs(refs)
        folder = self._folder(repo)
        with explained(folder), self._staging(repo) as staging:
            _move_refs(folder, commit, refs, staging)

    def remove(
        self, repo: RepoId, commit: str | None, refs: Sequence[RefName] = ()
    ) -> None:
        """As `View.remove`; refs first, so that nobody is sent to a hole."""
        folder = self._folder(repo)
        if not folder.exists():
            return
        with explained(folder), self._staging(repo) as staging:
            for ref in refs:
                drop_ref(folder / "refs", folder / "refs" / ref.short)
            if commit is not None:
                drop_refs_to(folder / "refs", commit)
                (folder / "trees" / f"{commit}.json").unlink(missing_ok=True)
                snapshot = self.path(repo, commit)
                if snapshot.is_dir():
                    # In one step out of sight, then at leisure (by the staging).
                    snapshot.rename(staging / "snapshot")
                drop_unused_blobs(folder)
            if commit is None or _is_empty(folder):
                folder.rename(staging / "repo")

    def _folder(self, repo: RepoId) -> Path:
        return self._root.hub / repo.folder

    @contextmanager
    def _staging(self, repo: RepoId) -> Iterator[Path]:
        """An empty folder on the same file system, and the lock of *repo* here."""
        self._root.staging.mkdir(exist_ok=True)
        staging = self._root.staging / repo.folder
        lock = staging.with_name(f"{staging.name}.lock")
        fd = open_locked(lock)
        try:
            # What is there is of a process that died: we have its lock.
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            yield staging
            shutil.rmtree(staging)
        finally:
            lock.unlink(missing_ok=True)
            os.close(fd)

    def _write_tree(self, folder: Path, snapshot: ViewSnapshot, staging: Path) -> None:
        """The listing that lets a client tell a whole snapshot from half a one."""
        path = folder / "trees" / f"{snapshot.commit}.json"
        if snapshot.state is not SnapshotState.COMPLETE:
            path.unlink(missing_ok=True)
            return
        if path.is_file():
            return  # a commit's tree never changes
        make_folders(path.parent, self._root.hub)
        write_durably(path, _emit_tree(snapshot.entries), beside=staging)


def _check_refs(refs: Sequence[RefName]) -> None:
    """Git allows names that no file can have: found before anything is written."""
    for ref in refs:
        check_path(ref.short)


def _link_blobs(
    blobs: Path,
    held: Sequence[HeldEntry],
    blob_path: Callable[[Digest], Path],
    staging: Path,
) -> bool:
    """Whether any link had to be made."""
    new = False
    for one in held:
        assert one.digest
        link = blobs / etag(one.entry)
        new |= link_blob(one.digest, blob_path(one.digest), link, staging)
    return new


def _build(target: Path, held: Sequence[HeldEntry], staging: Path) -> None:
    """Make the snapshot's folder elsewhere, then give it its name in one step."""
    building = staging / "snapshot"
    building.mkdir()
    folders = {building}
    for one in held:
        link = building / check_path(one.entry.path)
        if link.parent not in folders:
            link.parent.mkdir(parents=True, exist_ok=True)
            folders.update(_between(link.parent, building))
        link.symlink_to(link_text(one.entry))
    for folder in folders:
        sync_folder(folder)
    building.rename(target)
    sync_folder(target.parent)


def _between(folder: Path, top: Path) -> Iterator[Path]:
    while folder != top:
        yield folder
        folder = folder.parent


def _move_refs(
    folder: Path, commit: str, refs: Sequence[RefName], staging: Path
) -> None:
    top = folder / "refs"
    for ref in refs:
        path = top / ref.short
        if path.is_file() and path.read_bytes() == commit.encode():
            continue
        clear_the_way(path, top)
        make_folders(path.parent, folder)
        # Not beside the ref: a client takes every file there for a ref.
        write_durably(path, commit.encode(), beside=staging)


def _is_empty(folder: Path) -> bool:
    """Whether nothing is left that a client could ask this repo's folder for."""
    snapshots = folder / "snapshots"
    has_snapshot = snapshots.is_dir() and any(snapshots.iterdir())
    return not has_snapshot and is_without_refs(folder / "refs")


def _emit_tree(entries: Sequence[HeldEntry]) -> Iterator[bytes]:
    """A listing to the letter as the client writes it, some files at a time."""
    head, tail = json.dumps({"format_version": 1, "files": {}}, indent=1).split("{}")
    yield f"{head}{{".encode()
    before = ""
    for some in batched(sorted(entries, key=lambda one: one.entry.path)):
        rows = {one.entry.path: _tree_row(one.entry) for one in some}
        for line in json.dumps(rows, indent=1).split("\n")[1:-1]:
            yield f"{before}\n {line}".encode()
            before = ""
        before = ","
    last = "\n }" if entries else "}"
    yield f"{last}{tail}".encode()


def _tree_row(entry: TreeEntry) -> dict[str, object]:
    row: dict[str, object] = {"size": entry.size_bytes, "blob_id": entry.git_oid.hex}
    if entry.lfs:
        row |= {"lfs_sha256": entry.lfs.hex, "lfs_size": entry.size_bytes}
    return row
