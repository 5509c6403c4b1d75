"""Leases: what is claimed stays, and whoever was taken for dead is fenced."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from hubsync.catalog import leases as leases_module
from hubsync.catalog.catalog import Catalog, Publication
from hubsync.catalog.errors import NotWholeError
from hubsync.catalog.leases import Lease, LeaseLostError, Watch
from hubsync.catalog.owner import Owner
from hubsync.catalog.tables import lease_claims, leases
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import ExitCode
from hubsync.model.snapshot import Commit
from tests.unit.catalog.making import MAIN, held, lfs, oid, plain, repo

HERE = Owner.this_process()
ELSEWHERE = replace(HERE, boot_id="another boot", host="elsewhere")
PROJECT = Path(__file__).parents[3]


def watch(monotonic_s: float, here: Owner = ELSEWHERE) -> Watch:
    """Somebody who cannot look at our processes."""
    return Watch(here, monotonic_s)


def publication(must_hold: bool = True) -> Publication:
    return Publication(
        repo(),
        None,
        Commit(oid(1)),
        [plain("a", b"1"), lfs("b", b"2")],
        [MAIN],
        must_hold=(lambda _path, _lfs: True) if must_hold else None,
    )


def claims(catalog: Catalog) -> int:
    with catalog._session.reading() as connection:
        count = select(func.count()).select_from(lease_claims)
        return connection.scalar(count) or 0


def steal(catalog: Catalog, lease: Lease) -> None:
    """Do what a gc does to the dead."""
    assert catalog.drop_dead_leases(watch(0)) == 0
    assert catalog.drop_dead_leases(watch(60)) == 1
    assert all(row.id != lease.id for row in catalog.leases())


def test_what_is_claimed_is_not_dropped(catalog: Catalog) -> None:
    lease = catalog.open_lease("a test")
    catalog.claim(lease, [Digest.of(b"1")])
    catalog.record_blobs([held(b"1"), held(b"2")], lease)
    assert list(catalog.unneeded_blobs()) == [held(b"2")]
    both = [Digest.of(b"1"), Digest.of(b"2")]
    assert catalog.drop_unneeded(both) == [Digest.of(b"2")]
    catalog.close_lease(lease)
    assert catalog.drop_unneeded(both) == [Digest.of(b"1")]


def test_a_claim_to_one_name_keeps_the_blob_under_all_of_them(catalog: Catalog) -> None:
    """A plain file is claimed by its git id: no hub tells its sha256."""
    catalog.record_blobs([held(b"1")])
    lease = catalog.open_lease("a test")
    catalog.claim(lease, [GitOid.of_blob(b"1")])
    assert catalog.drop_unneeded([Digest.of(b"1")]) == []
    assert set(catalog.held([Digest.of(b"1")])) == {Digest.of(b"1")}


def test_bytes_that_are_claimed_before_they_are_held_must_stay(
    catalog: Catalog,
) -> None:
    lease = catalog.open_lease("a test")
    catalog.claim(lease, [Digest.of(b"1")])
    digests = [Digest.of(b"1"), Digest.of(b"2")]
    assert catalog.needed(digests) == {Digest.of(b"1")}
    assert catalog.needed(digests, dead=[lease.id]) == set()


def test_publishing_ends_the_lease_and_the_tree_keeps_the_blobs(
    catalog: Catalog,
) -> None:
    lease = catalog.open_lease("a test")
    catalog.claim(lease, [Digest.of(b"1"), Digest.of(b"2"), Digest.of(b"3")])
    blobs = [held(b"1"), held(b"2", as_lfs=True), held(b"3")]
    catalog.record_blobs(blobs, lease)
    assert catalog.publish(publication(), lease).new_commit
    assert (catalog.leases(), claims(catalog)) == ([], 0)
    assert list(catalog.unneeded_blobs()) == [held(b"3")]
    catalog.close_lease(lease)


def test_a_lease_says_who_has_it_and_why(catalog: Catalog) -> None:
    lease = catalog.open_lease("pull of \0 org/name")
    (row,) = catalog.leases()
    assert (row.id, row.owner) == (lease.id, HERE)
    assert row.purpose == "pull of \ufffd org/name"
    assert str(os.getpid()) in str(row.owner)


def test_whoever_lost_the_lease_is_refused_and_nothing_is_recorded(
    catalog: Catalog,
) -> None:
    lease = catalog.open_lease("a test")
    catalog.claim(lease, [Digest.of(b"1"), Digest.of(b"2")])
    steal(catalog, lease)
    for attempt in (
        lambda: catalog.claim(lease, [Digest.of(b"3")]),
        lambda: catalog.record_blobs([held(b"1")], lease),
        lambda: catalog.publish(publication(must_hold=False), lease),
    ):
        with pytest.raises(LeaseLostError, match="a test") as lost:
            attempt()
        assert lost.value.exit_code is ExitCode.BUSY
        assert lost.value.retryable
        assert lost.value.hint
    assert not catalog.beat(lease)
    assert claims(catalog) == 0
    assert list(catalog.all_held()) == []
    assert catalog.repos() == []
    catalog.close_lease(lease)


def test_a_file_that_must_be_held_and_is_not_keeps_the_ref_where_it_was(
    catalog: Catalog,
) -> None:
    lease = catalog.open_lease("a test")
    catalog.record_blobs([held(b"1")], lease)
    with pytest.raises(NotWholeError, match="b of") as refused:
        catalog.publish(publication(), lease)
    assert refused.value.path == "b"
    assert catalog.repos() == []
    assert len(catalog.leases()) == 1, "the command may fetch it and try again"
    catalog.record_blobs([held(b"2", as_lfs=True)], lease)
    assert catalog.publish(publication(), lease).new_commit


def test_only_the_files_that_must_be_held_are_looked_at(catalog: Catalog) -> None:
    catalog.record_blobs([held(b"1")])
    pointers = replace(publication(), must_hold=lambda _path, is_lfs: not is_lfs)
    assert catalog.publish(pointers).new_commit
    none = replace(publication(), must_hold=lambda path, _lfs: path == "c")
    assert not catalog.publish(none).new_commit


def test_many_claims_count_once_each(catalog: Catalog) -> None:
    names = [Digest.of(b"%d" % n) for n in range(3000)]
    lease = catalog.open_lease("a test")
    catalog.claim(lease, names + names[:10])
    catalog.claim(lease, [*names[1500:], Digest.of(b"more")])
    assert claims(catalog) == 3001
    assert catalog.needed(names) == set(names)
    catalog.close_lease(lease)
    assert claims(catalog) == 0


def test_what_two_have_claimed_stays_until_both_are_gone(catalog: Catalog) -> None:
    catalog.record_blobs([held(b"1")])
    first, second = catalog.open_lease("first"), catalog.open_lease("second")
    for lease in (first, second):
        catalog.claim(lease, [Digest.of(b"1")])
    catalog.close_lease(first)
    assert catalog.drop_unneeded([Digest.of(b"1")]) == []
    catalog.close_lease(second)
    assert catalog.drop_unneeded([Digest.of(b"1")]) == [Digest.of(b"1")]


def claim_while_deciding(catalog: Catalog) -> list[str]:
    """What was over first, when somebody claims in the middle of a decision."""
    lease = catalog.open_lease("a test")
    deciding, claiming, claimed = (threading.Event() for _ in range(3))
    order: list[str] = []

    def decide(needed: AbstractSet[Digest]) -> None:
        assert needed == set()
        deciding.set()
        assert claiming.wait(30)
        # It cannot be seen waiting from here; let in, it would be done by then.
        claimed.wait(0.5)
        order.append("decided")

    def claim() -> None:
        assert deciding.wait(30)
        claiming.set()
        catalog.claim(lease, [Digest.of(b"1")])
        order.append("claimed")
        claimed.set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(claim)
        catalog.while_deciding([Digest.of(b"1")], decide)
        waiting.result()
    return order


def test_nobody_begins_to_need_anything_while_gc_decides(catalog: Catalog) -> None:
    assert claim_while_deciding(catalog) == ["decided", "claimed"]


@pytest.mark.parametrize("catalog_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("side", ["keep_all_out", "keep_gc_out"])
def test_without_the_lock_of_either_side_somebody_would(
    catalog: Catalog, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above finds it out.  SQLite has one writer anyway."""
    monkeypatch.setattr(leases_module, side, lambda _connection: None)
    assert claim_while_deciding(catalog) == ["claimed", "decided"]


def test_an_error_while_deciding_comes_through(catalog: Catalog) -> None:
    def fail(_: AbstractSet[Digest]) -> None:
        raise KeyError("disk")

    with pytest.raises(KeyError):
        catalog.while_deciding([], fail)
    catalog.while_deciding([], lambda _: None)


# Who is dead


def test_a_process_we_can_look_at_is_alive_whatever_the_clock_says(
    catalog: Catalog,
) -> None:
    catalog.open_lease("a test")
    for monotonic_s in (0.0, 1e6, 1e9):
        assert catalog.dead_leases(watch(monotonic_s, HERE)) == []
        assert catalog.drop_dead_leases(watch(monotonic_s, HERE)) == 0
    with catalog._session.reading() as connection:
        row = connection.execute(select(leases)).one()
    assert row.observed_beat is None, "nothing had to be written"


HOLD = """
import sys
from hubsync.catalog.catalog import Catalog
from hubsync.model.digest import Digest

with Catalog.open(sys.argv[1]) as catalog:
    catalog.claim(catalog.open_lease("another"), [Digest.of(b"1")])
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_holds_a_lease(url: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()
            process.wait()


def test_a_process_that_was_killed_is_dead_at_once_even_before_it_is_reaped(
    catalog: Catalog, catalog_url: str
) -> None:
    with another_holds_a_lease(catalog_url) as process:
        catalog.record_blobs([held(b"1")])
        assert catalog.drop_dead_leases() == 0
        assert catalog.drop_unneeded([Digest.of(b"1")]) == []
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert len(catalog.dead_leases()) == 1
        assert list(catalog.unneeded_blobs(None, catalog.dead_leases())) == [held(b"1")]
        assert catalog.drop_dead_leases() == 1
    assert catalog.drop_unneeded([Digest.of(b"1")]) == [Digest.of(b"1")]


def test_a_process_that_is_stopped_is_not_dead(
    catalog: Catalog, catalog_url: str
) -> None:
    with another_holds_a_lease(catalog_url) as process:
        os.kill(process.pid, signal.SIGSTOP)
        assert catalog.drop_dead_leases(watch(1e9, HERE)) == 0
        os.kill(process.pid, signal.SIGCONT)


def test_another_process_with_the_same_number_is_not_the_holder() -> None:
    assert HERE.is_running()
    assert HERE.pid_started is not None
    again = replace(HERE, pid_started=HERE.pid_started + 1)
    assert again.is_running() is False


def test_a_process_of_another_boot_or_container_cannot_be_looked_at() -> None:
    assert HERE.shares_processes_with(replace(HERE, pid=1, host="renamed"))
    assert not HERE.shares_processes_with(replace(HERE, boot_id="another"))
    assert not HERE.shares_processes_with(replace(HERE, pid_namespace="pid:[1]"))
    unknown = replace(HERE, boot_id="")
    assert not unknown.shares_processes_with(unknown)


def test_the_first_process_is_somebody_elses_and_runs() -> None:
    assert replace(HERE, pid=1, pid_started=None).is_running() is not False


def test_without_a_beat_for_a_minute_of_the_watchers_clock_it_is_dead(
    catalog: Catalog,
) -> None:
    lease = catalog.open_lease("a test")
    assert catalog.drop_dead_leases(watch(1000)) == 0
    assert catalog.drop_dead_leases(watch(1059.9)) == 0
    assert catalog.beat(lease)
    assert catalog.dead_leases(watch(1060)) == []
    assert catalog.drop_dead_leases(watch(1060)) == 0
    assert catalog.dead_leases(watch(1119.9)) == []
    assert catalog.dead_leases(watch(1120)) == [lease.id]
    assert catalog.drop_dead_leases(watch(1120)) == 1
    assert not catalog.beat(lease)


@pytest.mark.parametrize("after", ["a reboot", "a clock set back"])
def test_what_was_noticed_before_a_reboot_says_nothing(
    catalog: Catalog, after: str
) -> None:
    catalog.open_lease("a test")
    assert catalog.drop_dead_leases(watch(1000)) == 0
    here = replace(ELSEWHERE, boot_id="the next") if "boot" in after else ELSEWHERE
    later = 2000 if "boot" in after else 500
    assert catalog.drop_dead_leases(watch(later, here)) == 0
    assert catalog.drop_dead_leases(watch(later + 59, here)) == 0
    assert catalog.drop_dead_leases(watch(later + 60, here)) == 1
