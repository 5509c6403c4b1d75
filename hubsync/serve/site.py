"""All routes: the few fixed ones, the lists, and those about one repo."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from hubsync import __version__
from hubsync.model.repo import RepoType
from hubsync.serve.access import Access
from hubsync.serve.api import Api
from hubsync.serve.errors import forbidden_write, no_route, unauthorized
from hubsync.serve.library import Library
from hubsync.serve.more import ASKING, Family
from hubsync.serve.options import ServeOptions
from hubsync.serve.query import json_response, own_url
from hubsync.serve.routing import ROUTE, parse_route, raw_path_of
from hubsync.serve.xet import CAS

_READS = frozenset({"GET", "HEAD"})
# Nothing held is told here.  Every other route needs a reader who is let in.
_PUBLIC = frozenset({"/", "/healthz", "/readyz", "/api/agent-harnesses"})
_OPERATOR = frozenset({"/metrics"})
# Clients show a grant of ours there in place of a token: `Access.holds`.
_BY_GRANT = f"/{CAS}/"
# First segments and routes whose families ask `Access.admit` about each repo
# themselves; the others are for those who may read everything.
_ASKING = ASKING | {CAS}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Finds who answers a request.

    aiohttp's own router would decode the path first, and ``refs%2Fpr%2F1`` could
    not be told from two folders any more.
    """

    def __init__(
        self,
        api: Api,
        library: Library,
        options: ServeOptions,
        access: Access,
        families: Mapping[str, Family] | None = None,
    ) -> None:
        self._api, self._library, self._options = api, library, options
        self._access = access
        self._families = families or {}
        self._fixed: dict[str, Handler] = {
            "/": self._welcome,
            "/healthz": self._health,
            "/api/whoami-v2": self._whoami,
            "/api/agent-harnesses": self._harnesses,
            "/api/collections": self._collections,
        }
        self._lists = {f"/api/{one.plural}": one for one in RepoType}

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        """Answer *request*.

        Raises:
            Problem: with what to answer instead.
        """
        if request.method == "OPTIONS":
            return _preflight()
        raw_path = raw_path_of(request.raw_path)
        request[ROUTE] = raw_path.removeprefix("/").partition("/")[0]
        if raw_path in _PUBLIC:
            return await self._answer(request, raw_path)
        if raw_path in _OPERATOR:
            await self._access.operator(request)
            return await self._answer(request, raw_path)
        return await self._access.guard(
            request,
            raw_path,
            self._answer,
            about_repo=raw_path not in self._fixed and raw_path not in self._lists,
            by_grant=raw_path.startswith(_BY_GRANT),
        )

    async def _answer(self, request: web.Request, raw_path: str) -> web.StreamResponse:
        first = raw_path.removeprefix("/").partition("/")[0]
        if family := self._families.get(first) or self._families.get(raw_path):
            asking = not _ASKING.isdisjoint((first, raw_path))
            is_free = raw_path in _PUBLIC or raw_path in _OPERATOR
            if not (is_free or asking) and not self._access.reads_all(request):
                raise no_route()
            return await family(request, raw_path)
        if request.method not in _READS:
            # The one question that is asked by POST, and nothing is written.
            if request.method != "POST" or "/paths-info/" not in raw_path:
                raise forbidden_write()
        elif handler := self._fixed.get(raw_path):
            request[ROUTE] = raw_path.rpartition("/")[2] or raw_path
            return await handler(request)
        elif repo_type := self._lists.get(raw_path.rstrip("/")):
            request[ROUTE] = "list"
            return await self._api.list_repos(request, repo_type)
        route = parse_route(raw_path)
        request[ROUTE] = route.verb
        if request.method == "POST" and route.verb != "paths-info":
            raise forbidden_write()
        return await self._api.answer(request, route)

    async def _welcome(self, request: web.Request) -> web.StreamResponse:
        url = own_url(request, self._options)
        return web.Response(
            text=f"hubsync {__version__}: a mirror of model hubs.\n\n"
            "Point Hugging Face clients here:\n\n"
            f"    export HF_ENDPOINT={url}\n"
            "    hf download org/model\n\n"
            f"What is held: {url}/api/models  {url}/api/datasets  {url}/api/spaces\n"
        )

    async def _health(self, request: web.Request) -> web.StreamResponse:
        await self._library.ask(self._library.catalog.ping)
        return json_response({"status": "ok", "version": __version__})

    async def _whoami(self, request: web.Request) -> web.StreamResponse:
        if account := await self._access.account(request):
            return json_response(account)
        user = self._access.user(request)
        if user is None and not request.headers.get("Authorization"):
            raise unauthorized()
        # There are no accounts here; clients only want to hear that a token works.
        token = {"displayName": "hubsync", "role": "read"}
        return json_response(
            {
                "type": "user",
                "id": "0" * 24,
                "name": user or "mirror",
                "fullname": user or "hubsync mirror",
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": token},
            }
        )

    async def _harnesses(self, request: web.Request) -> web.StreamResponse:
        """The first thing every huggingface_hub asks; any answer will do."""
        return json_response({"standardEnvVars": [], "harnesses": {}})

    async def _collections(self, request: web.Request) -> web.StreamResponse:
        return json_response([])


def _preflight() -> web.Response:
    """What a browser asks before it sends ``Range`` or ``Authorization``."""
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
            "Access-Control-Allow-Headers": "Authorization, Range, Content-Type, "
            "If-None-Match, If-Range, Accept",
            "Access-Control-Max-Age": "86400",
        },
    )
