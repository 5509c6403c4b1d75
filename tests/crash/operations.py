"""One publish, one gc, one forget, on a store that is made for it once."""

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hubsync.config.schema import Settings, StoreSettings
from hubsync.ports.blobs import HeldBlob
from hubsync.selftest.contents import Content, make_contents
from hubsync.selftest.ledger import Ledger
from hubsync.selftest.process import Mouth, Work, Worker
from hubsync.selftest.roles import OpenStore, Writer, forget_old, repo_of, sweep
from hubsync.wiring import App, open_app

SEED = 4
NAME = "first"
PUBLISH, BATCH, GC, FORGET = "publish", "batch", "gc", "forget"
OPERATIONS = (PUBLISH, BATCH, GC, FORGET)
BATCH_FILES = 18  # so many that one wait for the disk serves them all


@dataclass
class Bench:
    """A store as the operation finds it, laid out anew for each run."""

    folder: Path
    operation: str
    before: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        contents = sorted(make_contents(SEED), key=lambda one: len(one.data))
        self.small = contents[2:30]
        self.large = next(one for one in contents[-8:] if one.is_lfs)
        base = self.folder / "base"
        base.mkdir(parents=True)
        worker = Worker.start(NAME, functools.partial(self._prepare, base / "store"))
        assert worker.wait() == 0, [*worker.hear()]
        for message in worker.hear():
            self.before.note(worker.name, message)
        worker.close()

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def contents(self) -> Sequence[Content]:
        """All that may be unfinished in the store."""
        return [self.large, self.small[7], *self.files().values()]

    def lay_out(self) -> Ledger:
        """The store as it was before, and what is known of it."""
        shutil.rmtree(self.run, ignore_errors=True)
        base = str(self.folder / "base")
        # cp keeps the hard links between blobs and views, which shutil copies.
        subprocess.run(["cp", "-a", "--reflink=auto", base, str(self.run)], check=True)
        return deepcopy(self.before)

    def work(self, open_store: OpenStore, gate: int | None = None) -> Work:
        """The operation, begun when somebody writes to *gate*."""

        def work(mouth: Mouth) -> None:
            if gate is not None:
                os.read(gate, 1)
            with open_store() as app, app.root.lock_shared(60.0):
                if self.operation == GC:
                    sweep(app, mouth, 0.0)
                elif self.operation == FORGET:
                    forget_old(app, mouth, 1)
                else:
                    _writer(app, mouth, seed=1).publish(self.files())

        return work

    def files(self) -> Mapping[str, Content]:
        """What is published."""
        if self.operation == BATCH:
            files = self.small[-BATCH_FILES:]
        else:  # one that is half there, two that are new, one that is held
            files = [self.large, *self.small[8:10], self.small[5]]
        return {f"{number}.bin": one for number, one in enumerate(files)}

    def _prepare(self, root: Path, mouth: Mouth) -> None:
        """Three versions, one of them forgotten; a stray blob; half a large one."""
        with opener(root)() as app, app.root.lock_shared():
            writer = _writer(app, mouth, seed=0)
            for files in (self.small[:3], self.small[2:5], self.small[4:7]):
                writer.publish({f"{n}.bin": one for n, one in enumerate(files)})
            forget_old(app, mouth, 2)
            stray = app.blobs.begin(self.small[7].entry("").want)
            assert stray is not None
            assert not isinstance(stray, HeldBlob)
            stray.write(self.small[7].data)
            stray.complete()
            half = app.blobs.begin(self.large.entry("").want)
            assert half is not None
            assert not isinstance(half, HeldBlob)
            middle = len(self.large.data) // 2
            half.write(self.large.data[middle:], middle)
            half.abort()


def opener(root: Path) -> OpenStore:
    settings = Settings(store=StoreSettings(root=root, reserve=0))
    return functools.partial(open_app, settings, create=True)


def _writer(app: App, mouth: Mouth, *, seed: int) -> Writer:
    return Writer(
        app,
        mouth,
        Random(seed),
        repo_of(NAME),
        gives_up=False,
        group_files_max=BATCH_FILES,
    )
