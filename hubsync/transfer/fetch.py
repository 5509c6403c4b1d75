"""What a transfer is asked for and answers: no HTTP library behind it.

A pull that finds nothing to fetch needs these names and not the engine, whose
import takes longer than such a pull.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hubsync.model.digest import Descriptor
from hubsync.ports.blobs import HeldBlob
from hubsync.ports.hub import Source

Recorder = Callable[[Sequence[HeldBlob]], None]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A blob to fetch, under the first path that needs it."""

    repo: str  # for messages
    path: str
    want: Descriptor
    source: Source


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a run has cost."""

    bytes_fetched: int
    requests: int
    retries: int


class Fetcher(Protocol):
    """Fetches many blobs: `engine.Engine`."""

    async def fetch_all(self, items: Sequence[Fetch], on_done: Recorder) -> FetchReport:
        """Fetch *items*; *on_done* records groups of what is durable, in a thread."""
