"""What a program sees of a transfer (``--progress json``)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hubsync.cli.events import EventProgress
from hubsync.cli.main import run
from hubsync.model.errors import ExitCode, NotHeldError
from tests.unit.cli.harness import FILES, Cli, write

MANUAL = Path(__file__).parents[3] / "docs" / "progress.md"


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


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


def test_every_event_is_in_the_manual_with_its_keys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", MANUAL.read_text("utf-8"), re.MULTILINE
    )
    manual = {event: set(re.findall(r"`(\w+)`", keys)) for event, keys in rows}
    clock = Clock()
    progress = EventProgress("org/model", clock)
    progress.plan(1, 100)
    progress.file_started("a", 100, 0)
    clock.now += 1
    progress.file_advanced("a", 50)
    progress.file_done("a")
    progress.note("again in 3 s")
    progress.done({})
    progress.failed(NotHeldError("no", hint="yes"))
    always = {"event", "of", "elapsed_s"}
    seen = {}
    for line in capsys.readouterr().err.splitlines():
        event = json.loads(line)
        assert always <= event.keys()
        keys = event.keys() - always
        for file in event.get("in_flight", []):
            keys |= file.keys()
        seen[event["event"]] = keys
    assert seen == manual


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["pull", "org/model", "--progress=json", "--bogus"], 2),
        (["pull", "--progress", "json"], 2),
        (["pull", "not a repo", "--progress", "json"], 2),
        (["pull", "org/model", "--progress", "json", "--config", "/nowhere.toml"], 2),
        (["pull", "org/model", "--progress", "json", "--offline"], 10),
        (["verify", "org/model", "--progress", "json"], 3),
    ],
    ids=["option", "no repo", "repo", "config", "offline", "not held"],
)
def test_whatever_goes_wrong_is_one_event(
    cli: Cli, capsys: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    done = cli(*words)
    assert done.code == code
    assert events(done.err)[-1]["event"] == "error"
    assert events(done.err)[-1]["exit_code"] == code


@pytest.mark.parametrize("how", ["add", "verify"])
def test_other_commands_end_in_done_with_all_that_json_says(
    held: tuple[Cli, str, str], how: str
) -> None:
    cli, _, _ = held
    folder = write(cli.tmp / "folder", FILES)
    words = ["--all"] if how == "verify" else [str(folder), "acme/new"]
    done = cli.good(how, *words, "--json", "--progress", "json")
    seen = events(done.err)
    assert [one["event"] for one in seen].count("done") == 1
    assert seen[-1].items() >= done.object().items()
    plan = next(one for one in seen if one["event"] == "plan")
    ended = [one["path"] for one in seen if one["event"] == "file_done"]
    assert len(ended) == plan["files"] > 0


def test_only_the_command_that_was_asked_talks_in_events(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(["pull", "--progress", "json"])
    run(["pull"])
    first, *others = capsys.readouterr().err.splitlines()
    assert json.loads(first)["event"] == "error"
    assert others[0] == "hubsync: error: missing argument 'REPO...'"


def test_every_event_of_a_command_says_what_it_is_of_and_when(
    held: tuple[Cli, str, str],
) -> None:
    cli, _, _ = held
    (blob, *_) = cli.blobs()
    blob.unlink()
    done = cli("verify", "--all", "--progress", "json")
    assert done.code == ExitCode.INTEGRITY
    seen = events(done.err)
    notes = [one for one in seen if one["event"] == "note"]
    assert notes, "what is damaged"
    for one in seen:
        assert one["of"] == "verify"
        assert one["elapsed_s"] >= 0
