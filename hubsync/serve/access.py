"""Who may read what: the one place that decides.

Every request passes `Access.guard`, which finds out who sends it; every answer
about a repo passes `Access.admit`, before anything of the repo is said.  What is
decided is whether somebody may read a *repo*: no digest and no ETag opens anything.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from hubsync.catalog.rows import RepoRow
from hubsync.model.errors import UsageError
from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.gate import Gate, GateUnavailableError, Verdict
from hubsync.serve.allowance import Allowance
from hubsync.serve.asking import AskedGate
from hubsync.serve.audit import AuditLog
from hubsync.serve.credentials import wrong_token
from hubsync.serve.doors import Door, OpenDoor, ProxyDoor, TokenDoor, UpstreamDoor
from hubsync.serve.edge import request_id
from hubsync.serve.errors import Problem, disabled, gated, no_repo, unauthorized
from hubsync.serve.events import Event
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.serve.proxies import client_of
from hubsync.serve.questions import UNAVAILABLE_S
from hubsync.serve.readers import ANYBODY, HubReader, Reader, TokenReader
from hubsync.serve.redact import redacted
from hubsync.serve.trust import Network, is_trusted, parse_networks, peer_of
from hubsync.serve.visit import Visit, begin, visit_of

log = logging.getLogger("hubsync.serve")

ALLOWANCES_MAX = 10_000
# What the Hub shows of a gated repo to everybody.  Not its files and commits.
METADATA = frozenset(
    {
        *("info", "revision", "tree", "treesize", "paths-info", "refs"),
        *("discussions", "likers"),
    }
)
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP")

Answer = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


class Access:
    """Asks who it is at the door, and at each repo what they may."""

    def __init__(
        self,
        library: Library,
        door: Door,
        *,
        networks: tuple[Network, ...] = (),
        audit: AuditLog | None = None,
    ) -> None:
        self._library, self._door, self._networks = library, door, networks
        self._audit = audit
        self._is_open = isinstance(door, OpenDoor)
        self._allowances: dict[TokenReader, Allowance] = {}

    @classmethod
    def of(
        cls, library: Library, options: ServeOptions, gate: Gate | None = None
    ) -> "Access":
        """As *options* say; *gate* is for ``pass-through``.

        Raises:
            UsageError: they cannot be meant.
            AuditLogError: it cannot be written.
        """
        networks = parse_networks(options.trusted_proxies)
        audit = AuditLog(options.audit_log) if options.audit_log else None
        if audit:
            audit.open()
        door = _door(library, options, networks, gate)
        return cls(library, door, networks=networks, audit=audit)

    def close(self) -> None:
        if self._audit:
            self._audit.close()

    @property
    def is_open(self) -> bool:
        """Whether everybody may read everything."""
        return self._is_open

    @property
    def asks_upstream(self) -> bool:
        """Whether the upstream says of each who asks what they may read."""
        return isinstance(self._door, UpstreamDoor)

    @property
    def keeps_all_private(self) -> bool:
        """Whether no repo is for everybody, whatever it is upstream.

        Mirrors of this one have to know: what is not private they show to all.
        """
        return isinstance(self._door, TokenDoor | ProxyDoor)

    @property
    def is_watching(self) -> bool:
        """Whether it matters at all who sends a request."""
        return self._audit is not None or not self._is_open

    async def guard(
        self,
        request: web.Request,
        raw_path: str,
        answer: Answer,
        *,
        about_repo: bool,
        by_grant: bool,
    ) -> web.StreamResponse:
        """What *answer* answers, if whoever asks may ask at all.

        *by_grant*: it will ask `holds` who it is; nobody shows a token there.

        Raises:
            Problem: 401, 429, or what *answer* raises.
        """
        if not self.is_watching:
            return await answer(request, raw_path)
        visit = begin(request, raw_path)
        try:
            if not by_grant:
                reader = await self._let_in(request, about_repo=about_repo)
                self._welcome(visit, reader)
            response = await answer(request, raw_path)
        except Problem as problem:
            self._write_down(request, visit, problem.status, 0, problem.commit)
            raise
        if isinstance(response, web.Response) and not response.prepared:
            size = len(response.body) if isinstance(response.body, bytes) else 0
            if visit.allowance and request.method != "HEAD":
                await visit.allowance.sent(size)
            self._write_response_down(request, visit, response)
        return response

    async def _let_in(self, request: web.Request, *, about_repo: bool) -> Reader:
        try:
            return await self._door.reader(request)
        except Problem as problem:
            # Clients take the code for "gone, or private"; without it only https
            # gives them that idea.  Not where it would hide a wrong token.
            if about_repo and problem.message == unauthorized().message:
                raise unauthorized(about_repo=True) from None
            raise

    def _welcome(self, visit: Visit, reader: Reader) -> None:
        visit.reader = reader
        if isinstance(reader, TokenReader):
            visit.allowance = self._allowance(reader)
            visit.allowance.count_request()

    def _allowance(self, reader: TokenReader) -> Allowance:
        found = self._allowances.get(reader)
        if found is None:
            if len(self._allowances) > ALLOWANCES_MAX:  # of tokens long revoked
                self._allowances.clear()
            found = self._allowances[reader] = Allowance(reader.row.grant)
        return found

    def _reader(self, request: web.Request) -> Reader:
        if self._is_open:
            return ANYBODY
        visit = visit_of(request)
        if visit is None or visit.reader is None:  # a route that forgot to ask
            raise unauthorized()
        return visit.reader

    # Repos

    async def admit(
        self,
        request: web.Request,
        repo_type: RepoType,
        name: str,
        row: RepoRow | None,
        *,
        contents: bool = True,
    ) -> RepoRow:
        """*row*, found under *name*, if whoever asks may have it.

        Nothing of a repo may be said before: not even that it has another name.
        *contents*: more than what a hub shows of a gated repo.

        Raises:
            Problem: the same for one that is not there and one that is hidden.
        """
        if visit := visit_of(request):
            visit.repo = str(row.repo) if row else f"{repo_type.url_prefix}{name}"
        reader = self._reader(request)
        if row is not None and (self._is_open or not contents) and reader.sees(row):
            return row  # no question, and no upstream that has to be up for it
        verdict = await self._verdict(reader, repo_type, name, row)
        if verdict is Verdict.WRONG_TOKEN:
            raise wrong_token()
        if row is not None:
            if verdict is Verdict.YES or (verdict is Verdict.GATED and not contents):
                return row
            if verdict is Verdict.GATED:
                raise gated(repo_type, name, must_log_in=reader.must_log_in)
            if verdict is Verdict.DISABLED:
                raise disabled()
            # As many questions as for one that is not there: time tells, too.
            catalog = self._library.catalog
            await self._library.ask(
                catalog.find_by_name, repo_type, name, any_case=True
            )
        if reader.must_log_in:
            raise unauthorized(about_repo=True)
        raise no_repo(repo_type, name)

    async def _verdict(
        self, reader: Reader, repo_type: RepoType, name: str, row: RepoRow | None
    ) -> Verdict:
        repo = row.repo if row else RepoId(self._library.upstream, repo_type, name)
        try:
            return await reader.verdict(repo, row)
        except GateUnavailableError as error:
            raise _no_word(error, "decides who may read this") from None

    async def may_fetch(
        self, request: web.Request, repo_type: RepoType, name: str
    ) -> bool:
        """Whether whoever asks may have a repo fetched that is not held.

        What a gated one is made of the hub shows to everybody.  Nothing of its files
        is fetched before `admit`.

        Raises:
            Problem: 503, the upstream decides and does not answer.
        """
        if self._is_open:
            return True
        reader = self._reader(request)
        verdict = await self._verdict(reader, repo_type, name, None)
        return verdict in (Verdict.YES, Verdict.GATED)

    async def holds(
        self, request: web.Request, holder: int | None, repo: RepoId
    ) -> bool:
        """Whether what was granted to *holder*, for *repo*, is still his.

        Raises:
            Problem: 429.
        """
        if not isinstance(self._door, TokenDoor):
            return True
        reader = await self._door.holder(holder) if holder is not None else None
        if reader is None:
            return False
        if visit := visit_of(request):
            visit.repo = str(repo)
            self._welcome(visit, reader)
        return await reader.verdict(repo, None) is Verdict.YES

    def lists(self, request: web.Request) -> Callable[[RepoRow], bool] | None:
        """Which repos a list names to whoever asks; None: all."""
        reader = self._reader(request)
        return None if reader.reads_all else reader.lists

    # Routes that are about no one repo

    def reads_all(self, request: web.Request) -> bool:
        """Whether whoever asks may read everything."""
        return self._reader(request).reads_all

    def user(self, request: web.Request) -> str | None:
        """Who it is, for ``whoami-v2``; None: nobody that we know."""
        reader = self._reader(request)
        return reader.name if reader.is_verified else None

    async def account(self, request: web.Request) -> Mapping[str, object] | None:
        """What the upstream says of whoever asks; None: we do not ask it that.

        Raises:
            Problem: 401; 503, the upstream does not answer.
        """
        reader = self._reader(request)
        if not isinstance(reader, HubReader):
            return None
        if reader.must_log_in:
            raise unauthorized()
        try:
            account = await reader.account(self._library.upstream)
        except GateUnavailableError as error:
            raise _no_word(error, "knows whose this token is") from None
        if account is None:
            raise wrong_token()
        return account.said

    async def operator(self, request: web.Request) -> None:
        """Raise unless *request* may see how the server is: ``/metrics``.

        It comes from this machine or a trusted network, and not on behalf of
        somebody else; or it shows a token, any of ours.

        Raises:
            Problem: 401.
        """
        if self._is_open:
            return
        peer = peer_of(request)
        is_near = (
            peer is None or peer.is_loopback or is_trusted(request, self._networks)
        )
        if is_near and not any(name in request.headers for name in _FORWARDED):
            return
        reader = await self._door.reader(request)
        if not reader.is_verified:
            raise unauthorized()

    # Before an answer leaves

    async def before_headers(
        self, request: web.Request, response: web.StreamResponse
    ) -> None:
        """Keep caches from giving one reader's answer to another; write it down."""
        if not self._is_open:
            response.headers.setdefault("Cache-Control", "private")
            response.headers.add("Vary", "Authorization")
        visit = visit_of(request)
        if visit is not None:
            self._write_response_down(request, visit, response)

    def _write_response_down(
        self, request: web.Request, visit: Visit, response: web.StreamResponse
    ) -> None:
        if self._audit is None or visit.is_written_down:
            return
        said = response.headers.get("Content-Length") or response.content_length
        size = int(said or 0) + visit.elsewhere_bytes
        if request.method == "HEAD":
            size = 0
        commit = response.headers.get("X-Repo-Commit")
        self._write_down(request, visit, response.status, size, commit)

    def _write_down(
        self,
        request: web.Request,
        visit: Visit,
        status: int,
        size_bytes: int,
        commit: str | None,
    ) -> None:
        if self._audit is None or visit.is_written_down:
            return
        visit.is_written_down = True  # one that failed, too: its 503 is no read
        self._audit.write(
            {
                "reader": visit.reader.name if visit.reader else None,
                "client": client_of(request) or None,
                "method": request.method,
                "repo": visit.repo,
                "commit": commit,
                "path": redacted(visit.raw_path),
                "status": status,
                "bytes": size_bytes,
                "request_id": request_id.get(),
            }
        )


def _no_word(error: GateUnavailableError, of_it: str) -> Problem:
    log.warning(Event("upstream does not say who may read", error=str(error)))
    return Problem(
        503,
        f"The upstream hub {of_it}, and does not answer: try again later",
        more={"Retry-After": str(math.ceil(UNAVAILABLE_S))},
    )


def _door(
    library: Library,
    options: ServeOptions,
    networks: tuple[Network, ...],
    gate: Gate | None,
) -> Door:
    if options.auth == "open":
        return OpenDoor()
    if options.auth == "tokens":
        return TokenDoor(library)
    if options.auth == "proxy":
        if not networks:
            raise UsageError(
                'serve.auth = "proxy" believes only a proxy that is named',
                hint="Set serve.trusted_proxies to its address.",
            )
        return ProxyDoor(networks, options.auth_header)
    assert options.auth == "pass-through", options.auth
    assert gate, "whoever decides must be asked"
    return UpstreamDoor(AskedGate(gate, options.auth_cache_s, options.auth_stale_s))
