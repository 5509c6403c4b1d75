"""What is served: random bytes and small files, recorded in a hubsync store."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import BenchmarkError
from hubsync.cli.demo_steps import Peer

REPO, TREE_REPO, SNAPSHOT_REPO = "bench/model", "bench/listed", "bench/snapshot"
LARGE = "model.safetensors"
SMALL = "config.json"
SMALL_BYTES = 700
SNAPSHOT_LARGE, SNAPSHOT_SMALL = 4, 22  # files
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Content:
    """Repos in a store, and the files of `REPO` as a plain folder for nginx."""

    store: Path
    folder: Path
    large_bytes: int

    @property
    def large(self) -> Path:
        return self.folder / LARGE


def publish(work: Path, sizes: Mapping[str, int]) -> Content:
    """Make the files and record them in a hubsync store of their own."""
    peer, source = Peer(work / "store"), work / "source"
    source.mkdir()
    _random(source / LARGE, sizes["serve_mib"])
    (source / SMALL).write_bytes(_text(SMALL_BYTES))
    # The same inodes that hubsync serves, by way of its Hugging Face cache.
    folder = _add(peer, source, REPO)
    for number in range(sizes["tree_files"]):
        path = source / f"part-{number % 10}" / f"{number:05}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_text(50 + number))
    _add(peer, source, TREE_REPO)
    for number in range(SNAPSHOT_LARGE):
        _random(source / f"model-{number}.safetensors", sizes["snapshot_mib"])
    for number in range(SNAPSHOT_SMALL):
        (source / f"{number:02}.json").write_bytes(_text(4000))
    _add(peer, source, SNAPSHOT_REPO)
    return Content(work / "store", folder, sizes["serve_mib"] * MIB)


def _random(path: Path, size_mib: int) -> None:
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(MIB))


def _text(size: int) -> bytes:
    return json.dumps({"noise": os.urandom(size).hex()}).encode()[: size - 2] + b'"}'


def _add(peer: Peer, source: Path, repo: str) -> Path:
    """Record what is in *source*, which is empty afterwards."""
    answer = peer.json("add", str(source), repo, "--quiet")
    shutil.rmtree(source)
    source.mkdir()
    path = Path(str(answer["path"]))
    if not path.is_dir():
        raise BenchmarkError(f"{repo} was not recorded")
    return path
