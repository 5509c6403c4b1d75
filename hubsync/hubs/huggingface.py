"""The Hugging Face Hub as an upstream.

Metadata goes through `huggingface_hub`: its session, its stored login, its
error classes.  The answers are read as JSON by `wire.hf` and not as the
library's own classes, because those drop what we record (``_id``, unknown keys)
and what we must check (the size and digest of each entry as it was sent).
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from urllib.parse import quote, urlsplit

from hubsync.hubs.hf_errors import Topic, no_revision
from hubsync.hubs.hf_listing import HfListing
from hubsync.hubs.hf_session import CONTRADICTION, HfSession
from hubsync.hubs.hf_transport import HfTransport
from hubsync.hubs.options import HubOptions
from hubsync.model.paths import check_tree_paths
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import (
    DEFAULT_BRANCH,
    MAIN,
    RefName,
    check_revision,
    is_commit,
    may_be_short_commit,
)
from hubsync.model.snapshot import Commit, RepoInfo, Resolved, TreeEntry
from hubsync.ports.hub import (
    GatedError,
    HubAnswerError,
    HubError,
    Known,
    NotAllowedError,
    RevisionNotFoundError,
    Source,
    UnavailableError,
)
from hubsync.ports.limiter import Budget
from hubsync.ports.listing import Listed, Search
from hubsync.ports.progress import Progress
from hubsync.wire.hf import (
    WireError,
    parse_commits,
    parse_info,
    parse_refs,
    parse_time,
    parse_tree_entry,
)
from hubsync.wire.hf_fields import read_list

__all__ = ["HubOptions", "HuggingFaceHub"]


class HuggingFaceHub:
    """Implements `ports.hub.Hub` and `ports.listing.Lister`.

    *token*: a token; None for the stored login, if there is one; True for the
    stored login, which must be there; False for none.  *budget* is shared with others
    who ask the same hub.
    """

    def __init__(
        self,
        upstream: str,
        endpoint: str,
        token: str | bool | None = None,  # noqa: FBT001 - as huggingface_hub takes it
        *,
        options: HubOptions,
        progress: Progress,
        budget: Budget | None = None,
    ) -> None:
        self._upstream, self._endpoint = upstream, endpoint.rstrip("/")
        self._options, self._progress = options, progress
        self._transport = HfTransport(self._endpoint, token=token, options=options)
        self._session = HfSession(
            self._transport, self._endpoint, options, progress, budget
        )
        self._listing = HfListing(upstream, self._endpoint, self._session, progress)

    @property
    def upstream(self) -> str:
        return self._upstream

    @property
    def requests(self) -> int:
        """Metadata requests sent so far, redirect hops included."""
        return self._transport.requests

    @property
    def sends_contents(self) -> bool:
        """As `Hub.sends_contents`: a mirror like this one says what it is."""
        return self._transport.server.startswith("hubsync/")

    async def resolve(
        self, repo: RepoId, revision: str | None, known: Known | None
    ) -> Resolved:
        """As `Hub.resolve`.

        A repo that is known costs one request, the first page of its history:
        docs/adr/0003.
        """
        asked = _as_asked(revision)
        commit, info, refusal = None, None, None
        if known is not None:
            commit = await self._commit_of_known(repo, asked or DEFAULT_BRANCH, known)
        if commit is None:
            commit, info, refusal = await self._commit_and_info(repo, asked)
        if asked and is_commit(asked) and commit.oid != asked:
            raise HubAnswerError(
                f"{repo}: asked for {asked[:10]}, the hub gave {commit.oid[:10]}",
                hint=CONTRADICTION,
            )
        named = info.repo if info else repo
        ref = await self._ref(named, revision, commit.oid)
        return Resolved(named, commit, ref, info, refusal)

    async def tree(self, repo: RepoId, commit: str) -> list[TreeEntry]:
        """As `Hub.tree`: all of it, or an error."""
        url = f"{self._api(repo)}/tree/{commit}?recursive=true&expand=false"
        entries: list[TreeEntry] = []
        async for answer in self._session.pages(url, Topic.of(repo), commit):
            rows = read_list(answer.json, "tree")
            found = (parse_tree_entry(row) for row in rows)
            entries += [entry for entry in found if entry is not None]
        check_tree_paths(entry.path for entry in entries)
        return entries

    async def refs(self, repo: RepoId) -> Mapping[RefName, str]:
        """Every ref with its commit, pull requests included: one request."""
        url = f"{self._api(repo)}/refs?include_prs=true"
        return parse_refs((await self._session.get(url, Topic.of(repo))).json)

    def locate(self, repo: RepoId, commit: str, entry: TreeEntry) -> Source:
        url = f"{self._endpoint}/{repo.path}/resolve/{commit}/{quote(entry.path)}"
        return Source(url, self._transport.authorization)

    def search(self, repo_type: RepoType, search: Search) -> AsyncIterator[Listed]:
        return self._listing.search(repo_type, search)

    async def look(self, repo: RepoId) -> Listed:
        return await self._listing.look(repo)

    async def collection(self, slug: str) -> list[RepoId]:
        return await self._listing.collection(slug)

    async def aclose(self) -> None:
        """The session is huggingface_hub's own, shared by the process."""

    async def _commit_of_known(
        self, repo: RepoId, asked: str, known: Known
    ) -> Commit | None:
        """The commit, if the history shows that this is the repo we know.

        None: rewritten history, or another repo by that name, or one that has
        moved.  The hub's id tells which, and its name: its info must be read.
        """
        try:
            history, moved = await self._history(repo, asked)
        except GatedError:
            return None  # info is for everybody, and says whether this is the repo
        except (NotAllowedError, UnavailableError):
            raise  # info would be given, or asked for in vain
        except (HubError, WireError):
            return None  # info says more clearly what is wrong
        same = known.heads & {one.oid for one in history}
        return history[0] if same and not moved else None

    async def _commit_and_info(
        self, repo: RepoId, asked: str | None
    ) -> tuple[Commit, RepoInfo, GatedError | None]:
        url = self._api(repo) + (f"/revision/{quote(asked, safe='')}" if asked else "")
        answer = await self._session.get(url, Topic.of(repo), asked)
        if isinstance(answer.json, Mapping) and answer.json.get("sha") is None:
            raise RevisionNotFoundError(
                f"{repo} has no commit yet", hint="There is nothing to pull."
            )
        info, sha = parse_info(repo, answer.json)
        try:
            return await self._commit(info, sha), info, None
        except GatedError as refusal:
            # The gate is in front of the history, and of the files.
            return Commit(sha, committed_at=_last_modified(info)), info, refusal

    async def _commit(self, info: RepoInfo, sha: str) -> Commit:
        """Title, author and date of *sha*, as far as the hub tells them."""
        try:
            history, _ = await self._history(info.repo, sha)
        except NotAllowedError:
            raise  # the files would not come either
        except (HubError, WireError) as error:
            self._progress.note(
                f"{info.repo}: its history cannot be read, so this version is "
                f"recorded without title and author ({error})"
            )
            return Commit(sha, committed_at=_last_modified(info))
        if history[0].oid != sha:
            raise HubAnswerError(
                f"{info.repo}: the history of {sha[:10]} begins with "
                f"{history[0].oid[:10]}",
                hint=CONTRADICTION,
            )
        return history[0]

    async def _history(self, repo: RepoId, revision: str) -> tuple[list[Commit], bool]:
        """``(newest commits, whether the hub sent us to another name)``.

        The first page only: some histories have thousands of pages.
        """
        url = f"{self._api(repo)}/commits/{quote(revision, safe='')}"
        answer = await self._session.get(url, Topic.of(repo), revision)
        history = parse_commits(answer.json)
        if not history:
            raise no_revision(str(repo), revision)
        return history, urlsplit(answer.url).path != urlsplit(url).path

    async def _ref(
        self, repo: RepoId, revision: str | None, oid: str
    ) -> RefName | None:
        """The full name of what was asked for, or None when it was a commit."""
        if revision in (None, DEFAULT_BRANCH, "HEAD"):
            return MAIN
        assert revision
        if revision.startswith("refs/"):
            return RefName(revision)
        is_hex = may_be_short_commit(revision) or is_commit(revision)
        if is_hex and oid.startswith(revision):
            return None
        answer = await self._session.get(
            f"{self._api(repo)}/refs", Topic.of(repo), revision
        )
        refs = parse_refs(answer.json)
        for name in (RefName.branch(revision), RefName.tag(revision)):
            if name in refs:
                return name
        return None

    def _api(self, repo: RepoId) -> str:
        return f"{self._endpoint}/api/{repo.repo_type.plural}/{repo.name}"


def _as_asked(revision: str | None) -> str | None:
    """The hub knows branches and tags by their short names only."""
    if revision is None or revision == "HEAD":
        return None
    check_revision(revision)
    if revision.startswith(("refs/heads/", "refs/tags/")):
        return revision.split("/", 2)[2]
    return revision


def _last_modified(info: RepoInfo) -> datetime | None:
    text = info.card.get("lastModified")
    return None if text is None else parse_time(text, "lastModified")
