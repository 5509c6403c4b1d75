"""What the server knows: a read-only face of catalog and blobs."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RefRow, RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.model.revision import may_be_short_commit
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import BlobStore

P = ParamSpec("P")
T = TypeVar("T")


class Library:
    """Finds repos, snapshots and entries for the routes.

    *upstream_order* decides whose repo a bare name means when several upstreams
    have one of that name.
    """

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        *,
        upstream_order: Sequence[str] = (),
        json_cache_bytes: int = 64 * 2**20,
    ) -> None:
        self.catalog, self.blobs = catalog, blobs
        self._rank = {name: rank for rank, name in enumerate(upstream_order)}
        self.cache = ByteCache(json_cache_bytes)

    async def ask(
        self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Ask the catalog; SQLite answers sooner than a thread would start."""
        if self.catalog.is_sqlite:
            return question(*args, **kwargs)
        return await asyncio.to_thread(question, *args, **kwargs)

    async def repo(self, repo_type: RepoType, name: str) -> RepoRow | None:
        """The repo of that name, or of a former one, or of one in other case."""
        return await self.ask(self._repo, repo_type, name)

    def _repo(self, repo_type: RepoType, name: str) -> RepoRow | None:
        for any_case in (False, True):
            rows = self.catalog.find_by_name(repo_type, name, any_case=any_case)
            if rows:
                return min(rows, key=self._order)
        return None

    def _order(self, row: RepoRow) -> tuple[int, int]:
        return (self._rank.get(row.repo.upstream, len(self._rank)), row.id)

    async def repos(self, repo_type: RepoType) -> list[RepoRow]:
        """Every repo of a type, one a name."""
        rows = await self.ask(self.catalog.repos)
        chosen: dict[str, RepoRow] = {}
        for row in sorted(rows, key=self._order):
            if row.repo.repo_type is repo_type:
                chosen.setdefault(row.repo.name, row)
        return list(chosen.values())

    async def snapshot(self, row: RepoRow, revision: str) -> SnapshotRow | None:
        found = await self.ask(self.catalog.resolve, row, revision)
        if found is None and may_be_short_commit(revision.lower()):
            found = await self.ask(self.catalog.resolve, row, revision.lower())
        return found

    async def entries(self, snapshot: SnapshotRow) -> list[HeldEntry]:
        return await self.ask(self.catalog.entries, snapshot)

    async def entry(self, snapshot: SnapshotRow, path: str) -> HeldEntry | None:
        return await self.ask(self.catalog.entry, snapshot, path)

    async def refs(self, row: RepoRow) -> list[RefRow]:
        return await self.ask(self.catalog.refs, row)

    async def snapshots(self, row: RepoRow) -> list[SnapshotRow]:
        return await self.ask(self.catalog.snapshots, row)


def hub_id(row: RepoRow) -> str:
    """The hub's id of the repo, or one of the same form made from its name."""
    return row.hub_id or hashlib.sha256(str(row.repo).encode()).hexdigest()[:24]


class ByteCache:
    """Answers that never change, the least recently used thrown out first."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max, self._bytes = bytes_max, 0
        self._items: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> bytes | None:
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key]
        return None

    def put(self, key: tuple[object, ...], body: bytes) -> None:
        if key in self._items or len(body) > self._bytes_max // 4:
            return
        self._items[key] = body
        self._bytes += len(body)
        while self._bytes > self._bytes_max:
            _, dropped = self._items.popitem(last=False)
            self._bytes -= len(dropped)
