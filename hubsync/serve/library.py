"""What the server knows: a read-only face of catalog and blobs."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import LOCAL, RepoType
from hubsync.model.revision import may_be_short_commit
from hubsync.model.snapshot import HeldEntry, TreeEntry
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobStore
from hubsync.serve.cards import READ, card_of, hub_card
from hubsync.serve.lru import Lru
from hubsync.serve.recall import NAME_CHARS_MAX, Known, Recall
from hubsync.serve.tree import Tree
from hubsync.serve.weights import Said, Weights

P = ParamSpec("P")
T = TypeVar("T")
Page = tuple[bytes, str | None]  # JSON, and the cursor that leads on from it

Card = tuple[Mapping[str, object], int, bool]  # its bytes as JSON, is that all of it

TREE_FILES_MAX = 200_000  # in all trees that are kept parsed (~100 MB)
CARDS_BYTES_MAX = 8 * MIB  # as JSON; parsed it is five times as much
CARD_OVERHEAD = 200
FRONT_MATTER_BYTES = 500  # as a rule
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
        self._recall = Recall(catalog)
        self._rank = {name: rank for rank, name in enumerate(upstream_order)}
        # What depends on a commit alone, or besides on what its key names.
        self.pages: Lru[Page] = Lru(
            json_cache_bytes, lambda page: len(page[0]) + PAGE_OVERHEAD
        )
        self._turn = threading.Lock()
        self._heads: dict[RepoType, list[tuple[RepoRow, SnapshotRow]]] = {}
        self._heads_version: object = None
        self._trees: Lru[Tree] = Lru(TREE_FILES_MAX, len)
        self._cards: Lru[Card] = Lru(CARDS_BYTES_MAX, lambda one: one[1])
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

    # What each request for a file asks, in the loop: recalled while it is true.

    def recalled(self) -> Known:
        """As `Recall.now`."""
        return self._recall.now()

    async def find_repo(self, repo_type: RepoType, name: str) -> RepoRow | None:
        """As `repo`."""
        known = self._recall.now().repos
        found = known.get((repo_type, name))
        if found is None:
            found = await self.ask(self.repo, repo_type, name)
            if found and len(name) <= NAME_CHARS_MAX:
                known[repo_type, name] = found
        return found

    async def find_snapshot(
        self, row: RepoRow, revision: str | None
    ) -> SnapshotRow | None:
        """As `snapshot`."""
        known = self._recall.now().snapshots
        found = known.get((row.id, revision))
        if found is None:
            found = await self.ask(self.snapshot, row, revision)
            if found and len(revision or "") <= NAME_CHARS_MAX:
                known[row.id, revision] = found
        return found

    async def find_entry(self, snapshot: SnapshotRow, path: str) -> HeldEntry | None:
        """One file of *snapshot*."""
        known = self._recall.now().entries
        found = known.get((snapshot.id, path))
        if found is None:
            found = await self.ask(self.catalog.entry, snapshot, path)
            if found and len(path) <= NAME_CHARS_MAX:
                known[snapshot.id, path] = found
        return found

    def repo(self, repo_type: RepoType, name: str) -> RepoRow | None:
        """The repo of that name, or of a former one, or of one in other case."""
        for any_case in (False, True):
            rows = self.catalog.find_by_name(repo_type, name, any_case=any_case)
            if rows:
                return min(rows, key=self._order)
        return None

    def _order(self, row: RepoRow) -> tuple[int, int]:
        return (self._rank.get(row.repo.upstream, len(self._rank)), row.id)

    def heads(self, repo_type: RepoType) -> list[tuple[RepoRow, SnapshotRow]]:
        """Every repo of a type, one a name, with what its default branch is now.

        Made anew after each commit to the catalog: of 10,000 repos in 0.2 s.
        """
        if self.catalog.data_version() is None:
            return self._all_heads()[repo_type]
        with self._turn:  # those who ask at once wait for one to have found out
            version = self.catalog.data_version()
            if version != self._heads_version:
                # Asked before the rows: they may be newer than it says, not older.
                self._heads, self._heads_version = self._all_heads(), version
            return self._heads[repo_type]

    def _all_heads(self) -> dict[RepoType, list[tuple[RepoRow, SnapshotRow]]]:
        chosen: dict[tuple[RepoType, str], RepoRow] = {}
        for row in sorted(self.catalog.repos(), key=self._order):
            chosen.setdefault((row.repo.repo_type, row.repo.name), row)
        heads = self.catalog.heads()
        found: dict[RepoType, list[tuple[RepoRow, SnapshotRow]]]
        found = {one: [] for one in RepoType}
        for row in chosen.values():
            if row.id in heads:
                found[row.repo.repo_type].append((row, heads[row.id]))
        return found

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
        card, _, is_all = self._cards.get(key) or ({}, 0, False)
        if not is_all:
            size, kind = len(row.card_json) + CARD_OVERHEAD, row.repo.repo_type
            if row.card:
                card, is_all = hub_card(row.card), True
            else:
                entries = self.catalog.entries(snapshot)
                card = card_of(kind, entries, self.blobs)
                size += FRONT_MATTER_BYTES
                # What is not held yet may be when this is asked again.
                is_all = all(one.held for one in entries if one.entry.path in READ)
            self._cards.replace(key, (card, size, is_all))
        return card

    def knows_card(self, row: RepoRow, snapshot: SnapshotRow) -> bool:
        """Whether `card` has said all that it ever will of this commit."""
        found = self._cards.get((row.card_json, *snapshot_key(row, snapshot)))
        return found is not None and found[2]

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
