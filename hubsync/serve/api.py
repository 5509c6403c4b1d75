"""The Hub's routes, one method each."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import orjson
from aiohttp import web

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.model.revision import DEFAULT_BRANCH
from hubsync.model.snapshot import HeldEntry
from hubsync.serve.cards import card_of
from hubsync.serve.errors import (
    bad_request,
    no_entry,
    no_repo,
    no_revision,
    no_route,
    not_held,
)
from hubsync.serve.files import FileSender, file_headers
from hubsync.serve.library import Library, hub_id
from hubsync.serve.listing import Listed, Query, item_keys, shape
from hubsync.serve.options import ServeOptions
from hubsync.serve.routing import Route
from hubsync.serve.tree import CursorError, Tree, page_of
from hubsync.wire.hf import emit_commit, emit_info, emit_refs
from hubsync.wire.lfs import emit_pointer
from hubsync.wire.ranges import matches_any

COMMITS_A_PAGE = 50
COMMITS_A_PAGE_MAX = 1000
PATHS_MAX = 2000
_EXPANDABLE = frozenset(
    [
        "author",
        "baseModels",
        "cardData",
        "childrenModelCount",
        "citation",
        "config",
        "createdAt",
        "datasets",
        "description",
        "disabled",
        "downloads",
        "downloadsAllTime",
        "evalResults",
        "gated",
        "gguf",
        "inference",
        "inferenceProviderMapping",
        "lastModified",
        "library_name",
        "likes",
        "mainSize",
        "mask_token",
        "model-index",
        "models",
        "paperswithcode_id",
        "pipeline_tag",
        "private",
        "region",
        "resourceGroup",
        "runtime",
        "safetensors",
        "sdk",
        "sha",
        "siblings",
        "spaces",
        "subdomain",
        "tags",
        "transformersInfo",
        "trendingScore",
        "usedStorage",
        "widgetData",
        "xetEnabled",
    ]
)


@dataclass(frozen=True, slots=True)
class Found:
    """A route, and what it names."""

    route: Route
    row: RepoRow
    snapshot: SnapshotRow

    @property
    def commit(self) -> str:
        return self.snapshot.commit.oid


class Api:
    """Answers about one repo, and about all of a type."""

    def __init__(
        self, library: Library, sender: FileSender, options: ServeOptions
    ) -> None:
        self._library, self._sender, self._options = library, sender, options
        self._verbs: dict[
            str, Callable[[web.Request, Found], Awaitable[web.StreamResponse]]
        ] = {
            "info": self._info,
            "revision": self._info,
            "tree": self._tree,
            "treesize": self._treesize,
            "paths-info": self._paths_info,
            "refs": self._refs,
            "commits": self._commits,
            "auth-check": self._auth_check,
            "resolve": self._resolve,
            "raw": self._raw,
        }

    async def answer(self, request: web.Request, route: Route) -> web.StreamResponse:
        """Answer a route about one repo.

        Raises:
            Problem: the Hub's own error for it.
        """
        row = await self._library.repo(route.repo_type, route.name)
        if row is None:
            raise no_repo(route.repo_type, route.name)
        if row.repo.name != route.name:
            return _elsewhere(request, route, row)
        if route.verb not in self._verbs:
            raise no_route()
        revision = route.revision or DEFAULT_BRANCH
        snapshot = await self._library.snapshot(row, revision)
        if snapshot is None and route.revision is None:
            snapshot = await self._library.snapshot(row, "HEAD")
        if snapshot is None:
            raise no_revision(revision)
        return await self._verbs[route.verb](request, Found(route, row, snapshot))

    async def _info(self, request: web.Request, found: Found) -> web.StreamResponse:
        params = _params(request)
        expand = [value for key, value in params if key in ("expand", "expand[]")]
        if unknown := sorted(set(expand) - _EXPANDABLE):
            allowed = ", ".join(sorted(_EXPANDABLE))
            raise bad_request(f"invalid expand {unknown[0]!r}: one of {allowed}")
        info = await self.info(
            found.row,
            found.snapshot,
            blobs=dict(params).get("blobs", "").lower() == "true",
            expand=expand or None,
        )
        return _json(info, {"X-Repo-Commit": found.commit})

    async def info(
        self,
        row: RepoRow,
        snapshot: SnapshotRow,
        *,
        blobs: bool = False,
        expand: list[str] | None = None,
    ) -> dict[str, object]:
        """The info object of one snapshot."""
        entries = await self._library.entries(snapshot)
        return emit_info(
            name=row.repo.name,
            repo_type=row.repo.repo_type,
            hub_id=hub_id(row),
            sha=snapshot.commit.oid,
            card=card_of(row, entries, self._library.blobs),
            siblings=[one.entry for one in entries],
            last_modified=snapshot.commit.committed_at or snapshot.recorded_at,
            created_at=row.recorded_at,
            blobs=blobs,
            expand=expand,
        )

    async def _tree(self, request: web.Request, found: Found) -> web.StreamResponse:
        one = dict(_params(request))
        recursive = one.get("recursive", "").lower() in ("true", "1")
        expand = one.get("expand", "").lower() in ("true", "1")
        limit, cursor = _limit(one), one.get("cursor")
        path = found.route.path
        key = ("tree", found.snapshot.id, path, recursive, expand, limit, cursor)
        headers = {"X-Repo-Commit": found.commit}
        cached = self._library.cache.get(key)
        if cached is not None and limit is None and cursor is None:
            return _body(cached, headers)
        tree = await self._whole_tree(found)
        # Only the empty repo has no folder at all.
        if not tree.is_folder(path) and path:
            raise no_entry(path, found.route.revision or "", found.commit)
        rows = tree.rows(path, recursive=recursive, expand=expand)
        try:
            page, following = page_of(rows, limit, cursor)
        except CursorError:
            raise bad_request(f"invalid cursor {cursor!r}") from None
        if following is not None:
            headers["Link"] = self._next(request, {"cursor": following})
        body = orjson.dumps(page)
        if limit is None and cursor is None:
            self._library.cache.put(key, body)
        return _body(body, headers)

    async def _whole_tree(self, found: Found) -> Tree:
        entries = await self._library.entries(found.snapshot)
        return Tree(entries, found.snapshot.commit)

    async def _treesize(self, request: web.Request, found: Found) -> web.StreamResponse:
        tree = await self._whole_tree(found)
        path = found.route.path
        if path and not tree.is_folder(path):
            raise no_entry(path, found.route.revision or "", found.commit)
        return _json({"path": f"/{path}", "size": tree.size_bytes(path)})

    async def _paths_info(
        self, request: web.Request, found: Found
    ) -> web.StreamResponse:
        if request.method != "POST":
            raise no_route()
        paths, expand = await _asked_paths(request)
        if len(paths) > PATHS_MAX:
            raise web.HTTPRequestEntityTooLarge(PATHS_MAX, len(paths))
        tree = await self._whole_tree(found)
        rows = [
            tree.row(path, expand=expand)
            for path in paths
            if tree.is_file(path) or (path and tree.is_folder(path))
        ]
        return _json(rows, {"X-Repo-Commit": found.commit})

    async def _refs(self, request: web.Request, found: Found) -> web.StreamResponse:
        refs = await self._library.refs(found.row)
        wants_prs = dict(_params(request)).get("include_prs") in ("1", "true", "True")
        return _json(
            emit_refs({one.name: one.commit for one in refs}, pull_requests=wants_prs)
        )

    async def _commits(self, request: web.Request, found: Found) -> web.StreamResponse:
        one = dict(_params(request))
        limit = min(_limit(one) or COMMITS_A_PAGE, COMMITS_A_PAGE_MAX)
        page = int(text) if (text := one.get("p", "0")).isdigit() else 0
        # Recorded versions up to the one asked for: what came after it in our
        # order of recording is not its history.
        history = [
            snapshot
            for snapshot in await self._library.snapshots(found.row)
            if snapshot.seq <= found.snapshot.seq
        ]
        start = page * limit
        rows = [emit_commit(snap.commit) for snap in history[start : start + limit]]
        headers = {"X-Total-Count": str(len(history)), "X-Repo-Commit": found.commit}
        if start + limit < len(history):
            following = {"p": str(page + 1), "limit": str(limit)}
            headers["Link"] = self._next(request, following)
        return _json(rows, headers)

    async def _auth_check(
        self, request: web.Request, found: Found
    ) -> web.StreamResponse:
        return web.Response(text="OK")

    async def _resolve(self, request: web.Request, found: Found) -> web.StreamResponse:
        one = await self._entry(found)
        if not one.held:
            raise not_held(one.entry.path, found.commit)
        etag = one.entry.lfs.hex if one.entry.lfs else one.entry.git_oid.hex
        headers = {
            "X-Repo-Commit": found.commit,
            "X-Linked-Size": str(one.entry.size_bytes),
            "X-Linked-Etag": f'"{etag}"',
        }
        return await self._sender.send(request, one, etag, headers)

    async def _raw(self, request: web.Request, found: Found) -> web.StreamResponse:
        one = await self._entry(found)
        etag, headers = one.entry.git_oid.hex, {"X-Repo-Commit": found.commit}
        if one.entry.lfs is None:
            if not one.held:
                raise not_held(one.entry.path, found.commit)
            return await self._sender.send(request, one, etag, headers)
        headers |= {**file_headers(one.entry.path), "ETag": f'"{etag}"'}
        headers["Content-Type"] = "text/plain; charset=utf-8"
        if matches_any(request.headers.get("If-None-Match"), etag):
            return web.Response(status=304, headers=headers)
        body = emit_pointer(one.entry.lfs, one.entry.size_bytes)
        return web.Response(body=body, headers=headers)

    async def _entry(self, found: Found) -> HeldEntry:
        path = found.route.path
        one = await self._library.entry(found.snapshot, path)
        if one is None:
            revision = found.route.revision or DEFAULT_BRANCH
            raise no_entry(path, revision, found.commit, file=True)
        return one

    async def list_repos(
        self, request: web.Request, repo_type: RepoType
    ) -> web.StreamResponse:
        """``GET /api/{type}s``."""
        query = Query.read(_params(request))
        listed = []
        for row in await self._library.repos(repo_type):
            head = await self._library.snapshot(row, "HEAD")
            if head is not None:
                listed.append(Listed(row, head, row.card))
        page, following = query.select(listed)
        keys = item_keys(query, repo_type)
        items = []
        for one in page:
            info = await self.info(one.row, one.head)
            items.append(shape(info, keys, one))
        headers = {}
        if following is not None:
            headers["Link"] = self._next(request, {"cursor": str(following)})
        return _json(items, headers)

    def _next(self, request: web.Request, change: Mapping[str, str]) -> str:
        """A Link to the same listing, absolute: some clients follow no other."""
        base = self._options.base_url or f"{request.scheme}://{request.host}"
        kept = [(key, value) for key, value in _params(request) if key not in change]
        raw_path = request.raw_path.partition("?")[0]
        query = urlencode(kept + [(k, v) for k, v in change.items() if k != "cursor"])
        if "cursor" in change:
            query += ("&" if query else "") + "cursor=" + quote(change["cursor"], "%")
        return f'<{base.rstrip("/")}{raw_path}?{query}>; rel="next"'


def _elsewhere(request: web.Request, route: Route, row: RepoRow) -> web.Response:
    """The Hub's answer for a renamed repo or a name in other case."""
    _, _, query = request.raw_path.partition("?")
    location = route.shape.replace("{}", row.repo.name, 1)
    if query:
        location += f"?{query}"
    return web.Response(status=307, headers={"Location": location})


def _params(request: web.Request) -> list[tuple[str, str]]:
    _, _, query = request.raw_path.partition("?")
    return parse_qsl(query, keep_blank_values=True)


def _limit(one: Mapping[str, str]) -> int | None:
    text = one.get("limit")
    if text is None:
        return None
    if not text.isdigit() or not 0 < int(text) < 10**9:
        raise bad_request(f"invalid limit {text!r}")
    return int(text)


async def _asked_paths(request: web.Request) -> tuple[list[str], bool]:
    """``(paths, expand)`` of a paths-info body, as a form or as JSON."""
    raw = await request.read()
    if request.content_type == "application/json":
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
    form = parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True)
    paths = [value for key, value in form if key in ("paths", "paths[]")]
    return paths, dict(form).get("expand", "").lower() in ("true", "1")


def _json(value: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return _body(orjson.dumps(value), headers or {})


def _body(body: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        body=body,
        headers={"Content-Type": "application/json; charset=utf-8", **headers},
    )
