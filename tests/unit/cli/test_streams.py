"""A stderr or stdout that cannot be written to."""

import subprocess
from pathlib import Path

import pytest

from tests.unit.cli.harness import COMMAND, FILES, PROJECT, Cli, write

ADD = "add folder acme/model"
OPEN_ONE = """
import sys
from hubsync.cli.streams import set_up_streams
set_up_streams()
file = open("mine", "wb")
print(file.fileno())
print("talk", file=sys.stderr)
"""
NOWHERE = ["2>&-", "2>/dev/full", "<&- 2>&-"]


def shell(cli: Cli, line: str) -> "subprocess.CompletedProcess[str]":
    """Run *line* as a shell does; in it ``$HUBSYNC`` is the command."""
    more = {"PYTHONPATH": str(PROJECT), "HUBSYNC": " ".join(COMMAND)}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        check=False,
        text=True,
        cwd=cli.tmp,
        env=cli.env | more,
    )


@pytest.fixture
def adding(cli: Cli) -> Cli:
    write(cli.tmp / "folder", FILES)
    return cli


@pytest.mark.parametrize("where", NOWHERE)
@pytest.mark.parametrize("progress", ["plain", "json", "bar"])
def test_talk_that_nobody_can_hear_ends_nothing(
    adding: Cli, where: str, progress: str
) -> None:
    done = shell(adding, f"$HUBSYNC {ADD} --progress {progress} {where}")
    assert done.returncode == 0
    assert Path(done.stdout.strip(), "README.md").is_file()


@pytest.mark.parametrize("where", NOWHERE)
def test_an_error_that_nobody_can_hear_keeps_its_exit_status(
    adding: Cli, where: str
) -> None:
    assert shell(adding, f"$HUBSYNC show a/b {where}").returncode == 3
    assert shell(adding, f"$HUBSYNC nothing {where}").returncode == 2


@pytest.mark.parametrize(
    ("where", "why", "code"),
    [
        (">/dev/full", "No space left on device", 7),
        (">&-", "Bad file descriptor", 1),
    ],
)
@pytest.mark.parametrize("words", [ADD, "--help", "config show --json"])
def test_a_result_that_cannot_be_handed_over_is_an_error(
    adding: Cli, words: str, where: str, why: str, code: int
) -> None:
    done = shell(adding, f"$HUBSYNC {words} {where}")
    assert done.returncode == code
    assert f"error: cannot write to standard output: {why}" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_opened_never_becomes_a_closed_stderr(adding: Cli) -> None:
    """A catalog that got descriptor 2 would have talk written into it."""
    (adding.tmp / "open_one.py").write_text(OPEN_ONE)
    done = shell(adding, f"{COMMAND[0]} open_one.py <&- 2>&-")
    assert int(done.stdout) > 2
    assert (adding.tmp / "mine").read_bytes() == b""
