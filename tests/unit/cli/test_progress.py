"""What a person, a log and a program see of a transfer."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hubsync.cli.bars import shortened
from hubsync.cli.events import EventProgress
from hubsync.cli.plain_progress import PlainProgress
from hubsync.cli.tally import Tally, format_seconds
from tests.pulling import Mirror
from tests.testhub import Lfs, TestHub

MB = 10**6
SIZE = 20 * MB


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_of_what_came_in_this_run() -> None:
    tally = Tally(files=1, size_bytes=100 * MB)
    tally.rate(0.0)
    tally.started("a", 100 * MB, 40 * MB)
    tally.advanced("a", 20 * MB)
    rate = tally.rate(2.0)
    assert rate == 10 * MB, "what an earlier run left is no speed of this one"
    assert tally.eta_s(rate) == 4.0
    assert Tally(files=1, size_bytes=5).eta_s(None) is None


def test_the_rate_forgets_what_was_long_ago() -> None:
    tally = Tally(files=1, size_bytes=1000 * MB)
    tally.started("a", 1000 * MB, 0)
    rate = None
    for second in range(20):
        tally.advanced("a", MB if second < 10 else 3 * MB)
        rate = tally.rate(float(second))
    assert rate == 3 * MB


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.2, "8 s"), (200, "3:20"), (7400, "2:03:20")]
)
def test_seconds_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    "text", ["short", "a" * 100, "模型/" * 30, "e\u0301" * 60, "model-00001-of-00009"]
)
def test_a_long_name_loses_its_middle_and_fits(text: str) -> None:
    found = shortened(text, 20)
    wide = sum(2 if char in "模型" else char != "\u0301" for char in found)
    assert wide <= 20
    assert found == text or "…" in found
    assert found[0] == text[0]


def test_a_log_gets_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    progress = PlainProgress("org/model", clock)
    progress.plan(2, 100 * MB)
    progress.file_started("a", 100 * MB, 0)
    for _ in range(25):
        clock.now += 1
        progress.file_advanced("a", 2 * MB)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "org/model: 20 %, 20.0 MB of 100.0 MB, 0/2 files, 2.0 MB/s, 40 s to go",
        "org/model: 40 %, 40.0 MB of 100.0 MB, 0/2 files, 2.0 MB/s, 30 s to go",
    ]


def test_events_are_json_and_progress_comes_twice_a_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    progress = EventProgress("org/model", clock)
    progress.plan(1, 100, reused_files=3, reused_bytes=7)
    progress.file_started("a", 100, 10)
    for _ in range(72):
        clock.now += 0.0625
        progress.file_advanced("a", 1)
        progress.file_verified("a", 1)
    progress.file_done("a")
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    kinds = [one["event"] for one in events]
    assert kinds[:2] == ["plan", "file_started"]
    assert kinds[-1] == "file_done"
    assert kinds.count("progress") == 9, "4.5 s at two a second"
    assert events[0]["bytes_reused"] == 7
    last = events[-2]
    assert last["bytes_total"] == 100
    assert last["rate_bytes_per_s"] == pytest.approx(16, abs=1)
    assert last["in_flight"][0]["path"] == "a"


@pytest.fixture
def slow(hub: TestHub, mirror: Mirror) -> Mirror:
    repo = hub.create_repo("acme/large")
    repo.commit({"large-weights.bin": Lfs(os.urandom(SIZE)), "README.md": b"# hi\n"})
    limits = {"HUBSYNC_TRANSFER__RATE_LIMIT": "25MB/s"}
    return Mirror(mirror.root, mirror.endpoint, limits)


def in_terminal(mirror: Mirror, columns: int, *args: str) -> Iterator[str]:
    """What is written to a terminal of that width, in the order it comes."""
    ours, theirs = pty.openpty()
    size = f"stty cols {columns} rows 20 <&2; exec "
    command = " ".join([sys.executable, "-m", "hubsync", "pull", "acme/large", *args])
    process = subprocess.Popen(
        ["sh", "-c", size + command],
        env=mirror.environment(TERM="xterm"),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        yield data.decode("utf-8", "replace")
    os.close(ours)
    assert process.wait(30) == 0


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_bars_fit_the_terminal_and_end_in_one_line(slow: Mirror, columns: int) -> None:
    text = "".join(in_terminal(slow, columns))
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line for line in re.split(r"[\r\n]+", drawn) if line.strip()]
    bars = [line for line in lines if "%" in line]
    assert bars, text
    assert max(map(len, bars)) <= columns
    assert any(line.lstrip().startswith("acme/large") for line in bars)
    assert any("large-weights" in line or "…" in line for line in bars)
    assert "fetched and verified" in "".join(lines[-6:])


def test_no_bars_when_nobody_watches(slow: Mirror) -> None:
    done = slow.run("pull", "acme/large")
    assert done.returncode == 0
    assert "\r" not in done.stderr
    assert "%" not in done.stderr
    (last,) = done.stderr.splitlines()
    assert re.search(r"2 files, 20\.0 MB \(20\.0 MB fetched and verified at", last)
    again = slow.run("pull", "acme/large")
    assert "0 B fetched, 20.0 MB reused" in again.stderr


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
    assert last["bytes_fetched"] == SIZE + 5


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
    assert plan["requests"] == len(hub.log.matching(role="hub"))
    hub.log.clear()
    done = mirror.json("pull", "acme/counted")
    sent = len(hub.log.matching(role="hub"))
    assert sent == plan["requests"] + plan["requests_to_fetch"]
    assert plan["requests_to_fetch"] == 3 + 2 * 4
    assert done["requests"] == sent + 3, "the CDN was asked for each LFS file"
