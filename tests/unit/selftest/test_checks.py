"""The checks find what is wrong with a store, and nothing where nothing is."""

import functools
import gzip
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from hubsync.config.schema import Settings, StoreSettings
from hubsync.model.digest import Digest
from hubsync.selftest.checks import check, nothing_is_left
from hubsync.selftest.contents import Content, make_contents
from hubsync.selftest.ledger import Ledger
from hubsync.selftest.process import Message, Mouth
from hubsync.selftest.roles import OpenStore, Writer, forget_old, repo_of, sweep
from hubsync.wiring import App, open_app

CONTENTS = sorted(make_contents(1), key=lambda one: len(one.data))[1:7]


class Heard(Mouth):
    """Says it to a ledger in this process."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(-1, os.getppid())
        object.__setattr__(self, "ledger", ledger)

    ledger: Ledger

    def say(self, word: str, **more: object) -> None:
        message: Message = {"word": word, **more}
        self.ledger.note("here", message)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def open_store(tmp_path: Path, ledger: Ledger) -> OpenStore:
    """A store with two acknowledged versions."""
    settings = Settings(store=StoreSettings(root=tmp_path / "store", reserve=0))
    opener = functools.partial(open_app, settings, create=True)
    with opener() as app:
        writer = Writer(app, Heard(ledger), Random(1), repo_of("here"))
        for files in (CONTENTS[:3], CONTENTS[2:]):
            writer.publish({f"{n}.bin": one for n, one in enumerate(files)})
    return opener


def found(open_store: OpenStore, ledger: Ledger) -> set[str]:
    return {one.invariant for one in check(open_store, ledger).violations}


def a_blob(app: App) -> Path:
    return app.blobs.path(CONTENTS[2].digest)


def test_nothing_is_found_in_a_sound_store(
    open_store: OpenStore, ledger: Ledger
) -> None:
    checked = check(open_store, ledger)

    assert checked.violations == ()
    assert checked.open_s < 5
    assert ledger.versions == 2
    assert ledger.files == 7


def test_nothing_is_left_after_forget_and_gc(
    open_store: OpenStore, ledger: Ledger
) -> None:
    with open_store() as app:
        forget_old(app, Heard(ledger), 1)
        sweep(app, Heard(ledger), 0.0)
        assert list(nothing_is_left(app, CONTENTS)) == []

    assert found(open_store, ledger) == set()
    assert ledger.collected == 2


def _flip(app: App) -> None:
    path = a_blob(app)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def _unlink(app: App) -> None:
    a_blob(app).unlink()


def _forget_silently(app: App) -> None:
    row = app.catalog.repos()[0]
    app.catalog.forget(row, None)


def _lose_record(app: App) -> None:
    for path in app.root.records.rglob("*.json.gz"):
        path.unlink()


def _lead_nowhere(app: App) -> None:
    for path in app.root.hub.glob("*/refs/main"):
        path.write_text("0" * 40)


def _drop_from_view(app: App) -> None:
    next(app.root.hub.glob("*/snapshots/*/0.bin")).unlink()


def _break_a_key(app: App) -> None:
    connection = sqlite3.connect(app.root.catalog)
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("DELETE FROM repos")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("harm", "invariant"),
    [
        (_flip, "I1"),
        (_unlink, "I2"),
        (_forget_silently, "I3"),
        (_lose_record, "I3"),
        (_lead_nowhere, "I4"),
        (_drop_from_view, "I4"),
        (_break_a_key, "I6"),
    ],
)
def test_harm_is_found(
    open_store: OpenStore, ledger: Ledger, harm: Callable[[App], None], invariant: str
) -> None:
    with open_store() as app:
        harm(app)

    assert invariant in found(open_store, ledger)


def test_a_blob_deleted_beside_a_living_worker_is_found(
    open_store: OpenStore, ledger: Ledger
) -> None:
    ledger.stored["there"] = {Digest.of(b"claimed, stored, deleted")}
    assert found(open_store, ledger) == {"I5"}
    ledger.note_death("there")
    assert found(open_store, ledger) == set()


def test_a_version_that_nobody_published_is_found(
    open_store: OpenStore, ledger: Ledger
) -> None:
    ledger.begun.popitem()
    assert "I4" in found(open_store, ledger)


def test_a_store_that_does_not_open_is_found(
    open_store: OpenStore, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "store/catalog.db").write_bytes(gzip.compress(b"no database") * 99)
    assert found(open_store, ledger) == {"I6"}


def test_contents_are_the_same_for_the_same_seed() -> None:
    assert make_contents(5) == make_contents(5)
    assert make_contents(5) != make_contents(6)
    kinds: dict[bool, list[Content]] = {True: [], False: []}
    for one in make_contents(5):
        kinds[one.is_lfs].append(one)
    assert all(len(some) > 10 for some in kinds.values())
