"""F19, F20: kill -9 in gc and forget, while others bring blobs in."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.crash.commands import Contents, Witness, driver_for
from tests.crash.runs import kill_loop
from tests.pulling import Mirror, clean_environment
from tests.testhub import Lfs, TestHub

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

SEED = 20261127


@pytest.mark.parametrize("number", range(2))
def test_f19_gc_and_forget_killed_beside_writers_lose_nothing(
    tmp_path: Path, number: int
) -> None:
    report = kill_loop(tmp_path, 150, SEED + number, victims="sweeper")

    assert report["found"] == []
    assert report["kills"] == 150
    assert report["collected"] > 50, "gc had something to do"
    assert report["files"] > 300, "so had the writers"


def test_f20_forget_and_gc_commands_killed_at_random_moments_can_be_repeated(
    tmp_path: Path,
) -> None:
    chance = Random(SEED)
    kills = 0
    with TestHub(tmp_path / "hub") as hub:
        mirror = Mirror(tmp_path / "store", hub.endpoint)
        witness = Witness(mirror)
        repos = [hub.create_repo(f"acme/repo{n}") for n in range(3)]
        shared = Lfs(chance.randbytes(40_000))
        commits = {}
        for repo in repos:
            files: Contents = {"shared.bin": shared, "own": chance.randbytes(900)}
            commits[repo.name] = witness.commit(repo, files)
        with driver_for(mirror) as driver:
            for repo in repos:
                assert driver.round(["pull", repo.name]) == "0"
                witness.acknowledge(repo.name, commits[repo.name])
            while kills < 60:
                repo = chance.choice(repos)
                witness.forgets(repo.name)
                for argv in (["forget", repo.name], ["gc"]):
                    answer = "killed"
                    while answer == "killed":
                        answer = driver.round(argv, 0.12 * chance.random())
                        kills += answer == "killed"
                        witness.look(f"seed {SEED}, kill {kills} in {argv}")
                    # 3: it had forgotten all before it was killed.
                    assert answer in ("0", "3") if argv != ["gc"] else answer == "0"
                assert driver.round(["pull", repo.name]) == "0"
                witness.acknowledge(repo.name, commits[repo.name])
        assert mirror.json("verify", "--all")["damaged"] == 0


def test_users_can_kill_on_their_own_file_system(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hubsync", "selftest", "crash", "--kills", "20"]
    environment = clean_environment(HUBSYNC_ROOT=str(tmp_path / "store"))
    done = subprocess.run(
        [*command, "--json", "--seed", str(SEED)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] == 20
    assert report["checks"] == 21
    assert report["violations"] == []
    assert report["seed"] == SEED
    assert report["file_system"]["type"]
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"
