"""The tree of one commit, as the hub shows it.  Immutable, so cached for ever."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.testhub.git import GitEntry
from tests.testhub.lfs import POINTER_BYTES, LfsPointer

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file or directory.  *size* is that of the content, not of the pointer."""

    path: str
    oid: str
    size: int
    is_directory: bool
    lfs: LfsPointer | None

    @property
    def etag(self) -> str:
        """Git sha1 for a plain file, sha256 for an LFS file; with its quotes."""
        return f'"{self.lfs.sha256 if self.lfs else self.oid}"'

    def as_tree_json(self) -> Json:
        if self.is_directory:
            shown: Json = {"type": "directory"}
        else:
            shown = {"type": "file"}
        shown |= {"oid": self.oid, "size": self.size}
        if self.lfs is not None:
            shown["lfs"] = {
                "oid": self.lfs.sha256,
                "size": self.lfs.size,
                "pointerSize": len(self.lfs.text),
            }
            shown["xetHash"] = self.lfs.xet_hash
        return shown | {"path": self.path}

    def as_sibling_json(self, *, with_blobs: bool) -> Json:
        shown: Json = {"rfilename": self.path}
        if with_blobs:
            shown |= {"blobId": self.oid, "size": self.size}
            if self.lfs is not None:
                shown["lfs"] = {
                    "sha256": self.lfs.sha256,
                    "size": self.lfs.size,
                    "pointerSize": len(self.lfs.text),
                }
        return shown


@dataclass(slots=True)
class Listing:
    """Every entry of a commit, plus the views that are asked for page by page."""

    root_oid: str
    entries: dict[str, TreeEntry]
    _views: dict[tuple[str, bool], list[TreeEntry]] = field(default_factory=dict)

    def files(self) -> list[TreeEntry]:
        """The files in path order, as ``siblings`` shows them."""
        return self.view("", recursive=True, directories=False)

    def file(self, path: str) -> TreeEntry | None:
        entry = self.entries.get(path)
        return None if entry is None or entry.is_directory else entry

    def has_directory(self, path: str) -> bool:
        return path == "" or (path in self.entries and self.entries[path].is_directory)

    def view(
        self, under: str, *, recursive: bool, directories: bool = True
    ) -> list[TreeEntry]:
        """The entries below *under*: directories first, then files, by path."""
        key = (under, recursive)
        if key not in self._views:
            prefix = f"{under}/" if under else ""
            below = (
                entry
                for entry in self.entries.values()
                if entry.path.startswith(prefix)
                and (recursive or "/" not in entry.path[len(prefix) :])
            )
            self._views[key] = sorted(
                below, key=lambda entry: (not entry.is_directory, entry.path.encode())
            )
        view = self._views[key]
        return view if directories else [e for e in view if not e.is_directory]


def build_listing(
    root_oid: str,
    entries: Iterable[GitEntry],
    read_blobs: Callable[[list[str]], dict[str, bytes]],
) -> Listing:
    """Recognise the pointers among *entries* by reading what is of their size."""
    entries = list(entries)
    candidates = [entry.oid for entry in entries if entry.size in POINTER_BYTES]
    blobs = read_blobs(candidates)
    shown = {}
    for entry in entries:
        pointer = LfsPointer.parse(blobs.get(entry.oid, b""))
        size = entry.size if pointer is None else pointer.size
        shown[entry.path] = TreeEntry(
            entry.path, entry.oid, size, entry.is_directory, pointer
        )
    return Listing(root_oid, shown)
