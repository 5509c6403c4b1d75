"""The server: its middleware, its fixed routes, its life."""

import asyncio
import errno
import logging
import signal
import time
import uuid
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from hubsync import __version__
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.model.repo import RepoType
from hubsync.serve.api import Api
from hubsync.serve.errors import Problem, forbidden_write, unauthorized
from hubsync.serve.files import FileSender
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.serve.routing import parse_route

log = logging.getLogger("hubsync.serve")

EXPOSED_HEADERS = (
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,"
    "Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag,X-Xet-Hash"
)
_READS = frozenset({"GET", "HEAD"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PortTakenError(HubsyncError):
    """Something else listens where we should."""

    exit_code = ExitCode.BUSY


def create_app(library: Library, options: ServeOptions) -> web.Application:
    """The application; its resources are freed by its own clean-up."""
    sender = FileSender(library.blobs, options)
    site = _Site(Api(library, sender, options), library)
    app = web.Application(middlewares=[_edge], client_max_size=options.body_bytes_max)
    # One route for everything: aiohttp's router would decode the path first.
    app.router.add_route("*", "/{raw:.*}", site.dispatch)

    async def close(_: web.Application) -> None:
        sender.close()

    app.on_cleanup.append(close)
    # Not in the middleware: a large body has left when it returns there.
    app.on_response_prepare.append(_decorate)
    return app


async def run(
    app: web.Application, options: ServeOptions, on_ready: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then let running answers end.

    Raises:
        PortTakenError: somebody else has the port.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=options.drain_s
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise _explain(error, options) from error
        on_ready(_url(runner, options))
        await stop.wait()
    finally:
        await runner.cleanup()


def _url(runner: web.AppRunner, options: ServeOptions) -> str:
    host, port = runner.addresses[0][:2]
    if ":" in host:
        host = f"[{host}]"
    return options.base_url or f"http://{host}:{port}"


def _explain(error: OSError, options: ServeOptions) -> HubsyncError:
    where = f"{options.host}:{options.port}"
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(
            f"something else listens on {where}",
            hint="Stop it, or choose another port with --port (0 takes a free one).",
        )
    return HubsyncError(f"cannot listen on {where}: {error.strerror or error}")


class _Site:
    """Routes that are not about one repo, and the way to those that are."""

    def __init__(self, api: Api, library: Library) -> None:
        self._api, self._library = api, library
        self._fixed: dict[str, Handler] = {
            "/": self._welcome,
            "/healthz": self._health,
            "/api/whoami-v2": self._whoami,
            "/api/agent-harnesses": self._harnesses,
            "/api/collections": self._collections,
        }

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        raw_path = request.raw_path.partition("?")[0]
        if request.method == "OPTIONS":
            return _preflight()
        if request.method not in _READS and "/paths-info/" not in raw_path:
            raise forbidden_write()
        if handler := self._fixed.get(raw_path):
            return await handler(request)
        for repo_type in RepoType:
            if raw_path in (f"/api/{repo_type.plural}", f"/api/{repo_type.plural}/"):
                return await self._api.list_repos(request, repo_type)
        return await self._api.answer(request, parse_route(raw_path))

    async def _welcome(self, request: web.Request) -> web.Response:
        url = f"{request.scheme}://{request.host}"
        return web.Response(
            text=f"hubsync {__version__}: a mirror of model hubs.\n\n"
            "Point Hugging Face clients here:\n\n"
            f"    export HF_ENDPOINT={url}\n"
            "    hf download org/model\n\n"
            f"What is held: {url}/api/models  {url}/api/datasets  {url}/api/spaces\n"
        )

    async def _health(self, request: web.Request) -> web.Response:
        await self._library.ask(self._library.catalog.ping)
        return web.json_response({"status": "ok", "version": __version__})

    async def _whoami(self, request: web.Request) -> web.Response:
        if not request.headers.get("Authorization"):
            raise unauthorized()
        # There are no accounts here; clients only want to hear that a token works.
        return web.json_response(
            {
                "type": "user",
                "id": "0" * 24,
                "name": "mirror",
                "fullname": "hubsync mirror",
                "orgs": [],
                "auth": {
                    "type": "access_token",
                    "accessToken": {"displayName": "hubsync", "role": "read"},
                },
            }
        )

    async def _harnesses(self, request: web.Request) -> web.Response:
        return web.json_response({"standardEnvVars": [], "harnesses": {}})

    async def _collections(self, request: web.Request) -> web.Response:
        return web.json_response([])


@web.middleware
async def _edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Request id, CORS, and the one place where an unexpected error ends."""
    started = time.monotonic()
    request["id"] = request_id = uuid.uuid4().hex
    try:
        response = await handler(request)
    except Problem as problem:
        response = _problem(problem)
    except web.HTTPException as error:
        response = _plain_error(error)
    except (ConnectionResetError, asyncio.CancelledError):
        raise  # the client has left: there is nobody to answer
    except Exception:
        log.exception("request failed", extra={"request_id": request_id})
        response = _problem(Problem(500, f"Internal error, request {request_id}"))
    log.info(
        "%s %s %s %.1fms %s",
        request.method,
        request.raw_path[:500],
        response.status,
        (time.monotonic() - started) * 1000,
        request_id,
    )
    return response


async def _decorate(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-Id"] = request["id"]
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    response.headers["Server"] = f"hubsync/{__version__}"


def _problem(problem: Problem) -> web.Response:
    if problem.text:
        return web.Response(
            status=problem.status, text=problem.message, headers=problem.headers
        )
    return web.Response(
        status=problem.status,
        body=orjson.dumps({"error": problem.message}),
        headers={
            "Content-Type": "application/json; charset=utf-8",
            **problem.headers,
        },
    )


def _plain_error(error: web.HTTPException) -> web.Response:
    """An error of aiohttp's own, in the form that clients of the Hub read."""
    response = _problem(Problem(error.status, error.reason))
    for key in ("Content-Range", "ETag", "X-Repo-Commit", "Accept-Ranges"):
        if key in error.headers:
            response.headers[key] = error.headers[key]
    return response


def _preflight() -> web.Response:
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
            "Access-Control-Allow-Headers": "Authorization, Range, Content-Type, "
            "If-None-Match, If-Range, Accept",
            "Access-Control-Max-Age": "86400",
        },
    )
