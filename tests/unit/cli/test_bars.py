"""What there is to see in a terminal: rows, and how they are laid out."""

import io
from collections.abc import Iterator

import pytest

from hubsync.cli.bars import BARS_MAX, BarProgress
from hubsync.cli.names import columns_of

GB = 10**9
Screen = pytest.CaptureFixture[str]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bars(clock: Clock, capsys: Screen) -> Iterator[BarProgress]:
    assert not capsys.readouterr().err
    progress = BarProgress("acme/model", clock)
    progress.plan(8, 100 * GB, reused_files=2, reused_bytes=3 * GB)
    for number in range(6):
        size = (number + 1) * GB
        progress.file_started(f"model-{number}.bin", size, GB // 2)
    progress.file_started("README.md", 1000, 0)
    yield progress
    progress.close()


def names(bars: BarProgress, columns: int = 100) -> list[str]:
    return [row.name.strip() for row in bars.rows(101.0, columns, files_max=BARS_MAX)]


def test_the_largest_files_in_flight_have_rows_and_no_small_one(
    bars: BarProgress,
) -> None:
    assert names(bars)[2:] == [f"model-{n}.bin" for n in (5, 4, 3, 2)]
    bars.file_done("model-4.bin")
    assert names(bars)[2:] == [f"model-{n}.bin" for n in (5, 3, 2, 1)]
    for number in (0, 1, 2, 3, 5):
        bars.file_done(f"model-{number}.bin")
    assert len(names(bars)) == 2, "README.md is too small for a row of its own"


def test_verified_and_reused_bytes_and_speed_and_time_to_go_are_told(
    bars: BarProgress, clock: Clock
) -> None:
    clock.now += 2
    bars.file_advanced("model-5.bin", 2 * GB)
    bars.file_verified("model-5.bin", GB)
    whole, done, largest = bars.rows(clock.now, 100, files_max=1)
    assert whole.numbers == "5.0 GB/100.0 GB  1.0 GB/s  1:35"
    assert done.name == "  0/8 files, 1.0 GB verified, 6.0 GB reused"
    assert largest.share == pytest.approx(2.5 / 6)


def test_what_has_come_is_still_to_be_verified_and_published(
    bars: BarProgress,
) -> None:
    bars.file_advanced("model-5.bin", 6 * GB - GB // 2)
    assert bars.rows(101.0, 100, files_max=1)[2].numbers.endswith("verifying")
    bars.file_advanced("model-4.bin", 100 * GB)
    assert bars.rows(101.0, 100, files_max=1)[0].numbers.endswith("finishing")


@pytest.mark.parametrize("columns", [20, 39, 63, 79, 199])
def test_no_line_is_wider_than_the_terminal(
    capsys: Screen, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr("hubsync.cli.bars._screen", lambda: (columns, 24))
    progress = BarProgress("a-long-organisation/with-a-very-long-model-name-{}")
    progress.plan(9, 10**15)
    progress.file_started("模型/权重文件-很长的名字-第一部分-第二部分.bin", GB, 0)
    progress.file_started("model-00001-of-00120.safetensors", GB, GB)
    progress.show(progress.clock())
    progress.close()
    text = capsys.readouterr().err.replace("\x1b[A", "").replace("\x1b[J", "")
    lines = text.replace("\r", "\n").splitlines()
    assert max(map(columns_of, lines)) <= columns
    assert any(line.strip() for line in lines)


def test_a_note_stands_above_the_bars(bars: BarProgress, capsys: Screen) -> None:
    bars.note("model-5.bin: the connection broke; again in 0.5 s")
    bars.show(101.0)
    bars.close()
    bars.note("and after them\x1b[2J")
    text = capsys.readouterr().err
    assert "hubsync: model-5.bin: the connection broke" in text
    assert text.endswith("hubsync: and after them?[2J\n")


def test_names_survive_a_terminal_that_knows_ascii_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    stderr = io.TextIOWrapper(raw, "ascii", errors="strict", write_through=True)
    monkeypatch.setattr("sys.stderr", stderr)
    progress = BarProgress("acme/" + "long-name-" * 20)
    progress.plan(1, GB)
    progress.file_started("模型.bin", GB, 0)
    progress.show(progress.clock())
    progress.close()
    assert b"??.bin" in raw.getvalue()
