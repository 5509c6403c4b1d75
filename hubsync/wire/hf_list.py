"""The Hugging Face Hub's lists of repos: rows of a search, items of a collection."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from hubsync.model.listed import Listed
from hubsync.model.repo import InvalidRepoError, RepoId, RepoType
from hubsync.wire.hf_fields import (
    WireError,
    read_list,
    read_object,
    read_oid,
    read_size,
    read_text,
    read_time,
)

_EXPANDED = (
    "sha",
    "lastModified",
    "gated",
    "disabled",
    "private",
    "tags",
    "usedStorage",
)
_REPO_TYPES = frozenset(RepoType)


def expand_of(repo_type: RepoType) -> Sequence[str]:
    """What to ask for so that `parse_listed` finds all it can use.

    The Hub refuses a key that it does not have for that type.
    """
    is_space = repo_type is RepoType.SPACE
    return [key for key in _EXPANDED if not (is_space and key == "gated")]


def parse_listed(upstream: str, repo_type: RepoType, obj: object) -> Listed | None:
    """One row of ``/api/{type}``; None: its name is of no form that can be asked for.

    Old repos have such names, and no client of the Hub takes them any more.

    Raises:
        WireError: naming the field.
    """
    row = read_object(obj, "repo in a list")
    name = read_text(row.get("id"), "id")
    repo = _repo_of(upstream, repo_type, name)
    if repo is None:
        return None
    return Listed(
        repo,
        hub_id=_text(row, "_id"),
        head=_head(row, name),
        last_modified=_time(row, "lastModified", name),
        gated=_gated(row, name),
        disabled=_flag(row, "disabled", name),
        private=_flag(row, "private", name),
        used_bytes=_size(row, "usedStorage", name),
        tags=_tags(row, name),
    )


def parse_collection(upstream: str, obj: object) -> list[RepoId | None]:
    """The repos in ``/api/collections/{slug}``; what is no repo is left out.

    None: a repo whose name is of no form that can be asked for.

    Raises:
        WireError: naming the field.
    """
    collection = read_object(obj, "collection")
    found = []
    for one in read_list(collection.get("items"), "items of the collection"):
        item = read_object(one, "item of the collection")
        kind = read_text(item.get("type"), "type of an item")
        if kind in _REPO_TYPES:
            name = read_text(item.get("id"), "id of an item")
            found.append(_repo_of(upstream, RepoType(kind), name))
    return found


def _repo_of(upstream: str, repo_type: RepoType, name: str) -> RepoId | None:
    try:
        return RepoId(upstream, repo_type, name)
    except InvalidRepoError:
        return None


def _text(row: Mapping[str, object], key: str) -> str | None:
    value = row.get(key)
    return None if value is None else read_text(value, key)


def _head(row: Mapping[str, object], name: str) -> str | None:
    sha = row.get("sha")
    return None if sha is None else read_oid(sha, f"sha of {name}").hex


def _time(row: Mapping[str, object], key: str, name: str) -> datetime | None:
    value = row.get(key)
    return None if value is None else read_time(value, f"{key} of {name}")


def _size(row: Mapping[str, object], key: str, name: str) -> int | None:
    value = row.get(key)
    return None if value is None else read_size(value, f"{key} of {name}")


def _flag(row: Mapping[str, object], key: str, name: str) -> bool:
    value = row.get(key)
    if not isinstance(value, bool | None):
        raise WireError(f"{key} of {name}", f"is neither true nor false: {value!r:.80}")
    return bool(value)


def _gated(row: Mapping[str, object], name: str) -> bool:
    """The Hub says false, or how access is given: ``"auto"``, ``"manual"``."""
    value = row.get("gated")
    return bool(value) if isinstance(value, str) else _flag(row, "gated", name)


def _tags(row: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = row.get("tags")
    tags = [] if value is None else read_list(value, f"tags of {name}")
    return tuple(read_text(tag, f"tag of {name}") for tag in tags)
