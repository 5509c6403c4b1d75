"""What the routes about repos say of Xet: mostly nothing.

A Xet client that hears of Xet fetches from the store that is named with it, and
never comes back to plain HTTP.  So it hears of it only where plain HTTP would not
do (the Python client refuses it above 50 GB), or when `ServeOptions.xet` is
``always``.  The token is there for whoever asks: a client's cache may remember
from the real Hub that a file has a Xet hash.
"""

from urllib.parse import quote

import orjson
from aiohttp import web

from hubsync.catalog.rows import SnapshotRow
from hubsync.model.snapshot import HeldEntry, TreeEntry
from hubsync.serve.errors import no_route
from hubsync.serve.found import Found
from hubsync.serve.grants import signer_of
from hubsync.serve.options import ServeOptions
from hubsync.serve.query import json_response, own_url
from hubsync.serve.visit import holder_of

CAS = "_xet"  # first segment of the store's routes, and nobody's name
INFO_TYPE = "application/vnd.xet-fileinfo+json"


class Xet:
    """Who is told of Xet, and the token to use it with."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._signer = signer_of(options)
        self._above = {
            "off": None,
            "auto": options.xet_above_bytes,
            "always": 0,
        }[options.xet]

    def concerns(self, entry: TreeEntry) -> bool:
        """Whether clients are led to fetch it by Xet, if it is held."""
        return (
            self._above is not None and entry.is_lfs and entry.size_bytes > self._above
        )

    def may_announce(self, snapshot: SnapshotRow) -> bool:
        """Whether what is said of its files may change with what is held."""
        return self._above is not None and snapshot.bytes > self._above

    async def token(self, request: web.Request, found: Found) -> web.StreamResponse:
        """``xet-read-token``: what opens the store for one commit.

        Raises:
            Problem: 404, there is no store.
        """
        if self._above is None:
            raise no_route()
        grant = self._signer.grant(
            found.row.repo, found.commit, holder=holder_of(request)
        )
        token = self._signer.sign(grant)
        url = f"{own_url(request, self._options)}/{CAS}"
        headers = {
            "X-Xet-Cas-Url": url,
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(grant.expires_s),
            "Cache-Control": "no-store",
        }
        body = {"casUrl": url, "accessToken": token, "exp": grant.expires_s}
        return json_response(body, {**found.commit_header, **headers})

    def links(
        self, request: web.Request, found: Found, one: HeldEntry
    ) -> dict[str, str]:
        """The headers that lead a client to Xet; none for most files."""
        if not one.held or not self.concerns(one.entry):
            return {}
        base, repo = own_url(request, self._options), found.row.repo
        assert one.entry.lfs
        # The hub's own, so that a client's cache stays true to the hub.
        file = one.entry.xet_hash or one.entry.lfs.hex
        token = (
            f"{base}/api/{repo.repo_type.plural}/{quote(repo.name)}"
            f"/xet-read-token/{found.commit}"
        )
        info = f"{base}/{CAS}/v1/reconstructions/{file}"
        return {
            "X-Xet-Hash": file,
            "Link": f'<{token}>; rel="xet-auth", '
            f'<{info}>; rel="xet-reconstruction-info"',
        }


def wants_info(request: web.Request) -> bool:
    """Whether the client would rather hear about the file than have its bytes."""
    return request.method == "GET" and INFO_TYPE in request.headers.get("Accept", "")


def info(etag: str, size_bytes: int, headers: dict[str, str]) -> web.Response:
    """What `wants_info` is about; *headers* are the file's, `Xet.links` among them."""
    body = {"hash": headers["X-Xet-Hash"], "etag": etag, "size": size_bytes}
    more = {"Content-Type": INFO_TYPE, "ETag": f'"{etag}"', "Vary": "Accept"}
    return web.Response(body=orjson.dumps(body), headers={**headers, **more})
