"""The Hugging Face cache layout, as ``huggingface_hub`` reads it offline.

::

    hub/models--org--name/blobs/<etag>            hard link to the blob
                          snapshots/<commit>/...  relative links to ../../blobs/<etag>
                          refs/main               40 hex, no newline, written last
                          trees/<commit>.json     only for complete snapshots

Source: the layout documented by the Hub ("local cache") and huggingface_hub
2.4's ``_tree_cache.py``.
"""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from hubsync.model.digest import Digest
from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName
from hubsync.model.snapshot import HeldEntry, SnapshotState, TreeEntry
from hubsync.ports.view import ViewSnapshot
from hubsync.store.disk import explained, make_folders, sync_folder, write_durably
from hubsync.store.layout import StoreRoot

_NO_HARD_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})


class HfCacheView:
    """A `View` under ``<root>/hub``; *blob_path* tells where a blob is."""

    def __init__(self, root: StoreRoot, blob_path: Callable[[Digest], Path]) -> None:
        self._root, self._blob_path = root, blob_path

    def path(self, repo: RepoId, commit: str) -> Path:
        return self._folder(repo) / "snapshots" / commit

    def checkout(self, snapshot: ViewSnapshot) -> Path:
        """As `View.checkout`.  Laying out again what is there changes nothing."""
        folder = self._folder(snapshot.repo)
        with explained(folder):
            for name in ("blobs", "snapshots", "refs"):
                make_folders(folder / name, self._root.hub)
            held = [one for one in snapshot.entries if one.digest is not None]
            for one in held:
                self._link_blob(folder, one)
            target = self.path(snapshot.repo, snapshot.commit)
            if target.is_dir():
                _add_missing(target, held)
            else:
                self._build(target, held)
            if snapshot.state is SnapshotState.COMPLETE:
                self._write_tree(folder, snapshot)
        self.move_refs(snapshot.repo, snapshot.commit, snapshot.refs)
        return target

    def move_refs(self, repo: RepoId, commit: str, refs: Sequence[RefName]) -> None:
        top = self._folder(repo) / "refs"
        for ref in refs:
            path = top / ref.short
            with explained(path):
                if path.is_file() and path.read_bytes() == commit.encode():
                    continue
                _clear_the_way(path, top)
                make_folders(path.parent, self._root.hub)
                write_durably(path, commit.encode())

    def remove(
        self, repo: RepoId, commit: str | None, refs: Sequence[RefName] = ()
    ) -> None:
        """As `View.remove`; refs first, so that nobody is sent to a hole."""
        folder = self._folder(repo)
        with explained(folder):
            if commit is None:
                if folder.exists():
                    shutil.rmtree(folder / "refs", ignore_errors=True)
                    shutil.rmtree(folder)
                return
            for ref in refs:
                (folder / "refs" / ref.short).unlink(missing_ok=True)
            (folder / "trees" / f"{commit}.json").unlink(missing_ok=True)
            snapshot = folder / "snapshots" / commit
            if snapshot.is_dir():
                # In one step out of sight, then at leisure.
                aside = self._temporary()
                snapshot.rename(aside)
                shutil.rmtree(aside)
            _drop_unused_blobs(folder)

    def _folder(self, repo: RepoId) -> Path:
        return self._root.hub / repo.folder

    def _temporary(self) -> Path:
        parent = self._root.partial / "views"
        parent.mkdir(exist_ok=True)
        return parent / uuid.uuid4().hex

    def _link_blob(self, folder: Path, one: HeldEntry) -> None:
        assert one.digest
        source, link = self._blob_path(one.digest), folder / "blobs" / etag(one.entry)
        try:
            os.link(source, link)
        except FileExistsError:
            if _same_bytes(source, link):
                return
            # Left from before the blob was damaged and fetched again.
            temporary = self._temporary()
            _link(source, temporary, link.parent)
            temporary.replace(link)
        except OSError as error:
            if error.errno not in _NO_HARD_LINK:
                raise
            _link(source, link, link.parent)

    def _build(self, target: Path, held: Sequence[HeldEntry]) -> None:
        """Make the snapshot's folder elsewhere, then give it its name in one step."""
        building = self._temporary()
        building.mkdir()
        folders = {building}
        for one in held:
            link = building / one.entry.path
            link.parent.mkdir(parents=True, exist_ok=True)
            folders.add(link.parent)
            link.symlink_to(_link_text(one.entry))
        for folder in folders:
            sync_folder(folder)
        try:
            building.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(building)  # another process was quicker
            _add_missing(target, held)
        sync_folder(target.parent)

    def _write_tree(self, folder: Path, snapshot: ViewSnapshot) -> None:
        path = folder / "trees" / f"{snapshot.commit}.json"
        if path.is_file():
            return
        make_folders(path.parent, self._root.hub)
        files = {
            one.entry.path: _tree_row(one.entry)
            for one in sorted(snapshot.entries, key=lambda one: one.entry.path)
        }
        write_durably(path, json.dumps({"format_version": 1, "files": files}).encode())


def etag(entry: TreeEntry) -> str:
    """The blob's name in a client's cache: sha256 for LFS, git object id else."""
    return entry.lfs.hex if entry.lfs else entry.git_oid.hex


def _tree_row(entry: TreeEntry) -> dict[str, object]:
    row: dict[str, object] = {"size": entry.size_bytes, "blob_id": entry.git_oid.hex}
    if entry.lfs:
        row |= {"lfs_sha256": entry.lfs.hex, "lfs_size": entry.size_bytes}
    return row


def _link_text(entry: TreeEntry) -> str:
    up = "../" * (2 + entry.path.count("/"))
    return f"{up}blobs/{etag(entry)}"


def _link(source: Path, link: Path, folder: Path) -> None:
    """A hard link, or where the file system has none, a relative symlink."""
    try:
        os.link(source, link)
    except OSError as error:
        if error.errno not in _NO_HARD_LINK:
            raise
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(source, folder))


def _same_bytes(source: Path, link: Path) -> bool:
    try:
        return link.samefile(source)
    except FileNotFoundError:
        return False


def _add_missing(target: Path, held: Sequence[HeldEntry]) -> None:
    """Add the files that are held by now; each appears in one step."""
    for one in held:
        link = target / one.entry.path
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(_link_text(one.entry))
        except FileExistsError:
            continue
        sync_folder(link.parent)


def _clear_the_way(path: Path, top: Path) -> None:
    """Refs ``a`` and ``a/b`` cannot both be files: the newer one stays."""
    parent = path.parent
    while parent != top:
        if parent.is_file():
            parent.unlink()
        parent = parent.parent
    if path.is_dir():
        shutil.rmtree(path)


def _drop_unused_blobs(folder: Path) -> None:
    used = {
        os.path.basename(os.readlink(path))  # noqa: PTH115, PTH119 - text of the link
        for path in (folder / "snapshots").rglob("*")
        if path.is_symlink()
    }
    blobs = folder / "blobs"
    for path in blobs.iterdir() if blobs.is_dir() else ():
        if path.name not in used:
            path.unlink()
