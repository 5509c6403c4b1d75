"""What is transferred: one large file of random bytes, and small ones."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from hubsync.cli.demo_steps import Peer

REPO = "bench/model"
LARGE = "model.safetensors"
SMALL = "small/00.json"
SMALL_FILES = 30
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Content:
    """A repo on a hubsync, and the same files as a plain folder for nginx."""

    peer: Peer
    folder: Path
    large_bytes: int


def publish(work: Path, size_mib: int) -> Content:
    """Make the files and record them in a hubsync store of their own."""
    source = work / "source"
    (source / "small").mkdir(parents=True)
    with (source / LARGE).open("wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(MIB))
    for number in range(SMALL_FILES):
        text = json.dumps({"number": number, "noise": os.urandom(2000).hex()})
        (source / f"small/{number:02}.json").write_text(text)
    peer = Peer(work / "upstream")
    answer = peer.json("add", str(source), REPO, "--quiet")
    # The same inodes that hubsync serves, by way of its Hugging Face cache.
    return Content(peer, Path(str(answer["path"])), size_mib * MIB)
