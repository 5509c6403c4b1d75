"""F1: kill -9 at any moment of a pull; nothing is lost, torn or fetched again."""

import re
from pathlib import Path
from random import Random

import pytest

from hubsync.model.digest import Digest
from tests.crash.commands import Contents, Driver, Witness, bytes_of, driver_for
from tests.pulling import Mirror
from tests.testhub import HubRepo, Lfs, TestHub

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

KILLS = 250  # of each of the four
SEED = 20261124
PART_BYTES = 1 << 18
CONNECTIONS_PER_FILE = 4
# A large file is then six parts over four connections, in any order.
SMALL_PARTS = {
    "HUBSYNC_TRANSFER__PART_SIZE": str(PART_BYTES),
    "HUBSYNC_TRANSFER__CONNECTIONS_PER_FILE": str(CONNECTIONS_PER_FILE),
    "HUBSYNC_TRANSFER__MAX_CONNECTIONS": "12",
}
LARGE_FILES, LARGE_BYTES = 2, 1_500_000


def _contents(chance: Random) -> Contents:
    files: Contents = {
        f"part-{i}.bin": Lfs(chance.randbytes(LARGE_BYTES)) for i in range(LARGE_FILES)
    }
    files |= {f"text/{i}.txt": chance.randbytes(900 + i) for i in range(15)}
    return files


@pytest.mark.parametrize("number", range(4))
def test_f1_a_pull_killed_at_random_moments_ends_byte_equal(
    tmp_path: Path, number: int
) -> None:
    chance = Random(f"{SEED} {number}")
    kills = generation = 0
    whole_s = 0.0
    mirror = Mirror(tmp_path / "store", "", SMALL_PARTS)
    with TestHub(tmp_path / "hub", page_size=10) as hub:
        mirror.endpoint = hub.endpoint
        witness = Witness(mirror)
        with driver_for(mirror) as driver:
            # Twice, because the first makes the store besides.
            for name in ("acme/first", "acme/second"):
                witness.commit(hub.create_repo(name), _contents(chance))
                whole_s = driver.timed(["pull", name])
            while kills < KILLS:
                generation += 1
                repo = hub.create_repo(f"acme/gen{generation}")
                run = _Generation(hub, witness, driver, repo, chance, whole_s)
                kills += run.until_done(f"seed {SEED} {number}, kill {kills}")
                # All that is in the store is read after each kill: keep it small.
                witness.forgets(repo.name)
                assert driver.round(["forget", repo.name]) == "0"
                assert driver.round(["gc"]) == "0"
        assert mirror.json("verify", "--all")["damaged"] == 0


class _Generation:
    """One repo, pulled again and again until a pull lives to its end."""

    def __init__(
        self,
        hub: TestHub,
        witness: Witness,
        driver: Driver,
        repo: HubRepo,
        chance: Random,
        whole_s: float,
    ) -> None:
        self.hub, self.witness, self.driver = hub, witness, driver
        self.repo, self.chance, self.whole_s = repo, chance, whole_s
        self.files = _contents(chance)
        self.commit = witness.commit(repo, self.files)

    def until_done(self, said: str) -> int:
        kills = sent = 0
        answer = ""
        while answer != "0":
            before = self._held()
            self.hub.log.clear()
            after_s = 1.2 * self.whole_s * self.chance.random() ** 1.2
            answer = self.driver.round(["pull", self.repo.name], after_s)
            assert answer in ("0", "killed"), f"{said}: it ended with {answer}"
            kills += answer == "killed"
            sent += self.hub.lfs_bytes_sent
            self._nothing_twice(before)
            if answer == "0":
                self.witness.acknowledge(self.repo.name, self.commit)
            self.witness.look(f"{said} + {kills}")
        # What a kill costs: what was in flight, never what had arrived.
        in_flight = LARGE_FILES * CONNECTIONS_PER_FILE * PART_BYTES
        assert sent <= LARGE_FILES * LARGE_BYTES + kills * in_flight
        return kills

    def _held(self) -> set[str]:
        """Paths whose blobs the catalog says are held; `look` sees that they are."""
        with self.witness.open_store() as app:
            held = {blob.digest for blob in app.catalog.all_held()}
        return {
            path
            for path, value in self.files.items()
            if Digest.of(bytes_of(value)) in held
        }

    def _nothing_twice(self, before: set[str]) -> None:
        asked = {
            found[1]
            for one in self.hub.requests
            if self.repo.name in one.path
            and (found := re.search(r"/resolve/[0-9a-f]{40}/(.+)", one.path))
        }
        assert not asked & before, "an acknowledged file was asked for again"
