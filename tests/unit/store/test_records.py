"""Records in folders: written once, found again, whoever was killed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hubsync.model.digest import GitOid
from hubsync.model.record import (
    RecordDamagedError,
    RecordGoneError,
    RepoRecord,
    RevisionRecord,
)
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.snapshot import Commit, HeldEntry, TreeEntry
from hubsync.store.layout import StoreRoot
from hubsync.store.records import StoreRecords

REPO = RepoId("huggingface", RepoType.MODEL, "org/name")
OTHER = RepoId("huggingface", RepoType.MODEL, "org/other")
ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> StoreRoot:
    return StoreRoot.open(tmp_path / "store", create=True)


@pytest.fixture
def records(root: StoreRoot) -> StoreRecords:
    return StoreRecords(root)


def revision(oid: str, repo: RepoId = REPO) -> RevisionRecord:
    entry = HeldEntry(TreeEntry("a.txt", 1, GitOid("b" * 40)), None)
    return RevisionRecord(repo, "id", Commit(oid), WHEN, (entry,))


def write_repo(
    records: StoreRecords, commits: Sequence[str], repo: RepoId = REPO
) -> bool:
    record = RepoRecord(repo, "id", commits=tuple(commits), recorded_at=WHEN)
    return records.write_repo(repo, lambda: record)


def files(root: StoreRoot) -> list[str]:
    return sorted(path.name for path in root.records.rglob("*") if path.is_file())


def test_a_record_is_found_again_with_its_repo(records: StoreRecords) -> None:
    records.write_revision(revision(ONE))
    assert write_repo(records, [ONE])
    (folder,) = records.folders()
    assert isinstance(folder.repo, RepoRecord)
    assert (folder.repo.repo, folder.commits, folder.hidden) == (REPO, (ONE,), ())
    assert records.is_of(folder, REPO)
    assert not records.is_of(folder, OTHER)
    assert records.read_revision(folder, ONE) == revision(ONE)
    assert records.holds(REPO, ONE)
    assert not records.holds(OTHER, ONE)


def test_no_repo_name_becomes_a_path(root: StoreRoot, records: StoreRecords) -> None:
    records.write_revision(revision(ONE))
    names = [part for path in root.records.rglob("*") for part in path.parts]
    assert not [name for name in names if "org" in name]


def test_a_repo_record_that_says_the_same_is_not_written(
    root: StoreRoot, records: StoreRecords
) -> None:
    write_repo(records, [ONE])
    (path,) = root.records.rglob("repo.json")
    before = path.stat()
    assert not write_repo(records, [ONE])
    assert path.stat() == before


def test_what_a_killed_writer_left_is_taken_away_by_the_next(
    root: StoreRoot, records: StoreRecords
) -> None:
    write_repo(records, [ONE])
    (path,) = root.records.rglob("repo.json")
    (path.parent / ".repo.json.abc.tmp").write_text("half")
    write_repo(records, [ONE])
    assert files(root) == ["repo.json"]


def test_a_repo_record_that_went_bad_is_replaced(
    root: StoreRoot, records: StoreRecords
) -> None:
    write_repo(records, [ONE])
    (path,) = root.records.rglob("repo.json")
    path.write_text("{")
    (folder,) = records.folders()
    assert isinstance(folder.repo, RecordDamagedError)
    assert write_repo(records, [ONE])
    (folder,) = records.folders()
    assert isinstance(folder.repo, RepoRecord)


def test_commits_without_a_repo_record_are_not_passed_over(
    root: StoreRoot, records: StoreRecords
) -> None:
    records.write_revision(revision(ONE))
    (path,) = root.records.rglob("repo.json")
    path.unlink()
    (folder,) = records.folders()
    assert isinstance(folder.repo, RecordDamagedError)
    assert "missing" in str(folder.repo)
    assert records.read_revision(folder, ONE) == revision(ONE)


def test_a_record_under_another_commits_name_is_damaged(
    root: StoreRoot, records: StoreRecords
) -> None:
    records.write_revision(revision(ONE))
    (path,) = root.records.rglob(f"{ONE}.json.gz")
    path.rename(path.with_name(f"{TWO}.json.gz"))
    (folder,) = records.folders()
    with pytest.raises(RecordDamagedError, match=ONE):
        records.read_revision(folder, TWO)


def test_a_record_withdrawn_after_its_folder_was_read_is_gone_not_damaged(
    records: StoreRecords,
) -> None:
    records.write_revision(revision(ONE))
    (folder,) = records.folders()
    records.hide(REPO, [ONE])
    with pytest.raises(RecordGoneError):
        records.read_revision(folder, ONE)


def test_a_hidden_record_is_no_commits_and_comes_back(records: StoreRecords) -> None:
    records.write_revision(revision(ONE))
    records.write_revision(revision(TWO))
    records.hide(REPO, [ONE, THREE])
    (folder,) = records.folders()
    assert (folder.commits, folder.hidden) == ((TWO,), (ONE,))
    assert not records.holds(REPO, ONE)
    records.unhide(REPO, [ONE])
    (folder,) = records.folders()
    assert folder.commits == (ONE, TWO)


def test_a_record_written_since_is_not_replaced_by_the_hidden_one(
    root: StoreRoot, records: StoreRecords
) -> None:
    records.write_revision(revision(ONE))
    records.hide(REPO, [ONE])
    newer = replace(revision(ONE), hub_id="newer")
    records.write_revision(newer)
    records.unhide(REPO, [ONE])
    (folder,) = records.folders()
    assert records.read_revision(folder, ONE) == newer
    assert files(root) == [f"{ONE}.json.gz", "repo.json"]


def test_a_dropped_repo_leaves_no_folder(
    root: StoreRoot, records: StoreRecords
) -> None:
    records.write_revision(revision(ONE))
    records.drop_repo(REPO)
    records.drop_repo(REPO)
    assert not list(records.folders())
    assert not files(root)


def test_a_renamed_repo_takes_its_commits_along_and_no_others(
    root: StoreRoot, records: StoreRecords
) -> None:
    for oid in (ONE, TWO):
        records.write_revision(revision(oid))
    records.write_revision(revision(THREE, OTHER))
    records.absorb(OTHER, REPO, {ONE, THREE})
    assert records.holds(OTHER, ONE)
    assert records.holds(OTHER, THREE)
    assert records.holds(REPO, TWO), "whoever has the name now"
    records.absorb(OTHER, REPO, {TWO})
    (folder,) = records.folders()
    assert folder.commits == (ONE, TWO, THREE)
    assert len(files(root)) == 4, "nothing is left under the former name"


def test_of_two_records_of_a_commit_the_one_under_the_present_name_stays(
    records: StoreRecords,
) -> None:
    records.write_revision(revision(ONE))
    records.write_revision(revision(ONE, OTHER))
    records.absorb(OTHER, REPO, {ONE})
    (folder,) = records.folders()
    assert records.read_revision(folder, ONE).repo == OTHER
