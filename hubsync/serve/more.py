"""Routes beside the Hub's own ``/api/`` and files: what other clients ask for."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from hubsync.serve.api import Api
from hubsync.serve.contents import Contents
from hubsync.serve.errors import forbidden_write
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.serve.parquet import ROWS, VIEWER, Parquet
from hubsync.serve.query import json_response
from hubsync.serve.registry import Registry, parse_registry_route, welcome
from hubsync.serve.routing import parse_route

# What the Hub has for its search page: its own lists, which are not mirrored.
TAG_KINDS = {
    "/api/models-tags-by-type": (
        *("pipeline_tag", "library", "dataset", "language", "license", "other"),
        "region",
    ),
    "/api/datasets-tags-by-type": (
        *("task_categories", "size_categories", "modality", "format", "library"),
        *("language", "license", "other", "region"),
    ),
}
# All of them lead to `Api.answer`, or tell nothing of any repo.
ASKING = frozenset({"v2", *VIEWER, *ROWS, *TAG_KINDS})
_READS = frozenset({"GET", "HEAD"})
Family = Callable[[web.Request, str], Awaitable[web.StreamResponse]]
"""Answers all routes of one first segment, or one route; gets the raw path."""


def more_families(
    api: Api, library: Library, contents: Contents, options: ServeOptions
) -> dict[str, Family]:
    """Who answers what, by first segment or whole path; *api* learns their verbs.

    Each leads to `Api.answer`: it decides what is read, and by whom.
    """
    api.also(Registry(library, contents, options).answers)
    parquet = Parquet(library, options)
    api.also(parquet.answers)

    async def registry(request: web.Request, raw_path: str) -> web.StreamResponse:
        _only_reads(request)
        if raw_path.rstrip("/") == "/v2":
            return welcome()
        # An owner may be called v2: its files are where files are.
        route = parse_registry_route(raw_path) or parse_route(raw_path)
        return await api.answer(request, route)

    async def viewer(request: web.Request, raw_path: str) -> web.StreamResponse:
        _only_reads(request)
        return await api.answer(request, parquet.viewer_route(request, raw_path))

    async def tags(request: web.Request, raw_path: str) -> web.StreamResponse:
        _only_reads(request)
        return json_response({kind: [] for kind in TAG_KINDS[raw_path]})

    return {
        "v2": registry,
        **dict.fromkeys(VIEWER, viewer),
        **dict.fromkeys(ROWS, parquet.rows),
        **dict.fromkeys(TAG_KINDS, tags),
    }


def _only_reads(request: web.Request) -> None:
    if request.method not in _READS:
        raise forbidden_write()
