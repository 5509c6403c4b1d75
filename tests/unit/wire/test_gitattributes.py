"""What goes to LFS is what git itself would hand to the LFS filter."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubsync.wire.gitattributes import (
    HUB_LFS_PATTERNS,
    hub_default_rules,
    parse_gitattributes,
)

PATHS = [
    *("a", "a.bin", "b.bin", "A.BIN", ".bin", "x.bin.txt", "a b.bin", "data", "#a"),
    *("data/a.bin", "data/x/a.bin", "data/x/y/z", "x/data/a.bin", "database/a"),
    *("saved_model/a", "saved_model/v/a.pb", "x/saved_model/a/b", "events.tfevents.1"),
    *(
        "dir/events.out.tfevents",
        "model.safetensors",
        "sub/model.safetensors.index.json",
    ),
    *("tokenizer.json", "a.tar", "a.tar.gz", "a.tar.x", "m.lfs.txt", "\u6587.bin"),
    *("dir with space/f.txt", "dir with space/g.bin", "[x].bin", "!a", "a*b"),
]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repo")
    subprocess.run(["git", "init", "-q"], check=True, cwd=folder)
    return folder


def lfs_for_git(repo: Path, text: str, paths: list[str]) -> dict[str, bool]:
    (repo / ".gitattributes").write_text(text, "utf-8")
    done = subprocess.run(
        ["git", "check-attr", "-z", "--stdin", "filter"],
        input="\0".join([*paths, ""]).encode(),
        check=True,
        capture_output=True,
        cwd=repo,
        env=os.environ
        | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
    )
    fields = done.stdout.decode().split("\0")[:-1]
    return dict(
        zip(fields[::3], (value == "lfs" for value in fields[2::3]), strict=True)
    )


def lfs_for_us(text: str, paths: list[str]) -> dict[str, bool]:
    rules = parse_gitattributes(text)
    return {path: rules.is_lfs(path) for path in paths}


LFS = "filter=lfs diff=lfs merge=lfs -text"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n# *.bin filter=lfs\n",
        f"*.bin {LFS}\n",
        f"  *.bin\t{LFS}  \n",
        f"*.bin {LFS}\r\n*.tar {LFS}\r\n",
        f"*.bin {LFS}",
        f"* {LFS}\n*.txt -filter\n",
        f"* {LFS}\n*.txt !filter\n",
        f"* {LFS}\n*.txt filter=other\n",
        f"*.txt -filter\n* {LFS}\n",
        f"* {LFS}\n*.json !filter !diff !merge text\n",
        f"*.bin {LFS}\n*.bin text\n",
        f"/a.bin {LFS}\n",
        f"data/a.bin {LFS}\n",
        f"/data/* {LFS}\n",
        f"data/* {LFS}\n",
        f"data/** {LFS}\n",
        f"/** {LFS}\n",
        f"/data** {LFS}\n",
        f"data**/z {LFS}\n",
        f"data/**/* {LFS}\n",
        f"**/data/* {LFS}\n",
        f"data/**/z {LFS}\n",
        f"**/*.bin {LFS}\n",
        f"saved_model/**/* {LFS}\n",
        f"*tfevents* {LFS}\n",
        f"[ab].bin {LFS}\n",
        f"[a-c]* {LFS}\n",
        f'"a b.bin" {LFS}\n',
        f"dir[[:space:]]with[[:space:]]space/* {LFS}\n",
        f"*.lfs.* {LFS}\n*.tar.* {LFS}\n",
        f"model.safetensors {LFS}\n",
        f"\u6587.bin {LFS}\n",
        f"*.bin {LFS}\n*.bin filter\n",
        "*.bin filter=lfs -filter\n",
        "*.bin -filter filter=lfs\n",
        "*.bin filter=LFS\n",
        "*.bin filter=lfsx\n",
        "*.bin xfilter=lfs\n",
    ],
)
def test_the_rules_decide_as_git_does(repo: Path, text: str) -> None:
    assert lfs_for_us(text, PATHS) == lfs_for_git(repo, text, PATHS)


@pytest.mark.parametrize("text", [f"data {LFS}\n", f"data/ {LFS}\n", f"/data {LFS}\n"])
def test_a_folders_name_does_not_reach_the_files_in_it(repo: Path, text: str) -> None:
    """Unlike in .gitignore: gitattributes(5)."""
    assert lfs_for_us(text, PATHS) == lfs_for_git(repo, text, PATHS)


@pytest.mark.parametrize("glob", ["?.bin", "[!a].bin"])
def test_one_character_is_matched_as_git_does(repo: Path, glob: str) -> None:
    """Of ASCII names: git compares bytes, so its ``?`` is half an umlaut."""
    paths = [path for path in PATHS if path.isascii()]
    text = f"{glob} {LFS}\n"
    assert lfs_for_us(text, paths) == lfs_for_git(repo, text, paths)


def test_an_excluding_pattern_is_not_allowed_and_means_nothing(repo: Path) -> None:
    text = f"*.bin {LFS}\n!a.bin {LFS}\n"
    assert lfs_for_us(text, PATHS) == lfs_for_git(repo, text, PATHS)


def test_the_hubs_default_list_decides_as_git_does(repo: Path) -> None:
    text = "".join(f"{glob} {LFS}\n" for glob in HUB_LFS_PATTERNS)
    rules = hub_default_rules()
    ours = {path: rules.is_lfs(path) for path in PATHS}
    assert ours == lfs_for_git(repo, text, PATHS)
    assert ours["sub/model.safetensors.index.json"] is False
    assert ours["model.safetensors"] is True


GLOBS = st.lists(
    st.sampled_from(
        ["*", "**", "a", "data", "*.bin", "?", "[ab]*", "x", "a.*", "*a*", "a**", "**a"]
    ),
    min_size=1,
    max_size=3,
).map("/".join)
VALUES = st.sampled_from(["filter=lfs", "-filter", "!filter", "filter=x", "text"])
LINES = st.tuples(st.sampled_from(["", "/"]), GLOBS, VALUES).map(
    lambda parts: f"{parts[0]}{parts[1]} {parts[2]}\n"
)
FILES = st.lists(
    st.sampled_from(["a", "data", "b.bin", "x", "a.bin", "y"]), min_size=1, max_size=4
).map("/".join)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    lines=st.lists(LINES, max_size=4), paths=st.lists(FILES, unique=True, max_size=20)
)
def test_any_rules_decide_as_git_does(
    repo: Path, lines: list[str], paths: list[str]
) -> None:
    text = "".join(lines)
    assert lfs_for_us(text, paths) == lfs_for_git(repo, text, paths)
