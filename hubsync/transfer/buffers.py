"""Memory that bodies are received in, and when to write it to the disk."""

from collections import defaultdict

SLOW_S = 0.05  # for one block; into the kernel's memory it takes a thousandth
ASIDE_S = 10.0


class Buffers:
    """Blocks that one body after another is received in.

    Large ones for large bodies: the kernel takes a fifth less time for them.  Of
    small bodies many are on their way at once.
    """

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._free: defaultdict[int, list[memoryview]] = defaultdict(list)

    @property
    def least_bytes(self) -> int:
        """How much any of them takes."""
        return max(self._block_bytes // 2, 1)

    def take(self, body_bytes: int) -> memoryview:
        """One that nobody else has, for a body of *body_bytes*.

        It is a byte longer than a block: for what may come behind the body.
        """
        is_large = body_bytes > 4 * self._block_bytes
        size = (self._block_bytes if is_large else self.least_bytes) + 1
        free = self._free[size]
        return free.pop() if free else memoryview(bytearray(size))

    def give(self, buffer: memoryview) -> None:
        """Nobody uses *buffer*, or the whole of which it is a part, any more."""
        whole = memoryview(buffer.obj)
        self._free[len(whole)].append(whole)


class Pace:
    """Whether a block is written at once, or by a thread.

    To hand a block to a thread costs more than to copy it into the kernel.  Only
    when the kernel's memory is full does a write wait for the disk, and then
    nothing else may wait for it.
    """

    def __init__(self) -> None:
        self._aside_until = 0.0

    def may_write(self, now: float) -> bool:
        """Whether a block may be written by whoever must not wait."""
        return now >= self._aside_until

    def wrote(self, began: float, ended: float) -> None:
        """It took so long, by the loop's clock."""
        if ended - began > SLOW_S:
            self._aside_until = ended + ASIDE_S
