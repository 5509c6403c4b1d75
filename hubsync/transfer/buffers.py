"""Memory that bodies are received in, and when to write it to the disk."""

SLOW_S = 0.05  # for one block; into the kernel's memory it takes a thousandth
ASIDE_S = 10.0


class Buffers:
    """Blocks that one body after another is received in.

    Blocks of twice the size save a tenth of the CPU time, and take 20 to 30 MiB more
    for all connections.
    """

    def __init__(self, block_bytes: int) -> None:
        self.block_bytes = block_bytes  # how much each takes
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        """One that nobody else has.

        It is a byte longer than a block: for what may come behind the body.
        """
        if self._free:
            return self._free.pop()
        return memoryview(bytearray(self.block_bytes + 1))

    def give(self, buffer: memoryview) -> None:
        """Nobody uses *buffer*, or the whole of which it is a part, any more."""
        self._free.append(memoryview(buffer.obj))


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
