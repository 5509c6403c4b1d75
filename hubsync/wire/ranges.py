"""``Range``, ``If-Range``, ``If-None-Match`` and ``Content-Range`` (RFC 9110)."""

import re
from dataclasses import dataclass
from enum import Enum

HEADER_CHARS_MAX = 8192
# No optional blanks inside: the grammar has none, and matching stays linear.
_ONE_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)
_DIGITS_MAX = 19
_BEYOND_ALL = 10**_DIGITS_MAX  # more than any file has
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes *start* to *stop* (exclusive) of a representation."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start


class RangeAnswer(Enum):
    """What else a ``Range`` header can come to."""

    WHOLE = "whole"  # not a range we honour: answer 200 with everything
    UNSATISFIABLE = "unsatisfiable"  # answer 416


def parse_range(header: str | None, size_bytes: int) -> ByteRange | RangeAnswer:
    """The one range *header* asks for, of a representation of *size_bytes*.

    Several ranges, other units and nonsense are ignored, as RFC 9110 allows: a
    server may always send the whole.  An empty file is always sent whole.
    """
    if not header or len(header) > HEADER_CHARS_MAX or size_bytes == 0:
        return RangeAnswer.WHOLE
    found = _ONE_RANGE.fullmatch(header.strip())
    if not found or not (found[1] or found[2]):
        return RangeAnswer.WHOLE
    if not found[1]:  # the last N bytes
        return _within(max(0, size_bytes - _number(found[2])), size_bytes, size_bytes)
    start = _number(found[1])
    stop = _number(found[2]) + 1 if found[2] else max(start + 1, size_bytes)
    if stop <= start:
        return RangeAnswer.WHOLE  # "5-3" is no range at all
    return _within(start, stop, size_bytes)


def _number(digits: str) -> int:
    """What *digits* say, as far as it matters: any number of them, at no cost."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _DIGITS_MAX else _BEYOND_ALL


def _within(start: int, stop: int, size_bytes: int) -> ByteRange | RangeAnswer:
    if start >= size_bytes:
        return RangeAnswer.UNSATISFIABLE
    return ByteRange(start, min(stop, size_bytes))


def content_range(part: ByteRange | None, size_bytes: int) -> str:
    """The ``Content-Range`` of *part*, or (None) of an answer without one."""
    if part is None:
        return f"bytes */{size_bytes}"
    return f"bytes {part.start}-{part.stop - 1}/{size_bytes}"


def parse_content_range(header: str) -> tuple[int, int, int | None] | None:
    """``(start, stop exclusive, total or None)``; None if it is none."""
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if not found:
        return None
    start, stop = int(found[1]), int(found[2]) + 1
    total = None if found[3] == "*" else int(found[3])
    if stop <= start or (total is not None and stop > total):
        return None
    return start, stop, total


def matches_any(header: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` names *etag* (without quotes): weak comparison."""
    if not header or len(header) > HEADER_CHARS_MAX:
        return False
    if header.strip() == "*":
        return True
    return any(_opaque(part) == etag for part in header.split(","))


def range_applies(if_range: str | None, etag: str) -> bool:
    """Whether ``If-Range`` lets the range stand: strong comparison only.

    A date never does: there is no modification time that could be trusted.
    """
    if if_range is None:
        return True
    text = if_range.strip()
    return not text.startswith("W/") and _opaque(text) == etag and text.startswith('"')


def _opaque(text: str) -> str:
    return text.strip().removeprefix("W/").strip('"')
