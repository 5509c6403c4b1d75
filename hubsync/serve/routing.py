"""From a raw path to a route.

The path is split while it is still percent-encoded: ``refs%2Fpr%2F1`` is one
revision and ``a%2Fb`` one sub-path, which a router that decodes first would
tear apart.
"""

import re
import string
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from aiohttp import web

from hubsync.model.errors import HubsyncError
from hubsync.model.repo import RepoType, check_name
from hubsync.model.revision import canonical, is_commit
from hubsync.serve.errors import Problem, no_git, no_route

ROUTE = web.RequestKey("route", str)  # what the metrics call it
VERBS = (
    "revision",
    "tree",
    "paths-info",
    "commits",
    "treesize",
    "xet-read-token",
    "refs",
    "auth-check",
    "parquet",
    "discussions",
    "likers",
)
_WITHOUT_TAIL = frozenset({"refs", "auth-check", "discussions", "likers"})
_OF_REPO = _WITHOUT_TAIL | {"parquet"}
_CACHE = "/api/resolve-cache/"
_UNENCODED_REF = re.compile(
    r"(refs/(?:pr/\d+|convert/[^/]+|heads/[^/]+|tags/[^/]+))(?:/(.*))?", re.DOTALL
)
_WITH_HOST = re.compile(r"https?://[^/?]*", re.IGNORECASE)  # as a client asks a proxy
_KNOWN_ROUTES = 4096  # 13 us each to find out anew
_KNOWN_CHARS_MAX = 500  # a longer path is not worth the room
_PRINTABLE = string.punctuation  # keep every ASCII character as it came


@dataclass(frozen=True, slots=True)
class Route:
    """What is asked of which repo.

    *verb* is ``info``, one of the API's, ``resolve`` or ``raw``; *shape* is the
    raw path with ``{}`` for the name, to redirect to another name.
    """

    verb: str
    repo_type: RepoType
    name: str
    shape: str
    revision: str | None = None
    path: str = ""

    @property
    def has_name(self) -> bool:
        """Whether the name is in *shape*, and not in the query."""
        return "{}" in self.shape


def raw_path_of(target: str) -> str:
    """The path of a request's target, ASCII only, without host and query."""
    path = target.partition("?")[0]
    if not path.startswith("/") and (found := _WITH_HOST.match(path)):
        path = path[found.end() :] or "/"
    if not path.isascii():  # sent as it is; bytes that are no UTF-8 stay visible
        path = quote(path.encode("utf-8", "surrogateescape"), safe=_PRINTABLE)
    return path


def parse_route(raw_path: str) -> Route:
    """The route of a raw path that is about one repo.

    Raises:
        Problem: it is about none.
    """
    return _parse(raw_path) if len(raw_path) > _KNOWN_CHARS_MAX else _known(raw_path)


def _parse(raw_path: str) -> Route:
    if raw_path.startswith(_CACHE):
        return _cached(raw_path.removeprefix(_CACHE))
    if raw_path.startswith("/api/"):
        return _api(raw_path)
    return _file(raw_path)


_known = lru_cache(_KNOWN_ROUTES)(_parse)


def _api(raw_path: str) -> Route:
    _, _, plural, rest = raw_path.split("/", 3) if raw_path.count("/") > 2 else [""] * 4  # noqa: PLR2004
    repo_type = RepoType.of_plural(plural)
    if repo_type is None or not rest:
        raise no_route()
    parts = rest.split("/")
    # The verb comes after one or two segments of a name, never first.
    at = next((i for i in (1, 2) if i < len(parts) and parts[i] in VERBS), None)
    raw_name = "/".join(parts[:at]) if at else rest.rstrip("/")
    name = _name(raw_name)
    after = "/".join(parts[at:]) if at else ""
    shape = f"/api/{plural}/{{}}" + (f"/{after}" if after else "")
    if at is None:
        return Route("info", repo_type, name, shape)
    verb, tail = parts[at], "/".join(parts[at + 1 :])
    if verb in _OF_REPO:
        if tail.strip("/") and verb in _WITHOUT_TAIL:
            raise no_route()
        return Route(verb, repo_type, name, shape, path=decode(tail).strip("/"))
    if not tail:
        raise no_route()
    revision, path = _split_revision(tail)
    return Route(verb, repo_type, name, shape, revision, path.rstrip("/"))


def _cached(rest: str) -> Route:
    """``models/{name}/{commit}/{path}``: where the Hub redirects plain files to.

    Nobody is redirected there here, but clients may have kept such an address.
    """
    plural, *parts = rest.split("/")
    repo_type = RepoType.of_plural(plural)
    near = [canonical(one) for one in parts[:3]]
    at = next((i for i in (1, 2) if i < len(near) and is_commit(near[i])), None)
    if repo_type is None or at is None or not any(parts[at + 1 :]):
        raise no_route()
    after = "/".join(parts[at:])
    name = _name("/".join(parts[:at]))
    path = decode("/".join(parts[at + 1 :]))
    shape = f"{_CACHE}{plural}/{{}}/{after}"
    return Route("resolve", repo_type, name, shape, near[at], path)


def _file(raw_path: str) -> Route:
    rest = raw_path.lstrip("/")
    head, _, tail = rest.partition("/")
    repo_type = RepoType.of_plural(head)
    prefix = f"{head}/" if repo_type else ""
    if repo_type is None:
        repo_type, tail = RepoType.MODEL, rest
    parts = tail.split("/")
    at = next(
        (i for i in (1, 2) if i < len(parts) and parts[i] in ("resolve", "raw")), None
    )
    if at is None or len(parts) < at + 3:
        raise no_git() if _is_git(parts) else no_route()
    after = "/".join(parts[at:])
    revision, path = _split_revision("/".join(parts[at + 1 :]))
    if not path:
        raise no_route()
    name = _name("/".join(parts[:at]))
    return Route(parts[at], repo_type, name, f"/{prefix}{{}}/{after}", revision, path)


def _split_revision(tail: str) -> tuple[str, str]:
    """A revision is one raw segment, or ``refs/…`` that was not encoded."""
    if found := _UNENCODED_REF.fullmatch(tail):
        return decode(found[1]), decode(found[2] or "")
    revision, _, path = tail.partition("/")
    return canonical(decode(revision)), decode(path)


def _is_git(parts: list[str]) -> bool:
    """Whether git, or git-lfs, asks: with or without ``.git`` behind the name."""
    return any(one.endswith(".git") for one in parts[:2]) or parts[-2:] == [
        "info",
        "refs",
    ]


def _name(raw: str) -> str:
    """As `name_of_route`, of what may be longer than a name.

    Raises:
        Problem: it is: not a repo that is unknown, but a route.
    """
    if decode(raw).count("/") > 1:
        raise no_route()
    return name_of_route(raw)


def name_of_route(raw: str) -> str:
    try:
        return check_name(decode(raw))
    except HubsyncError as error:
        raise Problem(404, str(error), code="RepoNotFound") from None


def decode(raw: str) -> str:
    """Percent-decoded text.

    Raises:
        Problem: it is not UTF-8: nothing can have such a name.
    """
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise no_route() from None
