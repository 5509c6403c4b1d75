"""Publishing verified blobs as one group: one wait for the disk, not a thousand."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hubsync.model.digest import Digest
from hubsync.store.disk import explain, explained
from hubsync.store.ingest import LocalIngest
from hubsync.store.shelf import Shelf
from hubsync.store.syncing import sync_files


def publish(shelf: Shelf, ingests: Sequence[LocalIngest]) -> None:
    """Sync all bytes, then give all names, then sync all folders.

    The order is the promise: a name stands for bytes that are on the disk, and
    nobody is told of a name that is not.

    Raises:
        HubsyncError: as the disk says.  None of the group is visible, and all
            have let go of their lock.
    """
    with ExitStack() as stack:
        for ingest in ingests:
            stack.callback(ingest.abort)
        if not ingests:
            return
        since = min(ingest.since for ingest in ingests)
        _sync(shelf, ingests, since)
        placed: dict[Digest, Path | None] = {}
        try:
            for ingest in ingests:
                assert ingest.verified, "only what was verified is published"
                with explained(ingest.path):
                    is_new = ingest.put()
                    path = ingest.path if is_new else None
                    placed.setdefault(ingest.verified.digest, path)
        except BaseException:
            # Their folders were never synced: they must not pass for held.
            with explained(shelf.root.blobs):
                shelf.withdraw(placed)
            raise
        with explained(shelf.root.blobs):
            shelf.make_durable(placed, since)


def _sync(shelf: Shelf, ingests: Sequence[LocalIngest], since: int) -> None:
    try:
        with ExitStack() as stack:
            fds = [stack.enter_context(one.opened()) for one in ingests]
            for fd, ingest in zip(fds, ingests, strict=True):
                if ingest.was_resumed:
                    # Written before we watched, by a process that may have been
                    # told of an error which we are not.
                    os.fsync(fd)
            sync_files(fds, shelf.watch, since)
    except OSError as error:
        # The kernel may have dropped the dirty pages: a second fsync would say
        # yes to bytes that are gone.  Never retry; start over.
        for ingest in ingests:
            ingest.discard()
        raise explain(error, ingests[0].path) from error
