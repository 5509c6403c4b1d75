"""What the status and headers of an answer to a file request mean."""

import aiohttp

from hubsync.model.digest import Descriptor
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    HubAnswerError,
    NotAllowedError,
)
from hubsync.transfer.http import Reply
from hubsync.wire.hf import parse_rate_limit
from hubsync.wire.ranges import parse_content_range

_SERVER_ERROR = 500


class RetryLaterError(Exception):
    """Nothing final: ask again, after *wait_s* seconds if the hub said so."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class StartOverError(Exception):
    """The hub does not go on from where we are."""


def check_reply(reply: Reply, path: str, offset: int, want: Descriptor) -> None:
    """Return if the body is the bytes of *want* from *offset* on.

    Raises:
        RetryLaterError, StartOverError: ask again.
        HubError: the hub says no.
    """
    status = reply.response.status
    if status in (200, 206):
        _check_body(reply.response, offset, want)
    elif status == 416 and offset:  # noqa: PLR2004
        raise StartOverError
    elif status == 429:  # noqa: PLR2004
        raise RetryLaterError("the hub limits the rate", _wait_of(reply.response))
    elif status >= _SERVER_ERROR or status in (408, 425):
        raise RetryLaterError(f"{_host(reply)} answered {status}")
    elif not reply.from_hub:
        # A signed address has expired: the hub gives a new one.
        raise RetryLaterError(f"{_host(reply)} answered {status}")
    elif status in (401, 403):
        raise NotAllowedError(
            f"{_host(reply)} does not give {path}: "
            f"{reply.response.headers.get('X-Error-Message', status)}",
            hint="Log in with an account that has access: `hf auth login`, or "
            "token_env in the configuration.",
        )
    elif status == 404:  # noqa: PLR2004
        raise FileNotFoundOnHubError(
            f"{_host(reply)} lists {path} but does not have it",
            hint="The revision is not recorded. Try again later, or leave the file "
            "out with --exclude.",
        )
    else:
        raise HubAnswerError(f"{_host(reply)} answered {status} for {path}")


def _check_body(
    response: aiohttp.ClientResponse, offset: int, want: Descriptor
) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() not in ("identity", ""):
        raise RetryLaterError(f"the body came {encoding}-encoded, unasked")
    if response.status == 200:  # noqa: PLR2004
        if offset:
            raise StartOverError  # the range was ignored
        return
    found = parse_content_range(response.headers.get("Content-Range", ""))
    if found is None or found[0] != offset or found[2] not in (None, want.size_bytes):
        raise StartOverError if offset else RetryLaterError("a range, unasked")


def _wait_of(response: aiohttp.ClientResponse) -> float | None:
    limit = parse_rate_limit(response.headers.get("RateLimit", ""))
    if limit is not None and limit.remaining == 0:
        return limit.reset_s + 1.0
    after = response.headers.get("Retry-After", "")
    return float(after) if after.isdigit() else None


def _host(reply: Reply) -> str:
    return reply.response.url.host or "the hub"
