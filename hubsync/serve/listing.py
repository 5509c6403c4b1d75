"""``GET /api/{models,datasets,spaces}``: which repos, in which order, what of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.serve.errors import bad_request
from hubsync.serve.library import hub_id
from hubsync.wire.hf import format_time

LIMIT_MAX = 1000
_SORTS = {
    "lastModified": "lastModified",
    "last_modified": "lastModified",
    "createdAt": "createdAt",
    "created_at": "createdAt",
    "trendingScore": "trendingScore",
    "trending_score": "trendingScore",
    "downloads": "downloads",
    "likes": "likes",
}
_DEFAULT_KEYS = {
    RepoType.MODEL: (
        *("_id", "id", "likes", "trendingScore", "private", "downloads", "tags"),
        *("pipeline_tag", "library_name", "createdAt", "modelId"),
    ),
    RepoType.DATASET: (
        *("_id", "id", "author", "sha", "lastModified", "private", "gated"),
        *("disabled", "tags", "description", "downloads", "likes", "createdAt"),
    ),
    RepoType.SPACE: (
        *("_id", "id", "likes", "trendingScore", "private", "sdk", "tags", "createdAt"),
    ),
}
_FULL_KEYS = ("author", "gated", "sha", "lastModified", "disabled", "siblings")


@dataclass(frozen=True, slots=True)
class Listed:
    """A repo with the snapshot that its default branch points to."""

    row: RepoRow
    head: SnapshotRow
    card: Mapping[str, object]

    @property
    def tags(self) -> set[str]:
        tags = self.card.get("tags")
        found = {str(tag) for tag in tags} if isinstance(tags, list) else set()
        for key in ("pipeline_tag", "library_name"):
            if isinstance(value := self.card.get(key), str):
                found.add(value)
        return found

    def sort_key(self, by: str) -> tuple[float, str]:
        """Numbers and times as numbers; ties by name."""
        if by == "lastModified":
            return (_seconds(self.head.commit.committed_at), self.row.repo.name)
        value = self.card.get(by)
        if by == "createdAt":
            created = value if isinstance(value, str) else ""
            try:
                when = datetime.fromisoformat(created)
            except ValueError:
                when = self.row.recorded_at
            return (_seconds(when), self.row.repo.name)
        is_number = isinstance(value, int | float)
        return (float(value) if is_number else 0.0, self.row.repo.name)  # type: ignore[arg-type]


def _seconds(when: datetime | None) -> float:
    return when.timestamp() if when else 0.0


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters we understand; the Hub ignores unknown ones, and so do we."""

    author: str | None = None
    search: str | None = None
    filters: tuple[str, ...] = ()
    gated: bool | None = None
    sort: str | None = None
    ascending: bool = False
    limit: int = LIMIT_MAX
    skip: int = 0
    expand: tuple[str, ...] = ()
    full: bool = False

    @classmethod
    def read(cls, params: Sequence[tuple[str, str]]) -> "Query":
        """Raises: Problem: 400 for what cannot be meant."""
        one = dict(params)
        many = [value for key, value in params if key in ("filter", "filter[]")]
        for key in ("pipeline_tag", "library", "language", "license"):
            many += [_as_tag(key, v) for k, v in params if k == key]
        sort = one.get("sort")
        if sort is not None and sort not in _SORTS:
            raise bad_request(f"invalid sort {sort!r}: one of {', '.join(_SORTS)}")
        expand = [v for key, v in params if key in ("expand", "expand[]")]
        return cls(
            author=one.get("author"),
            search=one.get("search"),
            filters=tuple(tag for value in many for tag in value.split(",") if tag),
            gated=_flag(one.get("gated")),
            sort=_SORTS[sort] if sort else None,
            ascending=one.get("direction") == "1",
            limit=_number(one, "limit", LIMIT_MAX, minimum=1),
            skip=_number(one, "cursor" if "cursor" in one else "skip", 0, minimum=0),
            expand=tuple(expand),
            full=bool(_flag(one.get("full"))),
        )

    def matches(self, one: Listed) -> bool:
        repo = one.row.repo
        if self.author and (repo.owner or "").lower() != self.author.lower():
            return False
        if self.search and not all(
            word in repo.name.lower() for word in self.search.lower().split()
        ):
            return False
        if self.gated is not None and bool(one.card.get("gated")) != self.gated:
            return False
        return set(self.filters) <= one.tags

    def select(self, listed: Sequence[Listed]) -> tuple[list[Listed], int | None]:
        """One page, and where the next one starts, if there is one."""
        found = [one for one in listed if self.matches(one)]
        # The Hub's default order is by trend, which a mirror does not know.
        key = self.sort or "lastModified"
        found.sort(key=lambda one: one.row.repo.name)
        found.sort(key=lambda one: one.sort_key(key)[0], reverse=not self.ascending)
        stop = self.skip + self.limit
        return found[self.skip : stop], stop if stop < len(found) else None


def item_keys(query: Query, repo_type: RepoType) -> tuple[str, ...]:
    """Which keys of the info object an item has."""
    if query.expand:
        return ("_id", "id", *query.expand)
    if query.full:
        return (*_DEFAULT_KEYS[repo_type], *_FULL_KEYS)
    return _DEFAULT_KEYS[repo_type]


def shape(
    info: Mapping[str, object], keys: Sequence[str], listed: Listed
) -> dict[str, object]:
    """The item for *listed*, cut from its whole info object."""
    more = {
        "_id": hub_id(listed.row),
        "trendingScore": listed.card.get("trendingScore", 0),
        "lastModified": format_time(
            listed.head.commit.committed_at or listed.head.recorded_at
        ),
    }
    have = {**info, **more}
    return {key: have[key] for key in keys if key in have}


def _as_tag(key: str, value: str) -> str:
    return value if key in ("pipeline_tag", "library") else f"{key}:{value}"


def _flag(text: str | None) -> bool | None:
    return None if text is None else text.lower() in ("1", "true", "yes")


def _number(one: Mapping[str, str], key: str, default: int, *, minimum: int) -> int:
    text = one.get(key)
    if text is None:
        return default
    if not text.isdigit() or int(text) < minimum or len(text) > 9:  # noqa: PLR2004
        raise bad_request(f"invalid {key} {text!r}")
    return min(int(text), LIMIT_MAX) if key == "limit" else int(text)
