"""Which bytes of a partial are there, written down beside it.

A partial that is written from its beginning to its end needs no journal: its
length says what is there.  Once a block is written behind a gap there is one,
made before that block:

::

    hubsync-journal 1 <boot id>
    = <start> <stop> <crc32>      survives a power cut: the data was synced first
    + <start> <stop> <crc32>      handed to the kernel: good while it runs

A line that is torn ends what is believed.  What is believed wrongly costs a
second download and nothing else: the digest of the whole decides.
"""

import os
import zlib
from pathlib import Path

from hubsync.model.spans import Spans
from hubsync.store.disk import sync_folder

SUFFIX = ".journal"
_MAGIC = "hubsync-journal 1"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MODE = 0o644


def boot_id() -> str:
    """What names this run of the kernel; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def journal_of(partial: Path) -> Path:
    return partial.with_name(partial.name + SUFFIX)


def read_journal(path: Path) -> Spans | None:
    """What the journal at *path* says is there; None when there is none."""
    try:
        lines = path.read_text("ascii", "replace").split("\n")
    except FileNotFoundError:
        return None
    magic, _, boot = lines[0].rpartition(" ")
    spans = Spans()
    if magic != _MAGIC:
        return spans
    same_kernel = bool(boot) and boot == boot_id()
    for line in lines[1:-1]:  # what comes after the last newline is torn
        words = line.split(" ")
        if len(words) != 4 or _line(words[0], words[1], words[2]) != line + "\n":  # noqa: PLR2004
            break
        if words[0] == "=" or same_kernel:
            spans.add(int(words[1]), int(words[2]))
    return spans


class Journal:
    """An open journal.  Not safe for several threads: its ingest has a lock."""

    def __init__(
        self,
        path: Path,
        spans: Spans,
        durable: Spans | None = None,
        *,
        named: bool = True,
    ) -> None:
        """Begin a journal that says what *spans* and *durable* do, replacing any.

        With *durable* it is synced, and so is its name.  Without *named* it has
        none yet: `take_over` gives it.
        """
        self._path = path
        self._temporary = path.with_name(f".{path.name}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._temporary, flags, _MODE)
        try:
            text = [f"{_MAGIC} {boot_id()}\n"]
            text += [_line("=", start, stop) for start, stop in durable or ()]
            text += [_line("+", start, stop) for start, stop in spans]
            _write(self._fd, "".join(text))
            if durable is not None:
                os.fsync(self._fd)
            if named:
                self._temporary.rename(path)
                if durable is not None:
                    sync_folder(path.parent)
        except BaseException:
            self.discard()
            raise

    def take_over(self, spans: Spans) -> None:
        """Say what *spans* do as well, and take the place of the journal there."""
        try:
            _write(self._fd, "".join(_line("+", *span) for span in spans))
            self._temporary.rename(self._path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Let go of what has not got its name."""
        self.close()
        self._temporary.unlink(missing_ok=True)

    def note(self, start: int, stop: int) -> None:
        """Write down that the kernel has these bytes."""
        _write(self._fd, _line("+", start, stop))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _line(kind: str, start: int | str, stop: int | str) -> str:
    body = f"{kind} {start} {stop}"
    return f"{body} {zlib.crc32(body.encode()):08x}\n"


def _write(fd: int, text: str) -> None:
    data = text.encode("ascii")
    while data:
        data = data[os.write(fd, data) :]
