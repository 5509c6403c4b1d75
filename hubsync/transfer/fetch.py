"""What a transfer is asked for and answers: no HTTP library behind it.

A pull that finds nothing to fetch needs these names and not the engine, whose
import takes longer than such a pull.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hubsync.model.digest import Descriptor
from hubsync.model.snapshot import TreeEntry
from hubsync.model.spans import Span
from hubsync.ports.blobs import HeldBlob, Ingest
from hubsync.ports.hub import Source

Publisher = Callable[[Sequence[Ingest | HeldBlob]], None]
"""Makes verified blobs durable and writes them down, as one group, in a thread.

A `HeldBlob` among them is in the store already, put there by somebody else.
"""


class Watch(Protocol):
    """Who reads along while a blob is fetched.  Called in the engine's loop."""

    def begun(self, ingest: Ingest) -> None:
        """What has come is in *ingest*, and more will; also after a start from 0."""

    def advanced(self) -> None:
        """More is there."""

    def restarted(self) -> None:
        """What was there is gone: it comes again, and may be other bytes."""

    def verified(self) -> None:
        """All is there, and what it should be."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A blob to fetch, under the first path that needs it.

    Of 100,000 files there are as many: what can be made when it is asked for is.
    """

    repo: str  # for messages
    entry: TreeEntry
    locate: Callable[[TreeEntry], Source]
    watch: Watch | None = None

    @property
    def path(self) -> str:
        return self.entry.path

    @property
    def want(self) -> Descriptor:
        return self.entry.want

    @property
    def size_bytes(self) -> int:
        return self.entry.size_bytes

    @property
    def source(self) -> Source:
        return self.locate(self.entry)


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a run has cost, and been spared: what others had left of its blobs."""

    bytes_fetched: int
    requests: int
    retries: int
    bytes_resumed: int = 0


class Fetcher(Protocol):
    """Fetches many blobs: `engine.Engine`."""

    async def fetch_all(
        self, items: Sequence[Fetch], publish: Publisher
    ) -> FetchReport:
        """Fetch *items*; *publish* gets groups of what is verified, in a thread."""


class Passer(Fetcher, Protocol):
    """Also gives blobs away without keeping them."""

    def pass_on(self, item: Fetch, span: Span) -> AsyncGenerator[bytes, None]:
        """The bytes of *span* of *item*, of which nothing is kept."""
