"""Mirrors without the large files, compared with what git-lfs does itself."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.stand import Client, Served, Store, digests_of, environment, requests_in
from tests.e2e.stand import run as run_command

WEIGHTS = "model.safetensors"
RELATIVE = f"/acme/minilm/resolve/{{}}/{WEIGHTS}"


@pytest.fixture
def mirror(served: Served, tmp_path: Path) -> Store:
    """A second store that has pulled acme/minilm without its LFS file."""
    (tmp_path / "home").mkdir()
    mirror = Store(tmp_path / "mirror", tmp_path / "home")
    pulled = mirror.json("pull", "acme/minilm", "--skip-smudge", endpoint=served.url)
    assert pulled["commit"] == served.commit
    return mirror


def _git_environment(home: Path) -> Mapping[str, str]:
    skip = {"GIT_LFS_SKIP_SMUDGE": "1", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@localhost"}
    who |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@localhost"}
    return environment(home, skip | who)


@pytest.fixture
def clone(served: Served, tmp_path: Path) -> Path:
    """What ``GIT_LFS_SKIP_SMUDGE=1 git clone`` writes of the same files."""
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    home, origin, clone = (tmp_path / name for name in ("git", "origin", "clone"))
    home.mkdir()
    env = _git_environment(home)
    run_command("git", "lfs", "install", "--skip-repo", env=env)
    shutil.copytree(served.model, origin)
    for step in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "x")):
        run_command("git", *step, env=env, cwd=origin)
    run_command("git", "clone", "-q", origin, clone, env=env)
    return clone


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    named = {str(path.relative_to(folder)): path for path in paths}
    return {n: p.read_bytes() for n, p in named.items() if not n.startswith(".git/")}


def test_a_mirror_without_lfs_files_has_a_snapshot_that_says_so(
    served: Served, mirror: Store
) -> None:
    repo = mirror.cache / "models--acme--minilm"
    expected = dict(served.digests)
    del expected[WEIGHTS]
    assert digests_of(repo / "snapshots" / served.commit) == expected
    # Its presence would tell huggingface_hub that the snapshot is whole.
    assert not (repo / "trees" / f"{served.commit}.json").exists()


def test_a_checkout_with_pointers_is_what_git_lfs_clones(
    mirror: Store, clone: Path, tmp_path: Path
) -> None:
    mirror.json("checkout", "acme/minilm", tmp_path / "out", "--skip-smudge")
    ours, theirs = _files(tmp_path / "out"), _files(clone)
    assert ours[WEIGHTS].startswith(b"version https://git-lfs.github.com/spec/v1\n")
    assert ours == theirs


@pytest.mark.clients
def test_the_tree_shows_the_object_ids_that_git_computes(
    client: Client, clone: Path, tmp_path: Path
) -> None:
    env = _git_environment(tmp_path / "git")
    listed = run_command("git", "ls-tree", "-r", "-z", "HEAD", env=env, cwd=clone)
    rows = (row.split("\t") for row in listed.split("\0") if row)
    expected = {path: facts.split()[2] for facts, path in rows}
    program = """
from huggingface_hub import HfApi
tree = HfApi().list_repo_tree("acme/minilm", recursive=True)
answer = {one.path: one.blob_id for one in tree if hasattr(one, "blob_id")}
"""
    assert client.ask(program) == expected


def test_a_later_plain_pull_fetches_the_one_missing_file(
    served: Served, mirror: Store, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    with served.store.serving(log) as url:
        pulled = mirror.json("pull", "acme/minilm", endpoint=url)
    assert pulled["bytes_fetched"] == (served.model / WEIGHTS).stat().st_size
    fetched = {line for line in requests_in(log) if "/resolve/" in line}
    paths = {line.partition(" ")[2].partition("?")[0] for line in fetched}
    assert paths == {RELATIVE.format(served.commit)}
    repo = mirror.cache / "models--acme--minilm"
    assert digests_of(repo / "snapshots" / served.commit) == served.digests
    assert (repo / "trees" / f"{served.commit}.json").exists()
