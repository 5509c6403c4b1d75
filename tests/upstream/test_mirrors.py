"""Configured mirrors, carried out once: `hubsync sync`, `plan`, `mirrors`, `runs`."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hubsync.catalog.errors import CatalogBusyError
from hubsync.catalog.mirrored import MirrorRepo
from hubsync.catalog.runs import Runs, RunState
from hubsync.cli.main import run as hubsync
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.model.listed import Listed
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.ports.hub import UnavailableError
from hubsync.sync.freshness import Freshness, Item, Verdict
from hubsync.sync.mirror import Outcome, Report
from hubsync.sync.rules import Rule
from hubsync.sync.selectors import Chosen
from tests.pulling import Mirror
from tests.testhub import Fault, Lfs, TestHub


@dataclass
class Team:
    """A hub, a store, and the configuration of the mirrors."""

    hub: TestHub
    mirror: Mirror
    config: Path

    def configure(self, *tables: str) -> None:
        text = "".join(f"[[mirrors]]\n{table}\n" for table in tables)
        self.config.write_text(text, "utf-8")

    def run(self, *args: str) -> Any:
        return self.mirror.run(*args, "--config", str(self.config))

    def json(self, *args: str, code: int = 0) -> list[dict[str, Any]]:
        done = self.run(*args, "--json")
        assert done.returncode == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def sync(self, *mirrors: str, code: int = 0) -> dict[str, Any]:
        """The last mirror's run."""
        return self.json("sync", *mirrors, code=code)[-1]

    def held(self) -> list[str]:
        return sorted(
            f"{row['repo']} {row['state']}"
            for row in map(json.loads, self.run("list", "--json").stdout.splitlines())
        )

    def asked(self) -> list[str]:
        """What the hub was asked since the last time."""
        seen = [f"{one.method} {one.path}" for one in self.hub.hub_requests()]
        self.hub.log.clear()
        return seen


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with TestHub(tmp_path / "hub") as hub:
        config = tmp_path / "hubsync.toml"
        yield Team(hub, Mirror(tmp_path / "store", hub.endpoint), config)


def fill(team: Team, names: Sequence[str], **more: Any) -> None:
    for name in names:
        repo = team.hub.create_repo(name, **more)
        config = json.dumps({"name": name}).encode()
        repo.commit({"config.json": config, "model.safetensors": Lfs(name.encode())})


def verdicts(lines: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {one["repo"]: one["verdict"] for one in lines if "verdict" in one}


def test_a_mirror_is_brought_in_and_then_costs_one_request(team: Team) -> None:
    fill(team, ["acme/one", "acme/two", "acme/gguf-three", "other/four"])
    team.configure('name = "acme"\nrepos = ["acme/*"]\nexcept = ["*gguf*"]')

    first = team.sync()
    assert first["state"] == "succeeded"
    assert (first["repos_changed"], first["repos_refused"]) == (2, 1)
    assert first["files_fetched"] == 4
    assert team.held() == ["acme/one complete", "acme/two complete"]
    team.asked()

    again = team.sync()
    assert (again["repos_unchanged"], again["repos_changed"]) == (2, 0)
    assert again["requests"] == 1
    assert again["bytes_fetched"] == 0
    assert len(team.asked()) == 1, "the owner's list"


def test_a_change_costs_two_requests_and_its_files(team: Team) -> None:
    fill(team, ["acme/one", "acme/two"])
    team.configure('name = "acme"\nrepos = ["acme/one", "acme/two"]')
    team.sync()
    team.hub.world.find("model", "acme/two")[0].commit({"more.bin": Lfs(b"more")})  # type: ignore[union-attr]
    team.asked()

    run = team.sync()
    assert (run["repos_changed"], run["files_fetched"]) == (1, 1)
    assert run["requests"] == len(team.asked()) + 1, "and one of the CDN"
    assert run["requests"] == 1 + 2 + 2, "list; history, tree; file, CDN"


def test_plan_says_why_and_what_it_costs_and_changes_nothing(team: Team) -> None:
    fill(team, ["acme/one", "acme/two"])
    team.configure('name = "a"\nrepos = ["acme/*", "acme/none"]\nexcept = ["acme/two"]')

    lines = team.json("plan", code=ExitCode.PARTLY)
    assert verdicts(lines) == {
        "acme/one": "changed",
        "acme/two": "refused",
        "acme/none": "failed",
    }
    one = next(line for line in lines if line.get("repo") == "acme/one")
    assert (one["files_to_fetch"], one["bytes_to_fetch"]) == (2, 28)
    assert one["why"] == "repos = 'acme/*'"
    assert not (team.mirror.root / "VERSION").exists()
    said = team.run("plan").stdout
    assert "except = 'acme/two'" in said
    assert "to plan this, " in said
    assert team.run("sync", "--dry-run").stdout == said

    team.asked()
    before = one["requests_to_fetch_min"], one["requests_to_fetch"]
    run = team.sync(code=ExitCode.PARTLY)
    spent = run["requests"] - 2 - 1  # the list and a look; the file's CDN
    assert before[0] <= spent <= before[1]


def test_what_fails_with_one_repo_stops_no_other(team: Team) -> None:
    fill(team, ["acme/one", "acme/two"])
    team.configure('name = "a"\nrepos = ["acme/one", "acme/none", "acme/two"]')
    done = team.run("sync")
    assert done.returncode == ExitCode.PARTLY
    assert "acme/none" in done.stderr
    assert "a partial: 0 unchanged, 2 changed, 1 failed" in done.stderr
    assert team.held() == ["acme/one complete", "acme/two complete"]

    (run,) = team.json("runs")
    assert (run["state"], run["repos_failed"]) == ("partial", 1)
    noted = {row["repo"]: row for row in team.json("runs", str(run["run"]))}
    assert noted["acme/none"]["exit_code"] == ExitCode.NOT_FOUND
    assert noted["acme/one"]["outcome"] == "changed"


def test_what_the_hub_does_not_show_any_more_is_kept(team: Team) -> None:
    fill(team, ["acme/one", "acme/two"])
    team.configure('name = "a"\nrepos = ["acme/*"]')
    team.sync()
    team.hub.world.find("model", "acme/two")[0].delete()  # type: ignore[union-attr]

    run = team.sync()
    assert (run["state"], run["repos_gone"]) == ("succeeded", 1)
    assert team.held() == ["acme/one complete", "acme/two complete"]


def test_a_rename_is_followed_by_the_hubs_own_id(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure('name = "a"\nrepos = ["acme/*"]')
    team.sync()
    team.hub.world.find("model", "acme/one")[0].rename("acme/better")  # type: ignore[union-attr]

    lines = team.json("sync")
    assert verdicts(lines) == {"acme/better": "changed"}
    assert "it was acme/one" in lines[0]["why"]
    assert lines[-1]["bytes_fetched"] == 0
    assert team.sync()["repos_unchanged"] == 1


def test_other_files_are_brought_in_when_the_selection_changes(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure('name = "a"\nrepos = ["acme/one"]\ninclude = ["*.json"]')
    assert team.sync()["files_fetched"] == 1
    assert team.sync()["requests"] == 1
    team.configure('name = "a"\nrepos = ["acme/one"]')
    assert team.sync()["files_fetched"] == 1
    assert team.held() == ["acme/one complete"]


def test_tags_and_other_refs_are_mirrored_by_globs(team: Team) -> None:
    repo = team.hub.create_repo("acme/one")
    first = repo.commit({"a": b"1"})
    repo.tag("v1.0", first)
    second = repo.commit({"a": b"2"})
    repo.tag("v2.0", second)
    repo.convert("parquet", first)
    team.configure('name = "a"\nrepos = ["acme/one"]\nrevisions = ["main", "v*"]')

    lines = team.json("sync")
    assert {one["revision"] for one in lines if "verdict" in one} == {
        "main",
        "refs/tags/v1.0",
        "refs/tags/v2.0",
    }
    assert team.sync()["repos_unchanged"] == 3
    repo.tag("v3.0", repo.commit({"a": b"3"}))
    assert team.sync()["repos_changed"] == 2


def test_a_repo_with_too_much_selected_is_refused_by_its_size(team: Team) -> None:
    team.hub.create_repo("acme/big").commit({"big.bin": Lfs(bytes(5000))})
    team.configure('name = "a"\nrepos = ["acme/big"]\nmax_repo_size = "4KiB"')
    lines = team.json("sync")
    assert verdicts(lines) == {"acme/big": "refused"}
    assert "max_repo_size is 4" in lines[0]["why"]
    assert team.mirror.blobs() == {}
    team.configure(
        'name = "a"\nrepos = ["acme/big"]\nmax_repo_size = "4KiB"\nskip_smudge = true'
    )
    assert team.sync()["repos_changed"] == 1


def test_a_search_and_licences(team: Team) -> None:
    for name, license_name, gated in (
        ("acme/a", "mit", False),
        ("acme/b", "cc-by-nc-4.0", False),
        ("other/c", "mit", "auto"),
    ):
        repo = team.hub.create_repo(
            name, gated=gated, tags=["pytorch", f"license:{license_name}"]
        )
        repo.commit({"x": name.encode()})
    team.configure(
        'name = "s"\nsearch = { tags = ["pytorch"] }\n'
        'license_allow = ["mit", "apache-*"]\ngated = false'
    )
    assert verdicts(team.json("sync")) == {
        "acme/a": "changed",
        "acme/b": "refused",
        "other/c": "refused",
    }


def test_a_collection(team: Team) -> None:
    fill(team, ["acme/one", "other/two"])
    team.hub.create_collection(
        "acme/best-6512f0e2", [("model", "other/two"), ("paper", "2401.00001")]
    )
    team.configure('name = "c"\ncollection = "acme/best-6512f0e2"')
    assert verdicts(team.json("sync")) == {"other/two": "changed"}


def test_a_list_file(team: Team, tmp_path: Path) -> None:
    fill(team, ["acme/one", "other/two"])
    names = tmp_path / "names.txt"
    names.write_text("# ours\nacme/one  # the first\n\nother/*\n", "utf-8")
    team.configure(f'name = "f"\nlist_file = "{names}"')
    assert team.sync()["repos_changed"] == 2
    names.write_text("acme/one\nno good\n", "utf-8")
    done = team.run("sync")
    assert done.returncode == ExitCode.USAGE
    assert f"{names}:2:" in done.stderr


def test_a_hub_that_is_down_ends_the_run_and_is_said_so(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure('name = "a"\nrepos = ["acme/*"]', 'name = "b"\nrepos = ["acme/one"]')
    assert team.sync("a")["state"] == "succeeded"
    team.hub.stop()
    done = team.run("sync")
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "ended early" in done.stderr
    states = [(run["mirror"], run["state"]) for run in team.json("runs")]
    assert states == [("b", "failed"), ("a", "failed"), ("a", "succeeded")]
    shown = {row["mirror"]: row for row in team.json("mirrors")}
    assert shown["a"]["last_state"] == "failed"


def test_what_was_forgotten_is_brought_in_again(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure('name = "a"\nrepos = ["acme/*"]')
    team.sync()
    assert team.run("forget", "acme/one").returncode == 0
    assert team.sync()["repos_changed"] == 1
    assert team.held() == ["acme/one complete"]


def test_what_was_found_damaged_is_healed_by_the_next_run(team: Team) -> None:
    fill(team, ["acme/one", "acme/two"])
    team.configure('name = "a"\nrepos = ["acme/*"]')
    team.sync()
    path = next(one for one in team.mirror.blobs().values() if one.stat().st_size == 8)
    path.chmod(0o644)
    path.write_bytes(b"damaged!")
    assert team.run("verify", "--all").returncode == ExitCode.INTEGRITY
    run = team.sync()
    assert (run["repos_changed"], run["files_fetched"]) == (1, 1)
    assert team.run("verify", "--all").returncode == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["sync", "nobody"], "no mirror is named 'nobody' (configured: a)"),
        (["plan", "nobody"], "no mirror is named 'nobody' (configured: a)"),
    ],
)
def test_a_mirror_that_there_is_not(team: Team, args: list[str], said: str) -> None:
    team.configure('name = "a"\nrepos = ["acme/*"]')
    done = team.run(*args)
    assert done.returncode == ExitCode.USAGE
    assert said in done.stderr


def test_no_mirror_at_all(team: Team) -> None:
    team.configure()
    done = team.run("sync")
    assert done.returncode == ExitCode.USAGE
    assert "no mirror is configured" in done.stderr
    assert team.run("mirrors").returncode == 0


def test_a_run_that_is_killed_is_failed_and_the_next_one_goes_on(team: Team) -> None:
    repo = team.hub.create_repo("acme/big")
    repo.commit({"big.bin": Lfs(bytes(range(256)) * 4000)})
    team.configure('name = "a"\nrepos = ["acme/*"]')
    team.hub.pace.rate_bytes_per_s = 100_000
    asked = threading.Event()
    team.hub.hooks.append(lambda seen: asked.set() if seen.role == "cdn" else None)

    command = [sys.executable, "-m", "hubsync", "sync", "--config", str(team.config)]
    environment = team.mirror.environment()
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as running:
        assert asked.wait(60)
        second = team.run("sync")
        assert second.returncode == ExitCode.BUSY
        assert "is being carried out by run 1" in second.stderr
        running.kill()
    (left,) = team.json("runs")
    assert left["state"] == "failed"
    assert "has ended" in left["error"]

    team.hub.pace.rate_bytes_per_s = None
    assert team.sync()["state"] == "succeeded"
    assert [run["state"] for run in team.json("runs")] == ["succeeded", "failed"]


@pytest.mark.parametrize(("bucket", "on_their_way"), [("api", 4), ("resolvers", 32)])
def test_nobody_asks_while_a_window_is_closed(
    team: Team, bucket: str, on_their_way: int
) -> None:
    fill(team, [f"acme/m{number:02}" for number in range(20)])
    team.configure('name = "a"\nrepos = ["acme/*"]')
    window = team.hub.limits.windows[bucket]
    window.quota, window.window_s = 25, 2
    run = team.sync()
    assert (run["state"], run["repos_changed"]) == ("succeeded", 20)
    # Those that were on their way when the window closed are nobody's fault.
    late = [one for one in team.hub.requests if (one.closed_for_s or 0) > 0.3]
    assert late == []
    refused = [one for one in team.hub.requests if one.status == 429]
    assert len(refused) <= on_their_way, "and no worker has to be told by himself"


def test_a_mirror_of_another_upstream_now_is_brought_in_from_there(team: Team) -> None:
    fill(team, ["acme/one"])
    endpoints = "".join(
        f'[upstreams.{name}]\nendpoint = "{team.hub.endpoint}"\n'
        for name in ("huggingface", "other")
    )
    rule = 'name = "a"\nrepos = ["acme/*"]\nupstream = '
    team.configure(f'{rule}"huggingface"\n{endpoints}')
    team.sync()
    team.configure(f'{rule}"other"\n{endpoints}')
    run = team.sync()
    assert (run["repos_changed"], run["repos_unchanged"]) == (1, 0)
    assert len(team.held()) == 2
    assert team.sync()["repos_unchanged"] == 1


def test_a_configured_name_in_other_case_that_is_gone_is_kept(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure('name = "a"\nrepos = ["Acme/ONE"]')
    assert team.sync()["repos_changed"] == 1
    team.hub.world.find("model", "acme/one")[0].delete()  # type: ignore[union-attr]
    run = team.sync()
    assert (run["state"], run["repos_gone"], run["repos_checked"]) == (
        "succeeded",
        1,
        1,
    )


def test_a_repo_that_the_hub_fails_at_stops_no_other(team: Team) -> None:
    fill(team, ["acme/one", "other/two"])
    team.configure('name = "a"\nrepos = ["acme/one", "other/two"]')
    html = Fault("html", match="/api/models/acme/one", role="hub", times=-1)
    team.hub.faults.add(html)
    run = team.sync(code=ExitCode.PARTLY)
    assert (run["repos_changed"], run["repos_failed"]) == (1, 1)
    assert team.held() == ["other/two complete"]


RULE = Rule("a", "huggingface", RepoType.MODEL)
ONE, TWO = (
    RepoId("huggingface", RepoType.MODEL, name) for name in ("acme/one", "acme/two")
)


class Silent:
    """A hub that has no refs and gives no answer."""

    asked = 0

    async def refs(self, repo: RepoId) -> Mapping[RefName, str]:
        self.asked += 1
        raise UnavailableError("no answer")


def chosen(repo: RepoId, hub_id: str, head: str) -> Chosen:
    return Chosen(repo, "by name", Listed(repo, hub_id, head, None))


def brought_in(repo: RepoId, revision: str, hub_id: str, commit: str) -> MirrorRepo:
    now = datetime.now(UTC)
    return MirrorRepo("a", repo, revision, hub_id, commit, RULE.key, now)


def test_another_repo_of_the_same_name_and_commit_is_looked_at() -> None:
    held = [brought_in(ONE, "main", "1", "c" * 40)]
    judge = Freshness(RULE, Silent(), held).judge
    (item,) = asyncio.run(judge([chosen(ONE, "2", "c" * 40)]))
    assert item.verdict is Verdict.CHANGED


def test_what_is_left_of_a_former_name_makes_nothing_changed() -> None:
    held = [
        brought_in(ONE, "main", "1", "c" * 40),
        brought_in(TWO, "refs/tags/v1", "1", "d" * 40),  # the tag was deleted since
    ]
    judge = Freshness(RULE, Silent(), held).judge
    (item,) = asyncio.run(judge([chosen(ONE, "1", "c" * 40)]))
    assert item.verdict is Verdict.UNCHANGED


def test_a_hub_that_tells_no_refs_is_not_asked_for_those_of_every_repo() -> None:
    hub, rule = Silent(), replace(RULE, revisions=("main", "v*"))
    repos = [RepoId("huggingface", RepoType.MODEL, f"acme/{n}") for n in range(9)]
    many = [chosen(repo, repo.name, "c" * 40) for repo in repos]
    with pytest.raises(UnavailableError):
        asyncio.run(Freshness(rule, hub, []).judge(many))
    assert hub.asked == 3


def test_who_ended_a_run_early_says_how_it_exits() -> None:
    item = Item(ONE, "main", Verdict.UNCHANGED, "")
    report = Report(RULE, 1, [Outcome(item, Verdict.UNCHANGED)])
    report.end_early(UnavailableError("no answer"))
    assert report.state is RunState.PARTIAL
    assert report.exit_code is ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    "error",
    [CatalogBusyError("busy"), ValueError("a bug")],
)
def test_an_error_of_one_of_four_comes_as_itself(
    team: Team, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_args: object) -> None:
        raise error

    fill(team, ["acme/one", "acme/two", "acme/three"])
    team.configure('name = "a"\nrepos = ["acme/*"]')
    for key, value in team.mirror.environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(Runs, "keep_mirrored", fails)
    said = hubsync(
        ["sync", "--config", str(team.config), "--root", str(team.mirror.root)]
    )
    monkeypatch.undo()
    assert said == (
        error.exit_code if isinstance(error, HubsyncError) else ExitCode.FAILED
    )
    (row,) = team.json("runs")
    assert row["state"] == "failed"
    assert str(error) in row["error"]


@contextmanager
def syncing(team: Team, *args: str) -> Iterator["subprocess.Popen[str]"]:
    """`hubsync sync`, until it fetches, slowly."""
    team.hub.pace.rate_bytes_per_s = 100_000
    asked = threading.Event()
    team.hub.hooks.append(lambda seen: asked.set() if seen.role == "cdn" else None)
    command = [sys.executable, "-m", "hubsync", "sync", *args]
    with subprocess.Popen(
        [*command, "--config", str(team.config)],
        env=team.mirror.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert asked.wait(60)
            yield running
        finally:
            running.kill()
            team.hub.pace.rate_bytes_per_s = None


def test_a_mirror_that_is_busy_keeps_no_other_waiting(team: Team) -> None:
    team.hub.create_repo("acme/big").commit({"b": Lfs(bytes(range(256)) * 4000)})
    fill(team, ["other/two"])
    team.configure('name = "a"\nrepos = ["acme/*"]', 'name = "b"\nrepos = ["other/*"]')
    with syncing(team, "a"):
        done = team.run("sync")
    assert done.returncode == ExitCode.PARTLY
    assert "is being carried out by run 1" in done.stderr
    assert "b succeeded" in done.stderr


def test_ctrl_c_in_a_sync_is_written_down(team: Team) -> None:
    same = Lfs(bytes(range(256)) * 4000)
    for name in ("acme/one", "acme/two"):  # the same bytes at once
        team.hub.create_repo(name).commit({"b": same})
    team.configure('name = "a"\nrepos = ["acme/*"]')
    with syncing(team) as running:
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == ExitCode.INTERRUPTED
        assert running.stderr
        assert "Traceback" not in running.stderr.read()
    (row,) = team.json("runs")
    assert row["state"] == "cancelled"
    run = team.sync()
    assert (run["state"], run["repos_changed"]) == ("succeeded", 2)
    assert team.hub.lfs_bytes_sent < 2 * 1_024_000


def test_a_short_commit_is_a_revision(team: Team) -> None:
    repo = team.hub.create_repo("acme/one")
    commit = repo.commit({"a": b"1"})
    repo.commit({"a": b"2"})
    team.configure(f'name = "a"\nrepos = ["acme/one"]\nrevisions = ["{commit[:10]}"]')
    assert team.sync()["repos_changed"] == 1
    assert team.sync()["repos_unchanged"] == 1
    team.configure('name = "a"\nrepos = ["acme/one"]\nrevisions = ["abcdef0123"]')
    assert team.sync(code=ExitCode.NOT_FOUND)["repos_failed"] == 1


def test_the_requests_of_what_was_refused_and_failed_are_counted(team: Team) -> None:
    fill(team, ["acme/one", "acme/two"])
    fill(team, ["acme/gated"], gated="manual")
    team.configure('name = "a"\nrepos = ["acme/*"]\nmax_repo_size = "10B"')
    run = team.sync(code=ExitCode.NOT_ALLOWED)
    assert (run["repos_refused"], run["repos_failed"]) == (2, 1)
    assert run["requests"] == len(team.asked())


def test_a_mirror_that_cannot_be_planned_stops_no_other(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure(
        'name = "a"\ncollection = "acme/none-1234"',
        'name = "b"\nrepos = ["acme/*"]',
    )
    done = team.run("plan")
    assert done.returncode == ExitCode.PARTLY
    assert "b: 1 changed" in done.stdout
    assert "error: a: the collection acme/none-1234" in done.stderr
    assert "hint: Compare it" in done.stderr
