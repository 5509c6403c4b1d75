"""The crash tests find bugs: each of these is planted, and must be found."""

from pathlib import Path

import pytest

from tests.crash.operations import PUBLISH
from tests.crash.planted import BUGS
from tests.crash.runs import cut_power, fail_syscalls, kill_loop

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

SEED = 1
BY_KILLS = ("gc without lease", "unlink before commit")
# Killed before each of these calls, one run for each: no chance in it.
BY_CALLS = {
    "row before rename": ("fsync .*/partial/|rename .*/blobs/", "I2"),
    "write at the final name": ("pwrite64 .*/partial/", "I1"),
}
BY_FAILED_SYNC = ("retry after failed fsync", "failed fsync ignored")
BY_ORDER = ("no directory fsync", "no file fsync")


@pytest.mark.parametrize("bug", BY_KILLS)
def test_kills_find_the_bug(tmp_path: Path, bug: str) -> None:
    assert kill_loop(tmp_path, 500, SEED, bug=bug)["found"]


@pytest.mark.parametrize("bug", BY_CALLS)
def test_failing_calls_find_the_bug(bug: str) -> None:
    calls, invariant = BY_CALLS[bug]
    report = fail_syscalls(PUBLISH, share="1/1", calls=calls, bug=bug)
    assert any(invariant in one for one in report["found"]), report["found"]


@pytest.mark.parametrize("bug", BY_FAILED_SYNC)
def test_a_failed_fsync_finds_the_bug(bug: str) -> None:
    report = fail_syscalls(PUBLISH, share="1/1", calls="^fsync", bug=bug)
    assert any("I10" in one for one in report["found"])


@pytest.mark.parametrize("bug", BY_ORDER)
def test_the_order_of_system_calls_shows_the_bug(bug: str) -> None:
    report = fail_syscalls(PUBLISH, share="1/1", calls="none of them", bug=bug)
    assert any("F11" in one for one in report["found"])


@pytest.mark.parametrize("bug", BY_ORDER)
def test_a_power_cut_finds_the_bug(bug: str) -> None:
    report = cut_power(500, SEED, bug=bug)
    assert report["found"]


def test_no_planted_bug_is_left_out() -> None:
    assert set(BUGS) == {*BY_KILLS, *BY_CALLS, *BY_FAILED_SYNC, *BY_ORDER}
