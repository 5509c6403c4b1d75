"""Runs by the command line: for a person, for a script, one by one."""

from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.runs import RunCounters, RunOutcome, RunRepoRow, RunState
from hubsync.model.errors import ExitCode
from hubsync.model.repo import RepoId, RepoType
from tests.unit.cli.harness import Cli
from tests.unit.cli.test_json import TIME

COMMIT = "0123456789" * 4
COUNTERS = RunCounters(500, 499, 1, 1, 30, 7_500_000, 2**41, 520, 61.5004)
CHANGED = RunRepoRow(
    RepoId("huggingface", RepoType.MODEL, "acme/model"),
    "main",
    RunOutcome.CHANGED,
    COMMIT,
    30,
    7_500_000,
    2**41,
    21,
)
FAILED = RunRepoRow(
    RepoId("huggingface", RepoType.DATASET, "acme/corpus"),
    "refs/tags/v1",
    RunOutcome.FAILED,
    error="gated:\x1b[31m ask for access\nhint: there",
    exit_code=ExitCode.NOT_ALLOWED.value,
)


@pytest.fixture
def runs(held: tuple[Cli, str, str]) -> tuple[Cli, list[int]]:
    """A store with a run that failed in part, one of another mirror, one left."""
    cli, _, _ = held
    with Catalog.open(sqlite_url(cli.root / "catalog.db")) as catalog:
        lease = catalog.open_lease("a run")
        begin, end = catalog.runs.begin, catalog.runs.end
        numbers = [begin("nightly", "command", lease)]
        catalog.runs.note(numbers[0], [CHANGED, FAILED])
        end(numbers[0], RunState.PARTIAL, COUNTERS, "1 repo failed")
        numbers.append(begin("other", "command", lease))
        unchanged = RunCounters(repos_selected=3, repos_checked=3, requests=3)
        end(numbers[1], RunState.SUCCEEDED, unchanged)
        numbers.append(begin("nightly", "command", lease))
        catalog.close_lease(lease)
    return cli, numbers


def test_runs_are_one_object_each_newest_first(runs: tuple[Cli, list[int]]) -> None:
    cli, numbers = runs
    done = cli.good("runs", "--json")
    left, other, partial = done.objects()
    assert [one["run"] for one in (partial, other, left)] == numbers
    assert TIME.fullmatch(partial.pop("started_at"))
    assert TIME.fullmatch(partial.pop("ended_at"))
    assert partial == {
        "run": numbers[0],
        "mirror": "nightly",
        "trigger": "command",
        "state": "partial",
        "repos_selected": 500,
        "repos_checked": 499,
        "repos_changed": 1,
        "repos_failed": 1,
        "files_fetched": 30,
        "bytes_fetched": 7_500_000,
        "bytes_reused": 2**41,
        "requests": 520,
        "waited_s": 61.5,
        "error": "1 repo failed",
    }
    assert (other["state"], other["error"]) == ("succeeded", None)
    assert (left["state"], left["ended_at"]) == ("failed", None)
    assert left["error"] == "the process that ran it has ended"
    assert done.err == ""


def test_a_person_sees_a_table(runs: tuple[Cli, list[int]]) -> None:
    cli, numbers = runs
    header, left, other, partial = cli.good("runs").out.splitlines()
    assert header.split()[:3] == ["RUN", "MIRROR", "TRIGGER"]
    assert partial.split()[5:8] == ["partial", "499/500", "1"]
    assert "7.5 MB" in partial
    assert partial.endswith("1 repo failed")
    assert other.split()[1] == "other"
    assert left.endswith("the process that ran it has ended")
    quiet = cli.good("runs", "--quiet").out
    assert quiet.split() == [str(number) for number in reversed(numbers)]


def test_of_one_mirror_and_no_more_than_asked_for(runs: tuple[Cli, list[int]]) -> None:
    cli, (first, other, last) = runs

    def listed(*words: str) -> list[int]:
        found = cli.good("runs", "--json", *words).objects()
        return [one["run"] for one in found]

    assert listed("--mirror", "nightly") == [last, first]
    assert listed("--mirror", "nightly", "--limit", "1") == [last]
    assert listed("--limit", "2") == [last, other]
    assert listed("--limit", str(2**64)) == [last, other, first]
    none = cli.good("runs", "--mirror", "nobody's")
    assert none.out == ""
    assert "no run is recorded of mirror nobody's" in none.err


def test_what_a_run_met_is_one_object_a_repo(runs: tuple[Cli, list[int]]) -> None:
    cli, (first, _, _) = runs
    failed, changed = cli.good("runs", str(first), "--json").objects()
    assert changed == {
        "run": first,
        "upstream": "huggingface",
        "repo_type": "model",
        "repo": "acme/model",
        "revision": "main",
        "outcome": "changed",
        "commit": COMMIT,
        "files_fetched": 30,
        "bytes_fetched": 7_500_000,
        "bytes_reused": 2**41,
        "requests": 21,
        "error": None,
        "exit_code": None,
    }
    assert (failed["repo"], failed["revision"]) == ("acme/corpus", "refs/tags/v1")
    assert (failed["outcome"], failed["commit"]) == ("failed", None)
    assert (failed["error"], failed["exit_code"]) == (FAILED.error, 4)


def test_what_a_run_met_is_a_table_and_a_sentence(runs: tuple[Cli, list[int]]) -> None:
    cli, (first, other, last) = runs
    done = cli.good("runs", str(first))
    _, failed, changed = done.out.splitlines()
    assert failed.split()[:2] == [
        "huggingface:datasets/acme/corpus@refs/tags/v1",
        "failed",
    ]
    assert failed.endswith("gated:?[31m ask for access")
    assert COMMIT[:10] in changed
    assert "2.20 TB" in changed
    assert f"run {first} of nightly succeeded in part: 499 of 500 repos" in done.err
    quiet = cli.good("runs", str(first), "--quiet")
    assert quiet.out.splitlines()[1] == "huggingface:acme/model@main"
    assert quiet.err == ""
    nothing = cli.good("runs", str(other))
    assert nothing.out == ""
    assert "3 of 3 repos looked at, none of them changed or failed" in nothing.err
    left = cli.good("runs", str(last), "--json")
    assert left.out == ""
    assert "the process that ran it has ended" in left.err


def test_a_store_without_runs_says_so(held: tuple[Cli, str, str]) -> None:
    cli, _, _ = held
    for words in ([], ["--json"]):
        done = cli.good("runs", *words)
        assert done.out == ""
        assert "no run is recorded" in done.err
    assert cli.good("runs", "--quiet").err == ""


def test_a_run_that_is_not_there_is_not_found(held: tuple[Cli, str, str]) -> None:
    cli, _, _ = held
    for number in (1, 2**63 - 1):
        done = cli("runs", str(number))
        assert done.code == ExitCode.NOT_FOUND
        assert f"no run {number}" in done.err
        assert done.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["0"],
        ["first"],
        [str(2**63)],
        ["--limit", "0"],
        ["1", "--mirror", "nightly"],
        ["1", "--limit", "3"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused(
    held: tuple[Cli, str, str], words: list[str]
) -> None:
    cli, _, _ = held
    done = cli("runs", *words)
    assert done.code == ExitCode.USAGE
    assert done.out == ""


def test_a_store_that_may_only_be_read_tells_of_its_runs(
    runs: tuple[Cli, list[int]],
) -> None:
    cli, (first, _, _) = runs
    before = _contents(cli.root)
    assert len(cli.good("runs", "--json").objects()) == 3
    assert len(cli.good("runs", str(first), "--json").objects()) == 2
    assert _contents(cli.root) == before


def test_a_rebuilt_catalog_has_no_runs(runs: tuple[Cli, list[int]]) -> None:
    cli, _ = runs
    cli.good("db", "check")
    (cli.root / "catalog.db").unlink()
    cli.good("db", "rebuild", "--json")
    assert cli.good("runs", "--json").out == ""
    assert len(cli.good("list", "--json").objects()) == 2


def _contents(root: Path) -> dict[Path, bytes]:
    """Of the catalog; SQLite's own files beside it may come and go."""
    return {path: path.read_bytes() for path in root.glob("*.db")}
