"""Leaving files to the server in front of us."""

from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web

from hubsync.model.digest import Digest
from hubsync.model.errors import UsageError
from hubsync.serve.folder import BlobFolder
from hubsync.serve.options import ServeOptions
from hubsync.serve.proxies import from_trusted_proxy

NGINX, OTHERS = "x-accel-redirect", "x-sendfile"


class Accel:
    """Names the file of a blob to a proxy that sends it in our place.

    Only to trusted ones: anybody else would take our empty answer for the file.

    Raises:
        UsageError: no proxy is trusted, or nginx's location is none.
    """

    def __init__(self, options: ServeOptions, folder: BlobFolder | None) -> None:
        self._how, self._prefix = options.accel, options.accel_prefix
        self._folder = folder if options.accel != "off" else None
        if options.accel == "off":
            return
        if not options.trusted_proxies and options.unix_socket is None:
            raise UsageError(
                f"serve.accel = {options.accel!r} and no proxy is trusted",
                hint="Name it in trusted_proxies, or listen on a unix_socket.",
            )
        if not (self._prefix.startswith("/") and self._prefix.endswith("/")):
            raise UsageError(
                f"serve.accel_prefix: {self._prefix!r} does not begin and end with /"
            )

    def headers(self, request: web.Request, digest: Digest) -> Mapping[str, str] | None:
        """What tells the proxy to send the blob; None: we send it."""
        if self._folder is None or not from_trusted_proxy(request):
            return None
        path = self._folder.path_of(digest)
        if self._how == OTHERS:
            return {"X-Sendfile": quote(str(path.absolute()))}
        beneath = path.relative_to(self._folder.top.parent)
        return {"X-Accel-Redirect": self._prefix + quote(str(beneath))}
