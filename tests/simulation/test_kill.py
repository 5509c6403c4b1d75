"""kill -9 at any moment of a pull: nothing acknowledged is lost or fetched again."""

import hashlib
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog
from tests.pulling import Mirror
from tests.testhub import Lfs, TestHub

ROUNDS = 200
SEED = 20261124
Files = dict[str, Lfs | bytes]


def _contents(generation: int) -> Files:
    files: Files = {f"part-{i}.bin": Lfs(os.urandom(1_500_000)) for i in range(3)}
    files |= {f"text/{i}.txt": b"%d %d " % (generation, i) * 400 for i in range(25)}
    return files


def _bytes(value: Lfs | bytes) -> bytes:
    data = value.content if isinstance(value, Lfs) else value
    assert isinstance(data, bytes)
    return data


def _acknowledged(root: Path, files: Files) -> set[str]:
    """Paths whose blobs the catalog says are held; each must be there and right."""
    if not (root / "catalog.db").exists():
        return set()
    catalog = Catalog.open(f"sqlite:///{root}/catalog.db")
    try:
        held = {blob.digest.hex for blob in catalog.all_held()}
    finally:
        catalog.close()
    found = set()
    for path, value in files.items():
        name = hashlib.sha256(_bytes(value)).hexdigest()
        if name in held:
            blob = root / "blobs/sha256" / name[:2] / name[2:4] / name
            assert blob.read_bytes() == _bytes(value), "acknowledged, and not there"
            found.add(path)
    return found


class Driver:
    """The process that forks pulls and kills them."""

    def __init__(self, mirror: Mirror, repo: str) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.simulation.kill_driver"),
                *(str(mirror.root), repo),
            ],
            env=mirror.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def round(self, after_s: float) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{after_s}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_pull_killed_at_200_random_moments_ends_byte_equal(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    kills = generation = 0
    with TestHub(tmp_path / "hub", page_size=10) as hub:
        while kills < ROUNDS:
            generation += 1
            repo = hub.create_repo(f"acme/gen{generation}")
            files = _contents(generation)
            commit = repo.commit(files)
            mirror = Mirror(tmp_path / f"store{generation}", hub.endpoint)
            driver = Driver(mirror, repo.name)
            answer = ""
            while answer != "0":
                before = _acknowledged(mirror.root, files)
                hub.log.clear()
                answer = driver.round(0.6 * chance.random() ** 1.5)
                assert answer in ("0", "killed"), f"the pull ended with {answer}"
                kills += answer == "killed"
                _nothing_twice(hub, before)
                _no_half_revision(mirror.root, repo.name, commit, files)
            driver.close()
            _complete(mirror, repo.name, commit, files)


def _nothing_twice(hub: TestHub, before: set[str]) -> None:
    asked = {
        found[1]
        for one in hub.requests
        if (found := re.search(r"/resolve/[0-9a-f]{40}/(.+)", one.path))
    }
    assert not asked & before, "an acknowledged file was asked for again"


def _no_half_revision(root: Path, name: str, commit: str, files: Files) -> None:
    folder = root / "hub" / f"models--{name.replace('/', '--')}"
    if (folder / "refs/main").exists():
        assert (folder / "refs/main").read_text() == commit
        for path, value in files.items():
            seen = (folder / "snapshots" / commit / path).read_bytes()
            assert seen == _bytes(value)


def _complete(mirror: Mirror, name: str, commit: str, files: Files) -> None:
    _no_half_revision(mirror.root, name, commit, files)
    shown = mirror.json("show", name)
    assert shown["commit"] == commit
    assert shown["state"] == "complete"
    assert mirror.json("verify", "--all")["damaged"] == 0
