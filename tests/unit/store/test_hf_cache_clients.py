"""The unmodified client reads our view offline, as if it had made it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.store.local import LocalBlobs
from hubsync.store.views.hf_cache import HfCacheView
from tests.contract.made import COMMIT, OTHER_COMMIT, absent, hold, lfs, plain
from tests.contract.view import MAIN, README, REPO, WEIGHTS, snapshot

SCRIPT = Path(__file__).with_name("read_as_client.py")


def read_as_client(
    blobs: LocalBlobs, repo: RepoId, revision: str, path: str
) -> dict[str, Any]:
    """What huggingface_hub finds, in a process without a network in sight."""
    kept = {key: value for key, value in os.environ.items() if "HF_" not in key}
    done = subprocess.run(
        [sys.executable, SCRIPT, repo.name, repo.repo_type.value, revision, path],
        check=False,
        capture_output=True,
        text=True,
        env=kept
        | {
            "HF_HUB_CACHE": str(blobs.root.hub),
            "HF_HOME": str(blobs.root.path.parent / "home"),
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("repo_type", list(RepoType))
def test_a_complete_snapshot_is_found_by_ref_and_by_commit(
    blobs: LocalBlobs, view: HfCacheView, repo_type: RepoType
) -> None:
    repo = RepoId("huggingface", repo_type, "org/name")
    entries = [
        hold(blobs, plain("README.md", README), README),
        hold(blobs, plain("sub/empty.txt", b""), b""),
        hold(blobs, lfs("sub/model.bin", WEIGHTS), WEIGHTS),
    ]
    refs = [MAIN, RefName.branch("feature/x"), RefName("refs/pr/1")]
    view.checkout(snapshot(entries, repo=repo, refs=refs))

    for revision in ("main", "feature/x", "refs/pr/1", COMMIT):
        found = read_as_client(blobs, repo, revision, "README.md")
        assert found == {
            "file": README.decode(),
            "snapshot": ["README.md", "sub/empty.txt", "sub/model.bin"],
            "tree": {
                one.entry.path: [one.entry.size_bytes, one.entry.git_oid.hex]
                for one in entries
            },
            "warnings": [],
            "repos": [
                [repo_type.value, "org/name", 3, ["feature/x", "main", "refs/pr/1"]]
            ],
        }


def test_a_snapshot_without_files_is_no_broken_cache(
    blobs: LocalBlobs, view: HfCacheView
) -> None:
    view.checkout(snapshot([]))

    found = read_as_client(blobs, REPO, "main", "README.md")
    assert found["file"] == "LocalEntryNotFoundError"
    assert found["snapshot"] == []
    assert found["warnings"] == []


def test_a_file_that_is_not_held_is_not_found_rather_than_a_pointer(
    blobs: LocalBlobs, view: HfCacheView
) -> None:
    readme = hold(blobs, plain("README.md", README), README)
    weights = hold(blobs, lfs("model.bin", WEIGHTS), WEIGHTS)
    view.checkout(snapshot([readme, weights]))
    view.checkout(snapshot([readme, absent(weights.entry)]))

    found = read_as_client(blobs, REPO, "main", "model.bin")
    assert found["file"] == "LocalEntryNotFoundError"
    assert found["snapshot"] == ["README.md"]
    assert found["tree"] is None, "only a whole snapshot is said to be whole"
    assert found["warnings"] == []


def test_what_is_left_after_a_removal_is_a_whole_cache(
    blobs: LocalBlobs, view: HfCacheView
) -> None:
    readme = hold(blobs, plain("README.md", README), README)
    weights = hold(blobs, lfs("model.bin", WEIGHTS), WEIGHTS)
    view.checkout(snapshot([readme, weights], refs=[RefName.tag("old")]))
    view.checkout(snapshot([readme], commit=OTHER_COMMIT))
    view.remove(REPO, COMMIT, [RefName.tag("old")])

    found = read_as_client(blobs, REPO, "main", "README.md")
    assert found["snapshot"] == ["README.md"]
    assert found["repos"] == [["model", "org/name", 1, ["main"]]]
    assert found["warnings"] == []


def test_a_read_only_view_is_enough(blobs: LocalBlobs, view: HfCacheView) -> None:
    view.checkout(snapshot([hold(blobs, plain("README.md", README), README)]))
    folders = [path for path in blobs.root.hub.rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        found = read_as_client(blobs, REPO, "main", "README.md")
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert found["file"] == README.decode()
    assert found["warnings"] == []
