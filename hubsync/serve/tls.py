"""HTTPS: the certificate, and reading it again without a restart."""

import logging
import ssl
from pathlib import Path

from hubsync.model.errors import UsageError
from hubsync.serve.events import Event
from hubsync.serve.options import ServeOptions

log = logging.getLogger("hubsync.serve")

HANDSHAKE_S = 10.0  # a client that has not shaken hands by then is dropped


class Tls:
    """A context with a certificate that may be renewed.

    Raises:
        UsageError: there is none, or the key is another's.
    """

    def __init__(self, cert: Path, key: Path | None) -> None:
        self._cert, self._key = cert, key
        self.context = self._load()

    @classmethod
    def of(cls, options: ServeOptions) -> "Tls | None":
        """As *options* say; None: plain HTTP."""
        if options.tls_cert is not None:
            return cls(options.tls_cert, options.tls_key)
        if options.tls_key is not None:
            raise UsageError(
                "serve.tls_key is set, and serve.tls_cert is not",
                hint="Set both, or tls_self_signed = true.",
            )
        return None

    def reload(self) -> None:
        """Read the files again, for new connections; a bad pair changes nothing."""
        try:
            self._load()
        except UsageError as error:
            log.error(Event("certificate refused", reason=str(error)))  # noqa: TRY400 - one line says it
            return
        self.context.load_cert_chain(self._cert, self._key, password="")
        log.warning(Event("certificate read again", path=str(self._cert)))

    def _load(self) -> ssl.SSLContext:
        for name, path in (("tls_cert", self._cert), ("tls_key", self._key)):
            if path is not None:
                _require_readable(name, path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # An empty password: asked for one, OpenSSL would ask the terminal.
            context.load_cert_chain(self._cert, self._key, password="")
        except ssl.SSLError as error:
            raise UsageError(
                self._explain(error),
                hint="Name the certificate with --tls-cert, and its key with --tls-key "
                "if it is in another file.",
            ) from error
        return context

    def _explain(self, error: ssl.SSLError) -> str:
        key = self._key or self._cert
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"the key in {key} does not belong to the certificate {self._cert}"
        named = f"{self._cert} and {key} are"
        if key == self._cert:
            named = f"{key} is"
        return (
            f"{named} no certificate and key in PEM, the key "
            f"without a password ({error.reason or 'not readable'})"
        )


def _require_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UsageError(
            f"serve.{name}: cannot read {path}: {error.strerror}",
            hint="Name a file in PEM that this user may read, or have a certificate "
            "made with --tls-self-signed.",
        ) from error
