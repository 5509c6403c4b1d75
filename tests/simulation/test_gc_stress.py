"""gc at grace 0 beside real processes that pull, add and forget, with kill -9."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubsync.catalog import schema
from tests.postgres import require_server
from tests.simulation.gc_bugs import BUGS
from tests.simulation.gc_world import URL

PROJECT = Path(__file__).parents[2]
SEED = "20261127"
# In memory: nothing here is about power cuts, and every fsync would cost turns.
SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Outcome:
    """What the driver counted, and what it found wrong."""

    rounds: int
    kills: int
    acknowledges: int
    forgets: int
    collected: int
    loses: int
    found: list[str]


@pytest.fixture
def place() -> Iterator[Path]:
    folder = tempfile.mkdtemp(
        prefix="hubsync-gc-", dir=SHM if os.access(SHM, os.W_OK) else None
    )
    yield Path(folder)
    shutil.rmtree(folder)


def stress(place: Path, seconds: float, *, bug: str = "", url: str = "") -> Outcome:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.simulation.gc_driver"),
            *(str(place), str(seconds), SEED, bug),
        ],
        env={**os.environ, URL: url},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Outcome(**json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_f19_gc_beside_pulls_adds_and_forgets_with_kills_harms_nothing(
    place: Path,
) -> None:
    done = stress(place, 25)
    assert done.found == []
    assert done.loses == 0, "nobody who lives is taken for dead"
    assert done.kills >= 50
    assert min(done.acknowledges, done.forgets, done.collected) >= 30


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_gc_beside_the_same_on_postgresql_harms_nothing(place: Path) -> None:
    server = require_server()
    with server.database(server.template("catalog", schema.upgrade)) as url:
        done = stress(place, 12, url=url)
    assert done.found == []
    assert done.loses == 0
    assert min(done.acknowledges, done.forgets, done.collected) >= 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_f17_who_is_taken_for_dead_fails_and_nothing_else_happens(place: Path) -> None:
    """Fencing: the clock, the heartbeat and /proc may all lie."""
    done = stress(place, 6, bug="everybody_is_taken_for_dead")
    assert done.found == []
    assert done.loses > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "bug",
    sorted(BUGS.keys() - {"everybody_is_taken_for_dead"}),
)
def test_a_wrong_protocol_is_found_out(place: Path, bug: str) -> None:
    # It is a matter of chance how soon: a busy machine gets more than one.
    tries = (place / f"try{number}" for number in range(4))
    assert any(stress(_made(one), 30, bug=bug).found for one in tries)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_f20_a_gc_killed_before_any_step_leaves_nothing_that_the_next_cannot_mend(
    place: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.gc_steps", str(place)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15
