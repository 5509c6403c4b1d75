"""The crash tests find bugs: each of these is planted, and must be found."""

from pathlib import Path

import pytest

from tests.crash.operations import PUBLISH
from tests.crash.planted import BUGS
from tests.crash.runs import cut_power, fail_syscalls, kill_loop

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

SEED = 1
BY_KILLS = {
    "row before rename": "I2",
    "write at the final name": "I1",
    "gc without lease": "",  # deleted beside a writer, or the writer finds it out
    "unlink before commit": "I2",
}
BY_FAILED_SYNC = ("retry after failed fsync", "failed fsync ignored")
BY_ORDER = ("no directory fsync", "no file fsync")


@pytest.mark.parametrize("bug", BY_KILLS)
def test_kills_find_the_bug(tmp_path: Path, bug: str) -> None:
    report = kill_loop(tmp_path, 500, SEED, bug=bug)
    assert any(BY_KILLS[bug] in one for one in report["found"]), report


@pytest.mark.parametrize("bug", BY_FAILED_SYNC)
def test_a_failed_fsync_finds_the_bug(bug: str) -> None:
    report = fail_syscalls(PUBLISH, share="1/1", calls="fsync", bug=bug)
    assert any("I10" in one for one in report["found"])


@pytest.mark.parametrize("bug", BY_ORDER)
def test_the_order_of_system_calls_shows_the_bug(bug: str) -> None:
    report = fail_syscalls(PUBLISH, share="1/1", calls="none", bug=bug)
    assert any("F11" in one for one in report["found"])


@pytest.mark.parametrize("bug", BY_ORDER)
def test_a_power_cut_finds_the_bug(bug: str) -> None:
    report = cut_power(500, SEED, bug=bug)
    assert report["found"]


def test_no_planted_bug_is_left_out() -> None:
    assert set(BUGS) == {*BY_KILLS, *BY_FAILED_SYNC, *BY_ORDER}
