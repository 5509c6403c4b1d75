"""What a log sees of a transfer."""

import re

import pytest

from hubsync.cli.plain_progress import PlainProgress

MB = 10**6


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


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


def test_a_log_of_many_hours_gets_a_line_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    progress = PlainProgress("org/model", clock)
    progress.plan(1, 10**12)
    progress.file_started("a", 10**12, 0)
    for _ in range(5 * 3600):
        clock.now += 1
        progress.file_advanced("a", 10 * MB)
    lines = capsys.readouterr().err.splitlines()
    assert 300 < len(lines) < 400
    assert re.search(r", 10\.0 MB/s, 22:4\d:\d\d to go$", lines[-1])
