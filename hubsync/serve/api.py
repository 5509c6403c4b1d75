"""The routes about one repo, one method each."""

from collections.abc import Awaitable, Callable, Hashable, Mapping

import orjson
from aiohttp import web

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.model.revision import DEFAULT_BRANCH, HEAD
from hubsync.serve.access import METADATA, Access
from hubsync.serve.contents import Contents
from hubsync.serve.errors import Problem, no_entry, no_revision, no_route
from hubsync.serve.found import Found, elsewhere, pinned_path
from hubsync.serve.history import history_of
from hubsync.serve.info import FROM_WEIGHTS, info_of, list_of
from hubsync.serve.library import Library, Page, snapshot_key
from hubsync.serve.listing import Query, check_expand
from hubsync.serve.missing import Missing
from hubsync.serve.options import ServeOptions
from hubsync.serve.query import (
    asked_paths,
    flag,
    json_response,
    next_link,
    number,
    params_of,
    value,
    values,
)
from hubsync.serve.routing import Route
from hubsync.serve.tree import LastCommits, Tree, TreeQuery
from hubsync.serve.weights import Said
from hubsync.serve.xet import Xet
from hubsync.wire.hf import emit_commit, emit_refs

COMMITS_A_PAGE = 50
COMMITS_A_PAGE_MAX = 1000


Answer = Callable[[web.Request, Found], Awaitable[web.StreamResponse]]


class Api:
    """Answers about one repo, and about all of a type."""

    def __init__(
        self,
        library: Library,
        contents: Contents,
        options: ServeOptions,
        access: Access,
        xet: Xet,
        *,
        missing: Missing | None = None,
    ) -> None:
        self._library, self._options, self._access = library, options, access
        self._xet, self._missing = xet, missing
        self._of_repo = {
            "refs": self._refs,
            "auth-check": self._auth_check,
            "discussions": self._discussions,
            "likers": self._likers,
        }
        self._of_snapshot: dict[str, Answer] = {
            "info": self._info,
            "revision": self._info,
            "tree": self._tree,
            "treesize": self._treesize,
            "paths-info": self._paths_info,
            "commits": self._commits,
            "resolve": contents.resolve,
            "raw": contents.raw,
            "xet-read-token": xet.token,
        }

    def also(self, answers: Mapping[str, Answer]) -> None:
        """Answer verbs that other modules know of."""
        assert not self._of_snapshot.keys() & answers.keys()
        self._of_snapshot.update(answers)

    async def answer(self, request: web.Request, route: Route) -> web.StreamResponse:
        """Answer a route about one repo.

        Raises:
            Problem: the Hub's own error for it.
        """
        row = await self._repo(request, route)
        if row.repo.name != route.name and route.has_name:
            return elsewhere(request, route, row)
        if of_repo := self._of_repo.get(route.verb):
            return await of_repo(request, row)
        of_snapshot = self._of_snapshot.get(route.verb)
        if of_snapshot is None:
            raise no_route()
        snapshot = await self._snapshot(route, row)
        return await of_snapshot(request, Found(route, row, snapshot))

    async def _repo(self, request: web.Request, route: Route) -> RepoRow:
        """What is held under the name, or can be, for whoever asks."""
        access = self._access
        named = (route.repo_type, route.name)
        row = await self._named(*named)
        if row is None and self._missing and await access.may_fetch(request, *named):
            await self._missing.learn(None, route, shown=access.asks_upstream)
            row = await self._named(*named)
        contents = route.verb not in METADATA
        return await access.admit(request, *named, row, contents=contents)

    async def _named(self, repo_type: RepoType, name: str) -> RepoRow | None:
        library = self._library
        if self._access.is_open:
            return await library.find_repo(repo_type, name)
        # Recalled, a hidden repo would be refused sooner than one that is not there.
        return await library.ask(library.repo, repo_type, name)

    async def _snapshot(self, route: Route, row: RepoRow) -> SnapshotRow:
        library, missing = self._library, self._missing
        if missing is None or not missing.can_fetch(row):
            snapshot = await library.find_snapshot(row, route.revision)
            if snapshot is None:
                raise no_revision(route.revision or DEFAULT_BRANCH)
            return snapshot
        # Who is met by a tag first has a default branch besides: another commit.
        revision = DEFAULT_BRANCH if route.revision in (None, HEAD) else route.revision
        snapshot = await library.find_snapshot(row, revision)
        if snapshot is not None:
            missing.used(row, revision)
            return snapshot
        try:
            await missing.learn(row, route)
        except Problem:
            # As without an upstream: something else may have to do for it.
            snapshot = await library.find_snapshot(row, route.revision)
            if snapshot is None:
                raise
            return snapshot
        snapshot = await library.find_snapshot(row, revision)
        if snapshot is None:
            raise no_revision(route.revision or DEFAULT_BRANCH)
        return snapshot

    async def list_repos(
        self, request: web.Request, repo_type: RepoType
    ) -> web.StreamResponse:
        """``GET /api/{type}``."""
        query = Query.read(params_of(request), repo_type)
        items, following = await self._library.ask_slowly(
            list_of, self._library, query, repo_type, self._access.lists(request)
        )
        headers = {}
        if following is not None:
            # Not "skip" again: the cursor is behind what was skipped.
            change = {"cursor": following} | ({"skip": "0"} if query.skip else {})
            headers = next_link(request, self._options, change)
        return json_response(items, headers)

    async def _refs(self, request: web.Request, row: RepoRow) -> web.StreamResponse:
        refs = await self._library.ask(self._library.catalog.refs, row)
        wants_prs = bool(flag(params_of(request), "include_prs"))
        targets = {one.name: one.commit for one in refs}
        return json_response(emit_refs(targets, pull_requests=wants_prs))

    async def _auth_check(
        self, request: web.Request, row: RepoRow
    ) -> web.StreamResponse:
        return web.Response(text="OK")  # who may not does not come this far

    async def _discussions(
        self, request: web.Request, row: RepoRow
    ) -> web.StreamResponse:
        """Nobody talks on a mirror; clients page until they have seen *count*."""
        none: dict[str, object] = {"discussions": [], "count": 0, "start": 0}
        return json_response(none | {"numClosedDiscussions": 0})

    async def _likers(self, request: web.Request, row: RepoRow) -> web.StreamResponse:
        return json_response([])

    async def _info(self, request: web.Request, found: Found) -> web.StreamResponse:
        params = params_of(request)
        blobs = bool(flag(params, "blobs"))
        expand = check_expand(values(params, "expand"), found.row.repo.repo_type)
        row = found.row
        weights = None
        if not expand or not FROM_WEIGHTS.isdisjoint(expand):
            weights = (await self._weights(found)).token
        said = (row.card_json, row.hub_id, row.recorded_at, weights)
        key = (*snapshot_key(row, found.snapshot), *said, blobs)
        is_kept = not expand and self._library.knows_card(row, found.snapshot)

        def build() -> tuple[bytes, None]:
            info = info_of(
                self._library, row, found.snapshot, blobs=blobs, expand=expand or None
            )
            return orjson.dumps(info), None

        body, _ = await self._kept(found, key if is_kept else None, build)
        return json_response(body, found.commit_header)

    async def _weights(self, found: Found) -> Said:
        """What the files say, which are read in a thread, and once."""
        library, row, snapshot = self._library, found.row, found.snapshot
        known = library.known_weights(row, snapshot)
        if known is None:
            known = await library.ask_slowly(library.weights_of, row, snapshot)
        return known

    async def _kept(
        self, found: Found, key: tuple[Hashable, ...] | None, build: Callable[[], Page]
    ) -> Page:
        """What was built for *key* before; None: it is not worth keeping."""
        pages = self._library.pages
        page = pages.get(key) if key else None
        if page is None:
            page = await self._library.ask_of(found.snapshot, build)
            if key:
                pages.put(key, page)
        return page

    async def _tree(self, request: web.Request, found: Found) -> web.StreamResponse:
        params = params_of(request)
        asked = TreeQuery(
            found.route.path,
            recursive=bool(flag(params, "recursive")),
            expand=bool(flag(params, "expand")),
            limit=number(params, "limit", minimum=1),
            cursor=value(params, "cursor"),
        )
        # Pages by cursor are not kept: anybody can think of any number of those.
        # Nor are expanded ones, which tell of other commits than their own.
        key = (*snapshot_key(found.row, found.snapshot), asked)

        def build() -> Page:
            tree = self._tree_of(found)
            if not tree.is_folder(asked.path):
                raise no_entry(asked.path, found.revision, found.commit)
            last = self._last_commits(found) if asked.expand else None
            page, following = tree.page(asked, last)
            return orjson.dumps(page), following

        keep = asked.cursor is None and not asked.expand
        keep = keep and not self._xet.may_announce(found.snapshot)
        body, following = await self._kept(found, key if keep else None, build)
        headers = found.commit_header
        if following is not None:
            headers |= self._next(request, found, {"cursor": following})
        return json_response(body, headers)

    def _next(
        self, request: web.Request, found: Found, change: Mapping[str, str]
    ) -> dict[str, str]:
        """The link to the next page, of the same commit: a branch may move."""
        return next_link(request, self._options, change, pinned_path(found))

    def _tree_of(self, found: Found) -> Tree:
        return self._library.tree(found.row, found.snapshot, self._xet.concerns)

    def _last_commits(self, found: Found) -> LastCommits:
        changes = self._library.catalog.changes(found.snapshot)
        return LastCommits(changes, found.snapshot.commit)

    async def _treesize(self, request: web.Request, found: Found) -> web.StreamResponse:
        library, path = self._library, found.route.path
        tree = await library.ask_of(found.snapshot, self._tree_of, found)
        if not tree.is_folder(path):
            raise no_entry(path, found.revision, found.commit)
        return json_response({"path": f"/{path}", "size": tree.size_bytes(path)})

    async def _paths_info(
        self, request: web.Request, found: Found
    ) -> web.StreamResponse:
        if request.method != "POST":
            raise no_route()
        paths, expand = await asked_paths(request, self._options)
        library = self._library
        tree = await library.ask_of(found.snapshot, self._tree_of, found)
        last = None
        if expand:
            last = await library.ask_of(found.snapshot, self._last_commits, found)
        asked = [path.strip("/") for path in paths]
        rows = [tree.row(path, last) for path in asked if tree.has(path)]
        return json_response(rows, found.commit_header)

    async def _commits(self, request: web.Request, found: Found) -> web.StreamResponse:
        params = params_of(request)
        limit = number(params, "limit", minimum=1) or COMMITS_A_PAGE
        limit, page = min(limit, COMMITS_A_PAGE_MAX), number(params, "p") or 0
        history = await self._library.ask(self._history, found)
        start = page * limit
        rows = [emit_commit(one.commit) for one in history[start : start + limit]]
        headers = {**found.commit_header, "X-Total-Count": str(len(history))}
        if start + limit < len(history):
            following = {"p": str(page + 1), "limit": str(limit)}
            headers |= self._next(request, found, following)
        return json_response(rows, headers)

    def _history(self, found: Found) -> list[SnapshotRow]:
        """The commit, then what the branch that it is of has been before it."""
        catalog = self._library.catalog
        recorded = {one.commit.oid: one for one in catalog.snapshots(found.row)}
        oids = history_of(catalog.ref_log(found.row), found.commit)
        return [recorded[oid] for oid in oids if oid in recorded]
