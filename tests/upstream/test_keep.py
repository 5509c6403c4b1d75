"""`hubsync forget --policy`: versions that no mirror keeps."""

from datetime import UTC, datetime, timedelta

import pytest

from hubsync.catalog.rows import RefRow, SnapshotRow
from hubsync.model.errors import ExitCode
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit
from hubsync.retention.keep import KeepRule, judge, together
from tests.testhub import HubRepo
from tests.upstream.test_mirrors import Team, team

__all__ = ["team"]  # the fixture
NOW = datetime(2026, 11, 28, tzinfo=UTC)
DAY_S = 86400.0


def oid(number: int) -> str:
    return f"{number:040x}"


def snapshots(count: int) -> list[SnapshotRow]:
    """Recorded one a day, the newest today; newest first."""
    return [
        SnapshotRow(
            id=n,
            repo_id=1,
            seq=n,
            commit=Commit(oid(n)),
            recorded_at=NOW - timedelta(days=count - n),
            files=1,
            bytes=1,
        )
        for n in range(count, 0, -1)
    ]


def ref(name: RefName, number: int) -> RefRow:
    return RefRow(name, oid(number), NOW)


def kept(rule: KeepRule, *refs: RefRow, mirrored: tuple[int, ...] = ()) -> list[int]:
    held = map(oid, mirrored)
    found = judge(rule, snapshots(10), refs, held, NOW)
    return [one.snapshot.id for one in found if one.keep]


MAIN = ref(RefName.branch("main"), 10)


def test_the_newest_stay() -> None:
    assert kept(KeepRule(last=3), MAIN) == [10, 9, 8]
    assert kept(KeepRule(last=1), MAIN) == [10]


def test_the_recent_stay() -> None:
    assert kept(KeepRule(within_s=2.5 * DAY_S), MAIN) == [10, 9, 8]
    assert kept(KeepRule(last=2, within_s=4.5 * DAY_S), MAIN) == [10, 9, 8, 7, 6]


def test_what_a_branch_points_to_stays_wherever_it_is() -> None:
    back = ref(RefName.branch("main"), 2)  # a force-push to an old commit
    assert kept(KeepRule(last=1), back) == [10, 2]
    pull_request = ref(RefName("refs/pr/1"), 4)
    assert kept(KeepRule(last=1), MAIN, pull_request) == [10, 4]


def test_tags_stay_all_of_them_or_those_that_are_named() -> None:
    tags = ref(RefName.tag("v1.0"), 3), ref(RefName.tag("nightly-1"), 4)
    assert kept(KeepRule(last=1), MAIN, *tags) == [10, 4, 3]
    assert kept(KeepRule(last=1, tags=("v*",)), MAIN, *tags) == [10, 3]
    assert kept(KeepRule(last=1, tags=()), MAIN, *tags) == [10]


def test_where_a_mirror_left_it_stays() -> None:
    tag = ref(RefName.tag("nightly-1"), 4)
    assert kept(KeepRule(last=1, tags=()), MAIN, tag, mirrored=(4,)) == [10, 4]


def test_of_two_rules_one_is_enough() -> None:
    rules = KeepRule(last=1), KeepRule(last=4)
    found = together([judge(rule, snapshots(10), [MAIN], [], NOW) for rule in rules])
    assert [one.snapshot.id for one in found if one.keep] == [10, 9, 8, 7]


def with_versions(team: Team, name: str, count: int) -> HubRepo:
    """*count* versions of one repo, each mirrored as it came."""
    repo = team.hub.create_repo(name)
    for number in range(count):
        repo.commit({"data": f"{name} {number}".encode()})
        team.sync()
    return repo


def commits(team: Team, repo: str) -> int:
    return len(team.json("log", repo))


def test_the_command_forgets_what_no_mirror_keeps_and_gc_frees_it(team: Team) -> None:
    team.configure('name = "a"\nrepos = ["acme/*"]\nkeep = { last = 2 }')
    with_versions(team, "acme/one", 5)
    assert team.mirror.json("pull", "acme/one")["new_commit"] is False
    assert commits(team, "acme/one") == 5

    planned = team.json("forget", "--policy", "--dry-run")
    assert [one["keep"] for one in planned] == [True, True, False, False, False]
    assert planned[1]["why"] == "among the last 2"
    assert commits(team, "acme/one") == 5, "a dry run forgets nothing"

    done = team.run("forget", "--policy")
    assert done.returncode == 0
    assert "3 versions forgotten, 2 kept" in done.stderr
    assert commits(team, "acme/one") == 2
    assert team.run("gc").returncode == 0
    assert len(team.mirror.blobs()) == 2
    assert team.run("verify", "--all").returncode == 0
    assert team.sync()["requests"] == 1, "and nothing is fetched again for it"


def test_a_mirror_without_a_rule_keeps_everything(team: Team) -> None:
    both = 'name = "a"\nrepos = ["acme/*"]\nkeep = { last = 1 }'
    team.configure(both, 'name = "b"\nrepos = ["acme/one"]')
    with_versions(team, "acme/one", 3)
    assert all(one["keep"] for one in team.json("forget", "--policy"))
    assert commits(team, "acme/one") == 3


def test_what_was_pulled_by_hand_is_nobodys_to_forget(team: Team) -> None:
    team.configure('name = "a"\nrepos = ["acme/*"]\nkeep = { last = 1 }')
    team.hub.create_repo("acme/one").commit({"a": b"1"})
    team.sync()
    other = team.hub.create_repo("other/two")
    for number in range(3):
        other.commit({"data": b"%d" % number})
        team.mirror.pull("other/two")
    team.run("forget", "--policy")
    assert commits(team, "other/two") == 3


def test_a_deletion_upstream_deletes_nothing_here(team: Team) -> None:
    team.configure('name = "a"\nrepos = ["acme/*"]\nkeep = { last = 1 }')
    repo = with_versions(team, "acme/one", 2)
    repo.delete()
    assert team.sync()["repos_gone"] == 1
    team.run("forget", "--policy")
    assert commits(team, "acme/one") == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["forget"], "name a REPO, or give --policy"),
        (["forget", "acme/one", "--policy"], "name a REPO, or give --policy"),
        (["forget", "acme/one", "--dry-run"], "belongs to --policy"),
        (["forget", "--policy"], "no mirror says which versions stay"),
    ],
)
def test_what_cannot_be_meant(team: Team, args: list[str], said: str) -> None:
    team.configure('name = "a"\nrepos = ["acme/*"]')
    done = team.run(*args)
    assert done.returncode == ExitCode.USAGE
    assert said in done.stderr


def test_a_rule_that_says_nothing_is_refused(team: Team) -> None:
    team.configure('name = "a"\nrepos = ["acme/*"]\nkeep = { tags = ["v*"] }')
    done = team.run("config", "check")
    assert done.returncode == ExitCode.USAGE
    assert "last, within, or both" in done.stderr
