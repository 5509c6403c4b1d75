"""F2, F3, F4 and F5: each system call of an operation fails, one run for each.

The process is killed before the call, or the call says EIO, or ENOSPC.  After
each run the store must be sound, and the next command must go on with it.
"""

import os

import pytest

from tests.crash.operations import BATCH, FORGET, GC, PUBLISH
from tests.crash.runs import Report, fail_syscalls

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1500)]

# What is too much for every day is sampled; HUBSYNC_CRASH_ALL=1 leaves nothing out.
ALL = bool(os.environ.get("HUBSYNC_CRASH_ALL"))
SHARES = [
    *((PUBLISH, f"{n}/4", 33) for n in ((1, 2, 3, 4) if ALL else (1, 3))),
    *((BATCH, f"{n}/11", 23) for n in (range(1, 12) if ALL else (1, 6))),
    (GC, "1/1", 30),
    *((FORGET, f"{n}/2", 20) for n in (1, 2)),
]
each_share = pytest.mark.parametrize(("operation", "share", "runs_min"), SHARES)


@each_share
def test_f2_killed_before_any_call_the_store_is_sound_and_goes_on(
    operation: str, share: str, runs_min: int
) -> None:
    report = _failing("signal=KILL$", operation, share, runs_min)
    assert report["killed"] >= report["runs"] * 3 // 4


@each_share
def test_f3_after_an_input_output_error_of_any_call_nothing_is_believed(
    operation: str, share: str, runs_min: int
) -> None:
    report = _failing("error=EIO$", operation, share, runs_min)
    assert report["failed"] >= report["runs"] // 2, "most errors are no small matter"


@pytest.mark.parametrize(("operation", "runs_min"), [(PUBLISH, 20), (BATCH, 5)])
def test_f4_a_sync_that_failed_once_is_not_asked_again_for_the_same_bytes(
    operation: str, runs_min: int
) -> None:
    """The call after it would say yes; that nobody makes it is looked at, too."""
    calls = "^(fsync|fdatasync|syncfs) .*error=EIO$"
    share = "1/1" if ALL or operation == PUBLISH else "1/3"
    report = _failing(calls, operation, share, runs_min)
    assert report["failed"] >= report["runs"] // 2


@each_share
def test_f5_without_room_at_any_call_the_store_is_sound_and_goes_on(
    operation: str, share: str, runs_min: int
) -> None:
    report = _failing("error=ENOSPC$", operation, share, runs_min)
    assert report["failed"] >= report["runs"] // 2


def _failing(calls: str, operation: str, share: str, runs_min: int) -> Report:
    report = fail_syscalls(operation, share=share, calls=calls)
    assert report["found"] == []
    assert report["runs"] >= runs_min
    return report
