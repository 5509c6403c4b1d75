"""Which file names a repo may have, and which of them a folder may get.

A repo name never becomes a path in the blob store (blobs are named by digest),
but it does in a view, a checkout and a bundle: one policy for all of them.
"""

import unicodedata
from collections.abc import Iterable

from hubsync.model.errors import IntegrityError

SEGMENT_BYTES_MAX = 255
PATH_BYTES_MAX = 4096

_WINDOWS_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"]
    + [f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)]
)
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class HostilePathError(IntegrityError):
    """A file name in a tree could escape its folder or fool a person."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(
            f"refused the file name {path[:120]!r}: {why}",
            hint="The revision is not recorded. Report it to the hub; "
            "nothing in the store was changed.",
        )


def check_path(path: str) -> str:
    """Return *path* if a repo may hold it, else raise.

    Raises:
        HostilePathError: empty, absolute, ``.``/``..``/empty segment, backslash,
            control character, lone surrogate, or too long.
    """
    if not path:
        raise HostilePathError(path, "it is empty")
    if any(unicodedata.category(char) == "Cc" for char in path):
        raise HostilePathError(path, "it has a control character")
    if "\\" in path:
        raise HostilePathError(path, "it has a backslash")
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise HostilePathError(path, "it is not valid Unicode") from None
    if len(encoded) > PATH_BYTES_MAX:
        raise HostilePathError(path, f"it is longer than {PATH_BYTES_MAX} bytes")
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            raise HostilePathError(path, f"it has a segment {segment!r}")
        if len(segment.encode()) > SEGMENT_BYTES_MAX:
            raise HostilePathError(
                path, f"a segment is longer than {SEGMENT_BYTES_MAX} bytes"
            )
    return path


def check_tree_paths(paths: Iterable[str]) -> None:
    """Raise unless every path is allowed, unique, and no file is also a folder.

    Raises:
        HostilePathError: naming the first path that is not.
    """
    seen: set[str] = set()
    for path in paths:
        check_path(path)
        if path in seen:
            raise HostilePathError(path, "it is listed twice")
        seen.add(path)
    for path in seen:
        parent = path
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in seen:
                raise HostilePathError(path, f"{parent!r} is a file in the same tree")


def check_export_path(path: str) -> str:
    """Return *path* if it may be written into a person's folder, else raise.

    Stricter than `check_path`: also what other file systems take for
    something else, and what git would run.

    Raises:
        HostilePathError: with the reason.
    """
    check_path(path)
    for segment in path.split("/"):
        # HFS+ drops invisible characters from names: ".g\u200cit" is ".git" there.
        visible = "".join(c for c in segment if unicodedata.category(c) != "Cf")
        folded = unicodedata.normalize("NFKC", visible).casefold()
        if folded.partition(".")[0] in _WINDOWS_RESERVED:
            raise HostilePathError(path, f"{segment!r} is a device name on Windows")
        if segment[-1] in ". ":
            raise HostilePathError(path, "a segment ends in a dot or a space")
        if ":" in segment:
            raise HostilePathError(path, "it has a colon")
        if folded.rstrip(". ") in (".git", "git~1"):
            raise HostilePathError(path, "git would take it for its own folder")
        if _BIDI_CONTROLS & set(segment):
            raise HostilePathError(path, "it has a control for writing direction")
    return path


def name_clashes(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs that are one name where case or normalisation does not count.

    Two files, or a file and a folder; two folders may well be one.
    """
    first: dict[str, str] = {}
    folders: dict[str, str] = {}
    clashes = []
    for path in sorted(paths):
        other = first.setdefault(_fold(path), path)
        if other != path:
            clashes.append((other, path))
        parent = path.rpartition("/")[0]
        while parent:
            folders.setdefault(_fold(parent), path)
            parent = parent.rpartition("/")[0]
    clashes += [
        (path, folders[folded]) for folded, path in first.items() if folded in folders
    ]
    return clashes


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
