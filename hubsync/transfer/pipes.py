"""Pipes that bytes wait in, in the kernel, between a socket and a file."""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass

from hubsync.model.units import MIB

_PIPE_BYTES = MIB  # the most that a user may ask for, if nobody changed it


@dataclass(frozen=True, slots=True)
class Piped:
    """So many bytes in a pipe, which is to be given back or closed."""

    pipe: "Pipe"
    size_bytes: int

    def __len__(self) -> int:
        return self.size_bytes


class Pipe:
    """One pipe, both ends of which are ours."""

    def __init__(self) -> None:
        self.out, self._in = os.pipe()
        with suppress(OSError):  # the user has many already; less fits in
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def fill(self, source: int, most: int) -> Piped:
        """Move into it at most *most* bytes of what *source*, a socket, has.

        Raises:
            BlockingIOError: there is nothing.
            OSError: the connection broke.
        """
        flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
        return Piped(self, os.splice(source, self._in, most, flags=flags))

    def close(self) -> None:
        os.close(self.out)
        os.close(self._in)


class Pipes:
    """Those of a run that nobody uses; never one with something in it."""

    def __init__(self) -> None:
        self._free: list[Pipe] = []
        self._is_closed = False

    def take(self) -> Pipe:
        """An empty one that nobody else has."""
        return self._free.pop() if self._free else Pipe()

    def give(self, pipe: Pipe) -> None:
        """Nobody uses *pipe* any more, and it is empty."""
        self._free.append(pipe)
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Close those that are here, and those that are still to come."""
        self._is_closed = True
        while self._free:
            self._free.pop().close()
