"""What must be true of a store whose processes were all killed just now."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from hubsync.sync.rebuild import settle_forgotten
from tests.simulation.gc_world import CONTENTS, Site

EXPECTED = {hashlib.sha256(content).hexdigest(): content for content in CONTENTS}


def check(folder: Path) -> None:
    """Write what is wrong to ``found``."""
    site = Site.open(folder, "")
    found = [
        *names_are_true(site),
        *refs_have_their_bytes(site),
        *held_is_there(site),
        *acknowledged_is_there(site),
        *views_are_whole(site),
        *records_say_the_same(site),
        *catalog_is_sound(site),
        *nobody_failed(site),
    ]
    site.catalog.close()
    (folder / "found").write_text(json.dumps([one[:2000] for one in found[:10]]))


def names_are_true(site: Site) -> Iterator[str]:
    """I1: whatever has a blob's name has its bytes."""
    for digest in site.blobs.digests():
        with site.blobs.open(digest) as file:
            if file.read() != EXPECTED.get(digest.hex):
                yield f"I1: {digest} has other bytes"


def refs_have_their_bytes(site: Site) -> Iterator[str]:
    """I2, I4: what was published is whole."""
    for row in site.catalog.repos():
        for snapshot in site.catalog.snapshots(row):
            for one in site.catalog.entries(snapshot):
                if one.digest is None:
                    yield f"I4: {row.repo} has {one.entry.path}, not held"
                elif not site.blobs.has(one.digest, one.entry.size_bytes):
                    yield f"I2: {row.repo} has {one.entry.path}, not there"


def held_is_there(site: Site) -> Iterator[str]:
    """Rows go before bytes, bytes come before rows."""
    for blob in site.catalog.all_held():
        if not site.blobs.has(blob.digest, blob.size_bytes):
            yield f"{blob.digest} is held and not there"


def acknowledged_is_there(site: Site) -> Iterator[str]:
    """I3, I5: until somebody asks to forget it."""
    acknowledged: dict[tuple[str, str], bool] = {}
    for line in site.journal.read_text().splitlines():
        word, *rest = line.split(" ")
        if word == "acknowledges":
            acknowledged[rest[0], rest[1]] = True
        elif word == "forgets":
            acknowledged.pop((rest[0], rest[1]), None)
    there = {
        (row.repo.name, snapshot.commit.oid)
        for row in site.catalog.repos()
        for snapshot in site.catalog.snapshots(row)
    }
    for name, oid in acknowledged:
        # Others forget what is not org/…0, and may have before we said "done".
        if name.endswith("0") and (name, oid) not in there:
            yield f"I5: {name}@{oid} was acknowledged and is gone"


def views_are_whole(site: Site) -> Iterator[str]:
    """What a client sees leads somewhere, and is recorded."""
    recorded = {
        snapshot.commit.oid
        for row in site.catalog.repos()
        for snapshot in site.catalog.snapshots(row)
    }
    for snapshot in site.root.hub.glob("*/snapshots/*"):
        if snapshot.name not in recorded:
            yield f"{snapshot} is laid out and not recorded"
        for link in snapshot.iterdir():
            number = int(link.name.partition(".")[0])
            if not link.exists() or link.read_bytes() != CONTENTS[number]:
                yield f"{link} does not lead to its bytes"


def records_say_the_same(site: Site) -> Iterator[str]:
    """F15: what is recorded could be recorded again from the store alone."""
    settle_forgotten(site.catalog, site.records, nullcontext)
    for row in site.catalog.repos():
        for snapshot in site.catalog.snapshots(row):
            if not site.records.holds(row.repo, snapshot.commit.oid):
                yield f"{row.repo}@{snapshot.commit.oid} has no record"


def catalog_is_sound(site: Site) -> Iterator[str]:
    """I6."""
    if not site.root.catalog.exists():
        return  # it is on a server, which was not killed
    connection = sqlite3.connect(site.root.catalog)
    for pragma in ("integrity_check", "foreign_key_check"):
        said = connection.execute(f"PRAGMA {pragma}").fetchall()
        if said not in ([("ok",)], []):
            yield f"I6: {pragma} says {said[:3]}"
    connection.close()


def nobody_failed(site: Site) -> Iterator[str]:
    """Running beside each other is nobody's error."""
    for line in site.journal.read_text().splitlines():
        if line.startswith("fails "):
            yield line
