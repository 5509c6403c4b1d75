"""Tree and commit ids are the ones git itself computes."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubsync.model.digest import GitOid
from hubsync.wire.gitobjects import commit_oid, object_oid, tree_oids

WHO = "Ann Ö <ann@example.org> 1700000000 +0100"
NASTY = ["a", "a.b", "a-b", "a0", "a/b", "a/b.c", "a/b/c", "ab", "a b", "A", "a\u00e9"]
SEGMENTS = st.sampled_from(
    [
        "a",
        "a.b",
        "a-b",
        "a0",
        "a b",
        "b",
        "B",
        ".x",
        "aé",
        "文",
        "😀",
        "a~",
        "￮",
        "\ue000",
        "a,",
        "a/"[:1] + "!",
        "x" * 255,
    ]
)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)


def git(repo: Path, *words: str, stdin: bytes = b"") -> str:
    env = os.environ | {
        "GIT_AUTHOR_NAME": "Ann Ö",
        "GIT_AUTHOR_EMAIL": "ann@example.org",
        "GIT_AUTHOR_DATE": "1700000000 +0100",
        "GIT_COMMITTER_NAME": "Ann Ö",
        "GIT_COMMITTER_EMAIL": "ann@example.org",
        "GIT_COMMITTER_DATE": "1700000000 +0100",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    done = subprocess.run(
        ["git", "-C", str(repo), *words],
        check=True,
        input=stdin,
        capture_output=True,
        env=env,
    )
    return done.stdout.decode().strip()


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repo")
    git(folder, "init", "-q")
    return folder


def without_conflicts(paths: Iterable[str]) -> list[str]:
    """Drop files that stand where another path needs a folder."""
    every = set(paths)
    return [one for one in every if not any(o.startswith(f"{one}/") for o in every)]


def index(repo: Path, files: dict[str, bytes]) -> str:
    """The tree git writes for *files*."""
    git(repo, "read-tree", "--empty")
    lines = []
    for path, data in files.items():
        oid = GitOid.of_blob(data).hex
        lines.append(f"100644 {oid}\t{path}\0")
    git(repo, "update-index", "-z", "--index-info", stdin="".join(lines).encode())
    return git(repo, "write-tree", "--missing-ok")


def test_a_checked_out_folder_has_the_tree_git_gives_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    files = {path: path.encode() for path in without_conflicts(NASTY)}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    git(tmp_path, "add", "-A")
    ours = tree_oids((path, GitOid.of_blob(data)) for path, data in files.items())
    assert ours[""].hex == git(tmp_path, "write-tree")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(paths=st.lists(PATHS, unique=True, max_size=14))
def test_every_folder_of_any_tree_has_the_id_git_gives_it(
    repo: Path, paths: list[str]
) -> None:
    files = {path: path.encode()[:5] for path in without_conflicts(paths)}
    root = index(repo, files)
    ours = tree_oids((path, GitOid.of_blob(data)) for path, data in files.items())
    assert ours[""].hex == root
    theirs = {"": root}
    for line in git(repo, "ls-tree", "-rdzt", root).split("\0"):
        if line:
            meta, _, path = line.partition("\t")
            theirs[path] = meta.split()[2]
    assert {path: oid.hex for path, oid in ours.items()} == theirs


def test_the_order_of_listing_does_not_matter() -> None:
    files = [(path, GitOid.of_blob(b"")) for path in without_conflicts(NASTY)]
    assert tree_oids(files) == tree_oids(reversed(files))


def test_an_empty_tree_has_the_id_that_everybody_knows() -> None:
    assert tree_oids([]) == {"": GitOid("4b825dc642cb6eb9a060e54bf8d69288fbee4904")}


def test_a_tree_of_ten_thousand_files_has_the_id_git_gives_it(repo: Path) -> None:
    files = {f"d{i % 97}/e{i % 13}.x/f{i}": b"%d" % (i % 7) for i in range(10_000)}
    ours = tree_oids((path, GitOid.of_blob(data)) for path, data in files.items())
    assert ours[""].hex == index(repo, files)


@pytest.mark.parametrize(
    "message",
    ["one line\n", "subject\n\nbody\nof two lines\n", "\u6587\u5b57 \U0001f600\n"],
)
def test_a_commit_has_the_id_git_gives_it(repo: Path, message: str) -> None:
    root = index(repo, {"a/b": b"x", "a.b": b"y"})
    theirs = git(repo, "commit-tree", root, stdin=message.encode())
    ours = commit_oid(GitOid(root), message, {"author": WHO, "committer": WHO})
    assert ours.hex == theirs


@pytest.mark.parametrize("kind", ["blob", "tree"])
def test_an_object_is_hashed_with_its_kind(repo: Path, kind: str) -> None:
    body = b"" if kind == "tree" else b"hello\0world"
    theirs = git(repo, "hash-object", "-t", kind, "--stdin", stdin=body)
    assert object_oid(kind, body).hex == theirs
