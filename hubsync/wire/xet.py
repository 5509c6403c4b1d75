"""Xet's content-addressed store, made up from plain files.  Pure.

A Xet client asks how a file is put together (its *reconstruction*), and fetches
*xorbs*, which are framed pieces of it.  It verifies neither, so both can be told
of any file without cutting or storing anything: piece *i* is the *i*-th 128 KiB,
and xorb *k* is the *k*-th five hundred pieces.

Each piece is framed ``00 | length, 3 bytes LE | 00 | length, 3 bytes LE | bytes``:
version 0, packed length, no packing, unpacked length.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from hubsync.wire.ranges import ByteRange

PIECE_BYTES = 128 * 1024  # clients take none that is larger
PIECES_A_XORB = 500  # 62.5 MiB; the format allows 64
XORB_BYTES = PIECES_A_XORB * PIECE_BYTES  # of the file
HEADER_BYTES = 8
FRAME_BYTES = HEADER_BYTES + PIECE_BYTES
_HASH = re.compile(r"[0-9a-f]{64}")


def is_xet_hash(text: object) -> bool:
    """Whether it has the form of a file's or a xorb's hash."""
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


class Window(NamedTuple):
    """What some bytes of a xorb are made of; places are within the window."""

    headers: list[tuple[int, bytes]]
    data: list[tuple[int, int]]  # (place, length), the file's bytes in their order
    file_offset: int  # of the first of them


@dataclass(frozen=True, slots=True)
class Xorb:
    """Bytes *start* to *start + size_bytes* of a file, as if it were a xorb."""

    index: int
    start: int
    size_bytes: int

    @property
    def pieces(self) -> int:
        return -(-self.size_bytes // PIECE_BYTES)

    @property
    def framed_bytes(self) -> int:
        return self.size_bytes + HEADER_BYTES * self.pieces

    def framed(self, first: int, stop: int) -> ByteRange:
        """Where pieces *first* to *stop* (exclusive) are in the xorb."""
        return ByteRange(
            first * FRAME_BYTES, min(stop * FRAME_BYTES, self.framed_bytes)
        )

    def window(self, part: ByteRange) -> Window:
        """What bytes *part* of the xorb are made of."""
        assert 0 <= part.start <= part.stop <= self.framed_bytes, "inside the xorb"
        headers, data, offsets = [], [], []
        for number in range(part.start // FRAME_BYTES, -(-part.stop // FRAME_BYTES)):
            frame = number * FRAME_BYTES
            length = min(PIECE_BYTES, self.size_bytes - number * PIECE_BYTES)
            body = frame + HEADER_BYTES
            start, stop = max(frame, part.start), min(body, part.stop)
            if start < stop:
                header = _header(length)[start - frame : stop - frame]
                headers.append((start - part.start, header))
            start, stop = max(body, part.start), min(body + length, part.stop)
            if start < stop:
                data.append((start - part.start, stop - start))
                offsets.append(self.start + number * PIECE_BYTES + start - body)
        return Window(headers, data, offsets[0] if offsets else self.start)


def _header(length: int) -> bytes:
    said = b"\0" + length.to_bytes(3, "little")
    return said + said


def xorb_of(size_bytes: int, index: int) -> Xorb | None:
    """Xorb *index* of a file of *size_bytes*; None: it has not so many."""
    start = index * XORB_BYTES
    if not 0 <= start < size_bytes:
        return None
    return Xorb(index, start, min(XORB_BYTES, size_bytes - start))


@dataclass(frozen=True, slots=True)
class Term:
    """Pieces *first* to *stop* (exclusive) of a xorb, next in a file."""

    xorb: Xorb
    first: int
    stop: int

    @property
    def unpacked_bytes(self) -> int:
        stop = min(self.stop * PIECE_BYTES, self.xorb.size_bytes)
        return stop - self.first * PIECE_BYTES


def terms_of(part: ByteRange, size_bytes: int) -> Iterator[Term]:
    """The terms that cover *part* of a file of *size_bytes*."""
    first, stop = part.start // PIECE_BYTES, -(-part.stop // PIECE_BYTES)
    while first < stop:
        index = first // PIECES_A_XORB
        xorb = xorb_of(size_bytes, index)
        assert xorb, "inside the file"
        base = index * PIECES_A_XORB
        upto = min(stop, base + PIECES_A_XORB)
        yield Term(xorb, first - base, upto - base)
        first = upto


def xorb_hash(file_hash: str, index: int) -> str:
    """A name for a xorb: for the same bytes always the same, and no other's."""
    name = f"hubsync xorb {PIECE_BYTES} {PIECES_A_XORB} {file_hash} {index}"
    return hashlib.sha256(name.encode()).hexdigest()


def emit_reconstruction(
    part: ByteRange,
    size_bytes: int,
    file_hash: str,
    url_of: Callable[[int], str],
    *,
    version: int,
) -> dict[str, object]:
    """How *part* of a file is put together, for ``/v1`` or ``/v2/reconstructions``.

    *file_hash* names the file's bytes; *url_of* gives the address of a xorb.
    """
    terms: list[object] = []
    xorbs: dict[str, list[object]] = {}
    for term in terms_of(part, size_bytes):
        name = xorb_hash(file_hash, term.xorb.index)
        pieces = {"start": term.first, "end": term.stop}
        framed = term.xorb.framed(term.first, term.stop)
        place = {"start": framed.start, "end": framed.stop - 1}
        url = url_of(term.xorb.index)
        terms.append(
            {"hash": name, "unpacked_length": term.unpacked_bytes, "range": pieces}
        )
        if version == 1:
            xorbs[name] = [{"range": pieces, "url": url, "url_range": place}]
        else:
            ranges = [{"chunks": pieces, "bytes": place}]
            xorbs[name] = [{"url": url, "ranges": ranges}]
    return {
        "offset_into_first_range": part.start % PIECE_BYTES,
        "terms": terms,
        "fetch_info" if version == 1 else "xorbs": xorbs,
    }
