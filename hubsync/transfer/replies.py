"""What the status and headers of an answer to a file request mean."""

from dataclasses import dataclass

from hubsync.model.digest import Descriptor
from hubsync.model.spans import Span
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    GatedError,
    HubAnswerError,
    NotAllowedError,
)
from hubsync.transfer.errors import (
    ContradictionError,
    ExpiredError,
    RetryLaterError,
    StartOverError,
)
from hubsync.transfer.http import Reply
from hubsync.wire.hf import parse_wait_s
from hubsync.wire.ranges import parse_content_range

_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Found:
    """What the headers say of the body.

    *whole*: it is the entire file, whatever was asked for.  *etag*: only a strong
    one, which promises the same bytes.
    """

    whole: bool
    etag: str | None


def check_part(
    reply: Reply, name: str, span: Span, want: Descriptor, etag: str | None
) -> Found:
    """What the body is, if it is what was asked for.

    Args:
        reply: what came, its body not read yet.
        name: path and repo, for messages.
        span: what was asked for: the whole file without, a part with ``Range``.
        want: what the tree says of the file.
        etag: what the parts before had; None: nothing to compare with.

    Raises:
        RetryLaterError, StartOverError, ContradictionError: ask again.
        HubError: the hub says no.
    """
    check_reply(reply, name, span[0], want)
    response = reply.response
    found = response.headers.get("ETag")
    if found is not None and found.startswith("W/"):
        etag = found = None
    if etag is not None and found != etag:
        raise ContradictionError(f"{reply.host} has another file there now")
    whole = response.status == 200  # noqa: PLR2004
    if not whole:
        got = parse_content_range(response.headers.get("Content-Range", ""))
        if got is None or got[0] != span[0] or got[1] > span[1]:
            raise ContradictionError(f"{reply.host} gave another range")
        if response.content_length not in (None, got[1] - got[0]):
            raise ContradictionError(f"{reply.host} says two lengths of one part")
    return Found(whole, found)


def check_reply(reply: Reply, name: str, offset: int, want: Descriptor) -> None:
    """Return if the body is the bytes of *want* from *offset* on.

    Args:
        reply: what came, its body not read yet.
        name: path and repo, for messages.
        offset: the first byte that was asked for.
        want: what the tree says of the file.

    Raises:
        RetryLaterError, StartOverError, ContradictionError: ask again.
        HubError: the hub says no.
    """
    status = reply.response.status
    if status in (200, 206):
        _check_body(reply, name, offset, want)
    elif status == 416 and offset:  # noqa: PLR2004
        _check_size(reply, want)
        raise StartOverError(f"{reply.host} does not give that range")
    elif status == 429 or status >= _SERVER_ERROR or status in (408, 425):  # noqa: PLR2004
        wait = parse_wait_s({k.lower(): v for k, v in reply.response.headers.items()})
        limited = status == 429  # noqa: PLR2004
        what = "limits the rate of requests" if limited else f"answered {status}"
        raise RetryLaterError(f"{reply.host} {what}", wait, answered=not limited)
    elif not reply.from_hub:
        # A signed address has expired: the hub gives a new one.
        raise ExpiredError(f"{reply.host} answered {status}", answered=True)
    else:
        _refuse(reply, name)


def _refuse(reply: Reply, name: str) -> None:
    status, host = reply.response.status, reply.host
    if status in (401, 403):
        said = reply.response.headers.get("X-Error-Message", str(status))
        is_gated = reply.response.headers.get("X-Error-Code") == "GatedRepo"
        raise (GatedError if is_gated else NotAllowedError)(
            f"{host} does not give {name}: {said[:200]}",
            hint="If the repo is gated, ask for access on its page; then log in with "
            "`hf auth login`, or set the variable that token_env names.",
        )
    if status == 404:  # noqa: PLR2004
        raise FileNotFoundOnHubError(
            f"{host} lists {name} but does not have it",
            hint="The revision is not recorded. Try again later, or leave the file "
            "out with --exclude.",
        )
    raise HubAnswerError(
        f"{host} answered {status} for {name}",
        hint="Check the endpoint: this is no answer that a hub gives.",
    )


def _check_body(reply: Reply, name: str, offset: int, want: Descriptor) -> None:
    response = reply.response
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() not in ("identity", ""):
        raise RetryLaterError(f"{reply.host} sent {encoding}-encoded bytes, unasked")
    if response.status == 206:  # noqa: PLR2004
        _check_part(reply, offset, want)
        return
    if offset:
        return  # the range was ignored
    length, size = response.content_length, want.size_bytes
    if length == size:
        return
    # Nothing of this may get into the partial, to be found out at its very end.
    page = response.content_type == "text/html"
    if page and (length is not None or not _is_page(name)):
        why = f"{reply.host} answered with a web page"
        raise RetryLaterError(why, answered=True)
    if length is not None and length < size:
        raise ContradictionError(f"{reply.host} offers {length} bytes of {size}")


def _is_page(name: str) -> bool:
    """Whether the file itself may be a web page, by its *name*: path and repo."""
    return name.rpartition(" of ")[0].lower().endswith((".html", ".htm", ".xhtml"))


def _check_part(reply: Reply, offset: int, want: Descriptor) -> None:
    found = parse_content_range(reply.response.headers.get("Content-Range", ""))
    if found is None or found[0] != offset or found[2] not in (None, want.size_bytes):
        raise ContradictionError(f"{reply.host} gave another range")


def _check_size(reply: Reply, want: Descriptor) -> None:
    """A 416 says how long the file is: ``bytes */1234``."""
    said = reply.response.headers.get("Content-Range", "").removeprefix("bytes */")
    if said.isdecimal() and int(said) != want.size_bytes:
        raise ContradictionError(
            f"{reply.host} has a file of {said} bytes there, not of {want.size_bytes}"
        )


def check_listed(reply: Reply, want: Descriptor) -> None:
    """Compare what the hub itself says of the file now with what its tree says.

    Raises:
        ContradictionError: it is another file.
    """
    size = reply.listed.get("X-Linked-Size", "")
    if size.isdecimal() and int(size) != want.size_bytes:
        raise ContradictionError(
            f"the hub says now that it has {size} bytes, not {want.size_bytes}"
        )
    name = reply.listed.get("X-Linked-Etag", "").removeprefix("W/").strip('"')
    for known in (want.digest, want.git_oid):
        # A hub names a file by one of the two; the other tells nothing.
        if known and len(name) == len(known.hex) and name != known.hex:
            raise ContradictionError(f"the hub says now that it is {name[:80]}")
