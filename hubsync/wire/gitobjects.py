"""Git's own ids for trees and commits, computed from what a snapshot lists."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hubsync.model.digest import GitOid, git_header

FILE_MODE = b"100644"
TREE_MODE = b"40000"


@dataclass(slots=True)
class _Folder:
    files: dict[str, GitOid] = field(default_factory=dict)
    folders: dict[str, "_Folder"] = field(default_factory=dict)


def tree_oids(files: Iterable[tuple[str, GitOid]]) -> dict[str, GitOid]:
    """The tree id of every folder, keyed by its path; ``""`` is the root.

    All files count as mode 100644: the Hub's API does not tell the mode.
    """
    root = _Folder()
    for path, oid in files:
        *parents, name = path.split("/")
        folder = root
        for parent in parents:
            folder = folder.folders.setdefault(parent, _Folder())
        folder.files[name] = oid
    found: dict[str, GitOid] = {}
    _hash_folder(root, "", found)
    return found


def _hash_folder(folder: _Folder, path: str, found: dict[str, GitOid]) -> GitOid:
    # Git sorts a folder as if its name ended in "/".
    rows: list[tuple[bytes, bytes, bytes, GitOid]] = []
    for name, oid in folder.files.items():
        rows.append((name.encode(), FILE_MODE, name.encode(), oid))
    for name, child in folder.folders.items():
        child_path = f"{path}/{name}" if path else name
        oid = _hash_folder(child, child_path, found)
        rows.append((name.encode() + b"/", TREE_MODE, name.encode(), oid))
    body = b"".join(
        mode + b" " + name + b"\0" + bytes.fromhex(oid.hex)
        for _, mode, name, oid in sorted(rows, key=lambda row: row[0])
    )
    found[path] = object_oid("tree", body)
    return found[path]


def object_oid(kind: str, body: bytes) -> GitOid:
    """Git's id of an object with this type and body."""
    header = git_header(len(body), kind)
    return GitOid(hashlib.sha1(header + body).hexdigest())  # noqa: S324 - git's choice


def commit_oid(tree: GitOid, message: str, headers: Mapping[str, str]) -> GitOid:
    """Git's id of a parentless commit of *tree*, e.g. author and committer headers."""
    lines = [f"tree {tree}", *(f"{key} {value}" for key, value in headers.items())]
    return object_oid("commit", "\n".join([*lines, "", message]).encode())
