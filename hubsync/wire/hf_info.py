"""The Hugging Face Hub's object about one repo, both directions."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from hubsync.model.repo import InvalidRepoError, RepoId, RepoType
from hubsync.model.snapshot import RepoInfo, TreeEntry
from hubsync.wire.hf_fields import (
    WireError,
    check_storable,
    format_time,
    read_object,
    read_oid,
    read_text,
)
from hubsync.wire.lfs import emit_pointer


def parse_info(repo: RepoId, obj: object) -> tuple[RepoInfo, str]:
    """``(what the Hub says of the repo, its commit)``; unknown keys are kept.

    The repo in the answer has the name the Hub uses now, which differs from
    *repo* after a rename.

    Raises:
        WireError: naming the field.
    """
    info = read_object(obj, "repo info")
    sha = read_oid(info.get("sha"), "sha").hex
    hub_id = info.get("_id")
    try:
        named = RepoId(repo.upstream, repo.repo_type, read_text(info.get("id"), "id"))
    except InvalidRepoError as error:
        raise WireError("id", f"is no repo name: {error}") from None
    card = {key: value for key, value in info.items() if key != "siblings"}
    check_storable(card, "repo info")
    return RepoInfo(
        named, None if hub_id is None else read_text(hub_id, "_id"), card
    ), sha


# The Hub's own order, by type.  A card comes back from the catalog in no
# particular order, and keys that are not listed here go last.
_ORDER = {
    repo_type: keys.split()
    for repo_type, keys in {
        RepoType.MODEL: """
            _id id private pipeline_tag library_name tags downloads likes modelId
            author sha lastModified gated inference disabled mask_token widgetData
            model-index config cardData transformersInfo siblings spaces createdAt
            safetensors gguf usedStorage
        """,
        RepoType.DATASET: """
            _id id author sha lastModified private gated disabled tags citation
            description downloads likes cardData siblings createdAt usedStorage
        """,
        RepoType.SPACE: """
            _id id sdk likes tags private author sha lastModified cardData subdomain
            gated disabled host region siblings createdAt usedStorage runtime
        """,
    }.items()
}
_DEFAULTS: dict[str, object] = {
    "private": False,
    "tags": [],
    "likes": 0,
    "gated": False,
    "disabled": False,
}


def emit_info(
    *,
    name: str,
    repo_type: RepoType,
    hub_id: str | None,
    sha: str,
    card: Mapping[str, object],
    siblings: Sequence[TreeEntry],
    last_modified: datetime | None,
    created_at: datetime | None,
    blobs: bool = False,
    expand: Sequence[str] | None = None,
) -> dict[str, object]:
    """The answer to ``/api/{type}/{name}[/revision/…]``.

    Args:
        name: what the mirror calls the repo; wins over the card's.
        repo_type: decides the order of keys.
        hub_id: the hub's own id, or None for a repo that no hub knows.
        sha: the commit asked for; wins over the card's.
        card: what the hub said once, without siblings.
        siblings: the files of *sha*, in the order to list them.
        last_modified: date of *sha*; None: the card's.
        created_at: of the repo; the card's is better and wins.
        blobs: list sizes and ids too.
        expand: exactly ``_id``, ``id`` and these keys, as far as known.
    """
    found = {**_DEFAULTS, **card}
    if repo_type is not RepoType.SPACE:
        found.setdefault("downloads", 0)
    if repo_type is RepoType.MODEL:
        found["modelId"] = name
    if "/" in name:
        found["author"] = name.partition("/")[0]
    if last_modified:
        found["lastModified"] = format_time(last_modified)
    if created_at:
        found.setdefault("createdAt", format_time(created_at))
    found |= {"id": name, "sha": sha}
    found["siblings"] = [_emit_sibling(entry, blobs=blobs) for entry in siblings]
    # Never upstream's word: nothing here is to be fetched by Xet.
    found["xetEnabled"] = False
    found["_id"] = hub_id
    order = [*_ORDER[repo_type], *sorted(found.keys() - _ORDER[repo_type])]
    wanted = {*order} - {"xetEnabled"} if expand is None else {"_id", "id", *expand}
    if hub_id is None:
        wanted.discard("_id")
    return {key: found[key] for key in order if key in found and key in wanted}


def _emit_sibling(entry: TreeEntry, *, blobs: bool) -> dict[str, object]:
    found: dict[str, object] = {"rfilename": entry.path}
    if blobs:
        found |= {"size": entry.size_bytes, "blobId": entry.git_oid.hex}
        if entry.lfs:
            found["lfs"] = {
                "sha256": entry.lfs.hex,  # it is "oid" in a tree, "sha256" here
                "size": entry.size_bytes,
                "pointerSize": len(emit_pointer(entry.lfs, entry.size_bytes)),
            }
    return found
