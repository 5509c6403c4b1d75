"""What the tests of the fault matrix share: small parts, quick retries, soundness."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hubsync import wiring
from hubsync.catalog.catalog import Catalog
from hubsync.config.schema import Settings
from hubsync.hubs import huggingface
from hubsync.hubs.options import HubOptions
from hubsync.sync.request import PullResult
from hubsync.transfer.options import TransferOptions
from tests.pulling import Mirror
from tests.testhub import Fault, HubRepo, Lfs, Seen, TestHub, Virtual

MIB = 1 << 20
NIGHTLY = "HUBSYNC_TEST_NIGHTLY"  # set by the nightly run: what takes minutes
PART_BYTES = 256 * 1024
FILE = Virtual(3_000_000)
WEIGHTS = FILE.content()
NOTES = b"n" * 5000
# A large file is then some twelve parts over four connections.
SMALL_PARTS = {
    "HUBSYNC_TRANSFER__PART_SIZE": f"{PART_BYTES}",
    "HUBSYNC_TRANSFER__MAX_CONNECTIONS": "8",
    "HUBSYNC_TRANSFER__CONNECTIONS_PER_FILE": "4",
    "HUBSYNC_TRANSFER__READ_TIMEOUT": "1s",
    "HUBSYNC_TRANSFER__RETRIES": "4",
}


_QUICK: dict[str, Any] = {"backoff_base_s": 0.01, "backoff_max_s": 0.05}


@dataclass
class QuickMirror(Mirror):
    """Waits milliseconds where a person would wait seconds."""

    def pull(self, name: str, revision: str | None = None, **more: Any) -> PullResult:
        honest = wiring.transfer_options

        def quick(settings: Settings) -> TransferOptions:
            return replace(honest(settings), rate_window_s=0.5, **_QUICK)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wiring, "transfer_options", quick)
            patch.setattr(huggingface, "HubOptions", partial(HubOptions, **_QUICK))
            return super().pull(name, revision, **more)


def quick_mirror(root: Path, hub: TestHub, **settings: str) -> QuickMirror:
    return QuickMirror(root, hub.endpoint, {**SMALL_PARTS, **settings})


def tiny_repo(hub: TestHub, name: str = "acme/tiny") -> HubRepo:
    repo = hub.create_repo(name)
    repo.commit({"config.json": b"{}", "w.bin": Lfs(FILE), "notes.txt": NOTES})
    return repo


def whole(mirror: Mirror, data: bytes = WEIGHTS) -> bool:
    path = mirror.blobs().get(hashlib.sha256(data).hexdigest())
    return path is not None and path.read_bytes() == data


def assert_sound(mirror: Mirror) -> None:
    """I1, at any time: what stands under a digest has that digest."""
    for name, path in mirror.blobs().items():
        with path.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == name


def assert_nothing_visible(mirror: Mirror, name: str = "acme/tiny") -> None:
    """I4: no revision is listed, and no client finds a folder."""
    if (mirror.root / "catalog.db").exists():
        with Catalog.open(f"sqlite:///{mirror.root}/catalog.db") as catalog:
            assert [catalog.snapshots(one) for one in catalog.repos()] == []
    folder = mirror.root / "hub" / f"models--{name.replace('/', '--')}"
    assert not (folder / "refs").exists()
    assert not (folder / "snapshots").exists()


def parts(hub: TestHub) -> list[Seen]:
    """Requests for file contents at the CDN."""
    return [one for one in hub.log.matching(role="cdn") if one.method == "GET"]


def spans(hub: TestHub) -> Iterator[tuple[int, int]]:
    """First byte and one past the last of each ranged request, as asked."""
    for one in parts(hub):
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", one.headers.get("Range", ""))
        if found:
            yield int(found[1]), int(found[2] or FILE.size - 1) + 1


def asked_the_hub(hub: TestHub, path: str = "w.bin") -> int:
    """How often the way to a file was asked for."""
    return len(hub.log.matching(f"/resolve/.*{path}", role="hub"))


def copy_of(fault: Fault) -> Fault:
    """A fault counts down: each run needs one of its own."""
    return replace(fault)
