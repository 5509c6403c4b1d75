"""Pulls under a lease: when one is taken, and what happens when it is lost."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.leases import LeaseLostError, Watch
from hubsync.catalog.owner import Owner
from hubsync.catalog.rows import Publication, Published
from hubsync.config.load import load
from hubsync.model.errors import HubsyncError, IntegrityError
from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.blobs import StoreBusyError
from hubsync.ports.progress import SilentProgress
from hubsync.ports.view import ViewSnapshot
from hubsync.retention.gc import GcOptions, collect
from hubsync.store.layout import StoreRoot
from hubsync.store.views.hf_cache import HfCacheView
from hubsync.sync.request import PullRequest
from hubsync.wiring import App, open_app
from tests.pulling import Mirror
from tests.testhub import Fault, HubRepo, Lfs, TestHub

WEIGHTS = os.urandom(300_000)
TINY = RepoId("huggingface", RepoType.MODEL, "acme/tiny")


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/tiny")
    repo.commit({"config.json": b"{}", "w.bin": Lfs(WEIGHTS), "b.txt": b"b" * 5000})
    return repo


@contextmanager
def recorded(root: Path) -> Iterator[Catalog]:
    with Catalog.open(sqlite_url(root / "catalog.db")) as catalog:
        yield catalog


def steal_leases(root: Path) -> int:
    """As a gc that hears nothing of the pull for a minute."""
    elsewhere = replace(Owner.this_process(), boot_id="another boot")
    with recorded(root) as catalog:
        catalog.drop_dead_leases(Watch(elsewhere, 0))
        return catalog.drop_dead_leases(Watch(elsewhere, 60))


@contextmanager
def opened(mirror: Mirror) -> Iterator[App]:
    settings = load(environ=mirror.environment()).settings
    store = settings.store.model_copy(update={"root": mirror.root})
    settings = settings.model_copy(update={"store": store})
    with open_app(settings, create=True) as app:
        yield app


def test_a_pull_whose_lease_is_lost_publishes_nothing_and_goes_on_when_repeated(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    stolen: list[int] = []
    hub.hooks.append(
        lambda seen: (
            stolen.append(steal_leases(mirror.root)) if seen.role == "cdn" else None
        )
    )
    with pytest.raises(LeaseLostError, match=r"acme/tiny") as lost:
        mirror.pull("acme/tiny")
    assert lost.value.hint
    assert 1 in stolen
    with recorded(mirror.root) as catalog:
        assert catalog.repos() == []
        assert catalog.leases() == []
    hub.hooks.clear()
    assert mirror.json("gc")["leases"] == 0
    assert mirror.pull("acme/tiny").new_commit
    assert mirror.json("verify", "--all")["damaged"] == 0


def test_a_pull_that_fails_leaves_no_lease_behind(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("status", role="cdn", status=404, times=-1))
    with pytest.raises(HubsyncError):
        mirror.pull("acme/tiny")
    with recorded(mirror.root) as catalog:
        assert catalog.leases() == []
        assert catalog.repos() == []


def test_a_pull_that_finds_nothing_new_takes_no_lease(
    mirror: Mirror, repo: HubRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.pull("acme/tiny")

    def refuse(self: Catalog, purpose: str) -> None:
        raise AssertionError(purpose)

    monkeypatch.setattr(Catalog, "open_lease", refuse)
    assert not mirror.pull("acme/tiny").new_commit


def test_what_is_forgotten_and_collected_under_an_unchanged_pull_is_fetched_again(
    mirror: Mirror, repo: HubRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.pull("acme/tiny")
    publish = Catalog.publish
    with opened(mirror) as app:
        forget_once = _once(lambda: _forget_and_collect(app))

        def late(self: Catalog, record: Publication, *lease: object) -> Published:
            forget_once()
            return publish(self, record, *lease)  # type: ignore[arg-type]

        monkeypatch.setattr(Catalog, "publish", late)
        result = asyncio.run(app.puller(SilentProgress()).pull(PullRequest(TINY)))
    assert result.new_commit
    assert result.path is not None
    assert (result.path / "w.bin").read_bytes() == WEIGHTS
    assert mirror.json("verify", "--all")["damaged"] == 0


def _once(act: Callable[[], None]) -> Callable[[], None]:
    left = [act]

    def once() -> None:
        if left:
            left.pop()()

    return once


def _forget_and_collect(app: App) -> None:
    row = app.catalog.find_repo(TINY)
    assert row is not None
    app.catalog.forget(row, None)
    # Not by the app: its gc would keep what the records still name.
    done = collect(
        app.catalog,
        app.blobs,
        app.trash,
        dry_run=False,
        options=GcOptions(),
        clean_leftovers=lambda: None,
    )
    assert done.blobs == 3


def test_what_is_found_damaged_under_a_pull_keeps_it_from_publishing(
    mirror: Mirror, repo: HubRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` beside us: the commit must not be published with a hole."""
    mirror.pull("acme/tiny")
    second = repo.commit({"new.txt": b"new"})
    publish = Catalog.publish

    def late(self: Catalog, record: Publication, *lease: object) -> Published:
        damaged = next(iter(self.all_held())).digest
        self.mark_lost(damaged)
        return publish(self, record, *lease)  # type: ignore[arg-type]

    with monkeypatch.context() as once:
        once.setattr(Catalog, "publish", late)
        with pytest.raises(IntegrityError, match="meanwhile"):
            mirror.pull("acme/tiny", "main")
    assert mirror.json("show", "acme/tiny")["commit"] != second
    mirror.pull("acme/tiny", "main")
    assert mirror.json("show", "acme/tiny")["commit"] == second
    assert mirror.json("verify", "--all")["damaged"] == 0


def test_nobody_forgets_while_a_pull_publishes_or_lays_out(
    mirror: Mirror, repo: HubRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalog, records and views are changed as one."""
    met: list[str] = []

    def refused(root: Path, where: str) -> None:
        store = StoreRoot.open(root, create=False)
        with (
            pytest.raises(StoreBusyError, match="views"),
            store.lock_views(0, alone=True),
        ):
            met.append("free")
        met.append(where)

    publish, checkout = Catalog.publish, HfCacheView.checkout

    def publishing(self: Catalog, record: Publication, *lease: object) -> Published:
        refused(mirror.root, "publish")
        return publish(self, record, *lease)  # type: ignore[arg-type]

    def laying_out(self: HfCacheView, snapshot: ViewSnapshot) -> Path:
        refused(mirror.root, "lay out")
        return checkout(self, snapshot)

    monkeypatch.setattr(Catalog, "publish", publishing)
    monkeypatch.setattr(HfCacheView, "checkout", laying_out)
    mirror.pull("acme/tiny")
    mirror.pull("acme/tiny")
    assert met == ["publish", "lay out"] * 2
