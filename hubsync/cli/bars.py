"""Progress in a terminal: one bar for all, one for each of the largest files."""

import shutil
import sys
import time
import unicodedata
from typing import NoReturn

import click
from tqdm import tqdm

from hubsync.cli.output import printable
from hubsync.cli.tally import Tally
from hubsync.model.units import MIB, format_size

LARGE_FILE_BYTES = 16 * MIB
BARS_MAX = 4
REFRESH_S = 0.1
_NARROW = 60  # columns
_WIDE_BAR = (
    "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
    "{rate_fmt} {remaining}{postfix}"
)
_SHORT_BAR = "{desc} {percentage:3.0f}% {rate_fmt} {remaining}"


class BarProgress:
    """tqdm bars on stderr, drawn at most ten times a second."""

    def __init__(self, label: str) -> None:
        self._label, self._tally = label, Tally()
        self._total: tqdm[NoReturn] | None = None
        self._files: dict[str, tqdm[NoReturn]] = {}
        self._drawn_at = 0.0

    def plan(
        self,
        files: int,
        size_bytes: int,
        *,
        reused_files: int = 0,
        reused_bytes: int = 0,
    ) -> None:
        tally = self._tally
        tally.files, tally.size_bytes = files, size_bytes
        tally.reused_files, tally.reused_bytes = reused_files, reused_bytes
        if files:
            self._total = self._bar(self._label, size_bytes, position=0)

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        self._tally.started(path, size_bytes, offset)
        if offset and self._total is not None:
            # What an earlier run fetched is no speed of this one.
            self._total.initial += offset
        self._draw()

    def file_advanced(self, path: str, size_bytes: int) -> None:
        self._tally.advanced(path, size_bytes)
        self._draw()

    def file_verified(self, path: str, size_bytes: int) -> None:
        self._tally.verified += size_bytes
        self._draw()

    def file_done(self, path: str) -> None:
        self._tally.done(path)
        if bar := self._files.pop(path, None):
            bar.close()
        self._draw(now=self._tally.files_done == self._tally.files)

    def note(self, message: str) -> None:
        text = printable(f"hubsync: {message}")
        if self._total is not None:
            tqdm.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)

    def close(self) -> None:
        """Take all bars off the screen: the command's last line says it all."""
        for bar in self._files.values():
            bar.close()
        self._files.clear()
        if self._total is not None:
            self._total.close()
            self._total = None

    def _draw(self, *, now: bool = False) -> None:
        if self._total is None:
            return
        clock = time.monotonic()
        if not now and clock - self._drawn_at < REFRESH_S:
            return
        self._drawn_at = clock
        tally = self._tally
        self._choose_files()
        for path, bar in self._files.items():
            bar.n, bar.bar_format = tally.in_flight[path].there, _format()
            bar.refresh()
        self._total.n = tally.arrived
        parts = [f"{tally.files_done}/{tally.files} files"]
        parts.append(f"{format_size(tally.verified)} verified")
        if tally.reused_bytes:
            parts.append(f"{format_size(tally.reused_bytes)} reused")
        self._total.set_postfix_str(", ".join(parts), refresh=False)
        self._total.bar_format = _format()
        self._total.refresh()

    def _choose_files(self) -> None:
        """Bars for the largest files that are under way just now."""
        rows = shutil.get_terminal_size().lines
        for path in self._tally.largest(min(BARS_MAX, max(rows - 3, 0))):
            file = self._tally.in_flight[path]
            if file.size_bytes < LARGE_FILE_BYTES or path in self._files:
                continue
            if len(self._files) >= BARS_MAX:
                break
            taken = {abs(bar.pos) for bar in self._files.values()}
            free = next(at for at in range(1, BARS_MAX + 2) if at not in taken)
            self._files[path] = self._bar(f"  {path}", file.size_bytes, position=free)

    def _bar(self, label: str, size_bytes: int, *, position: int) -> "tqdm[NoReturn]":
        room = shutil.get_terminal_size().columns * 2 // 5
        return tqdm(
            total=size_bytes,
            desc=shortened(printable(label), max(min(room, 40), 8)),
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            bar_format=_format(),
            position=position,
            leave=False,
            file=sys.stderr,
        )


def _format() -> str:
    return _SHORT_BAR if shutil.get_terminal_size().columns < _NARROW else _WIDE_BAR


def shortened(text: str, columns: int) -> str:
    """*text* with its middle left out, so that it takes at most *columns*."""
    if _columns(text) <= columns:
        return text
    head, tail = "", ""
    for char in text:
        if _columns(head + char) > columns // 2 - 1:
            break
        head += char
    for char in reversed(text):
        if _columns(head + "…" + char + tail) > columns:
            break
        tail = char + tail
    return f"{head}…{tail}"


def _columns(text: str) -> int:
    """Columns of a terminal that *text* takes: CJK takes two each."""
    return sum(
        0
        if unicodedata.combining(char)
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )
