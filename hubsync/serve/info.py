"""The object about one repo, and the list of many."""

from collections.abc import Callable, Mapping, Sequence

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.serve.library import Library, hub_id
from hubsync.serve.listing import Listed, Query
from hubsync.wire.hf import emit_info

FROM_WEIGHTS = frozenset({"safetensors", "gguf"})


def info_of(
    library: Library,
    row: RepoRow,
    snapshot: SnapshotRow,
    *,
    blobs: bool = False,
    expand: Sequence[str] | None = None,
    private: bool = False,
) -> dict[str, object]:
    """The info object of one snapshot; blocks.  *private*: here, if not upstream."""
    card = library.card(row, snapshot)
    if private:
        card = {**card, "private": True}
    if expand is None or not FROM_WEIGHTS.isdisjoint(expand):
        # What the hub counted wins: it has seen every file.
        card = {**library.weights_of(row, snapshot).keys, **card}
    # Reading a whole tree to name none of its files would be a waste.
    lists = expand is None or "siblings" in expand
    entries = library.catalog.entries(snapshot) if lists else []
    return emit_info(
        name=row.repo.name,
        repo_type=row.repo.repo_type,
        hub_id=hub_id(row),
        sha=snapshot.commit.oid,
        card=card,
        siblings=[one.entry for one in entries],
        last_modified=snapshot.commit.committed_at or snapshot.recorded_at,
        created_at=row.recorded_at,
        blobs=blobs,
        expand=expand,
    )


def list_of(
    library: Library,
    query: Query,
    repo_type: RepoType,
    shows: Callable[[RepoRow], bool] | None = None,
    *,
    private: bool = False,
) -> tuple[list[Mapping[str, object]], str | None]:
    """``(items, cursor of the next page)`` of ``GET /api/{type}``; blocks.

    *shows*: which repos are for whoever asks; None: all.  *private*: as `info_of`.
    """
    listed = []
    for row, head in library.heads(repo_type):
        if shows and not shows(row):
            continue
        one = Listed(row, head, library.card(row, head))
        # Files are read for those only that would be listed otherwise.
        if query.matches(one) and (
            query.parameters is None or query.fits(_parameters(library, one))
        ):
            listed.append(one)
    page, following = query.select(listed)
    keys = query.keys(repo_type)
    return [_item(library, one, keys, private=private) for one in page], following


def _parameters(library: Library, one: Listed) -> int | None:
    """How many the model has, by its hub or by its files."""
    known = {**library.weights_of(one.row, one.head).keys, **one.card}
    for key in ("safetensors", "gguf"):
        said = known.get(key)
        total = said.get("total") if isinstance(said, dict) else None
        if isinstance(total, int):
            return total
    return None


def _item(
    library: Library, one: Listed, keys: Sequence[str], *, private: bool
) -> dict[str, object]:
    info = info_of(library, one.row, one.head, expand=keys, private=private)
    info.setdefault("trendingScore", 0)
    # The Hub's order differs from the info object's: the one of the keys.
    return {key: info[key] for key in keys if key in info}
