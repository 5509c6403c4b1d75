"""A hub's lists: which repos there are, and what has changed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hubsync.model.repo import RepoId, RepoType


@dataclass(frozen=True, slots=True)
class Listed:
    """One repo as a hub's list shows it now."""

    repo: RepoId
    hub_id: str | None
    head: str | None
    last_modified: datetime | None
    gated: bool = False
    disabled: bool = False
    private: bool = False
    used_bytes: int | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """What a hub is searched for; empty: everything."""

    author: str | None = None
    text: str | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    gated: bool | None = None
    sort: str | None = None
    limit: int | None = None


class Lister(Protocol):
    """An upstream that can be asked what it has."""

    @property
    def requests(self) -> int:
        """Requests sent so far, redirect hops included."""

    def search(self, repo_type: RepoType, search: Search) -> AsyncIterator[Listed]:
        """What the hub lists for *search*."""

    async def look(self, repo: RepoId) -> Listed:
        """One repo, for one request."""

    async def collection(self, slug: str) -> list[RepoId]:
        """The repos in a collection."""
