"""Reading what a request asks for besides its path, and linking to more of it."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hubsync.serve.errors import JSON_TYPE, Problem, bad_request, too_large
from hubsync.serve.options import ServeOptions
from hubsync.serve.proxies import CALLER, HOST
from hubsync.serve.routing import raw_path_of

PATHS_MAX = 2000
Params = Sequence[tuple[str, str]]
_NOWHERE = re.compile(r"(?:0\.0\.0\.0|\[[0:]+\])(?::\d+)?")  # every address, and none
_NUMBER = re.compile(r"[0-9]{1,9}")
_TRUE = frozenset(["true", "1", "yes"])


def params_of(request: web.Request) -> list[tuple[str, str]]:
    """The query's keys and values, in order, ``key[]`` as ``key``."""
    found = _fields(request.raw_path.partition("?")[2].encode(errors="replace"))
    return [(key.removesuffix("[]"), value) for key, value in found]


def _fields(encoded: bytes) -> list[tuple[str, str]]:
    try:
        text = encoded.decode()
        return parse_qsl(text, keep_blank_values=True, max_num_fields=2 * PATHS_MAX)
    except ValueError:
        raise too_large("too many parameters") from None


def values(params: Params, *keys: str) -> list[str]:
    return [value for key, value in params if key in keys]


def value(params: Params, key: str) -> str | None:
    """The last one given, as the Hub takes it."""
    return next((text for name, text in reversed(params) if name == key), None)


def flag(params: Params, key: str) -> bool | None:
    text = value(params, key)
    return None if text is None else text.lower() in _TRUE


def number(params: Params, key: str, *, minimum: int = 0) -> int | None:
    """A whole number, or None if it is not given.

    Raises:
        Problem: 400 for anything else.
    """
    text = value(params, key)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or int(text) < minimum:
        raise bad_request(f"invalid {key} {text[:100]!r}")
    return int(text)


async def asked_paths(
    request: web.Request, options: ServeOptions
) -> tuple[list[str], bool]:
    """``(paths, expand)`` of a paths-info body, as a form or as JSON.

    Raises:
        Problem: 400 for what is neither, 413 for too many, 415 if it is compressed.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "The body must not be compressed")
    raw = await _body(request, options)
    if request.content_type == "application/json":
        paths, expand = _json_paths(raw)
    else:
        form = [(key.removesuffix("[]"), text) for key, text in _fields(raw)]
        paths, expand = values(form, "paths"), bool(flag(form, "expand"))
    if len(paths) > PATHS_MAX:
        raise too_large(f"too many paths: {len(paths)}, and {PATHS_MAX} are allowed")
    return paths, expand


async def _body(request: web.Request, options: ServeOptions) -> bytes:
    too_long = too_large(
        f"the body is longer than {options.body_bytes_max} bytes: "
        "ask about fewer paths at once",
        close=True,
    )
    # What is announced is not waited for: a client may want to hear us first.
    if (request.content_length or 0) > options.body_bytes_max:
        raise too_long
    try:
        async with asyncio.timeout(options.stall_s):
            return await request.read()
    except TimeoutError:
        raise Problem(408, "The body did not come") from None
    except web.HTTPRequestEntityTooLarge:
        raise too_long from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise bad_request("the body is not as its headers announce it") from None


def _json_paths(raw: bytes) -> tuple[list[str], bool]:
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise bad_request("the body is not JSON") from None
    paths = body.get("paths") if isinstance(body, dict) else None
    if isinstance(paths, str):
        paths = [paths]
    if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
        raise bad_request('the body must be {"paths": ["…"]}')
    return paths, bool(body.get("expand"))


def own_url(request: web.Request, options: ServeOptions) -> str:
    """Where the client has found us.

    ``X-Forwarded-*`` is anybody's word, unless a trusted proxy says it; behind
    another that changes the host, `ServeOptions.base_url` says it.
    """
    if options.base_url:
        return options.base_url.rstrip("/")
    caller = request.get(CALLER)
    host: str = request.headers.get("Host", "")
    if caller and caller.host:
        host = caller.host
    if not HOST.fullmatch(host) or _NOWHERE.fullmatch(host):
        host = _reached_at(request) or f"{options.host}:{options.port}"
    scheme = caller.scheme if caller else None
    return f"{scheme or request.scheme}://{host}"


def _reached_at(request: web.Request) -> str | None:
    """Our end of the connection, which is never 0.0.0.0; None: a unix socket."""
    name = request.get_extra_info("sockname")
    if not isinstance(name, tuple):
        return None
    address, port = str(name[0]).partition("%")[0], name[1]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def next_link(
    request: web.Request,
    options: ServeOptions,
    change: Mapping[str, str],
    path: str | None = None,
) -> dict[str, str]:
    """The header that leads to the next page: absolute, or some do not follow it.

    *path*: where that is; None: where this one was.
    """
    query = request.raw_path.partition("?")[2].encode(errors="replace")
    kept = [pair for pair in _fields(query) if pair[0] not in change]
    more = urlencode([*kept, *change.items()])
    path = path or raw_path_of(request.raw_path)
    url = f"{own_url(request, options)}{path}?{more}"
    return {"Link": f'<{url}>; rel="next"'}


def json_response(
    body: object, headers: Mapping[str, str] | None = None
) -> web.Response:
    """*body* as JSON; bytes are JSON already."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return web.Response(
        body=raw, headers={"Content-Type": JSON_TYPE, **(headers or {})}
    )
