"""Publishing in groups: one wait for the disk for all that came meanwhile."""

import asyncio

from hubsync.ports.blobs import HeldBlob, Ingest
from hubsync.ports.progress import Progress
from hubsync.transfer.download import let_go
from hubsync.transfer.fetch import Publisher

GROUP_MAX = 512  # more would hold up what is published first


class Groups:
    """Verified ingests on their way to be published.

    While one group is being published the next gathers; so a small file waits
    for the disk together with hundreds, and a lone one does not wait at all.
    Each unfinished ingest is an open file: `room` bounds how many there are.
    """

    def __init__(
        self, publish: Publisher, progress: Progress, *, open_max: int
    ) -> None:
        self._publish, self._progress = publish, progress
        self._arrived: list[tuple[str, Ingest | HeldBlob]] = []
        self._wake = asyncio.Event()
        self._closed = False
        self.open_max = open_max
        self._room = asyncio.Semaphore(open_max)

    async def room(self) -> None:
        """Wait until one more ingest may be open."""
        await self._room.acquire()

    def leave(self) -> None:
        """One for which there was room will not come."""
        self._room.release()

    def add(self, path: str, blob: Ingest | HeldBlob) -> None:
        self._arrived.append((path, blob))
        self._wake.set()

    def close(self) -> None:
        """Nothing more will be added."""
        self._closed = True
        self._wake.set()

    def abandon(self) -> None:
        """Let go of what will not be published any more; it can be resumed."""
        for _, blob in self._arrived:
            let_go(blob)
        self._arrived = []

    async def run(self) -> None:
        """Publish until closed."""
        while self._arrived or not self._closed:
            await self._wake.wait()
            group, self._arrived = self._arrived[:GROUP_MAX], self._arrived[GROUP_MAX:]
            if not self._arrived and not self._closed:
                self._wake.clear()
            if group:
                await self._publish_group(group)

    async def _publish_group(self, group: list[tuple[str, Ingest | HeldBlob]]) -> None:
        blobs = [blob for _, blob in group]
        job = asyncio.ensure_future(asyncio.to_thread(self._publish, blobs))
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            # A thread cannot be stopped: what it publishes is published.
            await asyncio.wait([job])
            job.exception()  # looked at, or asyncio would print it
            raise
        finally:
            # Of no consequence for what is published; the rest can be resumed.
            for blob in blobs:
                let_go(blob)
        for path, _ in group:
            self._room.release()
            self._progress.file_done(path)
