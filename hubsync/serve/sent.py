"""How many bytes of a body have left, for who counts and logs them."""

from contextvars import ContextVar

_sent: ContextVar[list[int]] = ContextVar("_sent")  # aiohttp: a task a connection


def begin_count() -> list[int]:
    """From now on, in this task, what is sent is added to the one number given."""
    sent = [0]
    _sent.set(sent)
    return sent


def count(size_bytes: int) -> None:
    """So many bytes were sent, or handed over to be."""
    sent = _sent.get(None)
    if sent is not None:
        sent[0] += size_bytes
