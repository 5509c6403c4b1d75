"""Which failures of TLS are worth another try."""

import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from hubsync.ports.hub import UnavailableError
from hubsync.transfer.silence import final_error, reason

_KEY: Any = ConnectionKey("cdn.test", 443, True, True, None, None, None)


def failed(tls: ssl.SSLError, why: str) -> aiohttp.ClientConnectorSSLError:
    tls.reason = why
    return aiohttp.ClientConnectorSSLError(_KEY, tls)


@pytest.mark.parametrize(
    "error",
    [
        failed(ssl.SSLEOFError(8, "EOF occurred"), "UNEXPECTED_EOF"),
        failed(ssl.SSLZeroReturnError(6, "closed"), "ZERO"),
        failed(ssl.SSLError(1, "eof"), "UNEXPECTED_EOF_WHILE_READING"),
        failed(ssl.SSLError(1, "alert"), "TLSV1_ALERT_INTERNAL_ERROR"),
    ],
    ids=lambda error: str(error.os_error),
)
def test_who_hung_up_may_not_the_next_time(
    error: aiohttp.ClientConnectorSSLError,
) -> None:
    assert final_error("cdn.test", error) is None
    assert "no encrypted connection" in reason(error)


@pytest.mark.parametrize(
    "why",
    ["WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "SSLV3_ALERT_HANDSHAKE_FAILURE"],
)
def test_who_speaks_something_else_will_the_next_time_too(why: str) -> None:
    final = final_error("cdn.test", failed(ssl.SSLError(1, "no"), why))
    assert isinstance(final, UnavailableError)
    assert why in str(final)
    assert "cdn.test" in str(final)
    assert final.hint


def test_other_silence_is_never_final() -> None:
    for error in (TimeoutError(), aiohttp.ServerDisconnectedError(), OSError(5, "x")):
        assert final_error("cdn.test", error) is None
        assert reason(error)
