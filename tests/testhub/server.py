"""The hub's own port: routes, redirects, errors."""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from aiohttp import web

from tests.testhub import answers
from tests.testhub.answers import HubError
from tests.testhub.bodies import send_file
from tests.testhub.cdn import Cdn
from tests.testhub.faulty import before_answer
from tests.testhub.limits import bucket_of
from tests.testhub.listing import TreeEntry
from tests.testhub.lists import page_of
from tests.testhub.log import Seen
from tests.testhub.state import HubState
from tests.testhub.world import Account, HubRepo

_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
_API = re.compile(
    r"/api/(models|datasets|spaces)/([^/]+(?:/[^/]+)?)"
    r"(?:/(revision|tree|paths-info|commits|treesize|xet-read-token)/([^/]+)(?:/(.*))?"
    r"|/(refs|auth-check))?/?"
)
_VERB = r"(?:revision|tree|paths-info|commits|treesize|xet-read-token|refs|auth-check)"
_API_ONE = re.compile(rf"/api/(models|datasets|spaces)/([^/]+)/{_VERB}(?:/|$)")
_FILE = re.compile(
    r"/(?:(datasets|spaces)/)?([^/]+(?:/[^/]+)?)/(resolve|raw)/([^/]+)/(.+)"
)
_COLLECTION = re.compile(r"/api/collections/([^/]+/[^/]+)")
_CACHED = re.compile(
    r"/api/resolve-cache/(models|datasets|spaces)/([^/]+(?:/[^/]+)?)/([0-9a-f]{40})/(.+)"
)


@dataclass(slots=True)
class Ask:
    """One request, taken apart."""

    request: web.BaseRequest
    seen: Seen
    limit: Mapping[str, str]
    path: str
    query: str
    account: Account | None
    has_token: bool

    @property
    def params(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query, keep_blank_values=True)


class HubServer:
    """Answers as hf-contract part 1 says."""

    def __init__(self, hub: HubState, cdn: Cdn) -> None:
        self._hub, self._cdn = hub, cdn

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        seen = Seen("hub", request.method, request.raw_path, dict(request.headers))
        seen.bucket = bucket_of(path)
        self._hub.log.add(seen)
        for hook in self._hub.hooks:
            hook(seen)
        header = request.headers.get("Authorization", "")
        account = self._hub.world.accounts.get(header.removeprefix("Bearer "))
        caller, now = account.user if account else "", self._hub.world.clock.now()
        seen.closed_for_s = self._hub.limits.closed_for_s(seen.bucket, now, caller)
        allowed, limit = self._hub.limits.count(seen.bucket, now, caller)
        if "Cookie" in request.headers:
            seen.notes.append("a cookie came back to the hub")
        if self._hub.sets_cookies:
            limit["Set-Cookie"] = "session=1; Path=/"
        if self._hub.pace.latency_s:
            await asyncio.sleep(self._hub.pace.latency_s)
        fault = self._hub.faults.take(
            "hub", request.method, request.raw_path, request.headers
        )
        answer = await before_answer(request, fault, self._hub.pace)
        if answer is None:
            ask = Ask(request, seen, limit, path, query, account, bool(header))
            answer = await self._limited(ask, allowed=allowed, limit=limit)
            if not answer.prepared:
                answer.headers.update(limit)
                answer = await self._bent(ask, answer)
        seen.status, seen.ended = answer.status, time.monotonic()
        return answer

    async def _bent(self, ask: Ask, answer: web.StreamResponse) -> web.StreamResponse:
        """*answer* as it is, or with the fault that waits for a JSON body."""
        if not isinstance(answer, web.Response) or answer.status != 200:
            return answer
        fault = self._hub.faults.take(
            "hub",
            ask.request.method,
            ask.request.raw_path,
            ask.request.headers,
            has_body=True,
        )
        if fault is None or not isinstance(answer.body, bytes):
            return answer
        headers = dict(answer.headers)
        headers.pop("Content-Length", None)
        return await send_file(
            ask.request, ask.seen, answer.body, headers, fault, self._hub.pace
        )

    async def _limited(
        self, ask: Ask, *, allowed: bool, limit: Mapping[str, str]
    ) -> web.StreamResponse:
        if not allowed:
            return web.Response(
                status=429, headers=limit, text="We had to rate limit you"
            )
        try:
            return await self._route(ask)
        except HubError as error:
            return error.response()

    async def _route(  # noqa: PLR0911 - the routes, one after another
        self, ask: Ask
    ) -> web.StreamResponse:
        fixed = answers.fixed(ask.path, ask.account, has_token=ask.has_token)
        if fixed is not None:
            return fixed
        if plural := re.fullmatch(r"/api/(models|datasets|spaces)", ask.path):
            return self._list(ask, _TYPES[plural[1]])
        if slug := _COLLECTION.fullmatch(ask.path):
            return _json(self._hub.collections.shown(unquote(slug[1])))
        if found := _CACHED.fullmatch(ask.path):
            return await self._resolve_cache(ask, found)
        if found := _FILE.fullmatch(ask.path):
            return await self._file(ask, found)
        # "models/gpt2/tree/main" must not read as the repo "gpt2/tree".
        one = _API_ONE.match(ask.path)
        path = ask.path.replace(f"/{one[2]}/", f"/{one[2]}%/", 1) if one else ask.path
        if one:
            return await self._api_of(ask, *_split_one(path))
        if found := _API.fullmatch(ask.path):
            kind, name, verb, rev, sub, bare = found.groups()
            return await self._api_of(ask, kind, name, verb or bare or "", rev, sub)
        raise HubError(404, "Sorry, we can't find the page you are looking for.")

    async def _api_of(  # noqa: C901, PLR0911 - the routes, one after another
        self,
        ask: Ask,
        plural: str,
        name: str,
        verb: str,
        rev: str | None,
        sub: str | None,
    ) -> web.StreamResponse:
        repo = self._repo(ask, _TYPES[plural], unquote(name))
        if isinstance(repo, web.Response):
            return repo
        if verb == "refs":
            return _json(answers.refs(repo, prs="include_prs=1" in ask.query))
        if verb == "auth-check":
            self._check_gate(ask, repo)
            return web.Response(text="OK")
        revision = unquote(rev) if rev else "main"
        commit = repo.resolve(revision)
        if commit is None:
            if verb == "" and not repo.git.refs():
                return _json(answers.info(repo, None, {}))
            raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        path = unquote(sub or "").rstrip("/")
        if verb in ("", "revision"):
            return _json(answers.info(repo, commit, dict(ask.params), ask.params))
        if verb == "tree":
            return self._tree(ask, repo, commit, path, revision)
        if verb == "commits":
            self._check_gate(ask, repo)
            return self._commits(ask, repo, commit)
        if verb == "treesize":
            size = sum(entry.size for entry in repo.listing(commit).files())
            return _json({"path": f"/{path}", "size": size})
        if verb == "paths-info":
            body = await ask.request.read()
            return _json(answers.paths_info(repo, commit, body, ask.request.headers))
        return answers.xet_token(repo)

    def _repo(self, ask: Ask, repo_type: str, name: str) -> HubRepo | web.Response:
        repo, elsewhere = self._hub.world.find(repo_type, name)
        if elsewhere is not None:
            location = ask.path.replace(f"/{name}", f"/{elsewhere}", 1)
            query = f"?{ask.query}" if ask.query else ""
            return web.Response(status=307, headers={"Location": location + query})
        if repo is not None and not repo.private:
            return repo
        if ask.has_token and ask.account is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        if ask.account is None:
            raise answers.anonymous()
        if repo is None or repo.name not in ask.account.can_read:
            raise HubError(404, "Repository not found", code="RepoNotFound")
        return repo

    def _check_gate(self, ask: Ask, repo: HubRepo) -> None:
        if repo.disabled:
            raise HubError(403, "Access to this resource is disabled.")
        if not repo.gated:
            return
        kind = f"{repo.repo_type} {repo.name}"
        if ask.account is None:
            message = (
                f"Access to {kind} is restricted. You must have access to it and be "
                "authenticated to access it. Please log in."
            )
            raise HubError(401, message, code="GatedRepo", text=True)
        if repo.name not in ask.account.approved:
            message = f"Access to {kind} is restricted and you are not in the list."
            raise HubError(403, message, code="GatedRepo", text=True)

    def _tree(
        self, ask: Ask, repo: HubRepo, commit: str, path: str, revision: str
    ) -> web.Response:
        listing = repo.listing(commit)
        if not listing.has_directory(path):
            raise HubError(
                404, f'{path} does not exist on "{revision}"', code="EntryNotFound"
            )
        params = dict(ask.params)
        view = listing.view(path, recursive=params.get("recursive") == "true")
        page_size = self._hub.page_size
        limit = min(int(params.get("limit", page_size)), page_size)
        start, total = int(params.get("cursor", "0")), len(view)
        # The rows of this page alone: a tree of 100,000 files has 100 pages.
        shown = view if repo.tree_override else view[start : start + limit]
        rows: list[Any] = [entry.as_tree_json() for entry in shown]
        if params.get("expand") == "true":
            rows = answers.with_last_commit(repo, commit, rows)
        if repo.tree_override is not None:
            rows = repo.tree_override(rows)
            rows, total = rows[start : start + limit], len(rows)
        headers = {}
        if start + limit < total:
            query = urlencode({**params, "cursor": str(start + limit)})
            url = f"{self._hub.endpoint}{ask.path}?{query}"
            headers["Link"] = f'<{url}>; rel="next"'
        return _json(rows, headers)

    def _commits(self, ask: Ask, repo: HubRepo, commit: str) -> web.Response:
        params = dict(ask.params)
        limit, page = int(params.get("limit", "50")), int(params.get("p", "0"))
        history = repo.git.history(commit)
        headers = {"X-Total-Count": str(len(history))}
        if (page + 1) * limit < len(history):
            url = f"{self._hub.endpoint}{ask.path}?p={page + 1}&limit={limit}"
            headers["Link"] = f'<{url}>; rel="next"'
        shown = history[page * limit : (page + 1) * limit]
        return _json([answers.commit(one) for one in shown], headers)

    async def _file(self, ask: Ask, found: "re.Match[str]") -> web.StreamResponse:
        plural, name, verb, rev, raw_path = found.groups()
        repo = self._repo(ask, _TYPES[plural or "models"], unquote(name))
        if isinstance(repo, web.Response):
            return repo
        self._check_gate(ask, repo)
        revision, path = unquote(rev), unquote(raw_path)
        commit = repo.resolve(revision)
        if commit is None:
            raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        entry = repo.listing(commit).file(path)
        if entry is None:
            raise HubError(404, "Entry not found", code="EntryNotFound", text=True)
        if verb == "raw":
            return await self._send(ask, repo, entry, commit)
        if entry.lfs and self._hub.world.lfs.find(entry.lfs.sha256) is None:
            raise HubError(404, "Entry not found", code="EntryNotFound", text=True)
        if ask.request.headers.get("If-None-Match") == entry.etag:
            headers = {"X-Repo-Commit": commit, "ETag": entry.etag}
            return web.Response(status=304, headers=headers)
        common = {"X-Repo-Commit": commit, "X-Linked-Etag": entry.etag}
        if entry.lfs is not None and entry.size > 0:
            return self._to_cdn(repo, entry, commit, common)
        if repo.private or repo.gated or entry.size == 0:
            return await self._send(ask, repo, entry, commit)
        query = f"?{quote(ask.path, safe='')}="
        location = (
            f"/api/resolve-cache/{plural or 'models'}/{repo.name}/{commit}/"
            f"{quote(path)}{query}&etag={quote(entry.etag)}"
        )
        return web.Response(
            status=307,
            headers={**common, "Location": location},
            text=f"Temporary Redirect. Redirecting to {location}",
        )

    def _to_cdn(
        self,
        repo: HubRepo,
        entry: TreeEntry,
        commit: str,
        common: Mapping[str, str],
    ) -> web.Response:
        assert entry.lfs is not None
        name = entry.path.rpartition("/")[2]
        location = self._cdn.sign(repo.hub_id, entry.lfs.sha256, name)
        xet = entry.lfs.xet_hash
        plural = f"{repo.repo_type}s"
        link = (
            f"<{self._hub.endpoint}/api/{plural}/{repo.name}/xet-read-token/{commit}>; "
            f'rel="xet-auth", <{self._hub.cdn_endpoint}/v1/reconstructions/{xet}>; '
            'rel="xet-reconstruction-info"'
        )
        return web.Response(
            status=302,
            headers={
                **common,
                "Location": location,
                "X-Linked-Size": str(entry.size),
                "X-Xet-Hash": xet,
                "Link": link,
                "Cache-Control": "no-store",
                "Accept-Ranges": "bytes",
            },
            text=f"Found. Redirecting to {location}",
        )

    async def _resolve_cache(
        self, ask: Ask, found: "re.Match[str]"
    ) -> web.StreamResponse:
        plural, name, commit, raw_path = found.groups()
        repo = self._repo(ask, _TYPES[plural], unquote(name))
        if isinstance(repo, web.Response):
            return repo
        self._check_gate(ask, repo)
        entry = repo.listing(commit).file(unquote(raw_path))
        if entry is None:
            raise HubError(404, "Entry not found", code="EntryNotFound", text=True)
        return await self._send(ask, repo, entry, commit)

    async def _send(
        self, ask: Ask, repo: HubRepo, entry: TreeEntry, commit: str
    ) -> web.StreamResponse:
        is_raw = "/raw/" in ask.path
        if entry.lfs is not None and not is_raw:
            data, etag = b"", entry.etag  # larger ones are at the CDN
        else:
            data, etag = repo.git.blob(entry.oid), f'"{entry.oid}"'
        headers = {**ask.limit, "X-Repo-Commit": commit, "ETag": etag}
        if ask.request.headers.get("If-None-Match") == etag and not is_raw:
            return web.Response(status=304, headers=headers)
        fault = self._hub.faults.take(
            "hub",
            ask.request.method,
            ask.request.raw_path,
            ask.request.headers,
            has_body=True,
        )
        return await send_file(
            ask.request, ask.seen, data, headers, fault, self._hub.pace
        )

    def _list(self, ask: Ask, repo_type: str) -> web.Response:
        shown = ask.account.can_read if ask.account else frozenset()
        repos = [
            one
            for one in self._hub.world.all(repo_type)
            if not one.private or one.name in shown
        ]
        page = page_of(repos, ask.params, self._hub.list_page_rows)
        headers = {}
        if page.next_query is not None:
            url = f"{self._hub.endpoint}{ask.path}?{page.next_query}"
            headers["Link"] = f'<{url}>; rel="next"'
        return _json(page.rows, headers)


def _split_one(marked: str) -> tuple[str, str, str, str | None, str | None]:
    _, _, plural, name, verb, *rest = marked.split("/")
    rev = rest[0] if rest else None
    return plural, name.rstrip("%"), verb, rev, "/".join(rest[1:]) or None


def _json(value: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(),
        headers={
            "Content-Type": "application/json; charset=utf-8",
            **(headers or {}),
        },
    )
