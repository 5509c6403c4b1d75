"""Runs the gc stress: forks its processes, kills them at random, then looks.

Its own process, because a fork must not meet other threads.  Prints one JSON
object; the first round with a violation is the last.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.simulation.gc_bugs import BUGS
from tests.simulation.gc_check import check
from tests.simulation.gc_world import ROLES, Site

ROUND_S = 2.0
KILL_EVERY_S = 0.05
PATIENCE_S = 1.0


def fork(work: Callable[[], None], folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - a child says why and ends
        fd = os.open(folder / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        said = "".join(traceback.format_exception(error))
        line = f"fails {error!r} {said}".replace("\n", " | ")
        os.write(fd, f"{line}\n".encode())
    os._exit(1)


class Journal:
    """What the children say, read as it comes."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, path.stat().st_size

    def wait_for_progress(self) -> None:
        """On a busy machine nobody would live to the end of anything."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with self._path.open("rb") as file:
                file.seek(self._at)
                said = file.read()
            if b"acknowledges" in said:
                self._at += len(said)
                return
            time.sleep(0.005)


def one_round(folder: Path, chance: Random) -> int:
    """Let all run for a while and kill now this one, now that one; how many."""

    def start(index: int) -> int:
        seed = chance.random()
        return fork(lambda: ROLES[index](folder, seed), folder)

    running = [start(index) for index in range(len(ROLES))]
    until = time.monotonic() + ROUND_S
    kills = 0
    journal = Journal(folder / "journal")
    while time.monotonic() < until:
        time.sleep(KILL_EVERY_S * 2 * chance.random())
        journal.wait_for_progress()
        index = chance.randrange(len(ROLES))
        kill(running[index])
        kills += 1
        running[index] = start(index)
    for pid in running:
        kill(pid)
    return kills + len(running)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def make(folder: Path) -> None:
    Site.open(folder, "").say("begins")


def main() -> None:
    folder, seconds, seed, bug = sys.argv[1:5]
    place = Path(folder)
    if bug:
        BUGS[bug]()
    # In a child: a connection must not be shared by those forked after it.
    os.waitpid(fork(lambda: make(place), place), 0)
    chance = Random(seed)
    until = time.monotonic() + float(seconds)
    rounds = kills = 0
    found: list[str] = []
    while not found and time.monotonic() < until:
        kills += one_round(place, chance)
        rounds += 1
        pid = fork(lambda: check(place), place)
        os.waitpid(pid, 0)
        found = json.loads((place / "found").read_text())
        (place / "found").unlink()
    said = (place / "journal").read_text().splitlines()
    count = {
        word: sum(line.startswith(word) for line in said)
        for word in ("acknowledges", "forgets", "collected", "loses")
    }
    sys.stdout.write(
        json.dumps({"rounds": rounds, "kills": kills, "found": found, **count}) + "\n"
    )


if __name__ == "__main__":
    main()
