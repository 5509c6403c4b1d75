"""Names of files where there is little room for them."""

import re
import unicodedata
from pathlib import PurePosixPath

_SHARD = re.compile(r"-0*(\d+)-of-0*(\d+)")  # model-00003-of-00006.safetensors


def columns_of(text: str) -> int:
    """Columns of a terminal that *text* takes: CJK takes two each."""
    return sum(
        0
        if unicodedata.combining(char)
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


def short_path(path: str, columns: int, mark: str = "…") -> str:
    """*path* in at most *columns*: its end tells more than its folders do."""
    name = PurePosixPath(path).name
    shard = _SHARD.sub(r"-\1/\2", name)
    for text in (
        path,
        name if name == path else f"{mark}/{name}",
        name,
        PurePosixPath(name).stem + mark,
        shard,
        shard.rpartition(".")[0] + mark,
    ):
        if columns_of(text) <= columns:
            return text
    return shortened(shard, columns, mark)


def shortened(text: str, columns: int, mark: str = "…") -> str:
    """*text* with its middle left out, so that it takes at most *columns*."""
    if columns_of(text) <= columns:
        return text
    left = columns - columns_of(mark)
    # Most names are told apart by their beginning, quantisations by their end.
    head = _fitting(text, left * 2 // 3)
    tail = _fitting(text[::-1], left - columns_of(head))[::-1]
    return f"{head}{mark}{tail}"


def padded(text: str, columns: int) -> str:
    """*text*, and blanks up to *columns*."""
    return text + " " * (columns - columns_of(text))


def _fitting(text: str, columns: int) -> str:
    """As much of the beginning of *text* as fits."""
    taken = 0
    for at, char in enumerate(text):
        taken += columns_of(char)
        if taken > columns:
            return text[:at]
    return text
