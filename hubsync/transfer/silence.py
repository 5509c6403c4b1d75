"""Why there was no answer: in plain words, and whether to ask again."""

import socket
import ssl

import aiohttp

from hubsync.ports.hub import HubAnswerError, HubError, UnavailableError

# The other side, or something in between, hung up or stumbled: it may not the
# next time.  Every other failure of TLS is a matter of who they are or what they
# speak, and stays.
_PASSING_TLS = frozenset({"UNEXPECTED_EOF_WHILE_READING", "TLSV1_ALERT_INTERNAL_ERROR"})


def final_error(host: str, error: BaseException) -> HubError | None:
    """The error to end with, if asking again is of no use."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return UnavailableError(
            f"{error.host} cannot prove who it is: {error.certificate_error}",
            hint="If a proxy with its own certificate is in between, point "
            "SSL_CERT_FILE to that certificate.",
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        tls = error.os_error
        if isinstance(tls, ssl.SSLError) and not _is_passing(tls):
            return UnavailableError(
                f"no encrypted connection to {host}: {tls.reason or tls}",
                hint="Something else than a hub may be listening there. Check the "
                "endpoint, its port, and any proxy in between.",
            )
    if isinstance(error, aiohttp.InvalidURL):
        return HubAnswerError(
            f"no request can be sent to {host}: its address cannot be read",
            hint="Check the endpoint: an address is written as 127.0.0.1 or [::1].",
        )
    return None


def _is_passing(error: ssl.SSLError) -> bool:
    hung_up = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return hung_up or error.reason in _PASSING_TLS


def reason(error: BaseException) -> str:
    """Why there was no answer."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        # Named, for it may be that of a proxy.
        said = f"{error.host} cannot be resolved ({_os_word(error.os_error)})"
    elif isinstance(error, socket.gaierror):
        said = f"the name cannot be resolved ({_os_word(error)})"
    elif isinstance(error, aiohttp.ConnectionTimeoutError):
        said = "cannot connect in time"
    elif isinstance(error, TimeoutError):
        said = "no answer in time"
    elif isinstance(error, aiohttp.ClientConnectorSSLError):
        said = f"no encrypted connection ({error.os_error})"
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        said = f"cannot connect to the proxy ({_os_word(error.os_error)})"
    elif isinstance(error, aiohttp.ClientConnectorError):
        said = f"cannot connect ({_os_word(error.os_error)})"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        said = "no answer: the connection was closed"
    elif isinstance(error, aiohttp.ClientResponseError):
        # Its own text has the address: a signature, or a proxy's password.
        said = f"no answer: {error.status} {error.message}"
    else:
        said = f"no answer: {str(error) or type(error).__name__}"
    return said


def _os_word(error: OSError) -> str:
    return error.strerror or str(error)
