"""Copying the body of one answer into an ingest."""

from collections.abc import Callable

from hubsync.model.spans import Span
from hubsync.ports.blobs import Ingest
from hubsync.transfer.direct import TLS_BUFFER_BYTES
from hubsync.transfer.gathered import GatheredBody
from hubsync.transfer.http import Reply
from hubsync.transfer.landing import Landing
from hubsync.transfer.received import DirectBody, SplicedBody
from hubsync.transfer.run import Run
from hubsync.transfer.spliced import can_splice
from hubsync.transfer.taken import can_take_over, is_plain

# To copy so much into the kernel takes less time than to ask a thread to do it.
INLINE_BYTES = 256 * 1024


async def copy_body(
    run: Run, reply: Reply, ingest: Ingest, span: Span, advanced: Callable[[int], None]
) -> None:
    """Copy the body of *reply*, whose headers were found good, into *span*.

    What has arrived is kept, however it ends.

    Raises:
        RetryLaterError: the connection broke, or is of no use.
        LongBodyError: it goes on behind the end of the span.
    """
    start, stop = span
    landing = Landing(run, ingest, start, advanced)
    size = stop - start
    is_small = size <= min(INLINE_BYTES, run.options.block_bytes)
    # With a limit there is nothing to gain, and a connection that has to wait.
    is_direct = not (is_small or run.limiter.is_limiting)
    may_take = is_direct and can_take_over(reply.response, size)
    if may_take and _may_splice(run, reply, ingest):
        await SplicedBody(run, reply, landing).copy(size)
    elif may_take and _may_receive(run, reply):
        await DirectBody(run, reply, landing).copy(size)
    else:
        inline = ingest.want.size_bytes <= INLINE_BYTES
        await GatheredBody(run, reply, landing, inline=inline).copy(stop)


def _may_splice(run: Run, reply: Reply, ingest: Ingest) -> bool:
    """Whether the kernel may move the bytes: nothing is to be done with them.

    Those of a small file are hashed as they come.
    """
    is_small = ingest.want.size_bytes <= run.options.whole_bytes_max
    return is_plain(reply.response) and not is_small and can_splice()


def _may_receive(run: Run, reply: Reply) -> bool:
    return is_plain(reply.response) or run.buffers.block_bytes >= TLS_BUFFER_BYTES
