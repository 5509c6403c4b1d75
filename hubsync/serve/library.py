"""What the server knows: a read-only face of catalog and blobs."""

import asyncio
import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import LOCAL, RepoType
from hubsync.model.revision import may_be_short_commit
from hubsync.model.snapshot import TreeEntry
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobStore
from hubsync.serve.cards import card_of, hub_card
from hubsync.serve.lru import Lru
from hubsync.serve.tree import Tree
from hubsync.serve.weights import Said, Weights

P = ParamSpec("P")
T = TypeVar("T")
Page = tuple[bytes, str | None]  # JSON, and the cursor that leads on from it

TREE_FILES_MAX = 200_000  # in all trees that are kept parsed (~100 MB)
PAGE_OVERHEAD = 1024  # bytes that a kept page costs besides itself
NOTHING_SAID = Said()
MANY_FILES = 500  # more take longer to list than a thread takes to start


class Library:
    """Finds repos, snapshots and trees for the routes.

    Its methods block; routes call them through `ask`.  *upstream_order* decides
    whose repo a bare name means when several upstreams have one of that name.
    """

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        *,
        upstream_order: Sequence[str] = (),
        json_cache_bytes: int = 64 * MIB,
    ) -> None:
        self.catalog, self.blobs = catalog, blobs
        self._rank = {name: rank for rank, name in enumerate(upstream_order)}
        # What depends on a commit alone, or besides on what its key names.
        self.pages: Lru[Page] = Lru(
            json_cache_bytes, lambda page: len(page[0]) + PAGE_OVERHEAD
        )
        self._trees: Lru[Tree] = Lru(TREE_FILES_MAX, len)
        self._cards: Lru[Mapping[str, object]] = Lru(1000, lambda _: 1)
        self.weights = Weights(blobs)
        self._said: Lru[Said] = Lru(1000, lambda _: 1)

    @property
    def upstream(self) -> str:
        """Whose repo is meant by a name that nothing held has."""
        return next((name for name in self._rank if name != LOCAL), LOCAL)

    async def ask(
        self,
        question: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Ask a quick question; SQLite answers sooner than a thread would start."""
        if self.catalog.is_sqlite:
            return question(*args, **kwargs)
        return await asyncio.to_thread(question, *args, **kwargs)

    async def ask_of(
        self,
        snapshot: SnapshotRow,
        question: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Ask what takes as long as the snapshot has files."""
        if snapshot.files > MANY_FILES:
            return await self.ask_slowly(question, *args, **kwargs)
        return await self.ask(question, *args, **kwargs)

    async def ask_slowly(
        self,
        question: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Ask what takes milliseconds and more."""
        return await asyncio.to_thread(question, *args, **kwargs)

    def repo(self, repo_type: RepoType, name: str) -> RepoRow | None:
        """The repo of that name, or of a former one, or of one in other case."""
        for any_case in (False, True):
            rows = self.catalog.find_by_name(repo_type, name, any_case=any_case)
            if rows:
                return min(rows, key=self._order)
        return None

    def _order(self, row: RepoRow) -> tuple[int, int]:
        return (self._rank.get(row.repo.upstream, len(self._rank)), row.id)

    def repos(self, repo_type: RepoType) -> list[RepoRow]:
        """Every repo of a type, one a name."""
        chosen: dict[str, RepoRow] = {}
        for row in sorted(self.catalog.repos(), key=self._order):
            if row.repo.repo_type is repo_type:
                chosen.setdefault(row.repo.name, row)
        return list(chosen.values())

    def snapshot(self, row: RepoRow, revision: str | None) -> SnapshotRow | None:
        """The snapshot of *revision*; None: of the default branch."""
        found = self.catalog.resolve(row, revision or "HEAD")
        if found is None and revision and may_be_short_commit(revision.lower()):
            return self.catalog.resolve(row, revision.lower())
        return found

    def tree(
        self,
        row: RepoRow,
        snapshot: SnapshotRow,
        concerns_xet: Callable[[TreeEntry], bool],
    ) -> Tree:
        key = snapshot_key(row, snapshot)
        found = self._trees.get(key)
        if found is None:
            entries = self.catalog.entries(snapshot)
            found = Tree(entries, snapshot.commit, concerns_xet)
            if found.is_settled:
                self._trees.put(key, found)
        return found

    def card(self, row: RepoRow, snapshot: SnapshotRow) -> Mapping[str, object]:
        """What is said of the repo: by its hub, or by the README of *snapshot*."""
        key = (row.card_json, *snapshot_key(row, snapshot))
        found = self._cards.get(key)
        if found is None:
            card, kind = row.card, row.repo.repo_type
            if card:
                found = hub_card(card)
            else:
                found = card_of(kind, self.catalog.entries(snapshot), self.blobs)
            self._cards.put(key, found)
        return found

    def known_weights(self, row: RepoRow, snapshot: SnapshotRow) -> Said | None:
        """As `weights_of`, if it is known already: reads nothing."""
        if row.repo.repo_type is not RepoType.MODEL:
            return NOTHING_SAID
        found = self._said.get((row.card_json, *snapshot_key(row, snapshot)))
        return found if found and found.is_fresh else None

    def weights_of(self, row: RepoRow, snapshot: SnapshotRow) -> Said:
        """What the snapshot's held weights say, if the hub's card does not."""
        found = self.known_weights(row, snapshot)
        if found is None:
            is_said = {"safetensors", "gguf"} & row.card.keys()
            entries = () if is_said else self.catalog.entries(snapshot)
            found = self.weights.of(entries) if entries else NOTHING_SAID
            self._said.replace((row.card_json, *snapshot_key(row, snapshot)), found)
        return found


def snapshot_key(row: RepoRow, snapshot: SnapshotRow) -> tuple[Hashable, ...]:
    """What names a tree for good: row numbers may be given out again.

    The date is in it because a commit met by its bare id may get one later.
    """
    return (row.repo, snapshot.commit.oid, snapshot.commit.committed_at)


def hub_id(row: RepoRow) -> str:
    """The hub's id of the repo, or one of the same form made from its name."""
    return row.hub_id or hashlib.sha256(str(row.repo).encode()).hexdigest()[:24]
