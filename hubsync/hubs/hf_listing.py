"""The Hugging Face Hub's lists: which repos there are, and where each stands."""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from urllib.parse import quote, urlencode

from hubsync.hubs.hf_errors import Topic
from hubsync.hubs.hf_session import HfSession
from hubsync.model.errors import UsageError
from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.hub import HubAnswerError
from hubsync.ports.listing import CollectionNotFoundError, Listed, Search
from hubsync.ports.progress import Progress
from hubsync.wire.hf_fields import read_list
from hubsync.wire.hf_list import expand_of, parse_collection, parse_listed

PAGE_ROWS = 1000  # the most the Hub gives
_SLUG = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
# The one key of a repo that never changes: whatever is pushed while the pages are
# read, no repo slips from one that is to come to one that has been.
_STEADY = "createdAt"


class HfListing:
    """`ports.listing.Lister` for `HuggingFaceHub`, over its session."""

    def __init__(
        self, upstream: str, endpoint: str, session: HfSession, progress: Progress
    ) -> None:
        self._upstream, self._endpoint = upstream, endpoint
        self._session, self._progress = session, progress

    async def search(
        self, repo_type: RepoType, search: Search
    ) -> AsyncGenerator[Listed]:
        """As `Lister.search`."""
        _check(repo_type, search)
        if search.limit is not None and search.limit < 1:
            return
        url = f"{self._endpoint}/api/{repo_type.plural}?{_query(repo_type, search)}"
        topic = _topic(repo_type, search)
        seen: set[str] = set()
        async with aclosing(self._session.pages(url, topic)) as pages:
            async for answer in pages:
                for one in self._rows(repo_type, answer.json):
                    self._check_row(one, search, topic)
                    key = one.hub_id or one.repo.name
                    if key in seen:
                        continue
                    seen.add(key)
                    yield one
                    if len(seen) == search.limit:
                        return

    async def look(self, repo: RepoId) -> Listed:
        """As `Lister.look`."""
        expand = urlencode([("expand", key) for key in expand_of(repo.repo_type)])
        url = f"{self._endpoint}/api/{repo.repo_type.plural}/{repo.name}?{expand}"
        answer = await self._session.get(url, Topic.of(repo))
        found = parse_listed(repo.upstream, repo.repo_type, answer.json)
        if found is None:
            raise HubAnswerError(
                f"{repo} has a name on {self._session.host} that cannot be used",
                hint="Look at its page with a browser: it may have been renamed.",
            )
        return found

    async def collection(self, slug: str) -> list[RepoId]:
        """As `Lister.collection`."""
        if not _SLUG.fullmatch(slug):
            raise UsageError(
                f"{slug[:200]!r} is no collection",
                hint="Write it as in its page's address: owner/title-and-id.",
            )
        url = f"{self._endpoint}/api/collections/{quote(slug)}"
        topic = Topic(
            f"the collection {slug}",
            f"collections/{slug}",
            missing=CollectionNotFoundError,
            check="Compare it with the address of its page",
        )
        answer = await self._session.get(url, topic)
        found = parse_collection(self._upstream, answer.json)
        self._note_unusable(found.count(None))
        return list(dict.fromkeys(repo for repo in found if repo is not None))

    def _rows(self, repo_type: RepoType, page: object) -> Iterator[Listed]:
        unusable = 0
        for row in read_list(page, f"list of {repo_type.plural}"):
            one = parse_listed(self._upstream, repo_type, row)
            if one is None:
                unusable += 1
            else:
                yield one
        self._note_unusable(unusable)

    def _note_unusable(self, repos: int) -> None:
        if repos:
            self._progress.note(
                f"{self._session.host} lists {repos} repo(s) with names that cannot "
                "be used; they are left out"
            )

    def _check_row(self, one: Listed, search: Search, topic: Topic) -> None:
        """The Hub takes no notice of what it does not understand.

        Its word for everybody's repos must not pass for those of one owner.
        """
        author, gated = search.author, search.gated
        if author is not None and (one.repo.owner or "").lower() != author.lower():
            raise self._not_as_asked(one, topic)
        if gated is not None and one.gated is not gated:
            raise self._not_as_asked(one, topic)

    def _not_as_asked(self, one: Listed, topic: Topic) -> HubAnswerError:
        return HubAnswerError(
            f"{self._session.host} lists {one.repo} where {topic.name} was asked for",
            hint=f"Is {self._endpoint} the address of a hub that can be searched?",
        )


def _check(repo_type: RepoType, search: Search) -> None:
    """Raise for what the Hub would not take notice of, and list everything."""
    if search.task is not None and repo_type is not RepoType.MODEL:
        raise UsageError(
            f"{repo_type.plural} cannot be searched by task",
            hint="Name a tag: of datasets, tasks are task_categories:….",
        )
    if search.gated is not None and repo_type is RepoType.SPACE:
        raise UsageError(
            "spaces cannot be searched by whether they are gated",
            hint="The Hub knows that of models and datasets only.",
        )


def _query(repo_type: RepoType, search: Search) -> str:
    sort = search.sort or (_STEADY if search.limit is None else None)
    gated = None if search.gated is None else str(search.gated).lower()
    rows = PAGE_ROWS if search.limit is None else min(search.limit, PAGE_ROWS)
    asked = [
        ("author", search.author),
        ("search", search.text),
        *(("filter", tag) for tag in search.tags),
        ("pipeline_tag", search.task),
        ("gated", gated),
        ("sort", sort),
        ("direction", "-1" if sort else None),
        ("limit", str(rows)),
        *(("expand", key) for key in expand_of(repo_type)),
    ]
    return urlencode([(key, value) for key, value in asked if value is not None])


def _topic(repo_type: RepoType, search: Search) -> Topic:
    what = f"the list of {repo_type.plural}"
    if search.author is not None:
        what += f" of {search.author[:100]}"
    return Topic(what, repo_type.plural, missing=None)
