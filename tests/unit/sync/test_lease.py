"""A lease over a command's life, and what happens to one that was lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.leases import LeaseLostError, Watch
from hubsync.catalog.owner import Owner
from hubsync.model.digest import Descriptor, Digest, GitOid
from hubsync.ports.blobs import HeldBlob, Ingest
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.sync.lease import GroupRecorder, leased

PROJECT = Path(__file__).parents[3]
ELSEWHERE = replace(Owner.this_process(), boot_id="another boot")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(sqlite_url(tmp_path / "catalog.db")) as opened:
        yield opened


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(StoreRoot.open(tmp_path / "store", create=True))


def verified(blobs: LocalBlobs, data: bytes) -> Ingest:
    """A plain file as the engine hands it over."""
    ingest = blobs.begin(Descriptor(len(data), git_oid=GitOid.of_blob(data)))
    assert ingest is not None
    assert not isinstance(ingest, HeldBlob)
    ingest.write(data)
    ingest.verify()
    return ingest


def steal(catalog: Catalog) -> None:
    """Do what a gc on another machine does after a minute without a beat."""
    assert catalog.drop_dead_leases(Watch(ELSEWHERE, 0)) == 0
    assert catalog.drop_dead_leases(Watch(ELSEWHERE, 60)) == 1


def test_a_lease_lasts_as_long_as_its_block(catalog: Catalog) -> None:
    with leased(catalog, "a test") as lease:
        assert [row.id for row in catalog.leases()] == [lease.id]
    assert catalog.leases() == []
    with pytest.raises(KeyError), leased(catalog, "a test"):
        raise KeyError
    assert catalog.leases() == []


def test_the_heart_beats_while_the_work_goes_on_and_stops_with_it(
    catalog: Catalog,
) -> None:
    beats, enough = list[bool](), threading.Event()

    class Counting(Catalog):
        def beat(self, lease: object) -> bool:
            beats.append(catalog.beat(lease))  # type: ignore[arg-type]
            if len(beats) == 3:
                enough.set()
            return beats[-1]

    with leased(Counting(catalog._session), "a test", beat_s=0.001):
        assert enough.wait(30)
        hearts = [one for one in threading.enumerate() if one.name == "lease"]
        assert len(hearts) == 1
    assert not hearts[0].is_alive()
    assert all(beats)


def test_a_group_is_stored_and_recorded_under_the_lease(
    catalog: Catalog, blobs: LocalBlobs
) -> None:
    with leased(catalog, "a test") as lease:
        record = GroupRecorder(catalog, blobs, lease)
        record([verified(blobs, b"1"), verified(blobs, b"2")])
        assert {blob.digest for blob in catalog.all_held()} == set(blobs.digests())
        assert list(catalog.unneeded_blobs()) == [], "claimed by digest, once known"
    assert len(list(catalog.unneeded_blobs())) == 2


def test_a_group_is_not_stored_when_the_lease_is_lost(
    catalog: Catalog, blobs: LocalBlobs
) -> None:
    with leased(catalog, "a test") as lease:
        steal(catalog)
        ingest = verified(blobs, b"1")
        with pytest.raises(LeaseLostError):
            GroupRecorder(catalog, blobs, lease)([ingest])
    assert list(blobs.digests()) == []
    assert list(catalog.all_held()) == []
    again = blobs.begin(ingest.want, wait=False)
    assert again is not None, "its lock was let go of"
    assert not isinstance(again, HeldBlob)
    assert again.offset == 1, "and what was fetched is kept"
    again.abort()


def test_a_lease_lost_between_storing_and_recording_records_nothing(
    catalog: Catalog, blobs: LocalBlobs
) -> None:
    class StolenMeanwhile(LocalBlobs):
        def publish(self, ingests: Sequence[Any]) -> None:
            blobs.publish(ingests)
            steal(catalog)

    slow = StolenMeanwhile(blobs.root)
    with leased(catalog, "a test") as lease, pytest.raises(LeaseLostError):
        GroupRecorder(catalog, slow, lease)([verified(blobs, b"1")])
    assert list(catalog.all_held()) == []


def test_a_blob_that_a_gc_took_before_it_was_claimed_is_not_recorded(
    catalog: Catalog, blobs: LocalBlobs
) -> None:
    """It had been put there by somebody else, who did not live to record it."""
    with leased(catalog, "a test") as lease, pytest.raises(LeaseLostError):
        GroupRecorder(catalog, blobs, lease)([HeldBlob(Digest.of(b"1"), 1)])
    assert list(catalog.all_held()) == []


FENCED = """
import sys
from dataclasses import replace
from hubsync.catalog import leases
from hubsync.catalog.catalog import Catalog
from hubsync.catalog.owner import Owner
from hubsync.model.digest import Digest
from hubsync.ports.blobs import HeldBlob
from hubsync.sync.lease import leased

class InAContainer(Owner):
    @classmethod
    def this_process(cls):
        return replace(Owner.this_process(), pid_namespace="pid:[1]")

leases.Owner = InAContainer
with Catalog.open(sys.argv[1]) as catalog:
    # No beat: stopped in the middle of one it would keep SQLite locked.
    with leased(catalog, "a pull", beat_s=1000) as lease:
        catalog.claim(lease, [Digest.of(b"1")])
        print("held", flush=True)
        sys.stdin.readline()
        try:
            catalog.record_blobs([HeldBlob(Digest.of(b"1"), 1)], lease)
            print("recorded", flush=True)
        except leases.LeaseLostError as error:
            print(type(error).__name__, flush=True)
"""


def test_f17_a_process_that_was_paused_and_taken_for_dead_is_fenced(
    catalog: Catalog, tmp_path: Path
) -> None:
    """I14.  It runs in a container, so its pid says nothing to us."""
    with subprocess.Popen(
        [sys.executable, "-c", FENCED, sqlite_url(tmp_path / "catalog.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        here = Owner.this_process()
        os.kill(process.pid, signal.SIGSTOP)
        assert catalog.drop_dead_leases(Watch(here, 1e5)) == 0
        assert catalog.drop_dead_leases(Watch(here, 1e5 + 59)) == 0
        assert catalog.drop_dead_leases(Watch(here, 1e5 + 60)) == 1
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "LeaseLostError\n"
        process.stdin.close()
        assert process.wait(30) == 0
    assert list(catalog.all_held()) == []
    assert catalog.leases() == []
