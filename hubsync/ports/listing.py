"""Which repos a hub has: by owner, by search, by collection."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from hubsync.model.errors import ExitCode
from hubsync.model.listed import Listed
from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.hub import HubError

__all__ = ["CollectionNotFoundError", "Listed", "Lister", "Search"]


@dataclass(frozen=True, slots=True)
class Search:
    """What a hub is searched for; empty: everything.

    *text* is part of the name.  *task* is the ``pipeline_tag`` of models.  Each of
    *tags* must be there: libraries, licences as ``license:mit``, languages of
    datasets as ``language:en``.  *gated*: only those that are, or are not; of
    models and datasets.  *sort* is lastModified, createdAt, downloads, likes or
    trendingScore, the highest first.  *limit*: at most so many; None: all.
    """

    author: str | None = None
    text: str | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    gated: bool | None = None
    sort: str | None = None
    limit: int | None = None


class Lister(Protocol):
    """One upstream's lists.  They show what the token may see, and no more."""

    @property
    def requests(self) -> int:
        """Metadata requests sent so far, redirect hops included."""

    def search(self, repo_type: RepoType, search: Search) -> AsyncIterator[Listed]:
        """The repos found, each once, as the pages come in: 1000 a request.

        Who has seen the end has seen all of them: half a list is an error.  A repo
        that changes meanwhile may be missed, when the list is sorted by what changed.

        Raises:
            UsageError: that type of repo cannot be searched for that.
            NotAllowedError, UnavailableError, HubAnswerError.
        """

    async def look(self, repo: RepoId) -> Listed:
        """*repo* as it is now, in one request.

        ``Listed.repo`` carries the name the hub answers with now, which differs from
        *repo* after a rename.

        Raises:
            RepoNotFoundError, NotAllowedError, UnavailableError, HubAnswerError.
        """

    async def collection(self, slug: str) -> list[RepoId]:
        """The models, datasets and spaces in ``owner/title-id``, in its order.

        Papers and other collections in it are left out.

        Raises:
            UsageError: *slug* is none.
            CollectionNotFoundError, NotAllowedError, UnavailableError, HubAnswerError.
        """


class CollectionNotFoundError(HubError):
    """No such collection, or none that this token may see."""

    exit_code = ExitCode.NOT_FOUND
