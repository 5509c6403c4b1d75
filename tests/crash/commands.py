"""Commands that are killed, and what must be true of their store afterwards."""

import functools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from hubsync.config.load import load
from hubsync.model.digest import Digest
from hubsync.selftest.checks import check
from hubsync.selftest.ledger import Ledger
from hubsync.selftest.roles import OpenStore
from hubsync.wiring import open_app
from tests.pulling import Mirror
from tests.testhub import HubRepo, Lfs

Contents = dict[str, Lfs | bytes]


class Driver:
    """The process that forks commands and kills them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.command_driver"],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def round(self, argv: Sequence[str], after_s: float | None = None) -> str:
        """Kill it after so many seconds (None: let it end); its status."""
        assert self._process.stdin
        assert self._process.stdout
        order = json.dumps({"argv": list(argv), "after_s": after_s})
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def timed(self, argv: Sequence[str]) -> float:
        """How long the command takes when nobody kills it."""
        started = time.monotonic()
        assert self.round(argv) == "0"
        return time.monotonic() - started

    def close(self) -> None:
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0


@contextmanager
def driver_for(mirror: Mirror) -> Iterator[Driver]:
    driver = Driver(mirror.environment())
    try:
        yield driver
    finally:
        driver.close()


@dataclass
class Witness:
    """Knows what the hub has and what the commands have acknowledged."""

    mirror: Mirror
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def open_store(self) -> OpenStore:
        settings = load(environ=self.mirror.environment()).settings
        store = settings.store.model_copy(update={"root": self.mirror.root})
        settings = settings.model_copy(update={"store": store})
        return functools.partial(open_app, settings, create=True)

    def commit(self, repo: HubRepo, files: Contents) -> str:
        """Commit to the hub; from now on that version may become visible."""
        commit = repo.commit(files)
        self.ledger.begun[repo.name, commit] = {
            path: Digest.of(bytes_of(value)) for path, value in files.items()
        }
        return commit

    def acknowledge(self, name: str, commit: str) -> None:
        self.ledger.leaving.discard((name, commit))
        self.ledger.acknowledged[name, commit] = self.ledger.begun[name, commit]

    def forgets(self, name: str) -> None:
        """Somebody begins to forget all of that repo."""
        for version in list(self.ledger.acknowledged):
            if version[0] == name:
                self.ledger.leaving.add(version)
                del self.ledger.acknowledged[version]

    def look(self, said: str) -> None:
        """Every invariant, now; *said* tells how to get here again."""
        found = check(self.open_store, self.ledger).violations
        assert not found, f"{said}: " + "; ".join(map(str, found))


def bytes_of(value: Lfs | bytes) -> bytes:
    data = value.content if isinstance(value, Lfs) else value
    assert isinstance(data, bytes)
    return data
