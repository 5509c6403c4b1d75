"""Planning where there may be no store yet: a dry run makes none and writes to none."""

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubsync.cli.common import Common
from hubsync.wiring import App, open_app


@contextmanager
def planning(common: Common) -> Iterator[App]:
    """The store, to be read; an empty one elsewhere if there is none."""
    settings = common.settings()
    if (settings.store.root / "VERSION").is_file():
        with common.open(read_only=True) as app:
            yield app
        return
    with tempfile.TemporaryDirectory(prefix="hubsync-plan-") as empty:
        elsewhere = dataclasses.replace(common, root=Path(empty))
        opened = open_app(
            elsewhere.settings(), create=True, room_in=settings.store.root
        )
        with opened as app:
            yield app
