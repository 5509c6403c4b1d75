"""One metadata request through `huggingface_hub`, as raw bytes.

The library is imported when the first request is made: it is slow to import,
and most commands never ask a hub anything.  What is used of it is public in
both 1.x and 2.x; those differ in the HTTP library they bring along.
"""

import asyncio
import importlib
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from hubsync import __version__
from hubsync.hubs.options import HubOptions
from hubsync.model.errors import OfflineError, UsageError
from hubsync.ports.hub import HubAnswerError, UnavailableError
from hubsync.wire.addresses import is_ambiguous, is_public, parse_address

T = TypeVar("T")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED = 400
_REFUSAL_BYTES_MAX = 64 * 1024
# Nothing is kept from one answer for the next request, here or at a CDN.
_NO_COOKIES = DefaultCookiePolicy(allowed_domains=[])
_FOR_ALL = frozenset({"accept-encoding", "user-agent"})
_GZIP = 31  # zlib's wbits for a gzip header


class NoAnswerError(Exception):
    """Nothing came, or not all of it: worth another try."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What came back.  *refusal* is huggingface_hub's word for a 4xx or 5xx."""

    url: str
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    refusal: Exception | None


def _check_token(token: str, where: str) -> None:
    if not (token.isascii() and token.isprintable()):
        raise UsageError(
            f"the token for {where} has characters that no token has",
            hint="Copy it again from the hub's settings page.",
        )


class HfTransport:
    """GETs on one endpoint.  Methods block."""

    def __init__(
        self, endpoint: str, *, token: str | bool | None, options: HubOptions
    ) -> None:
        if isinstance(token, str):
            _check_token(token, endpoint)
        if _origin(endpoint) is None:
            raise UsageError(
                f"{endpoint!r} is not the address of a hub",
                hint="An endpoint looks like https://huggingface.co.",
            )
        self._endpoint, self._token, self._options = endpoint, token, options
        self.host = urlsplit(endpoint).netloc.rpartition("@")[2]
        self.server = ""  # what the endpoint's last answer named itself
        self.requests = 0  # redirect hops are requests too: the hub counts them

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """User agent, and the token: as configured, else of the stored login."""
        from huggingface_hub import constants  # noqa: PLC0415 - slow to import
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # noqa: PLC0415
            build_hf_headers,
        )

        # It would ask the public Hub which agent is running us, whatever the
        # endpoint is.  A mirror talks to the configured endpoint and no other.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        try:
            found: dict[str, str] = build_hf_headers(
                token=self._token, library_name="hubsync", library_version=__version__
            )
        except OSError as error:  # token=True, and nobody is logged in
            raise UsageError(
                f"no stored token for {self.host}", hint="Log in with `hf auth login`."
            ) from error
        if stored := found.get("authorization"):
            _check_token(stored, self.host)
        return found

    @property
    def authorization(self) -> Mapping[str, str]:
        """The header with the token; empty when there is none."""
        token = self.headers.get("authorization")
        return {"Authorization": token} if token else {}

    def get(self, url: str) -> RawAnswer:
        """GET *url*, following redirects.

        Raises:
            NoAnswerError: worth another try.
            UnavailableError, HubAnswerError: it is not.
            OfflineError: the environment forbids requests.
        """
        from huggingface_hub import get_session  # noqa: PLC0415 - slow to import
        from huggingface_hub.errors import OfflineModeIsEnabled  # noqa: PLC0415

        http = _http_library()
        try:
            session = get_session()
            session.cookies.jar.set_policy(_NO_COOKIES)
            return self._hop_by_hop(session, url)
        except OfflineModeIsEnabled as error:
            raise OfflineError(
                "HF_HUB_OFFLINE is set in the environment: no hub may be asked",
                hint="Unset it, or use --offline to answer from the store.",
            ) from error
        except http.InvalidURL as error:
            # The endpoint's address was looked at before: this one is a redirect's.
            raise self._astray(str(error)) from error
        except http.RequestError as error:
            if _is_about_certificate(error):
                raise UnavailableError(
                    f"{self.host} cannot prove who it is: {error}",
                    hint="Nothing was sent. If a proxy with its own certificate is "
                    "in between, point SSL_CERT_FILE to that certificate.",
                ) from error
            raise NoAnswerError(str(error) or type(error).__name__) from error

    def _hop_by_hop(self, session: Any, url: str) -> RawAnswer:
        deadline = time.monotonic() + self._options.answer_timeout_s
        read = self._options.read_timeout_s
        for _ in range(self._options.redirects_max + 1):
            self.requests += 1
            with session.stream(
                "GET",
                url,
                headers=self._headers_for(url),
                # (connect, read, write, pool); the library's default is for ever.
                timeout=(self._options.connect_timeout_s, read, read, read),
                follow_redirects=False,
            ) as response:
                if same_origin(url, self._endpoint):
                    self.server = response.headers.get("server", "")
                location = response.headers.get("location")
                if response.status_code in _REDIRECTS and location:
                    url = self._target(url, location)
                    continue
                return self._read(response, url, deadline)
        raise HubAnswerError(
            f"{self.host} sends us round in circles: more than "
            f"{self._options.redirects_max} redirects",
            hint=f"Is {self._endpoint} the address of a hub?",
        )

    def _headers_for(self, url: str) -> dict[str, str]:
        headers = {**self.headers, "accept-encoding": "gzip"}
        if same_origin(url, self._endpoint):
            return headers
        # What more there is may be a credential, too.
        return {name: value for name, value in headers.items() if name in _FOR_ALL}

    def _target(self, url: str, location: str) -> str:
        target = joined(url, location)
        here, there = _origin(url), _origin(target)
        if here and there and there[0] in ("https", here[0]):
            home = _origin(self._endpoint)
            assert home, "checked at birth"
            # Into our own network only if the hub itself is there.
            if there[1] == home[1] or _is_public(there) or not _is_public(home):
                return target
        raise self._astray(location)

    def _astray(self, location: str) -> HubAnswerError:
        return HubAnswerError(
            f"{self.host} redirects to {location[:120]!r}, which must not be followed",
            hint=f"Is {self._endpoint} the address of a hub? A proxy or a log-in "
            "page may be answering in its place.",
        )

    def _read(self, response: Any, url: str, deadline: float) -> RawAnswer:
        refused = response.status_code >= _REFUSED
        ceiling = _REFUSAL_BYTES_MAX if refused else self._options.answer_bytes_max
        data = bytearray()
        for block in response.iter_raw():
            data += block
            if len(data) > ceiling:
                break
            if time.monotonic() > deadline:
                raise NoAnswerError("the answer takes too long to arrive")
        body = _decoded(data, response.headers.get("content-encoding", ""), ceiling)
        if len(body) > ceiling and not refused:
            raise HubAnswerError(
                f"{self.host} answered with more than {ceiling} bytes of metadata",
                hint=f"Is {self._endpoint} the address of a hub?",
            )
        headers = {name.lower(): value for name, value in response.headers.items()}
        refusal = _refusal(response, body) if refused else None
        return RawAnswer(url, response.status_code, headers, body, refusal)


def same_origin(one: str, other: str) -> bool:
    """Whether both are of one scheme, host and port."""
    return _origin(one) is not None and _origin(one) == _origin(other)


def joined(url: str, reference: str) -> str:
    """The address that *reference* means at *url*; empty if it is none."""
    try:
        return urljoin(url, reference)
    except ValueError:
        return ""


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def _is_public(origin: tuple[str, str, int]) -> bool:
    """Whether every address that the host has is of the internet."""
    _, host, port = origin
    if is_ambiguous(host):
        return False
    literal = parse_address(host)
    if literal is not None:
        return is_public(literal)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True  # the request will say so, or a proxy knows the name
    addresses = [parse_address(str(one[4][0])) for one in found]
    return all(address is not None and is_public(address) for address in addresses)


def _decoded(data: bytearray, encoding: str, ceiling: int) -> bytes:
    """*data* unpacked as far as *ceiling* and one byte: a bomb ends there."""
    if encoding != "gzip":
        return bytes(data)
    try:
        return zlib.decompressobj(_GZIP).decompress(bytes(data), ceiling + 1)
    except zlib.error as error:
        raise NoAnswerError(f"the answer cannot be unpacked: {error}") from error


def _refusal(response: Any, body: bytes) -> Exception | None:
    """What huggingface_hub makes of this answer.

    It reads the body again, all of it, and expects a JSON object if any JSON: it
    gets the headers alone, which say all that its classes depend on.
    """
    from huggingface_hub import hf_raise_for_status  # noqa: PLC0415 - slow to import
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    skipped = ("content-encoding", "content-length", "transfer-encoding")
    bare = _http_library().Response(
        response.status_code,
        headers=[pair for pair in response.headers.items() if pair[0] not in skipped],
        request=response.request,
        content=b"",
    )
    try:
        hf_raise_for_status(bare)
    except HfHubHTTPError as error:
        error.server_message = error.server_message or _said(body)
        return error
    return None


def _said(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text


def _http_library() -> Any:
    """Either httpx or httpx2: huggingface_hub's errors are that library's errors."""
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    return importlib.import_module(HfHubHTTPError.__mro__[1].__module__.split(".")[0])


def _is_about_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def detached(work: Callable[[], T]) -> "asyncio.Future[T]":
    """Run *work* in a thread that nobody waits for when the program ends.

    A request that hangs must not hold up Ctrl-C until its timeout.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        outcome.set_running_or_notify_cancel()
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    threading.Thread(target=run, name="hub", daemon=True).start()
    return asyncio.wrap_future(outcome)
