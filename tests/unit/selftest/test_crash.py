"""What ends a crash test, other than its plan."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubsync.config.schema import Settings, StoreSettings
from hubsync.ports.blobs import NoRoomError
from hubsync.selftest.crash import CrashPlan, crash
from hubsync.wiring import App, open_app


def test_a_disk_that_fills_up_is_no_violation(tmp_path: Path) -> None:
    settings = Settings(store=StoreSettings(root=tmp_path / "store", reserve=0))

    @contextmanager
    def open_store() -> Iterator[App]:
        if settings.store.root.exists():
            raise NoRoomError("somebody has taken the rest")
        with open_app(settings, create=True) as app:
            yield app

    with pytest.raises(NoRoomError, match="says nothing about the file") as caught:
        crash(open_store, CrashPlan(kills=5, seed=1), lambda _: None)
    assert "somebody has taken the rest" in str(caught.value)
