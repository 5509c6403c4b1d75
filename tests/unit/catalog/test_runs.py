"""Runs: what they did is told, also of those that were killed; and what is held."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.errors import CatalogReadOnlyError
from hubsync.catalog.leases import Lease
from hubsync.catalog.mirrored import MirrorRepo
from hubsync.catalog.runs import (
    LEFT,
    MirrorBusyError,
    RunCounters,
    RunOutcome,
    RunRepoRow,
    RunState,
)
from hubsync.model.digest import Digest
from hubsync.model.errors import ExitCode
from hubsync.model.repo import RepoId, RepoType
from tests.unit.catalog.making import WHEN, held, lfs, oid, plain, publish, repo
from tests.unit.catalog.test_leases import PROJECT, watch

COUNTERS = RunCounters(500, 499, 2, 1, 30, 2**40, 2**41, 520, 61.5)
CHANGED = RunRepoRow(repo(), "main", RunOutcome.CHANGED, oid(1), 3, 2**33, 2**34, 5)
FAILED = RunRepoRow(
    repo("org/other", RepoType.DATASET),
    "refs/tags/v1",
    RunOutcome.FAILED,
    error="gated\0",
    exit_code=ExitCode.NOT_ALLOWED.value,
)


@pytest.fixture
def lease(catalog: Catalog) -> Lease:
    return catalog.open_lease("a run")


def mirrored(
    of: RepoId, commit: object = 1, *, revision: str = "main", mirror: str = "nightly"
) -> MirrorRepo:
    return MirrorRepo(mirror, of, revision, "hub id", oid(commit), "all", WHEN)


# What they did


def test_a_run_is_told_while_it_runs_and_after_it_has_ended(
    catalog: Catalog, lease: Lease
) -> None:
    before = datetime.now(UTC)
    number = catalog.runs.begin("nightly", "command", lease)
    running = catalog.runs.find(number)
    assert running is not None
    assert (running.id, running.mirror, running.trigger) == (
        number,
        "nightly",
        "command",
    )
    assert before <= running.started_at <= datetime.now(UTC)
    assert (running.state, running.ended_at) == (RunState.RUNNING, None)
    assert (running.counters, running.error) == (RunCounters(), None)
    catalog.runs.end(number, RunState.PARTIAL, COUNTERS, "1 repo of 500 failed")
    ended = catalog.runs.find(number)
    assert ended is not None
    assert ended.ended_at is not None
    assert ended.ended_at >= running.started_at
    assert ended == replace(
        running,
        ended_at=ended.ended_at,
        state=RunState.PARTIAL,
        counters=COUNTERS,
        error="1 repo of 500 failed",
    )


def run_to_end(catalog: Catalog, mirror: str, lease: Lease) -> int:
    number = catalog.runs.begin(mirror, "command", lease)
    catalog.runs.end(number, RunState.SUCCEEDED, RunCounters())
    return number


@pytest.mark.parametrize("count", [8])
def test_of_many_that_begin_a_mirror_at_once_one_does(
    catalog: Catalog, count: int
) -> None:
    leases = [catalog.open_lease(f"run {n}") for n in range(count)]
    together = threading.Barrier(count)

    def begin(lease: Lease) -> int | None:
        together.wait()
        try:
            return catalog.runs.begin("nightly", "schedule", lease)
        except MirrorBusyError:
            return None

    with ThreadPoolExecutor(count) as pool:
        begun = [one for one in pool.map(begin, leases) if one is not None]
    assert len(begun) == 1
    assert [row.id for row in catalog.runs.list()] == begun
    assert catalog.runs.begin("other", "schedule", leases[0]) > begun[0]


def test_runs_are_listed_newest_first_of_one_mirror_or_all(
    catalog: Catalog, lease: Lease
) -> None:
    numbers = [run_to_end(catalog, mirror, lease) for mirror in ("a", "b", "a", "a")]
    first, second, third, fourth = numbers
    assert numbers == sorted(numbers)

    def listed(mirror: str | None = None, limit: int = 50) -> list[int]:
        return [row.id for row in catalog.runs.list(mirror, limit)]

    assert listed() == [fourth, third, second, first]
    assert listed("a") == [fourth, third, first]
    assert listed("a", 2) == [fourth, third]
    assert listed(limit=1) == [fourth]
    assert listed("c") == listed("A") == listed("a\0") == []
    last = catalog.runs.last("b")
    assert last is not None
    assert last.id == second
    assert catalog.runs.last("c") is None
    assert catalog.runs.find(fourth + 1) is None


def test_what_a_run_met_is_told_and_the_last_word_counts(
    catalog: Catalog, lease: Lease
) -> None:
    one, two = (run_to_end(catalog, "nightly", lease) for _ in range(2))
    catalog.runs.note(one, [replace(FAILED, error="not yet"), CHANGED])
    catalog.runs.note(one, [replace(FAILED, error="still not"), FAILED])
    catalog.runs.note(two, [CHANGED])
    catalog.runs.note(two, [])
    shown = replace(FAILED, error="gated\ufffd")
    assert catalog.runs.repos(one) == [shown, CHANGED]
    assert catalog.runs.repos(two) == [CHANGED]
    assert catalog.runs.repos(two + 1) == []


def test_thousands_of_repos_are_noted_and_noted_again(
    catalog: Catalog, lease: Lease
) -> None:
    number = catalog.runs.begin("nightly", "command", lease)
    rows = [replace(FAILED, repo=repo(f"org/{n:05}")) for n in range(5000)]
    catalog.runs.note(number, rows)
    again = [replace(row, outcome=RunOutcome.GONE, error=None) for row in rows]
    catalog.runs.note(number, again[1:])
    found = catalog.runs.repos(number)
    assert [row.outcome for row in found[:2]] == [RunOutcome.FAILED, RunOutcome.GONE]
    assert list(found[1:]) == again[1:]


def test_a_store_that_is_only_read_tells_of_its_runs(
    catalog: Catalog, catalog_url: str, lease: Lease
) -> None:
    number = catalog.runs.begin("nightly", "command", lease)
    catalog.runs.note(number, [CHANGED])
    with Catalog.open(catalog_url, read_only=True) as reader:
        assert reader.runs.list() == catalog.runs.list()
        assert reader.runs.repos(number) == [CHANGED]
        with pytest.raises(CatalogReadOnlyError):
            reader.runs.begin("nightly", "command", lease)


# Those that were killed


RUN = """
import sys
from hubsync.catalog.catalog import Catalog

with Catalog.open(sys.argv[1]) as catalog:
    lease = catalog.open_lease("a run")
    print(catalog.runs.begin("nightly", "command", lease), flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_runs(url: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A process that is at a run, and the run's number."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
    ) as process:
        try:
            assert process.stdout
            yield process, int(process.stdout.readline())
        finally:
            process.kill()
            process.wait()


def state(catalog: Catalog, number: int) -> tuple[RunState, str | None, bool]:
    """How a run stands, why, and whether its end is written down."""
    row = catalog.runs.find(number)
    assert row is not None
    return row.state, row.error, row.ended_at is not None


def test_a_run_whose_process_was_killed_has_failed(
    catalog: Catalog, catalog_url: str, lease: Lease
) -> None:
    mine = catalog.runs.begin("mine", "command", lease)
    with another_runs(catalog_url) as (process, number):
        assert catalog.runs.end_left_running() == 0
        assert state(catalog, number) == (RunState.RUNNING, None, False)
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # Told at once, also by who may only read; written down by the next run.
        assert state(catalog, number) == (RunState.FAILED, LEFT, False)
        assert catalog.runs.list()[0].state is RunState.FAILED
        assert catalog.runs.end_left_running() == 1
    assert state(catalog, number) == (RunState.FAILED, LEFT, True)
    assert state(catalog, mine) == (RunState.RUNNING, None, False)
    assert catalog.runs.end_left_running() == 0
    assert [row.id for row in catalog.leases()] == [lease.id]


def test_a_run_whose_lease_a_gc_has_ended_is_not_running(
    catalog: Catalog, lease: Lease
) -> None:
    number = catalog.runs.begin("nightly", "command", lease)
    catalog.close_lease(lease)
    assert state(catalog, number) == (RunState.FAILED, LEFT, False)
    assert catalog.runs.end_left_running() == 1
    assert state(catalog, number) == (RunState.FAILED, LEFT, True)


def test_a_run_elsewhere_has_ended_when_it_gives_no_sign_of_life(
    catalog: Catalog, lease: Lease
) -> None:
    number = catalog.runs.begin("nightly", "command", lease)
    assert catalog.runs.end_left_running(watch(1000)) == 0
    assert catalog.runs.end_left_running(watch(1059)) == 0
    assert catalog.beat(lease)
    assert catalog.runs.end_left_running(watch(1060)) == 0
    assert catalog.runs.end_left_running(watch(1119)) == 0
    assert state(catalog, number) == (RunState.RUNNING, None, False)
    assert catalog.runs.end_left_running(watch(1120)) == 1
    assert state(catalog, number) == (RunState.FAILED, LEFT, True)


def test_who_was_taken_for_dead_and_was_not_has_the_last_word(
    catalog: Catalog, lease: Lease
) -> None:
    number = catalog.runs.begin("nightly", "command", lease)
    catalog.close_lease(lease)
    assert catalog.runs.end_left_running() == 1
    catalog.runs.note(number, [CHANGED])
    catalog.runs.end(number, RunState.SUCCEEDED, COUNTERS)
    assert state(catalog, number) == (RunState.SUCCEEDED, None, True)


def test_an_ended_run_needs_no_process(catalog: Catalog, lease: Lease) -> None:
    number = catalog.runs.begin("nightly", "command", lease)
    catalog.runs.end(number, RunState.CANCELLED, RunCounters())
    catalog.close_lease(lease)
    assert catalog.runs.end_left_running() == 0
    assert state(catalog, number) == (RunState.CANCELLED, None, True)


# What mirrors hold


@pytest.fixture
def three(catalog: Catalog) -> list[MirrorRepo]:
    """Rows of three repos, one of which has two revisions; in order."""
    catalog.record_blobs([held(b"same"), held(b"1"), held(b"big", as_lfs=True)])
    one, two, three = (repo(f"org/{name}") for name in ("one", "three", "two"))
    publish(catalog, 1, [plain("a", b"1")], of=one, alias="org/former")
    publish(catalog, 2, [plain("a", b"same"), lfs("b", b"big")], of=two)
    publish(catalog, 2, [plain("c", b"same")], of=three)
    publish(catalog, 3, [plain("c", b"same"), plain("a", b"1")], of=three, refs=[])
    rows = [
        mirrored(one),
        mirrored(two, 2),
        mirrored(three, 2),
        mirrored(three, 3, revision="refs/tags/v1"),
    ]
    catalog.runs.keep_mirrored(rows)
    return rows


def test_what_a_mirror_holds_is_kept_by_mirror_and_replaced(
    catalog: Catalog, three: list[MirrorRepo]
) -> None:
    assert catalog.runs.mirrored("nightly") == three
    other = replace(three[0], mirror="other", hub_id=None)
    newer = replace(three[0], selection="*.json", since=datetime.now(UTC))
    catalog.runs.keep_mirrored([three[0], other, newer])
    assert catalog.runs.mirrored("nightly") == [newer, *three[1:]]
    assert catalog.runs.mirrored("other") == [other]
    assert catalog.runs.mirrored("third") == []


def test_what_a_mirror_holds_no_more_is_dropped(
    catalog: Catalog, three: list[MirrorRepo]
) -> None:
    other = replace(three[2], mirror="other")
    catalog.runs.keep_mirrored([other])
    catalog.runs.drop_mirrored("nightly", [three[0].key, three[2].key])
    assert catalog.runs.mirrored("nightly") == [three[1], three[3]]
    catalog.runs.drop_mirrored("nightly", [])
    catalog.runs.drop_mirrored("third", [three[1].key])
    assert catalog.runs.mirrored("nightly") == [three[1], three[3]]
    assert catalog.runs.mirrored("other") == [other]


def test_a_forgotten_repo_is_held_by_no_mirror(
    catalog: Catalog, three: list[MirrorRepo]
) -> None:
    catalog.runs.keep_mirrored([replace(three[2], mirror="other")])
    row = catalog.find_repo(three[2].repo)
    assert row is not None
    catalog.forget(row, None)
    assert catalog.runs.mirrored("nightly") == three[:2]
    assert catalog.runs.mirrored("other") == []


def test_a_forgotten_snapshot_is_held_by_no_mirror_and_others_are(
    catalog: Catalog, three: list[MirrorRepo]
) -> None:
    row = catalog.find_repo(three[2].repo)
    assert row is not None
    snapshot = catalog.resolve(row, oid(2))
    assert snapshot is not None
    catalog.forget(row, snapshot)
    assert catalog.runs.mirrored("nightly") == [*three[:2], three[3]]


def test_a_repo_is_found_by_the_name_that_a_mirror_knows(
    catalog: Catalog, three: list[MirrorRepo]
) -> None:
    former = replace(three[0], repo=repo("org/former"))
    catalog.runs.keep_mirrored([former])
    assert catalog.runs.mirrored("nightly") == [former, *three]
    row = catalog.find_repo(former.repo)
    assert row is not None
    catalog.forget(row, None)
    assert catalog.runs.mirrored("nightly") == three[1:]


@pytest.mark.parametrize(
    ("content", "left"),
    [(b"big", [0, 2, 3]), (b"same", [0]), (b"1", [1]), (b"unknown", [0, 1, 2, 3])],
)
def test_a_repo_with_a_damaged_blob_is_held_by_no_mirror(
    catalog: Catalog, three: list[MirrorRepo], content: bytes, left: list[int]
) -> None:
    digest = Digest.of(content)
    assert not catalog.mark_lost(digest, is_there=lambda: True)
    assert catalog.runs.mirrored("nightly") == three
    assert catalog.mark_lost(digest) == (content != b"unknown")
    assert catalog.runs.mirrored("nightly") == [three[n] for n in left]


def test_what_was_damaged_or_forgotten_beside_the_run_is_looked_at_again(
    catalog: Catalog, three: list[MirrorRepo]
) -> None:
    """Between bringing in a repo and writing down that it is held."""
    catalog.runs.drop_mirrored("nightly", [row.key for row in three])
    catalog.mark_lost(Digest.of(b"1"))
    gone = catalog.find_repo(three[1].repo)
    assert gone is not None
    catalog.forget(gone, None)
    never = replace(three[2], commit=oid("never"))
    catalog.runs.keep_mirrored([*three, never])
    assert catalog.runs.mirrored("nightly") == []
    catalog.runs.keep_mirrored(three)
    assert catalog.runs.mirrored("nightly") == [three[2]], "its other commit has b'1'"
    catalog.record_blobs([held(b"1")])
    catalog.runs.keep_mirrored(three)
    assert catalog.runs.mirrored("nightly") == [three[0], *three[2:]]


@pytest.mark.parametrize("what", ["damaged", "forgotten"])
def test_what_goes_between_the_look_and_the_row_takes_the_row_with_it(
    catalog: Catalog, three: list[MirrorRepo], what: str
) -> None:
    gone = catalog.find_repo(three[0].repo)
    assert gone is not None
    catalog.runs.drop_mirrored("nightly", [three[0].key])
    done = threading.Event()

    def act() -> None:
        if what == "damaged":
            catalog.mark_lost(Digest.of(b"1"))
        else:
            catalog.forget(gone, None)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        acting: list[Future[None]] = []

        def before(*arguments: Any) -> None:
            if arguments[2].startswith("INSERT INTO mirror_repos"):
                acting.append(pool.submit(act))
                # It cannot be seen waiting from here; let in, it would be done.
                assert not done.wait(0.5)

        event.listen(catalog._session.engine, "before_cursor_execute", before)
        catalog.runs.keep_mirrored([three[0]])
        acting[0].result(30)
    assert three[0] not in catalog.runs.mirrored("nightly")
