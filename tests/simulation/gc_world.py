"""What the processes of the gc stress do: pull, add, forget, collect, verify."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.leases import LeaseLostError
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import NotHeldError
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, Resolved, TreeEntry
from hubsync.ports.blobs import HeldBlob, Ingest
from hubsync.ports.hub import Known, Source
from hubsync.ports.progress import SilentProgress
from hubsync.retention.forget import forget
from hubsync.retention.gc import GcOptions, collect
from hubsync.retention.verify import verify
from hubsync.store.layout import StoreRoot
from hubsync.store.leftovers import clean_leftovers
from hubsync.store.local import LocalBlobs
from hubsync.store.records import StoreRecords
from hubsync.store.trash import LocalTrash
from hubsync.store.views.hf_cache import HfCacheView
from hubsync.sync.add import AddRequest, add_folder
from hubsync.sync.pull import Puller, lay_out
from hubsync.sync.rebuild import needed_by_records, settle_forgotten
from hubsync.sync.request import PullRequest
from hubsync.transfer.fetch import Fetch, FetchReport, Publisher
from hubsync.wire.lfs import pointer_oid

# Few, so that what one forgets another is just bringing in.
CONTENTS = [bytes([n + 1]) * (n * 997) for n in range(10)]
UPSTREAM = "huggingface"
URL = "GC_STRESS_CATALOG"  # in the environment: another catalog than SQLite's
MAIN = RefName.branch("main")
VIEWS_WAIT_S = 30.0


@dataclass
class Site:
    """One process's own connections to the store and the catalog."""

    root: StoreRoot
    catalog: Catalog
    blobs: LocalBlobs
    trash: LocalTrash
    records: StoreRecords
    view: HfCacheView
    journal: Path  # what processes say they have done
    chance: Random

    @classmethod
    def open(cls, folder: Path, seed: object) -> "Site":
        root = StoreRoot.open(folder / "store", create=True)
        blobs = LocalBlobs(root)
        return cls(
            root,
            Catalog.open(os.environ.get(URL) or sqlite_url(root.catalog)),
            blobs,
            LocalTrash(root),
            StoreRecords(root),
            HfCacheView(root, blobs.path),
            folder / "journal",
            Random(str(seed)),
        )

    def say(self, *words: str) -> None:
        """One line, whole, and there when we are killed after it."""
        line = " ".join(words).replace("\n", " ") + "\n"
        fd = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, line.encode())
        os.close(fd)


@dataclass
class PooledHub:
    """A hub whose repos have some of `CONTENTS`."""

    tree_of: Sequence[TreeEntry]
    upstream: str = UPSTREAM
    requests: int = 0
    sends_contents: bool = False

    async def resolve(
        self, repo: RepoId, revision: str | None, known: Known | None
    ) -> Resolved:
        name = repr(sorted(entry.path for entry in self.tree_of))
        oid = hashlib.sha1(name.encode()).hexdigest()
        return Resolved(repo, Commit(oid, "a commit"), MAIN, None)

    async def tree(self, repo: RepoId, commit: str) -> list[TreeEntry]:
        return list(self.tree_of)

    def locate(self, repo: RepoId, commit: str, entry: TreeEntry) -> Source:
        return Source(entry.path)

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class PooledFetcher:
    """Fetches from `CONTENTS`; as the engine does, several are open at once."""

    blobs: LocalBlobs
    chance: Random
    open: list[Ingest | HeldBlob] = field(default_factory=list)

    async def fetch_all(
        self, items: Sequence[Fetch], publish: Publisher
    ) -> FetchReport:
        for item in items:
            ingest = self._fetch(item, publish)  # which may begin a new group
            self.open.append(ingest)
            if self.chance.random() < 0.4:
                self._flush(publish)
        self._flush(publish)
        return FetchReport(0, 0, 0)

    def _flush(self, publish: Publisher) -> None:
        group, self.open = self.open, []
        if group:
            publish(group)

    def _fetch(self, item: Fetch, publish: Publisher) -> Ingest | HeldBlob:
        ingest = self.blobs.begin(item.want, wait=not self.open)
        if ingest is None:  # whoever has it may be waiting for one of ours
            self._flush(publish)
            ingest = self.blobs.begin(item.want)
            assert ingest is not None
        if not isinstance(ingest, HeldBlob):
            content = CONTENTS[int(item.path.partition(".")[0])]
            ingest.write(content[ingest.offset :])
            ingest.verify()
        return ingest


def entry_of(number: int, *, as_lfs: bool) -> TreeEntry:
    content = CONTENTS[number]
    if as_lfs:
        digest = Digest.of(content)
        pointer = pointer_oid(digest, len(content))
        return TreeEntry(f"{number}.bin", len(content), pointer, digest)
    return TreeEntry(f"{number}.txt", len(content), GitOid.of_blob(content))


def some_of(site: Site, count: int) -> list[int]:
    """One of few choices, so that a commit often comes again."""
    first = site.chance.randrange(len(CONTENTS))
    return [(first + n) % len(CONTENTS) for n in range(count)]


def pull_once(site: Site, repo: RepoId) -> str:
    tree = [entry_of(n, as_lfs=n % 2 == 0) for n in some_of(site, 4)]

    @asynccontextmanager
    async def fetcher() -> AsyncIterator[PooledFetcher]:
        yield PooledFetcher(site.blobs, site.chance)

    puller = Puller(
        catalog=site.catalog,
        blobs=site.blobs,
        records=site.records,
        views=[site.view],
        open_hub=lambda _: PooledHub(tree),
        open_engine=fetcher,
        progress=SilentProgress(),
        lock_views=lambda: site.root.lock_views(VIEWS_WAIT_S),
    )
    return asyncio.run(puller.pull(PullRequest(repo))).commit.oid


def add_once(site: Site, repo: RepoId, folder: Path) -> str:
    for path in folder.iterdir():
        path.unlink()
    for number in some_of(site, 3):
        suffix = "txt" if number % 3 else "bin"
        (folder / f"{number}.{suffix}").write_bytes(CONTENTS[number])
    done = add_folder(
        AddRequest(folder, repo, "a commit"),
        site.catalog,
        site.blobs,
        site.records,
        SilentProgress(),
        lock_views=lambda: site.root.lock_views(VIEWS_WAIT_S),
    )
    row, snapshot = done.published.repo, done.published.snapshot
    with site.root.lock_views(VIEWS_WAIT_S):
        lay_out(site.catalog, [site.view], row, snapshot, [MAIN])
    return snapshot.commit.oid


def forget_some(site: Site, row: RepoRow) -> None:
    snapshots = site.catalog.snapshots(row)
    if not snapshots:
        return
    chosen: SnapshotRow | None = site.chance.choice(snapshots)
    if site.chance.random() < 0.3:
        chosen = None
    for one in snapshots if chosen is None else [chosen]:
        site.say("forgets", row.repo.name, one.commit.oid)
    with site.root.lock_views(VIEWS_WAIT_S, alone=True):
        forget(site.catalog, site.records, [site.view], row, chosen)


def bring_in(folder: Path, seed: object, number: int) -> None:
    """Pull and add, and forget what is one's own."""
    site = Site.open(folder, seed)
    mine = folder / f"folder{number}"
    mine.mkdir(exist_ok=True)
    pulled = RepoId(UPSTREAM, RepoType.MODEL, f"org/pulled{number}")
    added = RepoId("local", RepoType.MODEL, f"org/added{number}")
    while True:
        repo = site.chance.choice([pulled, added])
        try:
            oid = (
                pull_once(site, repo) if repo == pulled else add_once(site, repo, mine)
            )
        except NotHeldError as error:
            if "forgotten meanwhile" not in str(error):
                raise
            continue
        except LeaseLostError:
            site.say("loses", repo.name)
            continue
        site.say("acknowledges", repo.name, oid)
        row = site.catalog.find_repo(repo)
        if row is not None and site.chance.random() < 0.5:
            forget_some(site, row)


def forget_others(folder: Path, seed: object, number: int) -> None:
    """Forget anything, also what is being pulled just now; not org/…0."""
    site = Site.open(folder, seed)
    while True:
        rows = [
            row
            for row in site.catalog.repos()
            if not row.repo.name.endswith(str(number))
        ]
        if rows:
            forget_some(site, site.chance.choice(rows))
        time.sleep(0.01)


def collect_garbage(folder: Path, seed: object, number: int) -> None:
    """Grace 0, and partials are old as soon as nobody has them."""
    site = Site.open(folder, seed)
    while True:
        alone = partial(site.root.lock_views, VIEWS_WAIT_S, alone=True)
        settle_forgotten(site.catalog, site.records, alone)
        with site.root.lock_views(VIEWS_WAIT_S):
            also_needed = needed_by_records(site.catalog, site.records, site.blobs)
        collect(
            site.catalog,
            site.blobs,
            site.trash,
            dry_run=False,
            force=True,  # the first publication may not have come yet
            options=GcOptions(),
            clean_leftovers=lambda: clean_leftovers(site.root, 0.0),
            also_needed=also_needed,
        )
        site.say("collected", str(number))


def verify_all(folder: Path, seed: object, number: int) -> None:
    """Nothing is ever damaged, so nothing may be found so."""
    site = Site.open(folder, seed)
    while True:
        report = verify(
            site.catalog,
            site.blobs,
            [site.view],
            list(site.catalog.all_held()),
            lambda _: None,
            lock_views=lambda: site.root.lock_views(VIEWS_WAIT_S, alone=True),
        )
        assert not report.damaged, f"verify {number} found {report.damaged[0]}"


Role = Callable[[Path, object], None]
ROLES: list[Role] = [
    partial(bring_in, number=0),
    partial(bring_in, number=1),
    partial(bring_in, number=2),
    partial(forget_others, number=0),
    partial(collect_garbage, number=1),
    partial(collect_garbage, number=2),
    partial(verify_all, number=1),
]
