"""An engine, a real store and what the test hub says of its files."""

import asyncio
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from hubsync.model.digest import Digest, GitOid
from hubsync.model.snapshot import TreeEntry
from hubsync.ports.blobs import BlobStore, HeldBlob, Ingest
from hubsync.ports.hub import Source
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.transfer.engine import Engine, Fetch, FetchReport
from hubsync.transfer.options import TransferOptions
from tests.testhub import HubRepo, TestHub

QUICK = TransferOptions(
    connect_timeout_s=5.0,
    read_timeout_s=5.0,
    backoff_base_s=0.001,
    backoff_max_s=0.002,
    block_bytes=4096,
)


@dataclass
class Watcher:
    """Remembers what progress was told, and checks that it adds up."""

    notes: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    shown: dict[str, int] = field(default_factory=dict)
    arrived: threading.Event = field(default_factory=threading.Event)

    verified: dict[str, int] = field(default_factory=dict)

    def plan(
        self,
        files: int,
        size_bytes: int,
        *,
        reused_files: int = 0,
        reused_bytes: int = 0,
    ) -> None: ...

    def file_verified(self, path: str, size_bytes: int) -> None:
        self.verified[path] = self.verified.get(path, 0) + size_bytes
        assert self.verified[path] >= 0

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        assert path not in self.shown, "started once"
        self.shown[path] = offset

    def file_advanced(self, path: str, size_bytes: int) -> None:
        self.shown[path] += size_bytes
        assert self.shown[path] >= 0
        self.arrived.set()

    def file_done(self, path: str) -> None:
        self.done.append(path)

    def note(self, message: str) -> None:
        self.notes.append(message)


def fetch_of(hub: TestHub, repo: HubRepo, path: str, token: str | None = None) -> Fetch:
    commit = repo.resolve("main")
    assert commit
    entry = repo.listing(commit).file(path)
    assert entry
    digest = Digest(entry.lfs.sha256) if entry.lfs else None
    url = f"{hub.endpoint}/{repo.name}/resolve/{commit}/{quote(path)}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    source = Source(url, headers)
    listed = TreeEntry(path, entry.size, GitOid(entry.oid), digest)
    return Fetch(f"test:{repo.name}", listed, lambda _: source)


class Fetching:
    """Each call is a run of its own: a new engine on the same store."""

    def __init__(self, root: Path, blobs: BlobStore | None = None) -> None:
        self.local = LocalBlobs(StoreRoot.open(root, create=True))
        self.blobs = blobs or self.local
        self.watcher = Watcher()
        self.recorded: list[HeldBlob] = []

    def run(self, items: Iterable[Fetch], **options: object) -> FetchReport:
        return asyncio.run(self.fetch(items, **options))

    async def fetch(self, items: Iterable[Fetch], **options: object) -> FetchReport:
        self.watcher, items = Watcher(), list(items)
        obeyed = replace(QUICK, **options)  # type: ignore[arg-type]
        async with Engine(self.blobs, obeyed, self.watcher) as engine:
            report = await engine.fetch_all(items, self.record)
        for one in items:
            assert self.watcher.shown[one.path] == one.want.size_bytes
        assert sorted(self.watcher.done) == sorted(one.path for one in items)
        return report

    def record(self, group: Sequence[Ingest | HeldBlob]) -> None:
        """As a pull does: bytes first, then what says that they are held."""
        fresh = [one for one in group if not isinstance(one, HeldBlob)]
        found = [one.verified for one in fresh]
        self.blobs.publish(fresh)
        self.recorded += [one for one in group if isinstance(one, HeldBlob)]
        self.recorded += [one for one in found if one is not None]

    def read(self, data: bytes) -> bytes:
        """The blob that should have come, as the store has it."""
        with self.local.open(Digest.of(data)) as file:
            return file.read()

    def partial(self, item: Fetch) -> int:
        return self.local.partial_bytes(item.want)
