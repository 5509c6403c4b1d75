"""Listings of one snapshot: tree, paths-info, treesize."""

import base64
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from hubsync.model.digest import GitOid
from hubsync.model.snapshot import Commit, HeldEntry, TreeEntry
from hubsync.serve.errors import bad_request
from hubsync.wire.gitobjects import tree_oids
from hubsync.wire.hf import emit_directory, emit_last_commit, emit_tree_entry
from hubsync.wire.hf_fields import EPOCH


@dataclass(frozen=True, slots=True)
class TreeQuery:
    """Which entries of a tree, and what of each.

    *cursor* has the Hub's form, ``base64(base64({"file_name": …}) ":" limit)``,
    because some clients make their own.
    """

    path: str
    recursive: bool = False
    expand: bool = False
    limit: int | None = None
    cursor: str | None = None


class LastCommits:
    """Which commit changed a path last, as far as that is recorded.

    Of a folder it is the newest of its files'; that one was deleted is not seen.
    """

    def __init__(self, changes: Mapping[str, Commit], own: Commit) -> None:
        # The snapshot's own, of what was forgotten while its tree is remembered.
        self._own = own
        self._of = dict(changes)
        for path, commit in changes.items():
            while path := path.rpartition("/")[0]:
                known = self._of.setdefault(path, commit)
                if (known.committed_at or EPOCH) < (commit.committed_at or EPOCH):
                    self._of[path] = commit

    def of(self, path: str) -> Commit:
        return self._of.get(path, self._own)


class Tree:
    """One snapshot's files and folders, in the Hub's order and form."""

    def __init__(
        self,
        entries: Sequence[HeldEntry],
        commit: Commit,
        concerns_xet: Callable[[TreeEntry], bool],
    ) -> None:
        self._commit = commit
        xet = [one for one in entries if concerns_xet(one.entry)]
        self._xet = {one.entry.path for one in xet if one.held}
        # Else it says other things when more of it is held.
        self.is_settled = all(one.held for one in xet)
        self._files = {one.entry.path: one.entry for one in entries}
        self._folders: dict[str, GitOid] = tree_oids(
            (entry.path, entry.git_oid) for entry in self._files.values()
        )

    def __len__(self) -> int:
        return len(self._files)

    def has(self, path: str) -> bool:
        return path in self._files or (bool(path) and path in self._folders)

    def is_folder(self, path: str) -> bool:
        return path in self._folders

    def _below(self, folder: str, *, recursive: bool) -> list[str]:
        """Paths below *folder*; folders stand before files."""
        prefix = f"{folder}/" if folder else ""
        depth = prefix.count("/")

        def is_below(path: str) -> bool:
            return path.startswith(prefix) and (recursive or path.count("/") == depth)

        folders = [p for p in self._folders if p and p != folder and is_below(p)]
        files = [path for path in self._files if is_below(path)]
        return sorted([*folders, *files], key=self._order)

    def page(
        self, asked: TreeQuery, last: LastCommits | None = None
    ) -> tuple[list[dict[str, object]], str | None]:
        """What is asked for, and the cursor of the page after it, if there is one.

        Raises:
            Problem: 400, nobody made such a cursor.
        """
        paths = self._below(asked.path, recursive=asked.recursive)
        limit, following = asked.limit, None
        if asked.cursor is not None:
            name, size = _read_cursor(asked.cursor)
            limit = limit or size
            # By order: of another commit, the tree may not have that name.
            paths = paths[bisect_right(paths, self._order(name), key=self._order) :]
        if limit is not None and limit < len(paths):
            paths = paths[:limit]
            following = _write_cursor(paths[-1], limit)
        return [self.row(path, last) for path in paths], following

    def row(self, path: str, last: LastCommits | None = None) -> dict[str, object]:
        """One entry, with its commit in *last*; *path* is of the tree."""
        if path in self._files:
            row = emit_tree_entry(self._files[path], xet=path in self._xet)
        else:
            row = emit_directory(path, self._folders[path].hex)
        if last:
            row["lastCommit"] = emit_last_commit(last.of(path))
        return row

    def size_bytes(self, folder: str) -> int:
        prefix = f"{folder}/" if folder else ""
        return sum(
            entry.size_bytes
            for path, entry in self._files.items()
            if path.startswith(prefix)
        )

    def _order(self, path: str) -> list[tuple[bool, str]]:
        """Depth first; in one level folders before files, each by name."""
        parts = path.split("/")
        leaf_is_file = path not in self._folders
        keys = [(False, part) for part in parts[:-1]]
        return [*keys, (leaf_is_file, parts[-1])]


def _write_cursor(name: str, limit: int) -> str:
    inner = base64.b64encode(orjson.dumps({"file_name": name}))
    return base64.b64encode(inner + f":{limit}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, int | None]:
    try:
        # A blank was a plus sign that somebody did not encode.
        outer = base64.b64decode(cursor.replace(" ", "+"), validate=True)
        inner, _, limit = outer.partition(b":")
        name = orjson.loads(base64.b64decode(inner, validate=True))["file_name"]
        return str(name), max(1, int(limit)) if limit else None
    except (ValueError, KeyError, TypeError):
        raise bad_request("invalid cursor") from None
