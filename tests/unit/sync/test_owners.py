"""Whose records are whose, when a rename or a disk was in the way."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hubsync.model.record import RepoRecord, RevisionRecord
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit
from hubsync.store.layout import StoreRoot
from hubsync.store.records import StoreRecords
from hubsync.sync.owners import owners

MAIN, TAG = RefName.branch("main"), RefName.tag("v1")
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> StoreRoot:
    return StoreRoot.open(tmp_path / "store", create=True)


@pytest.fixture
def records(root: StoreRoot) -> StoreRecords:
    return StoreRecords(root)


def repo(name: str) -> RepoId:
    return RepoId("huggingface", RepoType.MODEL, f"org/{name}")


def oid(number: int) -> str:
    return f"{number:040x}"


def write(
    records: StoreRecords,
    name: str,
    commits: Sequence[int],
    *,
    hub_id: str | None = "A",
    order: Sequence[int] | None = None,
    aliases: Sequence[str] = (),
    refs: dict[RefName, int] | None = None,
) -> None:
    """Commits, of which number n was recorded in hour n, and the repo's record."""
    for number in commits:
        at = WHEN + timedelta(hours=number)
        commit = Commit(oid(number))
        records.write_revision(RevisionRecord(repo(name), hub_id, commit, at, ()))
    record = RepoRecord(
        repo(name),
        hub_id,
        [f"org/{alias}" for alias in aliases],
        {ref: oid(number) for ref, number in (refs or {}).items()},
        commits=[oid(number) for number in (commits if order is None else order)],
        recorded_at=WHEN,
    )
    records.write_repo(repo(name), lambda: record)


def found(records: StoreRecords) -> dict[str, list[int]]:
    problems: list[str] = []
    all_of_them = owners(records, problems)
    assert problems == []
    return {
        one.repo.repo.name.removeprefix("org/"): [int(it, 16) for it in one.commits]
        for one in all_of_them
    }


def test_commits_are_in_the_order_that_the_repo_says(records: StoreRecords) -> None:
    write(records, "a", [1, 2, 3], order=[2, 3, 1])
    assert found(records) == {"a": [2, 3, 1]}


def test_a_commit_whose_publisher_was_killed_comes_last(records: StoreRecords) -> None:
    write(records, "a", [1, 2, 3], order=[3])
    assert found(records) == {"a": [3, 1, 2]}


def test_a_first_commit_that_was_never_made_visible_counts(
    root: StoreRoot, records: StoreRecords
) -> None:
    write(records, "a", [1])
    (path,) = root.records.rglob("repo.json")
    path.unlink()
    revision = RevisionRecord(repo("a"), "A", Commit(oid(2)), WHEN, ())
    records.write_revision(revision)
    assert found(records) == {"a": [2, 1]}


def test_a_repo_all_of_whose_commits_were_forgotten_is_still_one(
    records: StoreRecords,
) -> None:
    write(records, "a", [])
    assert found(records) == {"a": []}


def test_a_repo_whose_first_commit_was_refused_is_none(records: StoreRecords) -> None:
    records.write_revision(RevisionRecord(repo("a"), "A", Commit(oid(1)), WHEN, ()))
    records.hide(repo("a"), [oid(1)])
    records.drop_hidden(repo("a"), [oid(1)])
    assert found(records) == {}


@pytest.mark.parametrize("hub_id", ["A", None])
def test_a_rename_of_which_only_the_commit_was_written_is_one_repo(
    records: StoreRecords, hub_id: str | None
) -> None:
    write(records, "old", [1, 2], hub_id=hub_id, refs={MAIN: 2, TAG: 1})
    commit = Commit(oid(3))
    at = WHEN + timedelta(hours=3)
    revision = RevisionRecord(repo("new"), hub_id, commit, at, ())
    records.write_revision(revision, former="org/old")
    (one,) = owners(records, [])
    assert list(one.commits) == [oid(1), oid(2), oid(3)]
    assert one.repo.repo == repo("new")
    assert one.repo.aliases == ("org/old",)
    assert one.repo.refs == {MAIN: oid(2), TAG: oid(1)}


def test_a_rename_whose_commits_were_not_moved_yet_is_one_repo(
    records: StoreRecords,
) -> None:
    write(records, "old", [1, 2], refs={MAIN: 2})
    write(records, "new", [3], order=[1, 2, 3], aliases=["old"], refs={MAIN: 3})
    (one,) = owners(records, [])
    assert list(one.commits) == [oid(1), oid(2), oid(3)]
    assert one.repo.refs == {MAIN: oid(3)}


def test_names_traded_and_traded_back_are_one_repo_under_the_last(
    records: StoreRecords,
) -> None:
    write(records, "b", [1, 2], aliases=["a"])
    write(records, "a", [3], order=[1, 2, 3], aliases=["b"])
    assert found(records) == {"a": [1, 2, 3]}


@pytest.mark.parametrize("hub_id", ["B", None])
def test_another_repo_under_the_former_name_stays_another(
    records: StoreRecords, hub_id: str | None
) -> None:
    write(records, "new", [1, 2], aliases=["old"], hub_id=hub_id and "A")
    write(records, "old", [3], hub_id=hub_id)
    assert found(records) == {"new": [1, 2], "old": [3]}
    new = owners(records, [])[0]
    assert new.repo.aliases == (), "a current name is nobody's former one"


def test_commits_left_under_a_name_that_another_repo_has_now_go_to_their_own(
    records: StoreRecords,
) -> None:
    write(records, "old", [1])  # of A, renamed; its pull was killed there
    write(records, "new", [2], order=[1, 2], aliases=["old"])
    write(records, "old", [3], hub_id="B")
    assert found(records) == {"new": [2, 1], "old": [3]}


def test_without_a_repos_record_its_commits_are_found_and_the_loss_is_named(
    root: StoreRoot, records: StoreRecords
) -> None:
    write(records, "a", [1, 2], refs={MAIN: 2})
    (path,) = root.records.rglob("repo.json")
    path.write_bytes(b"\0")
    problems: list[str] = []
    (one,) = owners(records, problems)
    assert list(one.commits) == [oid(1), oid(2)]
    assert one.repo.repo == repo("a")
    (problem,) = problems
    assert "refs" in problem
    assert str(path) in problem
