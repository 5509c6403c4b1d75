"""Which repo: upstream, type and name; and the forms people paste."""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from hubsync.model.errors import UsageError

_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
UPSTREAM_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NAME_CHARS_MAX = 96
LOCAL = "local"  # the upstream of what was added here, and comes from no hub

FORMS = (
    "org/name, org/name@revision, datasets/org/name, spaces/org/name, "
    "upstream:org/name, hf://… or the page's address"
)


class RepoType(StrEnum):
    """What a repo holds.  The value is the Hub's ``repo_type``."""

    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"

    @property
    def plural(self) -> str:
        """As it stands in API paths: ``models``, ``datasets``, ``spaces``."""
        return f"{self.value}s"

    @property
    def url_prefix(self) -> str:
        """What stands before the name in file and page addresses."""
        return "" if self is RepoType.MODEL else f"{self.plural}/"

    @classmethod
    def of_plural(cls, plural: str) -> "RepoType | None":
        return {kind.plural: kind for kind in cls}.get(plural)


class InvalidRepoError(UsageError):
    """A REPO that cannot be understood."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(
            f"cannot understand the repo {text[:200]!r}: {why}",
            hint=f"Write it as {FORMS}.",
        )


@dataclass(frozen=True, slots=True, order=True)
class RepoId:
    """One repo on one upstream, e.g. ``huggingface:datasets/squad``."""

    upstream: str
    repo_type: RepoType
    name: str  # "org/name", or "gpt2" for the few without an owner

    def __post_init__(self) -> None:
        if not UPSTREAM_NAME.fullmatch(self.upstream):
            raise InvalidRepoError(
                self.upstream, "an upstream's name is lower-case letters, digits, - _"
            )
        check_name(self.name)

    @property
    def path(self) -> str:
        """Type and name as in addresses: ``org/name``, ``datasets/org/name``."""
        return f"{self.repo_type.url_prefix}{self.name}"

    @property
    def owner(self) -> str | None:
        return self.name.rpartition("/")[0] or None

    @property
    def folder(self) -> str:
        """The repo's folder in a Hugging Face cache: ``models--org--name``."""
        return "--".join([self.repo_type.plural, *self.name.split("/")])

    def __str__(self) -> str:
        return f"{self.upstream}:{self.path}"


@dataclass(frozen=True, slots=True)
class RepoArg:
    """What a person asked for: a repo, perhaps a revision, perhaps one file.

    *upstream* is None when none was named: the caller puts in its default.
    """

    repo_type: RepoType
    name: str
    upstream: str | None = None
    revision: str | None = None
    path: str | None = None

    def on(self, default_upstream: str) -> RepoId:
        return RepoId(self.upstream or default_upstream, self.repo_type, self.name)


def check_name(name: str) -> str:
    """Return *name* if it has the grammar of a repo name.

    Raises:
        InvalidRepoError: with the reason.
    """
    segments = name.split("/")
    if len(segments) > 2:  # noqa: PLR2004 - owner and name
        raise InvalidRepoError(name, "it has more than owner/name")
    if len(name) > NAME_CHARS_MAX:
        raise InvalidRepoError(name, f"it is longer than {NAME_CHARS_MAX} characters")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            raise InvalidRepoError(
                name,
                "names are letters, digits, '-', '_', '.', "
                "not starting or ending in '-' or '.'",
            )
        if "--" in segment or ".." in segment:
            raise InvalidRepoError(name, "names have no '--' and no '..'")
    if name.endswith(".git"):
        raise InvalidRepoError(name, "names do not end in '.git'")
    return name


def parse_repo(
    text: str,
    *,
    repo_type: RepoType | None = None,
    upstreams: dict[str, str] | None = None,
) -> RepoArg:
    """Understand a REPO in every form that ``docs/cli.md`` names.

    Args:
        text: what was typed or pasted.
        repo_type: from ``--type``; must not contradict *text*.
        upstreams: name of each configured upstream -> its endpoint; tells an
            ``UPSTREAM:`` prefix, and which upstream a pasted address means.

    Raises:
        InvalidRepoError: with the reason and the forms that work.
    """
    known = upstreams or {"huggingface": "https://huggingface.co"}
    upstream, rest, from_url = _split_origin(text.strip(), known)
    arg = _parse_rest(text, rest, from_url=from_url)
    kind = arg.repo_type
    if repo_type is not None and kind is not repo_type:
        if kind is not RepoType.MODEL or rest.startswith("models/"):
            raise InvalidRepoError(text, f"it is a {kind}, but --type says {repo_type}")
        kind = repo_type
    check_name(arg.name)
    return RepoArg(kind, arg.name, upstream, arg.revision, arg.path)


def _split_origin(text: str, known: dict[str, str]) -> tuple[str | None, str, bool]:
    """``(upstream or None, what follows it, whether it came as an address)``."""
    if text.startswith("hf://"):
        return _upstream_at("huggingface.co", known), text[5:], False
    if text.startswith("git@"):
        host, colon, path = text[4:].partition(":")
        if not colon:
            raise InvalidRepoError(text, "an ssh address is git@host:org/name")
        return _named_host(text, host, known), path.removesuffix(".git"), True
    if "://" in text:
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise InvalidRepoError(text, f"it is no address ({error})") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRepoError(text, f"the scheme {parts.scheme!r} is not known")
        host = parts.netloc.rpartition("@")[2]
        return _named_host(text, host, known), parts.path.strip("/"), True
    prefix, colon, rest = text.partition(":")
    if colon and "/" not in prefix and "@" not in prefix:
        if prefix not in known and prefix != LOCAL:
            names = ", ".join(sorted(known))
            raise InvalidRepoError(text, f"no upstream {prefix!r} (known: {names})")
        return prefix, rest, False
    return None, text, False


def _named_host(text: str, host: str, known: dict[str, str]) -> str:
    upstream = _upstream_at(host, known)
    if upstream is None:
        raise InvalidRepoError(text, f"no upstream is configured at {host}")
    return upstream


_ALIASES = {
    "hf.co": "huggingface.co",
    "www.huggingface.co": "huggingface.co",
    "modelscope.cn": "www.modelscope.cn",
}


def _upstream_at(host: str, known: dict[str, str]) -> str | None:
    host = _ALIASES.get(host.lower(), host.lower())
    for name, endpoint in known.items():
        if urlsplit(endpoint).netloc.lower() == host:
            return name
    # A mirror of the Hub is configured under the Hub's own name as a rule:
    # a page pasted from the Hub then means that upstream.
    return {
        "huggingface.co": "huggingface" if "huggingface" in known else None,
        "www.modelscope.cn": "modelscope" if "modelscope" in known else None,
    }.get(host)


_PAGES = ("tree", "blob", "resolve", "raw", "commit", "commits", "file", "files")


def _parse_rest(text: str, rest: str, *, from_url: bool) -> RepoArg:
    head, _, tail = rest.partition("/")
    kind = RepoType.of_plural(head)
    if kind is not None and not tail and from_url:
        raise InvalidRepoError(text, "it is the address of a list, not of a repo")
    if kind is None or not tail:
        kind, tail = RepoType.MODEL, rest
    if not tail:
        raise InvalidRepoError(text, "it names no repo")
    return _from_url(kind, tail) if from_url else _from_words(text, kind, tail)


def _from_words(text: str, kind: RepoType, tail: str) -> RepoArg:
    """``org/name[@revision][/path]``; a revision in refs/ keeps its slashes."""
    name, at, after = tail.partition("@")
    if not at:
        first, path = _split_name(tail)
        if path and not text.startswith("hf://"):
            raise InvalidRepoError(text, "it has more than owner/name")
        return RepoArg(kind, first, None, None, path or None)
    revision, file = _split_revision(unquote(after), hf_uri=text.startswith("hf://"))
    if not revision:
        raise InvalidRepoError(text, "there is nothing after '@'")
    return RepoArg(kind, name, None, revision, file)


def _split_name(tail: str) -> tuple[str, str]:
    owner, slash, after = tail.partition("/")
    name, _, path = after.partition("/")
    return f"{owner}{slash}{name}", path


_SPECIAL_REF = re.compile(
    r"(refs/(?:pr/\d+|convert/[^/]+|heads/[^/]+|tags/[^/]+))/?(.*)"
)


def _split_revision(after: str, *, hf_uri: bool) -> tuple[str, str | None]:
    if not hf_uri:
        return after, None  # a branch may have slashes; a path needs an address
    if found := _SPECIAL_REF.fullmatch(after):
        return found[1], found[2] or None
    revision, _, path = after.partition("/")
    return revision, path or None


def _from_url(kind: RepoType, tail: str) -> RepoArg:
    parts = tail.split("/")
    at = next((i for i, part in enumerate(parts) if i and part in _PAGES), None)
    if at is None:
        return RepoArg(kind, "/".join(parts[:2]).removesuffix(".git"))
    name, after = "/".join(parts[:at]), parts[at + 1 :]
    if not after:
        return RepoArg(kind, name)
    revision, path = _split_revision(unquote("/".join(after)), hf_uri=True)
    # a folder page or a commit page means the whole repo at that revision
    selects_file = parts[at] not in ("tree", "commit", "commits")
    return RepoArg(kind, name, None, revision, path if selects_file else None)
