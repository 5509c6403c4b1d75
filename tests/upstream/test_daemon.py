"""`hubsync daemon`: schedules, signals, a configuration that changes."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hubsync.catalog.errors import CatalogBusyError
from hubsync.cli.common import Common
from hubsync.cli.daemon_cmd import _Daemon
from hubsync.daemon.scheduled import Scheduled
from hubsync.daemon.scheduler import Clock
from hubsync.daemon.service import Service
from hubsync.daemon.timing import Timing
from hubsync.model.errors import ExitCode, UsageError
from hubsync.model.repo import RepoType
from hubsync.store.layout import StoreRoot
from hubsync.sync.rules import Rule
from tests.testhub import Lfs, TestHub
from tests.upstream.test_mirrors import Team, fill, team

__all__ = ["team"]  # the fixture
WAIT_S = 60.0


class Daemon:
    """The command, and what it has said so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()

    def wait_for(self, text: str, times: int = 1) -> str:
        """Until *text* was said so often; the line."""

        def found() -> list[str]:
            return [line for line in self._lines if text in line]

        with self._said:
            said = self._said.wait_for(lambda: len(found()) >= times, WAIT_S)
            assert said, (text, self._lines)
            return found()[times - 1]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join(WAIT_S)
        return code

    @property
    def said(self) -> str:
        return "".join(self._lines)


@contextmanager
def daemon(team: Team) -> Iterator[Daemon]:
    command = [sys.executable, "-m", "hubsync", "daemon", "--config", str(team.config)]
    with subprocess.Popen(
        command, env=team.mirror.environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        running = Daemon(process)
        try:
            yield running
        finally:
            process.kill()


def test_an_interval_begins_at_once_and_sigterm_ends_it(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure('name = "a"\nrepos = ["acme/*"]\nevery = "1h"')
    with daemon(team) as running:
        running.wait_for("a succeeded: 0 unchanged, 1 changed")
        assert running.end() == ExitCode.DONE
    assert "Traceback" not in running.said
    (run,) = team.json("runs")
    assert (run["state"], run["trigger"]) == ("succeeded", "schedule")


def test_a_night_that_was_missed_is_made_up_for_once(team: Team) -> None:
    fill(team, ["acme/one"])
    hour = (datetime.now(UTC) - timedelta(hours=2)).hour
    team.configure(f'name = "a"\nrepos = ["acme/*"]\nschedule = "0 {hour} * * *"')
    team.sync()
    with daemon(team) as running:
        running.wait_for("mirrors with a schedule: a")
        assert running.end() == ExitCode.DONE
    assert "nobody looked" not in running.said, "it was done after it was due"

    store = team.mirror.root / "catalog.db"
    age(store, hours=20)
    with daemon(team) as running:
        running.wait_for("was due while nobody looked")
        running.wait_for("a succeeded")
        assert running.end() == ExitCode.DONE
    assert len(team.json("runs")) == 2


def age(catalog: Path, hours: int) -> None:
    """As if all runs had been that much earlier."""
    import sqlite3  # noqa: PLC0415 - here alone

    with sqlite3.connect(catalog) as connection:
        moved = f"datetime(started_at, '-{hours} hours') || '.000000'"
        connection.execute(f"UPDATE runs SET started_at = {moved}")
    connection.close()


def test_sigterm_in_the_middle_keeps_what_came(team: Team) -> None:
    size = 1_024_000
    team.hub.create_repo("acme/big").commit({"b": Lfs(bytes(range(256)) * 4000)})
    team.configure('name = "a"\nrepos = ["acme/*"]\nevery = "1h"')
    team.hub.pace.rate_bytes_per_s = 200_000
    asked = threading.Event()
    team.hub.hooks.append(lambda seen: asked.set() if seen.role == "cdn" else None)
    with daemon(team) as running:
        assert asked.wait(WAIT_S)
        assert running.end() == ExitCode.DONE
    assert "Traceback" not in running.said
    (run,) = team.json("runs")
    assert run["state"] == "cancelled"
    team.hub.pace.rate_bytes_per_s = None
    assert team.sync()["state"] == "succeeded"
    assert team.hub.lfs_bytes_sent <= 2 * size


def test_sighup_reads_the_configuration_again(team: Team) -> None:
    fill(team, ["acme/one", "other/two"])
    first = 'name = "a"\nrepos = ["acme/*"]\nevery = "1h"'
    team.configure(first)
    with daemon(team) as running:
        running.wait_for("a succeeded")
        team.configure(first, 'name = "b"\nrepos = ["other/two"]\nevery = "soon"')
        running.process.send_signal(signal.SIGHUP)
        line = running.wait_for("the configuration stays as it was")
        assert "configuration refused" in line
        team.configure(
            first.replace("1h", "2h"), 'name = "b"\nrepos = ["other/*"]\nevery = "1h"'
        )
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("configuration read again: a is due at other times")
        running.wait_for("configuration read again: b is new")
        running.wait_for("b succeeded")
        assert running.end() == ExitCode.DONE


def test_ctrl_c_ends_it_as_it_ends_others(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure('name = "a"\nrepos = ["acme/*"]\nevery = "1h"')
    with daemon(team) as running:
        running.wait_for("a succeeded")
        assert running.end(signal.SIGINT) == ExitCode.INTERRUPTED


def test_a_hub_that_is_down_is_said_and_the_daemon_goes_on(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure('name = "a"\nrepos = ["acme/*"]\nevery = "1h"')
    team.hub.stop()
    with daemon(team) as running:
        running.wait_for("a failed")
        assert running.process.poll() is None
        assert running.end() == ExitCode.DONE


def test_sigterm_while_somebody_has_the_store_alone(team: Team) -> None:
    fill(team, ["acme/one"])
    team.configure(
        'name = "a"\nrepos = ["acme/*"]',
        'name = "b"\nrepos = ["acme/*"]\nevery = "1h"',
    )
    team.sync("a")
    with (
        StoreRoot.open(team.mirror.root, create=False).lock_exclusive(),
        daemon(team) as running,
    ):
        running.wait_for("b begins")
        assert running.end() == ExitCode.DONE


@contextmanager
def daemon_here(team: Team, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Daemon]:
    for key, value in team.mirror.environment().items():
        monkeypatch.setenv(key, value)
    common = Common(
        team.config, team.mirror.root, as_json=False, quiet=True, no_progress=True
    )
    with common.open(create=True) as app:
        yield _Daemon(common, app)


def test_a_list_file_is_read_anew_by_each_run(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(team, ["acme/one", "other/two"])
    names = tmp_path / "names.txt"
    names.write_text("acme/one\n", "utf-8")
    team.configure(f'name = "a"\nlist_file = "{names}"\nevery = "1h"')
    with daemon_here(team, monkeypatch) as here:
        (one,) = here._load()
        names.write_text("other/two\n", "utf-8")
        asyncio.run(here._carry_out(one.rule))
    assert team.held() == ["other/two complete"]


def test_of_a_refused_configuration_nothing_is_taken(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.configure('name = "a"\nrepos = ["acme/one"]\nevery = "1h"')
    with daemon_here(team, monkeypatch) as here:
        here._load()
        before = here._app.settings
        team.configure('name = "a"\nrepos = ["acme/two"]')
        with pytest.raises(UsageError, match="no mirror has a schedule"):
            here._load()
        assert here._app.settings is before


def test_no_schedule_at_all(team: Team) -> None:
    team.configure('name = "a"\nrepos = ["acme/*"]')
    done = team.run("daemon")
    assert done.returncode == ExitCode.USAGE
    assert "no mirror has a schedule" in done.stderr


def test_mirrors_says_when_each_is_due(team: Team) -> None:
    team.configure(
        'name = "a"\nrepos = ["acme/*"]\nschedule = "30 2 * * *"\n'
        'timezone = "Asia/Shanghai"',
        'name = "b"\nrepos = ["acme/*"]',
    )
    shown = {row["mirror"]: row["next_run_at"] for row in team.json("mirrors")}
    assert shown["a"].endswith("T18:30:00Z")
    assert shown["b"] is None
    assert "by hand" in team.run("mirrors").stdout


def scheduled(name: str, timing: Timing) -> Scheduled:
    return Scheduled(Rule(name, "huggingface", RepoType.MODEL), timing)


def test_a_catalog_that_is_busy_once_ends_no_worker() -> None:
    names = ["a", "b"]
    asked: list[str] = []
    done: list[str] = []
    failed, is_done = asyncio.Event(), asyncio.Event()

    async def carry_out(rule: Rule) -> None:
        done.append(rule.name)
        if len(done) == 2:
            is_done.set()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def last(name: str) -> None:
            asked.append(name)
            if asked.count(name) == 2:  # the first time is at the start
                if len(asked) == 4:
                    loop.call_soon_threadsafe(failed.set)
                raise CatalogBusyError("busy")

        service = Service(lambda: mirrors[:], carry_out, last, at_once=1)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group, asyncio.timeout(WAIT_S):
            group.create_task(service.run(stop))
            await failed.wait()
            await asyncio.sleep(0.1)  # until that is said
            mirrors[:] = [scheduled(name, Timing(every_s=7200)) for name in names]
            service.reload()
            await is_done.wait()
            stop.set()

    mirrors = [scheduled(name, Timing(every_s=3600)) for name in names]
    asyncio.run(run())
    assert sorted(done) == names


def test_who_waited_for_a_place_for_days_is_carried_out() -> None:
    done: list[str] = []

    async def carry_out(rule: Rule) -> None:
        done.append(rule.name)

    due = datetime.now(UTC) - timedelta(hours=30)
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    weekly = Timing(f"{due.minute} {due.hour} * * {days[due.weekday()]}")
    before = due - timedelta(days=7)
    service = Service(list, carry_out, lambda _: before, at_once=1)
    service._mirrors = {"a": scheduled("a", weekly)}
    asyncio.run(service._try("a", due))
    assert done == ["a"]


def test_who_is_due_is_called_in_the_event_loop() -> None:
    threads: list[threading.Thread] = []

    async def run() -> None:
        called, loop = asyncio.Event(), asyncio.get_running_loop()

        def due(_name: str) -> None:
            threads.append(threading.current_thread())
            loop.call_soon_threadsafe(called.set)

        clock = Clock(due)
        clock.start()
        clock.keep({"a": Timing(every_s=1)})
        async with asyncio.timeout(WAIT_S):
            await called.wait()
        clock.stop()

    asyncio.run(run())
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('schedule = "0 2 * *"', "has 4 fields"),
        ('schedule = "0 2 31 2 *"', "never due"),
        ('schedule = "@daily"\nevery = "1h"', "give one of them"),
        ('every = "5s"', "once a minute"),
        ('schedule = "@daily"\ntimezone = "Berlin"', "no time zone"),
    ],
)
def test_a_schedule_that_is_none(
    team: Team, hub_is_not_asked: TestHub, keys: str, said: str
) -> None:
    team.configure(f'name = "a"\nrepos = ["acme/*"]\n{keys}')
    done = team.run("config", "check")
    assert done.returncode == ExitCode.USAGE
    assert said in done.stderr
    assert f"{team.config}:" in done.stderr


@pytest.fixture
def hub_is_not_asked(team: Team) -> Iterator[TestHub]:
    yield team.hub
    assert team.asked() == []
