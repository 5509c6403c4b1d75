"""What a transfer looks like in a terminal: tqdm bars on stderr."""

import sys
from typing import NoReturn

import click
from tqdm import tqdm

from hubsync.model.units import MIB

LARGE_FILE_BYTES = 16 * MIB
BARS_MAX = 6


class TerminalProgress:
    """One bar for the total, one for each large file in flight."""

    def __init__(self, label: str, *, bars: bool, quiet: bool) -> None:
        self._label, self._bars, self._quiet = label, bars, quiet
        self._total: tqdm[NoReturn] | None = None
        self._files: dict[str, tqdm[NoReturn]] = {}
        self._done = 0
        self._count = 0

    def plan(self, files: int, size_bytes: int) -> None:
        self._count = files
        if self._bars and files:
            self._total = self._bar(self._label, size_bytes, position=0)
            self._total.set_postfix_str(f"0/{files} files", refresh=False)

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        if self._total is None:
            return
        self._total.update(offset)
        if size_bytes >= LARGE_FILE_BYTES and len(self._files) < BARS_MAX:
            taken = {bar.pos for bar in self._files.values()}
            free = next(i for i in range(1, BARS_MAX + 2) if -i not in taken)
            bar = self._bar(f"  {path}", size_bytes, position=free)
            bar.update(offset)
            self._files[path] = bar

    def file_advanced(self, path: str, size_bytes: int) -> None:
        if self._total is not None:
            self._total.update(size_bytes)
        if path in self._files:
            self._files[path].update(size_bytes)

    def file_done(self, path: str) -> None:
        self._done += 1
        if bar := self._files.pop(path, None):
            bar.close()
        if self._total is not None:
            self._total.set_postfix_str(f"{self._done}/{self._count} files")

    def note(self, message: str) -> None:
        if self._quiet:
            return
        if self._total is not None:
            tqdm.write(f"hubsync: {message}", file=sys.stderr)
        else:
            click.echo(f"hubsync: {message}", err=True)

    def close(self) -> None:
        """Take the bars off the screen; the total stays as the last line."""
        for bar in self._files.values():
            bar.close()
        self._files.clear()
        if self._total is not None:
            self._total.close()
            self._total = None

    def _bar(self, label: str, size_bytes: int, *, position: int) -> "tqdm[NoReturn]":
        return tqdm(
            total=size_bytes,
            desc=label if len(label) <= 40 else f"{label[:18]}…{label[-21:]}",  # noqa: PLR2004
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            position=position,
            leave=position == 0,
            file=sys.stderr,
        )
