"""What the workers do: what pulls, `forget` and `gc` do, without a network."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random

from hubsync.catalog.leases import Lease
from hubsync.catalog.rows import Publication
from hubsync.model.errors import NotHeldError
from hubsync.model.repo import LOCAL, RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, RepoInfo, TreeEntry
from hubsync.ports.blobs import HeldBlob, Ingest
from hubsync.retention.forget import forget
from hubsync.retention.gc import GcOptions
from hubsync.selftest.contents import Content, choose_files
from hubsync.selftest.process import Mouth, Work
from hubsync.sync.lease import GroupRecorder, leased
from hubsync.sync.publish import Publisher
from hubsync.sync.pull import lay_out
from hubsync.wiring import App

OpenStore = Callable[[], AbstractContextManager[App]]

VERSIONS_KEPT = 3
GROUP_FILES_MAX = 4
BLOCK_BYTES_MAX = 60_000
LOCK_WAIT_S = 60.0
GIVES_UP_EVERY = 8  # ingests let go of half-way, to be gone on with
CHECKPOINT_EVERY = 6  # blocks


def writer(
    open_store: OpenStore, name: str, contents: Sequence[Content], seed: str
) -> Work:
    """Publish one version after the other of a repo of its own."""

    def work(mouth: Mouth) -> None:
        chance = Random(seed)
        with open_store() as app, app.root.lock_shared(LOCK_WAIT_S):
            one = Writer(app, mouth, chance, repo_of(name))
            while mouth.is_heard():
                one.publish(choose_files(contents, chance))

    return work


def sweeper(open_store: OpenStore, seed: str) -> Work:
    """Forget old versions and delete what nobody needs, all the time."""

    def work(mouth: Mouth) -> None:
        chance = Random(seed)
        with open_store() as app, app.root.lock_shared(LOCK_WAIT_S):
            while mouth.is_heard():
                forget_old(app, mouth, VERSIONS_KEPT)
                kept_s = chance.choice((0.0, 0.0, 0.05))
                sweep(app, mouth, kept_s)

    return work


def finisher(open_store: OpenStore, contents: Sequence[Content]) -> Work:
    """Go on with everything that was left, keep one version of it, delete the rest."""

    def work(mouth: Mouth) -> None:
        with open_store() as app, app.root.lock_shared(LOCK_WAIT_S):
            everything = {f"{number}.bin": one for number, one in enumerate(contents)}
            last = Writer(
                app,
                mouth,
                Random(0),
                repo_of("last"),
                gives_up=False,
                group_files_max=len(contents),
            )
            last.publish(everything)
            forget_old(app, mouth, 1)
            sweep(app, mouth, 0.0)

    return work


def repo_of(name: str) -> RepoId:
    return RepoId(LOCAL, RepoType.MODEL, f"selftest/{name}")


def forget_old(app: App, mouth: Mouth, versions_kept: int) -> None:
    for row in app.catalog.repos():
        for snapshot in app.catalog.snapshots(row)[versions_kept:]:
            version = {"repo": row.repo.name, "commit": snapshot.commit.oid}
            with app.root.lock_views(LOCK_WAIT_S, alone=True):
                mouth.say("forgets", **version)
                forget(app.catalog, app.records, app.views, row, snapshot)
                mouth.say("forgot", **version)


def sweep(app: App, mouth: Mouth, trash_kept_s: float) -> None:
    report = app.collect(
        GcOptions(trash_kept_s=trash_kept_s), dry_run=False, force=True
    )
    mouth.say("collected", blobs=report.blobs + report.strays)


@dataclass(slots=True)
class Writer:
    """Brings in versions of one repo, in the order that a pull does it."""

    app: App
    mouth: Mouth
    chance: Random
    repo: RepoId
    gives_up: bool = True
    group_files_max: int = GROUP_FILES_MAX

    def publish(self, files: Mapping[str, Content]) -> None:
        """Claim, look what is held, bring in the rest, publish, lay out."""
        catalog, mouth = self.app.catalog, self.mouth
        entries = [one.entry(path) for path, one in files.items()]
        commit = Commit(f"{self.chance.getrandbits(160):040x}", "A version")
        version = {"repo": self.repo.name, "commit": commit.oid}
        names = {path: one.digest.hex for path, one in files.items()}
        with leased(catalog, f"selftest of {self.repo}") as lease:
            mouth.say("publishes", **version, files=names)
            catalog.claim(lease, (entry.lfs or entry.git_oid for entry in entries))
            self._bring_in(lease, files)
            mouth.say("lets go")
            record = self._publication(commit, entries)
            publisher = Publisher(catalog, self.app.records)
            published = publisher.publish(record, lease, brought_in=True)
        with self.app.root.lock_views(LOCK_WAIT_S):
            refs = [RefName.branch("main")]
            try:
                lay_out(
                    catalog, self.app.views, published.repo, published.snapshot, refs
                )
            except NotHeldError:
                return  # forgotten already, which is nobody's mistake
            mouth.say("published", **version, files=names)

    def _publication(self, commit: Commit, entries: list[TreeEntry]) -> Publication:
        return Publication(
            repo=self.repo,
            info=RepoInfo(self.repo),
            commit=commit,
            entries=entries,
            refs=[RefName.branch("main")],
            must_hold=lambda _path, _is_lfs: True,
        )

    def _bring_in(self, lease: Lease, files: Mapping[str, Content]) -> None:
        record = GroupRecorder(self.app.catalog, self.app.blobs, lease)
        group: list[Ingest | HeldBlob] = []

        def store() -> None:
            record(group)
            said = [_held(one).digest.hex for one in group]
            group.clear()
            self.mouth.say("stored", blobs=said)

        try:
            for one in self._missing(files):
                ingest = self._begin(one, wait=not group)
                if ingest is None:  # its holder may be waiting for one of ours
                    store()
                    ingest = self._begin(one, wait=True)
                assert ingest is not None, "it waited"
                group.append(ingest)
                if len(group) >= self._group_files():
                    store()
            store()
        finally:
            for left in group:
                if not isinstance(left, HeldBlob):
                    left.abort()

    def _group_files(self) -> int:
        return self.chance.randint(1, self.group_files_max)

    def _missing(self, files: Mapping[str, Content]) -> list[Content]:
        wanted = {one.digest: one for one in files.values()}
        there = self.app.catalog.held(wanted)
        missing = []
        for digest, one in wanted.items():
            if not one.is_lfs:
                oids = self.app.catalog.held_by_git_oid([one.entry("").git_oid])
                if not oids:
                    missing.append(one)
            elif digest not in there:
                missing.append(one)
        return missing

    def _begin(self, content: Content, *, wait: bool) -> Ingest | HeldBlob | None:
        """A verified ingest, or what another writer has stored meanwhile."""
        want = content.entry("").want
        ingest = self.app.blobs.begin(want, wait=wait)
        if ingest is None or isinstance(ingest, HeldBlob):
            return content.held if ingest else None
        try:
            if self.gives_up and not self.chance.randrange(GIVES_UP_EVERY):
                self._fill(ingest, content.data, self.chance.random())
                ingest.abort()
                return self._begin(content, wait=wait)
            self._fill(ingest, content.data, 1.0)
            ingest.verify()
        except BaseException:
            ingest.abort()
            raise
        return ingest

    def _fill(self, ingest: Ingest, data: bytes, share: float) -> None:
        """Write what is missing, or a share of it, block by block in any order."""
        blocks = []
        for start, stop in ingest.missing():
            at = start
            while at < stop:
                end = min(stop, at + self.chance.randint(1, BLOCK_BYTES_MAX))
                blocks.append((at, end))
                at = end
        if self.chance.random() < 0.5:  # noqa: PLR2004 - half come in order
            self.chance.shuffle(blocks)
        for at, end in blocks[: round(len(blocks) * share)]:
            block = memoryview(data)[at:end]
            if hasattr(os, "splice") and self.chance.random() < 0.5:  # noqa: PLR2004
                _write_by_pipe(ingest, block, at)
            else:
                ingest.write(block, at)
            if not self.chance.randrange(CHECKPOINT_EVERY):
                ingest.checkpoint()
            ingest.hash_ahead(BLOCK_BYTES_MAX)


def _write_by_pipe(ingest: Ingest, block: memoryview, at: int) -> None:
    """As a transfer does that leaves it to the kernel to move the bytes."""
    out, into = os.pipe()
    try:
        assert os.write(into, block) == len(block), "a pipe takes 64 KiB"
        ingest.write_from(out, len(block), at)
    finally:
        os.close(out)
        os.close(into)


def _held(one: Ingest | HeldBlob) -> HeldBlob:
    held = one if isinstance(one, HeldBlob) else one.verified
    assert held, "it was recorded"
    return held
