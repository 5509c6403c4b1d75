"""``GET /api/{models,datasets,spaces}``: which repos, in which order, what of each."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

import orjson

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.serve.errors import bad_request
from hubsync.serve.query import Params, flag, number, value, values

LIMIT_MAX = 1000
_EVERYWHERE = """
    author cardData createdAt disabled gated lastModified likes private resourceGroup
    sha siblings tags trendingScore usedStorage xetEnabled
"""
EXPANDABLE = {
    repo_type: frozenset([*_EVERYWHERE.split(), *names.split()])
    for repo_type, names in {
        RepoType.MODEL: """
            baseModels childrenModelCount config downloads downloadsAllTime evalResults
            gguf inference inferenceProviderMapping library_name mask_token model-index
            pipeline_tag safetensors spaces transformersInfo widgetData
        """,
        RepoType.DATASET: """
            citation description downloads downloadsAllTime mainSize paperswithcode_id
        """,
        RepoType.SPACE: "datasets models region runtime sdk subdomain",
    }.items()
}
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
# In the Hub's order, by type; "full" adds those of the second list to the first.
_ORDER = {
    RepoType.MODEL: (
        *("_id", "id", "author", "gated", "disabled", "lastModified", "likes"),
        *("trendingScore", "private", "sha", "config", "cardData", "downloads"),
        *("tags", "pipeline_tag", "library_name", "createdAt", "modelId", "siblings"),
    ),
    RepoType.DATASET: (
        *("_id", "id", "author", "disabled", "gated", "lastModified", "likes"),
        *("trendingScore", "private", "sha", "description", "downloads", "tags"),
        *("createdAt", "cardData", "config", "citation", "siblings"),
    ),
    RepoType.SPACE: (
        *("_id", "id", "author", "lastModified", "likes", "trendingScore"),
        *("private", "sha", "sdk", "cardData", "config", "tags", "createdAt"),
        *("siblings",),
    ),
}
_FULL_ONLY = {
    RepoType.MODEL: frozenset(
        ["author", "gated", "disabled", "lastModified", "sha", "siblings"]
    ),
    RepoType.DATASET: frozenset(["citation", "siblings"]),
    RepoType.SPACE: frozenset(["author", "lastModified", "sha", "siblings"]),
}
_ASKED_ONLY = frozenset(["cardData", "config"])
_GGUF_APPS = frozenset(["llama.cpp", "ollama", "lmstudio", "jan", "koboldcpp"])
_COUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMBT]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


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

    @property
    def has_gguf(self) -> bool:
        return "gguf" in self.tags or "gguf" in self.card

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
class Place:
    """Where a page ended: the next one begins after it.

    By key and name, and not by number: repos that come and go meanwhile move no
    other repo from one page to the next.
    """

    key: float
    name: str

    def write(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([self.key, self.name])).decode()

    @classmethod
    def read(cls, cursor: str) -> "Place":
        """Raises: Problem: 400, nobody made such a cursor."""
        try:
            key, name = orjson.loads(base64.urlsafe_b64decode(cursor))
            return cls(float(key), str(name))
        except (ValueError, TypeError, OverflowError):
            raise bad_request("invalid cursor") from None


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters we understand; the Hub ignores unknown ones, and so do we."""

    author: str | None = None
    search: str | None = None
    tags: frozenset[str] = frozenset()
    gated: bool | None = None
    providers: frozenset[str] = frozenset()
    needs_gguf: bool = False
    parameters: tuple[float, float] | None = None
    sort: str = "lastModified"
    ascending: bool = False
    limit: int = LIMIT_MAX
    skip: int = 0
    after: Place | None = None
    expand: tuple[str, ...] = ()
    full: bool = False
    asked: frozenset[str] = frozenset()

    @classmethod
    def read(cls, params: Params, repo_type: RepoType) -> "Query":
        """Raises: Problem: 400 for what cannot be meant."""
        tags = values(params, "filter", "tags", "pipeline_tag", "library")
        for key in ("language", "license"):
            tags += [f"{key}:{one}" for one in values(params, key)]
        sort = value(params, "sort")
        if sort is not None and sort not in _SORTS:
            raise bad_request(f"invalid sort {sort[:100]!r}: one of {' '.join(_SORTS)}")
        cursor = value(params, "cursor")
        return cls(
            author=value(params, "author"),
            search=value(params, "search"),
            tags=frozenset(one for text in tags for one in text.split(",") if one),
            gated=flag(params, "gated"),
            providers=frozenset(values(params, "inference_provider")),
            needs_gguf=not _GGUF_APPS.isdisjoint(values(params, "apps")),
            parameters=_bounds(value(params, "num_parameters")),
            # The Hub's default order is by trend, which a mirror does not know.
            sort=_SORTS[sort] if sort else "lastModified",
            ascending=value(params, "direction") == "1",
            limit=min(number(params, "limit", minimum=1) or LIMIT_MAX, LIMIT_MAX),
            skip=number(params, "skip") or 0,
            after=None if cursor is None else Place.read(cursor),
            expand=check_expand(values(params, "expand"), repo_type),
            full=bool(flag(params, "full")),
            asked=frozenset(key for key in _ASKED_ONLY if flag(params, key)),
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
        if self.providers and self.providers.isdisjoint(_providers(one.card)):
            return False
        if self.needs_gguf and not one.has_gguf:
            return False
        return all(self._has(tag, one.tags) for tag in self.tags)

    def _has(self, tag: str, tags: AbstractSet[str]) -> bool:
        # Models have "en" where datasets have "language:en"; both may be asked for.
        return tag in tags or tag.removeprefix("language:") in tags

    def fits(self, parameters: int | None) -> bool:
        """Whether a model of so many parameters is asked for."""
        if self.parameters is None:
            return True
        low, high = self.parameters
        return parameters is not None and low <= parameters <= high

    def select(self, listed: Iterable[Listed]) -> tuple[list[Listed], str | None]:
        """One page, and the cursor of the next one, if there is one."""
        keyed = [(one.sort_key(self.sort), one.row.repo.name, one) for one in listed]
        sign = 1 if self.ascending else -1
        keyed.sort(key=lambda one: (sign * one[0], one[1]))
        if self.after is not None:
            last = (sign * self.after.key, self.after.name)
            keyed = [one for one in keyed if (sign * one[0], one[1]) > last]
        page = keyed[self.skip : self.skip + self.limit]
        following = None
        if page and self.skip + self.limit < len(keyed):
            following = Place(*page[-1][:2]).write()
        return [one for _, _, one in page], following

    def keys(self, repo_type: RepoType) -> tuple[str, ...]:
        """Which keys of the info object an item has."""
        if self.expand:
            return ("_id", "id", *self.expand)
        left_out = _ASKED_ONLY - self.asked
        if not self.full:
            left_out |= _FULL_ONLY[repo_type]
        return tuple(key for key in _ORDER[repo_type] if key not in left_out)


def _bounds(text: str | None) -> tuple[float, float] | None:
    """``min:6B,max:128B``; either may be left out."""
    if not text:
        return None
    found = {"min": 0.0, "max": float("inf")}
    for part in text.split(","):
        name, _, count = part.strip().partition(":")
        number = _COUNT.fullmatch(count)
        if name not in found or number is None:
            raise bad_request(f"invalid num_parameters {text[:100]!r}")
        found[name] = float(number[1]) * _UNITS[number[2].upper()]
    return found["min"], found["max"]


def _providers(card: Mapping[str, object]) -> set[str]:
    """Who runs the model, as the hub said: a mapping, or a list of objects."""
    said = card.get("inferenceProviderMapping")
    if isinstance(said, dict):
        return {*map(str, said), "all"} if said else set()
    if isinstance(said, list):
        names = {str(one.get("provider")) for one in said if isinstance(one, dict)}
        return {*names, "all"} if names else set()
    return set()


def check_expand(wanted: Sequence[str], repo_type: RepoType) -> tuple[str, ...]:
    """Raises: Problem: 400 naming the first that is not known, and those that are."""
    for one in wanted:
        if one not in EXPANDABLE[repo_type]:
            known = ", ".join(sorted(EXPANDABLE[repo_type]))
            raise bad_request(f'"expand" must be one of [{known}], not {one[:100]!r}')
    return tuple(dict.fromkeys(wanted))
