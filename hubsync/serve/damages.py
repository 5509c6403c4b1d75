"""Files that cannot be sent as they are recorded, and whose fault it is."""

import asyncio
import errno
import logging
from collections.abc import Callable

from hubsync.model.digest import Digest
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import HeldBlob
from hubsync.serve.errors import Problem, busy, store_is_away
from hubsync.serve.events import Event
from hubsync.serve.folder import BlobFolder
from hubsync.serve.shortage import Seldom, is_short

log = logging.getLogger("hubsync.serve")

Recheck = Callable[[HeldBlob], None]
"""Read a blob again and take it out of sight if it is damaged; blocks."""
# The network's, and that of a disk behind one.
_NOT_THE_BLOBS = frozenset(
    {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
)


class Damages:
    """Has what was found damaged read again, one blob at a time.

    What is damaged indeed is written down as such, and waits for its repair:
    `hubsync verify --repair`, or the next request where missing files are fetched.
    """

    def __init__(
        self, recheck: Recheck | None, folder: BlobFolder | None = None
    ) -> None:
        self._recheck = recheck  # None: nothing can be written here
        self._folder = folder
        self._short, self._away = Seldom(), Seldom()
        self._known: set[Digest] = set()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def met(
        self, one: HeldEntry, what: str, error: OSError | None = None
    ) -> Problem | None:
        """The blob of *one* is not as it is recorded: *what* it is, with *error*.

        What to answer; None: it is damaged, for nothing else explains it, and is
        looked at again.
        """
        if is_short(error):
            self._short.warn("short of files or memory", reason=str(error))
            return busy()
        if error is not None and error.errno in _NOT_THE_BLOBS:
            return busy()
        if reason := self._folder and self._folder.what_is_wrong():
            self._away.warn("no blob can be read", reason=reason)
            return store_is_away(reason)
        self._report(one, what)
        return None

    def _report(self, one: HeldEntry, what: str) -> None:
        assert one.digest
        log.error(
            Event(
                what,
                digest=str(one.digest),
                path=one.entry.path,
                size_bytes=one.entry.size_bytes,
            )
        )
        if self._recheck is None or one.digest in self._known:
            return
        self._known.add(one.digest)
        git_oid = None if one.entry.is_lfs else one.entry.git_oid
        blob = HeldBlob(one.digest, one.entry.size_bytes, git_oid)
        task = asyncio.create_task(self._look(blob, self._recheck))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, blob: HeldBlob, recheck: Recheck) -> None:
        try:
            async with self._turn:
                if self._folder and self._folder.what_is_wrong():
                    return  # it has gone meanwhile: every blob would be missing
                await asyncio.to_thread(recheck, blob)
        except Exception:
            # Nobody waits for it: the client has its answer, and the next one
            # who meets the damage reports it again.
            log.exception(
                Event("cannot look at a damaged blob", digest=str(blob.digest))
            )
        finally:
            self._known.discard(blob.digest)

    async def close(self) -> None:
        """Wait for the one that is being looked at: it is not half written down."""
        await asyncio.gather(*self._tasks)
