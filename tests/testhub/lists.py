"""Lists of repos and collections, page by page."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.testhub import answers
from tests.testhub.answers import HubError
from tests.testhub.listing import Json
from tests.testhub.world import HubRepo

PAGE_ROWS_MAX = 1000
_SORTS = ("lastModified", "trendingScore", "createdAt", "downloads", "likes")
Params = Sequence[tuple[str, str]]


@dataclass(slots=True)
class Page:
    """Rows, and the query of the next page, if there is one."""

    rows: list[Json]
    next_query: str | None


@dataclass(slots=True)
class Collections:
    """By slug: the type and id of each item, in order."""

    items: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def shown(self, slug: str) -> Json:
        found = self.items.get(slug)
        if found is None:
            raise HubError(404, "Collection not found")
        return {
            "slug": slug,
            "title": slug.partition("/")[2],
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "owner": {"name": slug.partition("/")[0], "type": "org"},
            "items": [
                {"_id": f"{number:024x}", "position": number, "type": kind, "id": name}
                for number, (kind, name) in enumerate(found)
            ],
            "position": 0,
            "theme": "blue",
            "private": False,
            "upvotes": 0,
        }


def page_of(repos: Sequence[HubRepo], params: Params, page_rows: int) -> Page:
    """What ``/api/{type}`` answers to *params*; it ignores those it does not know.

    Raises:
        HubError: 400 for a sort or an expand that there is not.
    """
    one = dict(params)
    by = one.get("sort") or "trendingScore"
    if by not in _SORTS:
        raise HubError(400, f'"sort" must be one of {", ".join(_SORTS)}')
    keyed = [
        (answers.sort_key(repo, by), repo) for repo in repos if _fits(repo, params, one)
    ]
    # The highest first, and those that are equal by their id: so is the cursor.
    keyed.sort(key=lambda pair: pair[1].hub_id)
    keyed.sort(key=lambda pair: pair[0], reverse=True)
    if "cursor" in one:
        value, hub_id = _read_cursor(one["cursor"])
        keyed = [
            (key, repo)
            for key, repo in keyed
            if key < value or (key == value and repo.hub_id > hub_id)
        ]
    limit = min(int(one.get("limit") or page_rows), page_rows, PAGE_ROWS_MAX)
    expand = [value for key, value in params if key in ("expand", "expand[]")]
    rows = [answers.list_item(repo, expand) for _, repo in keyed[:limit]]
    if limit >= len(keyed):
        return Page(rows, None)
    key, last = keyed[limit - 1]
    kept = [(name, value) for name, value in params if name != "cursor"]
    return Page(rows, urlencode([*kept, ("cursor", _cursor(key, last.hub_id))]))


def _fits(repo: HubRepo, params: Params, one: Mapping[str, str]) -> bool:
    owner = repo.name.rpartition("/")[0]
    if (one.get("author") or owner).lower() != owner.lower():
        return False
    if one.get("search", "").lower() not in repo.name.lower():
        return False
    tags = {value for key, value in params if key == "filter"}
    if not tags <= {*repo.tags, repo.pipeline_tag, repo.library_name}:
        return False
    # What a type does not have is a parameter like any other that is unknown.
    is_model, is_space = repo.repo_type == "model", repo.repo_type == "space"
    task, gated = one.get("pipeline_tag"), one.get("gated")
    if is_model and task is not None and task != repo.pipeline_tag:
        return False
    return is_space or gated is None or (gated == "true") is bool(repo.gated)


def _cursor(key: str, hub_id: str) -> str:
    return base64.b64encode(json.dumps([key, hub_id]).encode()).decode()


def _read_cursor(text: str) -> tuple[str, str]:
    try:
        key, hub_id = json.loads(base64.b64decode(text))
    except ValueError:
        raise HubError(400, "Invalid cursor") from None
    return key, hub_id
