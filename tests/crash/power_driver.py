"""Cuts the power of an ext4 in a file while workers write to it.

The workers are stopped, the file is copied as it is: what a disk would hold had
the power gone at that instant.  The copy is mounted, which replays its journal,
and must have everything that had been acknowledged.

Runs in a mount namespace of its own, and is a process of its own because a fork
must not meet other threads:

    unshare --mount ... python -m tests.crash.power_driver FOLDER CUTS SEED BUG

Prints one JSON object; ``why_not`` in it where mounting is not permitted.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hubsync.selftest.checks import check
from hubsync.selftest.contents import make_contents
from hubsync.selftest.crash import ROLES, SWEEPER
from hubsync.selftest.ledger import Ledger
from hubsync.selftest.process import Worker, listen
from hubsync.selftest.roles import OpenStore, sweeper, writer
from tests.crash.operations import opener
from tests.crash.planted import with_bug

IMAGE_BYTES = 96 << 20
LIFE_MAX_S = 0.3


class MayNotMountError(Exception):
    """Mounting is not for this user."""


@dataclass
class Cuts:
    """One disk, its workers, and what they have said."""

    folder: Path
    seed: int
    open_store: OpenStore
    cuts: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    workers: list[Worker] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def run(self, cuts: int) -> None:
        chance = Random(f"cuts {self.seed}")
        with self.open_store():
            pass
        contents = make_contents(self.seed)
        for name in ROLES:
            seed = f"{self.seed} {name}"
            work = (
                sweeper(self.open_store, seed)
                if name == SWEEPER
                else writer(self.open_store, name, contents, seed)
            )
            self.workers.append(Worker.start(name, work))
        try:
            while self.cuts < cuts and not self.found:
                for name, message in listen(self.workers, LIFE_MAX_S * chance.random()):
                    assert message is not None, f"{name} has ended"
                    self.ledger.note(name, message)
                self._cut()
        finally:
            for worker in self.workers:
                worker.kill()

    def _cut(self) -> None:
        for worker in self.workers:
            assert worker.stop(), [*worker.hear()]
        for worker in self.workers:
            for message in worker.hear():
                self.ledger.note(worker.name, message)
        copy = self.folder / "copy.img"
        _run("cp", "--sparse=always", self.folder / "disk.img", copy)
        for worker in self.workers:
            worker.go_on()
        self.cuts += 1
        with mounted(copy, self.folder / "copy"):
            ledger = deepcopy(self.ledger)
            ledger.stored.clear()  # in the copy nobody is alive
            # Without the bug: whoever comes after the power cut has none.
            honest = opener(self.folder / "copy/store")
            found = check(honest, ledger).violations
        self.found += [f"cut {self.cuts}, seed {self.seed}: {one}" for one in found]


@contextmanager
def mounted(image: Path, where: Path) -> Iterator[None]:
    where.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", "loop", image, where)
    try:
        yield
    finally:
        _run("umount", where)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MayNotMountError(f"{command[0]}: {done.stderr.strip()}")


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[3])
    open_store = with_bug(opener(folder / "disk/store"), sys.argv[4])
    work = Cuts(folder, seed, open_store)
    said: dict[str, object] = {}
    try:
        image = folder / "disk.img"
        image.touch()
        with image.open("r+b") as file:
            file.truncate(IMAGE_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        with mounted(image, folder / "disk"):
            work.run(int(sys.argv[2]))
    except MayNotMountError as error:
        said["why_not"] = str(error)
    said |= {"cuts": work.cuts, "files": work.ledger.files, "found": work.found}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
