"""Progress in a terminal: one bar for all, one for each of the largest files."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import click
from tqdm import tqdm

from hubsync.cli.names import columns_of, padded, short_path
from hubsync.cli.output import printable
from hubsync.cli.tally import Speed, format_seconds
from hubsync.cli.watch import Watch
from hubsync.model.units import MIB, format_size

LARGE_FILE_BYTES = 16 * MIB
BARS_MAX = 4
_NARROW = 64  # columns: no room for a bar
_NAME_MAX = 40
_BAR_MIN = 10
_STEPS = 1000  # tqdm counts in these


@dataclass(frozen=True, slots=True)
class Row:
    """One line on the screen.  *share*: how much of its bar is full; None: no bar."""

    name: str
    share: float | None = None
    numbers: str = ""


class BarProgress(Watch):
    """tqdm bars on stderr, drawn at most ten times a second."""

    every_s = 0.1

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(label, clock)
        self._bars: list[tqdm[NoReturn]] = []
        self._speeds: dict[str, Speed] = {}
        self._columns = 0
        tqdm.monitor_interval = 0  # its thread: `Watch` looks by itself

    def show_plan(self) -> None:
        if self.tally.files:
            self.show(self.clock())

    def note(self, message: str) -> None:
        text = printable(f"hubsync: {message}")
        if self._bars:
            tqdm.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)

    def close(self) -> None:
        """Take all bars off the screen: the command's last line says it all."""
        super().close()
        self._keep_bars(0)

    def show(self, now_s: float) -> None:
        columns, lines = _screen()
        # As many as fit above a line for whatever comes next.
        rows = self.rows(now_s, columns, files_max=min(BARS_MAX, lines - 3))
        self._fit(columns)
        self._keep_bars(len(rows))
        for at, (row, text) in enumerate(zip(rows, _texts(rows, columns), strict=True)):
            share = 0.0 if row.share is None else min(max(row.share, 0.0), 1.0)
            if at == len(self._bars):
                self._bars.append(_bar(text, at, columns))
            bar = self._bars[at]
            bar.bar_format, bar.n = text, round(share * _STEPS)
            bar.ncols, bar.nrows = columns, lines
            bar.refresh()

    def rows(self, now_s: float, columns: int, *, files_max: int) -> list[Row]:
        """What is to be seen: all, what is done, the largest files under way."""
        tally, rate = self.tally, self.tally.rate(now_s)
        eta, left = tally.eta_s(rate), tally.size_bytes - tally.arrived
        numbers = []
        if columns >= _NARROW:
            numbers.append(_of(tally.arrived, tally.size_bytes))
        if left <= 0:
            numbers.append("finishing")
        else:
            numbers += [] if rate is None else [f"{format_size(rate)}/s"]
            numbers += [] if eta is None else [format_seconds(eta)]
        whole = Row(self.label, _share(tally.arrived, tally.size_bytes), _join(numbers))
        return [whole, self._done_row(), *self._file_rows(now_s, columns, files_max)]

    def _done_row(self) -> Row:
        tally = self.tally
        parts = [f"{tally.files_done}/{tally.files} files"]
        parts.append(f"{format_size(tally.verified)} verified")
        if reused := tally.reused_bytes + tally.resumed:
            parts.append(f"{format_size(reused)} reused")
        return Row("  " + ", ".join(parts))

    def _file_rows(self, now_s: float, columns: int, files_max: int) -> list[Row]:
        rows, speeds = [], {}
        for path in self.tally.largest(max(files_max, 0), least_bytes=LARGE_FILE_BYTES):
            file = self.tally.in_flight[path]
            speeds[path] = self._speeds.get(path) or Speed()
            rate = speeds[path].at(now_s, file.there)
            numbers = []
            if columns >= _NARROW:
                numbers.append(_of(file.there, file.size_bytes))
            if file.there >= file.size_bytes:
                numbers.append("verifying")
            elif rate is not None:
                numbers.append(f"{format_size(rate)}/s")
            share = _share(file.there, file.size_bytes)
            rows.append(Row(f"  {path}", share, _join(numbers)))
        self._speeds = speeds
        return rows

    def _fit(self, columns: int) -> None:
        """Wipe away what a terminal made of longer lines when it was resized."""
        if self._bars and columns != self._columns:
            sys.stderr.write("\r\x1b[J")  # the cursor is on our first line
            for bar in self._bars:
                # It would blank out as much as it wrote last, which may not fit.
                bar.sp = tqdm.status_printer(sys.stderr)
        self._columns = columns

    def _keep_bars(self, count: int) -> None:
        while len(self._bars) > count:
            self._bars.pop().close()


def _bar(text: str, position: int, columns: int) -> "tqdm[NoReturn]":
    return tqdm(
        total=_STEPS,
        bar_format=text,
        position=position,
        leave=False,
        ncols=columns,
        file=sys.stderr,
    )


def _texts(rows: list[Row], columns: int) -> list[str]:
    """The rows as tqdm formats, their columns aligned."""
    narrow = columns < _NARROW
    least = 0 if narrow else _BAR_MIN + 3
    numbers = max(columns_of(row.numbers) for row in rows)
    room = columns - numbers - least - len(" 100%  ")
    room = max(min(room, _NAME_MAX), 8)
    names = [
        _name(row.name, room if row.share is not None else columns) for row in rows
    ]
    barred = (
        name for row, name in zip(rows, names, strict=True) if row.share is not None
    )
    width = max(map(columns_of, barred))
    texts = []
    for row, name in zip(rows, names, strict=True):
        if row.share is None:
            texts.append(_escaped(name))
            continue
        bar = "" if narrow else "|{bar}| "
        percent = f"{int(100 * row.share):3}%"
        start = _escaped(padded(name, width))
        texts.append(f"{start} {percent} {bar}{row.numbers:<{numbers}}")
    return texts


def _name(name: str, columns: int) -> str:
    indent = name[: len(name) - len(name.lstrip())]
    path = short_path(_shown(name.lstrip()), columns - len(indent), _mark())
    return indent + path


def _shown(text: str) -> str:
    """*text* as the terminal's encoding can show it, one character for one."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return printable(text).encode(encoding, "replace").decode(encoding)


def _mark() -> str:
    return "…" if _shown("…") == "…" else "~"


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _screen() -> tuple[int, int]:
    """Columns and lines of the terminal that stderr is.

    One column less than there are: a terminal may wrap what fills its last one.
    """
    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        columns, lines = 0, 0
    return (columns or 80) - 1, lines or 24


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _of(part: int, whole: int) -> str:
    return f"{format_size(part)}/{format_size(whole)}"


def _join(numbers: list[str]) -> str:
    return "  ".join(numbers)
