import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.store.views.hf_cache import HfCacheView

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> StoreRoot:
    return StoreRoot.open(tmp_path / "store", create=True)


@pytest.fixture
def blobs(root: StoreRoot) -> LocalBlobs:
    return LocalBlobs(root)


@pytest.fixture
def view(blobs: LocalBlobs) -> HfCacheView:
    return HfCacheView(blobs.root, blobs.path)


@pytest.fixture
def as_anybody() -> Iterator[Path]:
    """A folder of ours, with no more rights than anybody has: root may do all."""
    folder = Path(tempfile.mkdtemp(prefix="hubsync-test-"))
    was_root = os.geteuid() == 0
    if was_root:
        os.chown(folder, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if was_root:
            os.seteuid(0)
            os.setegid(0)
        subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)
        shutil.rmtree(folder)


Mounter = Callable[[str], Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Mounter]:
    """Mount a tmpfs with options of its own, where that is permitted."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
            check=False,
            capture_output=True,
        )
        if done.returncode:
            pytest.skip("mounting a tmpfs is not permitted here")
        mounted.append(folder)
        return folder

    try:
        yield mount
    finally:
        for folder in mounted:
            subprocess.run(["umount", "-l", folder], check=True)
