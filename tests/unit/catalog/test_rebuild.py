"""F15, F16: what the records say again is what the catalog said."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hubsync.catalog import schema
from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.errors import (
    CatalogError,
    IdentityChangedError,
    NotWholeError,
)
from hubsync.catalog.rows import Publication, Published
from hubsync.model.digest import Descriptor
from hubsync.model.errors import HubsyncError, IntegrityError
from hubsync.model.record import RecordDamagedError
from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, RepoInfo, TreeEntry
from hubsync.ports.blobs import HeldBlob
from hubsync.retention.forget import forget
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.store.records import StoreRecords
from hubsync.sync.publish import Publisher, unrecorded, write_missing
from hubsync.sync.rebuild import (
    RebuildReport,
    needed_by_records,
    rebuild,
    settle_forgotten,
    unknown_to,
)
from tests.postgres import require_server
from tests.unit.catalog.making import WHEN, held, lfs, oid, plain, repo

MAIN, TAG = RefName.branch("main"), RefName.tag("v1")
KINDS = ["sqlite", "postgresql"]


@dataclass
class Site:
    """A store with its records, and a catalog that may be exchanged."""

    blobs: LocalBlobs
    records: StoreRecords
    catalog: Catalog
    contents: dict[TreeEntry, bytes] = field(default_factory=dict)

    def file(self, path: str, content: bytes, *, as_lfs: bool = False) -> TreeEntry:
        entry = lfs(path, content) if as_lfs else plain(path, content)
        self.contents[entry] = content
        return entry

    def hold(self, entries: Sequence[TreeEntry]) -> None:
        for entry in entries:
            content = self.contents[entry]
            git_oid = None if entry.lfs else entry.git_oid
            ingest = self.blobs.begin(Descriptor(len(content), entry.lfs, git_oid))
            if ingest is not None and not isinstance(ingest, HeldBlob):
                ingest.write(content)
                ingest.verify()
                self.blobs.publish([ingest])
            self.catalog.record_blobs([held(content, as_lfs=entry.is_lfs)])

    def publish(
        self,
        commit: object,
        entries: Sequence[TreeEntry] = (),
        *,
        of: RepoId | None = None,
        hub_id: str | None = "A",
        refs: Sequence[RefName] = (MAIN,),
        hold: bool = True,
        **more: Any,
    ) -> Published:
        of = of or repo()
        if hold:
            self.hold(entries)
        made = Commit(oid(commit), f"commit {commit}", committed_at=WHEN)
        info = RepoInfo(of, hub_id, {"id": of.name, "n": 1})
        record = Publication(of, info, made, entries, refs, **more)
        publisher = Publisher(self.catalog, self.records)
        return publisher.publish(record, brought_in=True)

    def forget(self, of: RepoId, commit: object = None) -> None:
        row = self.catalog.find_repo(of)
        assert row is not None
        snapshot = None
        if commit is not None:
            snapshot = self.catalog.resolve(row, oid(commit))
            assert snapshot is not None
        forget(self.catalog, self.records, [], row, snapshot)

    def rebuild(self, into: Catalog, *, only_unknown: bool = False) -> RebuildReport:
        return rebuild(
            into, self.blobs, self.records, only_unknown=only_unknown, note=print
        )


@contextmanager
def new_catalog(kind: str, path: Path) -> Iterator[Catalog]:
    if kind == "sqlite":
        with Catalog.open(sqlite_url(path)) as catalog:
            yield catalog
        return
    server = require_server()
    with (
        server.database(server.template("catalog", schema.upgrade)) as url,
        Catalog.open(url) as catalog,
    ):
        yield catalog


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    """What the records are written into."""
    with new_catalog(request.param, tmp_path / "again.db") as catalog:
        yield catalog


@pytest.fixture
def site(catalog: Catalog, tmp_path: Path) -> Site:
    root = StoreRoot.open(tmp_path / "store", create=True)
    return Site(LocalBlobs(root), StoreRecords(root), catalog)


@pytest.fixture
def quick_site(tmp_path: Path) -> Iterator[Site]:
    root = StoreRoot.open(tmp_path / "store", create=True)
    with Catalog.open(sqlite_url(tmp_path / "catalog.db")) as catalog:
        yield Site(LocalBlobs(root), StoreRecords(root), catalog)


def said(catalog: Catalog) -> dict[str, Any]:
    """All that a rebuild must bring back.

    A git name that no tree has any more is not: the bytes are held for another.
    """
    held = [(blob.digest, blob.size_bytes) for blob in catalog.all_held()]
    found: dict[str, Any] = {"held": held}
    for row in catalog.repos():
        found[str(row.repo)] = {
            "hub_id": row.hub_id,
            "aliases": row.aliases,
            "card": row.card,
            "recorded_at": row.recorded_at,
            "refs": {ref.name.full: ref.commit for ref in catalog.refs(row)},
            "commits": [
                (one.commit, one.recorded_at, one.bytes, catalog.entries(one))
                for one in catalog.snapshots(row)
            ],
        }
    return found


def live(site: Site, seed: int) -> None:
    """A history of its own for each *seed*: many repos, names, trees, gaps."""
    dice = random.Random(seed)
    names = [repo(f"org/r{n}") for n in range(3)]
    ids = {name: f"id-{name.name}" for name in names}
    commits: dict[RepoId, list[int]] = {name: [] for name in names}
    tree: dict[str, TreeEntry] = {}
    for turn in range(25):
        path, content = f"f{dice.randrange(6)}", b"%d" % dice.randrange(12)
        tree[path] = site.file(path, content, as_lfs=dice.random() < 0.4)
        if dice.random() < 0.2:
            tree.pop(dice.choice(list(tree)))
        mine = dice.choice(names)
        step = dice.random()
        if step < 0.15 and commits[mine]:
            gone = commits[mine].pop(dice.randrange(len(commits[mine])))
            site.forget(mine, gone)
        elif step < 0.25 and commits[mine]:
            # Renamed; all others know it by its new name from now on.
            new = repo(f"org/r{turn}-new")
            ids[new], commits[new] = ids.pop(mine), commits.pop(mine)
            names[names.index(mine)] = new
            commits[new].append(turn)
            site.publish(
                turn, list(tree.values()), of=new, hub_id=ids[new], alias=mine.name
            )
        else:
            some = [one for one in tree.values() if dice.random() < 0.8]
            site.hold(some)
            refs = [MAIN] if dice.random() < 0.7 else [RefName.tag(f"t{turn}")]
            commits[mine].append(turn)
            site.publish(
                turn,
                list(tree.values()),
                of=mine,
                hub_id=ids[mine],
                refs=refs,
                hold=False,
            )
    # Blobs of forgotten commits need not come back.
    for blob in list(site.catalog.unneeded_blobs()):
        if site.catalog.drop_unneeded([blob.digest]):
            site.blobs.remove(blob.digest)


@pytest.mark.parametrize("seed", range(6))
def test_f15_a_rebuilt_catalog_says_what_the_lost_one_said(
    quick_site: Site, empty: Catalog, seed: int
) -> None:
    live(quick_site, seed)
    report = quick_site.rebuild(empty)
    assert report.problems == []
    assert said(empty) == said(quick_site.catalog)
    assert not list(unrecorded(empty, quick_site.records))


def test_f15_rebuilding_twice_gives_the_same(site: Site, empty: Catalog) -> None:
    live(site, 99)
    first = site.rebuild(empty)
    before = said(empty)
    again = site.rebuild(empty, only_unknown=True)
    assert said(empty) == before == said(site.catalog)
    assert (first.problems, again.problems, again.commits) == ([], [], 0)


def test_f15_a_clock_that_went_back_does_not_change_the_order(
    quick_site: Site, empty: Catalog
) -> None:
    for number, day in enumerate([9, 3, 6]):
        quick_site.publish(number, at=WHEN.replace(day=day))
    quick_site.rebuild(empty)
    assert said(empty) == said(quick_site.catalog)


def test_f15_more_blobs_than_one_transaction_takes(
    quick_site: Site, empty: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubsync.sync.rebuild.BATCH_FILES", 3)
    files = [quick_site.file(f"f{n}", b"%d" % n) for n in range(5)]
    for number in range(4):
        quick_site.publish(number, files[number : number + 2])
    quick_site.rebuild(empty)
    assert said(empty) == said(quick_site.catalog)


def test_f15_a_plain_file_that_came_in_later_is_found_by_its_bytes(
    quick_site: Site, empty: Catalog
) -> None:
    late = quick_site.file("late.txt", b"late")
    quick_site.publish(1, [late], hold=False)
    quick_site.publish(2, [late], of=repo("org/two"), hub_id="B")
    quick_site.forget(repo("org/two"))
    report = quick_site.rebuild(empty)
    assert report.hashed == 1
    assert said(empty) == said(quick_site.catalog)


def test_f15_a_listing_with_a_wrong_size_is_put_right_by_the_bytes(
    quick_site: Site, empty: Catalog
) -> None:
    real = quick_site.file("w.bin", b"weights", as_lfs=True)
    wrong = TreeEntry(real.path, 99, real.git_oid, real.lfs)
    quick_site.publish(1, [wrong], hold=False)
    quick_site.publish(2, [real], of=repo("org/two"), hub_id="B")
    report = quick_site.rebuild(empty)
    assert report.problems == []
    assert said(empty)["held"] == said(quick_site.catalog)["held"]
    row = empty.find_repo(repo())
    assert row is not None
    (snapshot,) = empty.snapshots(row)
    (entry,) = empty.entries(snapshot)
    assert entry.entry.size_bytes == 7


def test_f15_a_blob_that_is_gone_or_cut_is_not_held(
    quick_site: Site, empty: Catalog
) -> None:
    files = [quick_site.file(name, name.encode()) for name in ("gone", "cut", "well")]
    quick_site.publish(1, files)
    gone, cut, well = [held(quick_site.contents[one]).digest for one in files]
    quick_site.blobs.path(gone).unlink()
    quick_site.blobs.path(cut).chmod(0o644)
    quick_site.blobs.path(cut).write_bytes(b"c")
    report = quick_site.rebuild(empty)
    assert [blob.digest for blob in empty.all_held()] == [well]
    (problem,) = report.problems
    assert str(cut) in problem


def test_f15_a_record_that_cannot_be_read_costs_its_commit_alone(
    quick_site: Site, empty: Catalog, tmp_path: Path
) -> None:
    quick_site.publish(1)
    quick_site.publish(2, refs=[TAG])
    (path,) = (tmp_path / "store/records").rglob(f"{oid(2)}.json.gz")
    path.write_bytes(b"?")
    report = quick_site.rebuild(empty)
    assert any(str(path) in problem for problem in report.problems)
    assert any("refs/tags/v1" in problem for problem in report.problems)
    row = empty.find_repo(repo())
    assert row is not None
    assert empty.commit_order(row) == [oid(1)]


def test_f16_an_old_catalog_gets_what_it_lacks_and_its_refs_move(
    quick_site: Site, empty: Catalog
) -> None:
    a, b = quick_site.file("a", b"a"), quick_site.file("b", b"b")
    quick_site.publish(1, [a])
    quick_site.rebuild(empty)  # as it was then: the old one
    quick_site.publish(2, [a, b])
    quick_site.publish(2, [a, b], refs=[TAG])
    quick_site.publish(3, [b], of=repo("org/two"), hub_id="B")
    assert needed_by_records(empty, quick_site.records, quick_site.blobs) == {
        held(b"a").digest,
        held(b"b").digest,
    }
    assert quick_site.rebuild(empty, only_unknown=True).commits == 2
    assert said(empty) == said(quick_site.catalog)
    assert not needed_by_records(empty, quick_site.records, quick_site.blobs)


@pytest.mark.parametrize("hub_id", ["A", None])
@pytest.mark.parametrize("commit", [1, 2])
def test_f16_an_old_catalog_learns_of_a_rename(
    quick_site: Site, empty: Catalog, hub_id: str | None, commit: int
) -> None:
    quick_site.publish(1, hub_id=hub_id)
    quick_site.rebuild(empty)
    new = repo("org/new")
    quick_site.publish(commit, of=new, alias=repo().name, hub_id=hub_id)
    assert quick_site.rebuild(empty, only_unknown=True).problems == []
    assert said(empty) == said(quick_site.catalog)


@pytest.mark.parametrize("only_unknown", [True, False])
def test_f15_an_interrupted_rebuild_is_gone_on_with(
    quick_site: Site,
    empty: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    *,
    only_unknown: bool,
) -> None:
    quick_site.publish(1)
    if only_unknown:
        quick_site.rebuild(empty)
    for number in range(2, 6):
        refs = [MAIN] if number == 3 else [RefName.tag(f"t{number}")]
        quick_site.publish(number, refs=refs)
    monkeypatch.setattr("hubsync.sync.rebuild.BATCH_COMMITS", 1)
    steps = count()
    write = empty.restore

    def interrupted(*args: Any) -> None:
        if next(steps) >= 3:
            raise KeyboardInterrupt
        write(*args)

    monkeypatch.setattr(empty, "restore", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick_site.rebuild(empty, only_unknown=only_unknown)
    monkeypatch.setattr(empty, "restore", write)
    assert quick_site.rebuild(empty, only_unknown=True).problems == []
    assert said(empty) == said(quick_site.catalog)


def test_f16_what_an_old_catalog_goes_on_with_does_not_hide_what_it_lacks(
    quick_site: Site, empty: Catalog
) -> None:
    quick_site.publish(1)
    quick_site.rebuild(empty)
    quick_site.publish(2, refs=[TAG])
    old = Site(quick_site.blobs, quick_site.records, empty)
    old.publish(3)
    assert old.rebuild(empty, only_unknown=True).problems == []
    row = empty.find_repo(repo())
    assert row is not None
    assert set(empty.commit_order(row)) == {oid(1), oid(2), oid(3)}
    refs = {ref.name: ref.commit for ref in empty.refs(row)}
    assert refs == {MAIN: oid(3), TAG: oid(2)}


def test_f16_a_plain_file_whose_digest_no_record_knows_is_needed(
    quick_site: Site, empty: Catalog
) -> None:
    late = quick_site.file("late.txt", b"late")
    quick_site.publish(1, [late], hold=False)
    quick_site.hold([late])
    needed = needed_by_records(empty, quick_site.records, quick_site.blobs)
    assert needed == {held(b"late").digest}


def test_f16_a_record_that_cannot_be_read_stops_gc(
    quick_site: Site, empty: Catalog, tmp_path: Path
) -> None:
    quick_site.publish(1)
    (path,) = (tmp_path / "store/records").rglob(f"{oid(1)}.json.gz")
    path.write_bytes(b"?")
    known = quick_site.catalog
    assert not needed_by_records(known, quick_site.records, quick_site.blobs)
    with pytest.raises(RecordDamagedError, match=oid(1)):
        needed_by_records(empty, quick_site.records, quick_site.blobs)


def test_a_record_withdrawn_while_gc_reads_them_is_passed_over(
    quick_site: Site, empty: Catalog
) -> None:
    quick_site.publish(1)
    quick_site.publish(2)
    found = unknown_to(empty, quick_site.records)
    first = next(found).commit.oid
    (other,) = {oid(1), oid(2)} - {first}
    quick_site.records.hide(repo(), [other])
    assert list(found) == []


def test_a_refused_commit_leaves_no_record(quick_site: Site, tmp_path: Path) -> None:
    """Out of sight at once; gc deletes it once no other can be publishing it."""
    quick_site.publish(1)
    missing = quick_site.file("missing", b"missing")
    refusals: list[tuple[type[HubsyncError], dict[str, Any]]] = [
        (NotWholeError, {"must_hold": lambda _path, _is_lfs: True}),
        (IdentityChangedError, {"hub_id": "B"}),
    ]
    for error, more in refusals:
        with pytest.raises(error):
            quick_site.publish(2, [missing], hold=False, **more)
        assert not quick_site.records.holds(repo(), oid(2))
    settle_forgotten(quick_site.catalog, quick_site.records, nullcontext)
    assert len(list((tmp_path / "store/records").rglob("*.json.*"))) == 1


def test_a_commit_published_while_another_withdraws_its_record_keeps_it(
    quick_site: Site,
) -> None:
    """The one that published it is killed before it can look for its record."""
    missing = quick_site.file("missing", b"missing")
    with pytest.raises(NotWholeError):
        quick_site.publish(
            1, [missing], hold=False, must_hold=lambda _path, _is_lfs: True
        )
    # As it began before the other withdrew what both have written.
    quick_site.hold([missing])
    made = Commit(oid(1), "commit 1", committed_at=WHEN)
    record = Publication(repo(), None, made, [missing], [MAIN])
    quick_site.catalog.publish(record)
    settle_forgotten(quick_site.catalog, quick_site.records, nullcontext)
    assert quick_site.records.holds(repo(), oid(1))
    (folder,) = quick_site.records.folders()
    assert folder.hidden == ()


def test_a_record_stays_when_the_catalog_cannot_say_whether_it_is_needed(
    quick_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another may have published the same commit, by the same record."""
    made = Commit(oid(1), "commit 1", committed_at=WHEN)

    def gone(*_: object) -> None:
        raise CatalogError("the server went away")

    def publish_elsewhere_then_fail(catalog: Catalog, *_: object) -> None:
        monkeypatch.undo()
        catalog.publish(Publication(repo(), None, made, [], [MAIN]))
        monkeypatch.setattr(Catalog, "find_repo", gone)
        gone()

    monkeypatch.setattr(Catalog, "publish", publish_elsewhere_then_fail)
    with pytest.raises(CatalogError, match="went away"):
        quick_site.publish(1)
    assert quick_site.records.holds(repo(), oid(1))


@pytest.mark.parametrize("whole", [True, False])
def test_what_came_in_again_while_a_forget_waited_is_not_forgotten(
    quick_site: Site, *, whole: bool
) -> None:
    """Two forgot the same, and a pull came between them."""
    if not whole:
        quick_site.publish(2)
    first = quick_site.publish(1)
    quick_site.forget(repo(), 1)
    quick_site.publish(1)
    done = forget(
        quick_site.catalog, quick_site.records, [], first.repo, first.snapshot
    )
    assert done.commits == ()
    assert quick_site.records.holds(repo(), oid(1))
    row = quick_site.catalog.find_repo(repo())
    assert row is not None
    assert quick_site.catalog.resolve(row, oid(1)) is not None


def test_what_was_forgotten_in_one_repo_does_not_come_back_for_anothers_sake(
    quick_site: Site,
) -> None:
    """Both had the same commit; the forget was killed before its last step."""
    quick_site.publish(1)
    quick_site.publish(1, of=repo("org/other"), hub_id="B")
    quick_site.records.hide(repo(), [oid(1)])
    row = quick_site.catalog.find_repo(repo())
    assert row is not None
    quick_site.catalog.forget(row, None)
    settle_forgotten(quick_site.catalog, quick_site.records, nullcontext)
    assert not quick_site.records.holds(repo(), oid(1))
    assert quick_site.records.holds(repo("org/other"), oid(1))


def test_a_lie_about_a_recorded_commit_does_not_get_into_its_record(
    quick_site: Site, empty: Catalog
) -> None:
    quick_site.publish(1, [quick_site.file("a", b"truth")])
    with pytest.raises(IntegrityError):
        quick_site.publish(1, [quick_site.file("a", b"lie")])
    quick_site.rebuild(empty)
    row = empty.find_repo(repo())
    assert row is not None
    (snapshot,) = empty.snapshots(row)
    (entry,) = empty.entries(snapshot)
    assert entry.digest == held(b"truth").digest


def test_a_store_from_before_there_were_records_gets_them(
    site: Site, empty: Catalog, tmp_path: Path
) -> None:
    live(site, 7)
    for path in (tmp_path / "store/records").rglob("*.json*"):
        path.unlink()
    count = len(site.catalog.commit_names())
    assert len(list(unrecorded(site.catalog, site.records))) == count
    assert write_missing(site.catalog, site.records) == count
    assert write_missing(site.catalog, site.records) == 0
    site.rebuild(empty)
    assert said(empty) == said(site.catalog)


def test_a_record_that_went_bad_is_written_again_while_the_catalog_knows_it(
    quick_site: Site, empty: Catalog, tmp_path: Path
) -> None:
    live(quick_site, 5)
    for path in (tmp_path / "store/records").rglob("*.json*"):
        path.write_bytes(path.read_bytes()[:-9])
    count = len(quick_site.catalog.commit_names())
    assert len(list(unrecorded(quick_site.catalog, quick_site.records))) == count
    assert write_missing(quick_site.catalog, quick_site.records) == count
    quick_site.rebuild(empty)
    assert said(empty) == said(quick_site.catalog)


@pytest.mark.parametrize("known", [True, False])
def test_a_half_done_forget_is_finished_either_way(
    quick_site: Site, *, known: bool
) -> None:
    quick_site.publish(1)
    quick_site.records.hide(repo(), [oid(1)])
    if not known:
        row = quick_site.catalog.find_repo(repo())
        assert row is not None
        quick_site.catalog.forget(row, None)
    settle_forgotten(quick_site.catalog, quick_site.records, nullcontext)
    assert quick_site.records.holds(repo(), oid(1)) == known
    (folder,) = quick_site.records.folders()
    assert folder.hidden == ()
