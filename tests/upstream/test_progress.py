"""What a person, a log and a program see of a pull, and what it says it costs."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubsync.cli.names import columns_of
from hubsync.ports.hub import UnavailableError
from tests.pulling import Mirror
from tests.testhub import Lfs, TestHub
from tests.testhub.faults import Fault

MB = 10**6
SIZE = 20 * MB
CJK = "onnx/模型/权重文件-很长的名字-第一部分-第二部分.bin"


@pytest.fixture
def slow(hub: TestHub, mirror: Mirror) -> Mirror:
    repo = hub.create_repo("acme/large")
    files = {name: Lfs(os.urandom(SIZE)) for name in ("large-weights.bin", CJK)}
    repo.commit({**files, "README.md": b"# hi\n"})
    limits = {"HUBSYNC_TRANSFER__RATE_LIMIT": "15MB/s"}
    return Mirror(mirror.root, mirror.endpoint, limits)


class Terminal:
    """A terminal in which one pull of acme/large runs."""

    def __init__(self, mirror: Mirror, columns: int, **env: str) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hubsync", "pull", "acme/large"],
            env=mirror.environment(**{"TERM": "xterm", "CI": "", **env}),
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", 20, columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def read(self) -> Iterator[str]:
        """What is written to it, as it comes; until the pull has succeeded."""
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other end is closed
                break
            yield data.decode("utf-8", "replace")
        os.close(self._ours)
        assert self._process.wait(30) == 0


def lines_of(text: str) -> list[str]:
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [line for line in re.split(r"[\r\n]+", drawn) if line.strip()]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_bars_fit_the_terminal_and_end_in_one_line(slow: Mirror, columns: int) -> None:
    text = "".join(Terminal(slow, columns).read())
    lines = lines_of(text)
    bars = [line for line in lines if "%" in line or "verified" in line][:-1]
    assert bars, text
    assert max(map(columns_of, bars)) < columns
    assert any(re.match(r"acme/large +\d+%", line) for line in bars)
    assert any(re.match(r"  (large-weights|模型|…)", line) for line in bars)
    assert any(re.match(r"  [01]/3 files, .* verified", line) for line in bars)
    assert "(40.0 MB fetched and verified at" in lines[-1]


def test_a_terminal_that_gets_narrow_gets_narrow_bars(slow: Mirror) -> None:
    terminal = Terminal(slow, 120)
    before, after = "", ""
    for text in terminal.read():
        if not before and "|" in text and "MB/s" in text:
            terminal.resize(40)
            before = text
        after += text if before else ""
    assert "|" in before, "there was room for bars"
    _, _, after = after.partition("\x1b[J")
    *bars, last = lines_of(after)
    assert bars
    assert max(map(columns_of, bars)) < 40
    assert "fetched and verified" in last


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_nothing_moves_where_nothing_can(slow: Mirror, env: dict[str, str]) -> None:
    text = "".join(Terminal(slow, 80, **env).read())
    assert "\x1b" not in text
    assert text.count("\r") == text.count("\r\n"), "a terminal's ends of lines"


def test_no_bars_when_nobody_watches(slow: Mirror) -> None:
    done = slow.run("pull", "acme/large")
    assert done.returncode == 0
    assert "\r" not in done.stderr
    assert "%" not in done.stderr
    (last,) = done.stderr.splitlines()
    assert re.search(r"3 files, 40\.0 MB \(40\.0 MB fetched and verified at", last)
    again = slow.run("pull", "acme/large")
    assert "0 B fetched, 40.0 MB reused" in again.stderr


def test_a_program_gets_events_on_stderr_and_the_result_on_stdout(
    slow: Mirror,
) -> None:
    done = slow.run("pull", "acme/large", "--json", "--progress", "json")
    assert done.returncode == 0
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {one["event"] for one in events} >= {"plan", "progress", "file_done", "done"}
    result = json.loads(done.stdout)
    last = events[-1]
    assert last["event"] == "done"
    assert last["commit"] == result["commit"]
    assert last.items() >= result.items(), "all that --json says"
    assert last["bytes_fetched"] == 2 * SIZE + 5


def test_a_program_learns_of_an_error_by_an_event(mirror: Mirror) -> None:
    done = mirror.run("pull", "acme/nowhere", "--progress", "json")
    assert done.returncode == 3
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["event"] == "error"
    assert last["exit_code"] == 3
    assert "acme/nowhere" in last["message"]
    assert last["hint"]


def test_the_plan_counts_the_requests_that_fetching_takes(
    hub: TestHub, mirror: Mirror
) -> None:
    repo = hub.create_repo("acme/counted")
    repo.commit(
        {
            **{f"{n}.bin": Lfs(b"%d" % n * 999) for n in range(3)},
            **{f"{n}.txt": b"text %d" % n for n in range(4)},
            "empty": b"",
        }
    )
    plan = mirror.json("pull", "acme/counted", "--dry-run")
    assert plan["requests_spent"] == len(hub.log.matching(role="hub"))
    hub.log.clear()
    done = mirror.json("pull", "acme/counted")
    sent = len(hub.log.matching(role="hub"))
    assert sent == plan["requests_spent"] + plan["requests_to_fetch"]
    assert plan["requests_to_fetch"] == 3 + 2 * 4
    assert plan["requests_to_fetch_min"] == 3 + 4
    assert done["requests"] == sent + 3, "the CDN was asked for each LFS file"


def test_a_plan_tells_people_what_it_costs(hub: TestHub, mirror: Mirror) -> None:
    hub.create_repo("acme/two").commit({"a.bin": Lfs(b"a" * 999), "b.txt": b"b"})
    done = mirror.run("pull", "acme/two", "--dry-run")
    assert re.search(
        r"requests +3 sent to plan this, 2 to 3 more to fetch", done.stdout
    )


def test_the_plan_knows_that_another_hubsync_sends_contents_itself(
    hub: TestHub, mirror: Mirror, tmp_path: Path
) -> None:
    plain = {f"{n}.txt": b"text %d" % n for n in range(4)}
    hub.create_repo("acme/inner").commit({"a.bin": Lfs(b"a" * 999), **plain})
    mirror.pull("acme/inner")
    with _serving(mirror) as endpoint:
        second = Mirror(tmp_path / "second", endpoint)
        plan = second.json("pull", "acme/inner", "--dry-run")
        assert plan["requests_to_fetch"] == plan["requests_to_fetch_min"] == 5
        told = second.run("pull", "acme/inner", "--dry-run").stdout
        assert "5 more to fetch, and 1 for each further part of a large" in told
        done = second.json("pull", "acme/inner")
        assert done["requests"] == plan["requests_spent"] + 5


@contextmanager
def _serving(mirror: Mirror) -> Iterator[str]:
    """A `hubsync serve` of *mirror*'s store; its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "hubsync", "serve", "--port", "0", "--json"],
        env=mirror.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def test_a_changed_file_costs_the_listing_and_itself(
    hub: TestHub, mirror: Mirror
) -> None:
    repo = hub.create_repo("acme/changing")
    files = {f"{n}.bin": Lfs(b"%d" % n * 999) for n in range(5)}
    repo.commit({**files, "README.md": b"# one\n"})
    mirror.pull("acme/changing")
    repo.commit({"README.md": b"# two\n"})
    plan = mirror.json("pull", "acme/changing", "--dry-run")
    assert (plan["requests_spent"], plan["requests_to_fetch"]) == (2, 2)
    assert plan["bytes_reused"] == 5 * 999


def test_what_was_held_shared_or_resumed_is_reused(
    hub: TestHub, mirror: Mirror
) -> None:
    held, twice, half = b"h" * 7000, b"t" * 500, os.urandom(SIZE)
    hub.create_repo("acme/other").commit({"held.bin": Lfs(held)})
    mirror.pull("acme/other")
    files = {"a": twice, "b": twice, "held": held, "half": half}
    hub.create_repo("acme/all").commit({f"{k}.bin": Lfs(v) for k, v in files.items()})
    hub.faults.add(Fault("truncate", match="half", role="cdn", times=-1, at=MB))
    once = Mirror(mirror.root, mirror.endpoint, {"HUBSYNC_TRANSFER__RETRIES": "0"})
    with pytest.raises(UnavailableError):
        once.pull("acme/all")
    hub.faults.clear()
    result = mirror.json("pull", "acme/all")
    assert 0 < result["bytes_fetched"] < SIZE
    assert result["bytes_reused"] > len(held) + len(twice)
    assert result["bytes_fetched"] + result["bytes_reused"] == result["bytes"]


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2> >(head -1)"])
def test_a_pull_goes_on_when_nobody_can_be_told(
    hub: TestHub, mirror: Mirror, where: str
) -> None:
    for name in ("one", "two"):
        files = {f"{n}.bin": Lfs(os.urandom(99)) for n in range(9)}
        hub.create_repo(f"acme/{name}").commit(files)
    pull = f"{sys.executable} -m hubsync pull acme/one acme/two --progress json"
    done = subprocess.run(
        ["bash", "-c", f"{pull} {where}"],
        env=mirror.environment(),
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0
    paths = [line for line in done.stdout.splitlines() if not line.startswith("{")]
    assert len(paths) == 2, "the folder of each"


def test_a_reader_that_has_seen_enough_does_not_end_the_other_pulls(
    hub: TestHub, mirror: Mirror
) -> None:
    names = ["acme/one", "acme/two", "acme/three"]
    for name in names:
        hub.create_repo(name).commit({"a.bin": Lfs(name.encode() * 99)})
    pull = f"{sys.executable} -m hubsync pull {' '.join(names)} --progress plain"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{pull} 2>&1 | head -1"],
        env=mirror.environment(),
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0
    held = {one["repo"] for one in map(json.loads, _listed(mirror))}
    assert held == set(names)


def _listed(mirror: Mirror) -> list[str]:
    return mirror.run("list", "--json").stdout.splitlines()


def test_an_interrupted_pull_ends_in_an_event_like_the_others(slow: Mirror) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hubsync", "pull", "acme/large", "--progress", "json"],
        env=slow.environment(HUBSYNC_TRANSFER__RATE_LIMIT="1MB/s"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    events = []
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            events.append(json.loads(line))
            if events[-1]["event"] == "file_started":
                process.send_signal(signal.SIGINT)
                break
        events += [json.loads(line) for line in process.stderr]
    assert process.returncode == 130
    last = events[-1]
    assert last["event"] == "error"
    assert last["exit_code"] == 130
    assert last["of"] == "acme/large"
    assert last["elapsed_s"] >= events[0]["elapsed_s"]
