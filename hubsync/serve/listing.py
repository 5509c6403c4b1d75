"""``GET /api/{models,datasets,spaces}``: which repos, in which order, what of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.serve.errors import bad_request
from hubsync.serve.query import Params, flag, number, value, values

LIMIT_MAX = 1000
_NAMES = """
    author baseModels cardData childrenModelCount citation config createdAt datasets
    description disabled downloads downloadsAllTime evalResults gated gguf inference
    inferenceProviderMapping lastModified library_name likes mainSize mask_token
    model-index models paperswithcode_id pipeline_tag private region resourceGroup
    runtime safetensors sdk sha siblings spaces subdomain tags transformersInfo
    trendingScore usedStorage widgetData xetEnabled
"""
EXPANDABLE = frozenset(_NAMES.split())
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

    def sort_key(self, by: str) -> float:
        """Numbers and times as numbers."""
        if by == "lastModified":
            return _seconds(self.head.commit.committed_at)
        value = self.card.get(by)
        if by == "createdAt":
            try:
                return _seconds(datetime.fromisoformat(str(value)))
            except ValueError:
                return _seconds(self.row.recorded_at)
        return float(value) if isinstance(value, int | float) else 0.0


def _seconds(when: datetime | None) -> float:
    return when.timestamp() if when else 0.0


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters we understand; the Hub ignores unknown ones, and so do we."""

    author: str | None = None
    search: str | None = None
    tags: frozenset[str] = frozenset()
    gated: bool | None = None
    sort: str = "lastModified"
    ascending: bool = False
    limit: int = LIMIT_MAX
    skip: int = 0
    expand: tuple[str, ...] = ()
    more_keys: tuple[str, ...] = ()

    @classmethod
    def read(cls, params: Params) -> "Query":
        """Raises: Problem: 400 for what cannot be meant."""
        tags = values(params, "filter", "tags", "pipeline_tag", "library")
        for key in ("language", "license"):
            tags += [f"{key}:{one}" for one in values(params, key)]
        sort = value(params, "sort")
        if sort is not None and sort not in _SORTS:
            raise bad_request(f"invalid sort {sort[:100]!r}: one of {' '.join(_SORTS)}")
        more_keys = [key for key in ("cardData", "config") if flag(params, key)]
        if flag(params, "full"):
            more_keys += _FULL_KEYS
        start = number(params, "cursor")
        return cls(
            author=value(params, "author"),
            search=value(params, "search"),
            tags=frozenset(one for text in tags for one in text.split(",") if one),
            gated=flag(params, "gated"),
            # The Hub's default order is by trend, which a mirror does not know.
            sort=_SORTS[sort] if sort else "lastModified",
            ascending=value(params, "direction") == "1",
            limit=min(number(params, "limit", minimum=1) or LIMIT_MAX, LIMIT_MAX),
            skip=start if start is not None else number(params, "skip") or 0,
            expand=check_expand(values(params, "expand")),
            more_keys=tuple(more_keys),
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
        return self.tags <= one.tags

    def select(self, listed: Sequence[Listed]) -> tuple[list[Listed], int | None]:
        """One page, and where the next one starts, if there is one."""
        found = [one for one in listed if self.matches(one)]
        found.sort(key=lambda one: one.row.repo.name)
        found.sort(key=lambda one: one.sort_key(self.sort), reverse=not self.ascending)
        stop = self.skip + self.limit
        return found[self.skip : stop], stop if stop < len(found) else None

    def keys(self, repo_type: RepoType) -> tuple[str, ...]:
        """Which keys of the info object an item has."""
        if self.expand:
            return ("_id", "id", *self.expand)
        return tuple(dict.fromkeys((*_DEFAULT_KEYS[repo_type], *self.more_keys)))


def check_expand(wanted: Sequence[str]) -> tuple[str, ...]:
    """Raises: Problem: 400 naming the first that is not known, and those that are."""
    for one in wanted:
        if one not in EXPANDABLE:
            known = ", ".join(sorted(EXPANDABLE))
            raise bad_request(f"invalid expand {one[:100]!r}: one of {known}")
    return tuple(dict.fromkeys(wanted))
