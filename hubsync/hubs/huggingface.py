"""The Hugging Face Hub as an upstream.

Metadata goes through `huggingface_hub`: its session, its stored login, its
error classes.  The answers are read as JSON by `wire.hf` and not as the
library's own classes, because those drop what we record (``_id``) and what we
must check (the size and digest of each entry as sent).
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, urljoin, urlsplit

from hubsync.hubs.hf_session import Answer, HfSession
from hubsync.hubs.options import HubOptions
from hubsync.model.paths import check_tree_paths
from hubsync.model.repo import RepoId
from hubsync.model.revision import (
    DEFAULT_BRANCH,
    RefName,
    is_commit,
    may_be_short_commit,
)
from hubsync.model.snapshot import Commit, RepoInfo, Resolved, TreeEntry
from hubsync.ports.hub import (
    HubAnswerError,
    HubError,
    Known,
    NotAllowedError,
    RevisionNotFoundError,
    Source,
)
from hubsync.ports.progress import Progress
from hubsync.wire.hf import (
    parse_commits,
    parse_info,
    parse_refs,
    parse_time,
    parse_tree_entry,
)
from hubsync.wire.hf_fields import read_list

__all__ = ["HubOptions", "HuggingFaceHub"]


class HuggingFaceHub:
    """Implements `ports.hub.Hub`."""

    def __init__(
        self,
        upstream: str,
        endpoint: str,
        token: str | None,
        *,
        options: HubOptions,
        progress: Progress,
    ) -> None:
        self._upstream, self._endpoint = upstream, endpoint.rstrip("/")
        self._options, self._progress = options, progress
        self._session = HfSession(self._endpoint, token, options, progress)

    @property
    def upstream(self) -> str:
        return self._upstream

    @property
    def requests(self) -> int:
        return self._session.requests

    async def resolve(
        self, repo: RepoId, revision: str | None, known: Known | None
    ) -> Resolved:
        """As `Hub.resolve`.

        A repo that is known costs one request, the first page of its history:
        docs/adr/0003.
        """
        return await asyncio.to_thread(self._resolve, repo, revision, known)

    async def tree(self, repo: RepoId, commit: str) -> list[TreeEntry]:
        return await asyncio.to_thread(self._tree, repo, commit)

    def locate(self, repo: RepoId, commit: str, entry: TreeEntry) -> Source:
        url = f"{self._endpoint}/{repo.path}/resolve/{commit}/{quote(entry.path)}"
        return Source(url, self._session.authorization)

    async def aclose(self) -> None:
        """The session is huggingface_hub's own, shared by the process."""

    def _resolve(
        self, repo: RepoId, revision: str | None, known: Known | None
    ) -> Resolved:
        asked = _as_asked(revision)
        if known is None:
            info, sha = self._info(repo, asked)
            commit = self._commit_of(info, sha)
        else:
            info = None
            history, moved = self._history(repo, asked or DEFAULT_BRANCH)
            commit = history[0]
            # No commit we know: rewritten history, or another repo by that name.
            # The hub's id tells which; and its name, when we were sent elsewhere.
            if moved or not known.heads & {one.oid for one in history}:
                info, sha = self._info(repo, asked)
                if sha != commit.oid:  # it moved between the two requests
                    commit = self._commit_of(info, sha)
        named = info.repo if info else repo
        ref = self._ref(named, revision, commit.oid)
        return Resolved(repo=named, commit=commit, ref=ref, info=info)

    def _info(self, repo: RepoId, asked: str | None) -> tuple[RepoInfo, str]:
        url = self._api(repo) + (f"/revision/{quote(asked, safe='')}" if asked else "")
        answer = self._session.get(url, str(repo), asked)
        if isinstance(answer.json, Mapping) and answer.json.get("sha") is None:
            raise _is_empty(repo)
        return parse_info(repo, answer.json)

    def _commit_of(self, info: RepoInfo, sha: str) -> Commit:
        """Title, author and date of *sha*, as far as the hub tells them."""
        try:
            history, _ = self._history(info.repo, sha)
        except NotAllowedError:
            raise  # gated: the files would not come either
        except HubError as error:
            self._progress.note(
                f"{info.repo}: its commit list cannot be read, so the version is "
                f"recorded without title and author ({error})"
            )
            return Commit(sha, committed_at=_last_modified(info))
        if history[0].oid == sha:
            return history[0]
        raise HubAnswerError(
            f"{info.repo}: the history of {sha[:10]} begins with {history[0].oid[:10]}",
            hint="The hub contradicts itself; try again later.",
        )

    def _history(self, repo: RepoId, revision: str) -> tuple[list[Commit], bool]:
        """``(newest commits, whether the hub sent us to another name)``.

        The first page only: some histories have thousands of pages.
        """
        url = f"{self._api(repo)}/commits/{quote(revision, safe='')}"
        answer = self._session.get(url, str(repo), revision)
        history = parse_commits(answer.json)
        if not history:
            raise _is_empty(repo)
        return history, urlsplit(answer.url).path != urlsplit(url).path

    def _ref(self, repo: RepoId, revision: str | None, oid: str) -> RefName | None:
        """The full name of what was asked for, or None when it was a commit."""
        if revision is None or revision == DEFAULT_BRANCH:
            return RefName.branch(DEFAULT_BRANCH)
        if revision.startswith("refs/"):
            return RefName(revision)
        if is_commit(revision) or (
            may_be_short_commit(revision) and oid.startswith(revision)
        ):
            return None
        answer = self._session.get(f"{self._api(repo)}/refs", str(repo), revision)
        refs = parse_refs(answer.json)
        for name in (RefName.branch(revision), RefName.tag(revision)):
            if name in refs:
                return name
        return None

    def _tree(self, repo: RepoId, commit: str) -> list[TreeEntry]:
        first = f"{self._api(repo)}/tree/{commit}?recursive=true&expand=false"
        url: str | None = first
        entries: list[TreeEntry] = []
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) >= self._options.pages_max:
                raise HubAnswerError(f"{repo}: the pages of its tree have no end")
            seen.add(url)
            answer = self._session.get(url, str(repo), commit)
            for row in read_list(answer.json, "tree"):
                entry = parse_tree_entry(row)
                if entry is not None:
                    entries.append(entry)
            url = self._next_page(answer, repo)
        check_tree_paths(entry.path for entry in entries)
        return entries

    def _next_page(self, answer: Answer, repo: RepoId) -> str | None:
        if answer.next_link is None:
            return None
        url = urljoin(answer.url, answer.next_link)
        # A page elsewhere would get the token.
        ours, theirs = urlsplit(answer.url), urlsplit(url)
        if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            raise HubAnswerError(
                f"{repo}: the next page of its tree is on another host, {theirs.netloc}"
            )
        return url

    def _api(self, repo: RepoId) -> str:
        return f"{self._endpoint}/api/{repo.repo_type.plural}/{repo.name}"


def _as_asked(revision: str | None) -> str | None:
    """The hub knows branches and tags by their short names only."""
    if revision and revision.startswith(("refs/heads/", "refs/tags/")):
        return revision.split("/", 2)[2]
    return revision


def _is_empty(repo: RepoId) -> RevisionNotFoundError:
    return RevisionNotFoundError(
        f"{repo} has no commit yet", hint="There is nothing to pull."
    )


def _last_modified(info: RepoInfo) -> datetime | None:
    text = info.card.get("lastModified")
    return None if text is None else parse_time(text, "lastModified")
