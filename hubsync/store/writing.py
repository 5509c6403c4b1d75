"""Putting bytes at their place in a partial."""

import errno
import os
from collections.abc import Sequence

from hubsync.model.units import MIB
from hubsync.ports.blobs import Block

_ZEROS = bytes(MIB)


def write_all(fd: int, blocks: Sequence[Block], at: int, *, holes: bool) -> None:
    """Write *blocks* one behind the other, from *at* on.

    *holes*: what is zeros anyhow, because the file is long enough and was never
    written there, need not be.

    Raises:
        OSError: the disk failed, or is full.
    """
    left = [memoryview(one) for one in blocks if len(one)]
    while left:
        if holes and _is_hole(fd, left[0], at):
            written = len(left[0])
        elif len(left) == 1:
            written = os.pwrite(fd, left[0], at)
        else:
            written = os.pwritev(fd, left, at)
        at += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]


def move_all(pipe: int, fd: int, at: int, size_bytes: int) -> None:
    """Move what *pipe* holds, *size_bytes*, into the file at *at*.

    Raises:
        OSError: the disk failed, or is full.
    """
    stop = at + size_bytes
    while at < stop:
        try:
            moved = os.splice(pipe, fd, stop - at, offset_dst=at)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # This file system takes bytes from a program only.
            block = os.read(pipe, stop - at)
            write_all(fd, [block], at, holes=False)
            moved = len(block)
        assert moved, "the pipe holds less than was said"
        at += moved


def _is_hole(fd: int, block: memoryview, at: int) -> bool:
    """Whether *block* is zeros where the file has never been written."""
    if block[0] or block[-1] or block != _ZEROS[: len(block)]:
        return False
    try:
        return os.lseek(fd, at, os.SEEK_DATA) >= at + len(block)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data from here to the end
            return True
        if error.errno == errno.EINVAL:  # this file system does not tell
            return False
        raise
