"""When a mirror is due: cron as cron means it, each night once, late ones once."""

from datetime import UTC, datetime, timedelta

import pytest

from hubsync.daemon.scheduler import check_cron, next_time, share, was_missed
from hubsync.daemon.timing import Timing, check_zone, plain_cron

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(timing: Timing, start: str, count: int = 3) -> list[str]:
    now, found = at(start), []
    for _ in range(count):
        due = next_time("m", timing, now)
        assert due is not None
        found.append(f"{due:%m-%d %H:%M}")
        now = due + timedelta(seconds=1)
    return found


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 3 * * 0", ["11-29", "12-06", "12-13"]),  # Sunday, by cron's numbers
        ("0 3 * * 7", ["11-29", "12-06", "12-13"]),
        ("0 3 * * 1", ["11-30", "12-07", "12-14"]),
        ("0 3 * * mon", ["11-30", "12-07", "12-14"]),
        ("0 3 * * 5-7", ["11-28", "11-29", "12-04"]),
        ("0 3 * * 1-5", ["11-30", "12-01", "12-02"]),
        ("0 3 * * MON-FRI/2", ["11-30", "12-02", "12-04"]),
        ("0 3 * * */2", ["11-28", "11-29", "12-01"]),  # sun, tue, thu, sat
        ("@weekly", ["11-29", "12-06", "12-13"]),
    ],
)
def test_days_of_the_week_are_crons(cron: str, days: list[str]) -> None:
    found = times(Timing(cron), "2026-11-28T01:00")  # a Saturday
    assert [one.split()[0] for one in found] == days


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 3 * *", "has 4 fields"),
        ("0 0 3 * * *", "has 6 fields"),
        ("61 3 * * *", "61"),
        ("0 3 * * 8", "8"),
        ("0 3 * * fri-mon", "ends before it begins"),
        ("0 3 31 2 *", "never due"),
        ("every night", "has 2 fields"),
    ],
)
def test_what_is_no_cron_expression(cron: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_cron(cron)


def test_a_night_is_once_also_when_the_clocks_change() -> None:
    nightly = Timing("30 2 * * *", zone=BERLIN)
    # 02:30 is there twice on 25 October, and not at all on 29 March.
    assert times(nightly, "2026-10-24T12:00") == [
        "10-25 00:30",
        "10-26 01:30",
        "10-27 01:30",
    ]
    assert times(nightly, "2026-03-28T12:00") == [
        "03-29 01:30",
        "03-30 00:30",
        "03-31 00:30",
    ]


@pytest.mark.parametrize(
    ("zone", "before", "nights"),
    [
        (BERLIN, "2026-03-28T12:00", ["03-28 23:00", "03-29 22:00", "03-30 22:00"]),
        ("America/Santiago", "2026-09-04T12:00", ["09-05 04:00", "09-06 04:00"]),
    ],
)
def test_a_midnight_is_not_left_out(zone: str, before: str, nights: list[str]) -> None:
    assert times(Timing("@daily", zone=zone), before, len(nights)) == nights


def test_each_hour_is_each_hour_also_when_the_clocks_change() -> None:
    hourly = Timing("0 * * * *", zone=BERLIN)
    assert times(hourly, "2026-10-24T23:30", 4) == [
        "10-25 00:00",
        "10-25 01:00",
        "10-25 02:00",
        "10-25 03:00",
    ]


def test_jitter_is_the_same_each_night_and_another_for_another() -> None:
    timing = Timing("0 2 * * *", jitter_s=3600)
    first, second = times(timing, "2026-11-28T12:00", 2)
    assert first.split()[1] == second.split()[1]
    later = next_time("m", timing, at("2026-11-28T12:00"))
    assert later == at("2026-11-29T02:00") + timedelta(seconds=3600 * share("m"))
    assert share("m") != share("n")


def test_what_was_due_and_not_done_is_missed_for_a_day() -> None:
    nightly = Timing("0 2 * * *")
    done = at("2026-11-27T02:00:05")
    assert not was_missed("m", nightly, done, at("2026-11-28T01:59"))
    assert was_missed("m", nightly, done, at("2026-11-28T02:00"))
    assert was_missed("m", nightly, done, at("2026-11-29T01:59"))
    weekly = Timing("0 2 * * mon")
    assert was_missed("m", weekly, done, at("2026-12-01T01:00"))
    assert not was_missed("m", weekly, done, at("2026-12-01T03:00"))
    assert not was_missed("m", nightly, None, at("2026-11-28T12:00"))


def test_an_interval_begins_at_once_and_then_keeps_its_distance() -> None:
    often = Timing(every_s=600)
    now = at("2026-11-28T12:00")
    assert was_missed("m", often, None, now)
    assert not was_missed("m", often, now, now + timedelta(seconds=300))
    assert was_missed("m", often, now, now + timedelta(seconds=600))


def test_zones() -> None:
    assert check_zone("Asia/Shanghai") == "Asia/Shanghai"
    for name in ("Berlin", "../../etc/passwd", "", "Europe/Atlantis"):
        with pytest.raises(ValueError, match="is no time zone"):
            check_zone(name)


def test_what_is_not_a_day_is_left_to_the_scheduler() -> None:
    assert plain_cron("*/5 1,2 1-7 jan *") == "*/5 1,2 1-7 jan *"
