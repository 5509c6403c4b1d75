"""Files of a dataset are found where the library ``datasets`` finds them."""

import time
from pathlib import Path
from typing import Any

import pytest
from datasets.data_files import get_data_patterns, resolve_pattern
from hypothesis import given
from hypothesis import strategies as st

from hubsync.wire.data_files import Configs, converted_files, matches, own_files


def test_what_the_hub_has_converted() -> None:
    paths = [
        "README.md", "b/test/0000.parquet", "a/train/0001.parquet",
        "a/train/0000.parquet", "a/partial-test/0000.parquet", "top.parquet",
        "a/b/c/0000.parquet", "a/x/name.parquet",
    ]  # fmt: skip
    files, is_partial = converted_files(paths)
    assert files == {
        "a": {
            "test": ["a/partial-test/0000.parquet"],
            "train": ["a/train/0000.parquet", "a/train/0001.parquet"],
        },
        "b": {"test": ["b/test/0000.parquet"]},
    }
    assert is_partial
    assert converted_files(["a/train/0000.parquet"])[1] is False


TREES = [
    ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet",
     "data/test.v2-00000-of-00001.parquet", "other.parquet"],
    ["data/my_split-00000-of-00001-abc.parquet"],
    ["train.parquet", "test.parquet"],
    ["my-train-file.parquet", "dev.parquet", "extra.parquet"],
    ["train/a.parquet", "validation/b.parquet", "test.parquet"],
    ["deep/eval-set/x/b.parquet", "deep/training/b.parquet"],
    ["trainset.parquet", "latest.parquet"],
    ["a.parquet", "b/c.parquet"],
    ["evaluation_1.parquet", "training data.parquet"],
    ["x2train3.parquet", "valid.parquet"],
]  # fmt: skip


@pytest.mark.parametrize("paths", TREES)
def test_splits_are_those_of_the_library(tmp_path: Path, paths: list[str]) -> None:
    for path in paths:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    theirs: dict[str, list[str]] = {}
    for split, patterns in get_data_patterns(str(tmp_path)).items():
        found = {
            str(Path(one).relative_to(tmp_path))
            for pattern in patterns
            for one in _resolved(pattern, tmp_path)
        }
        theirs[str(split)] = sorted(found)
    assert own_files(paths, {})["default"] == theirs


def _resolved(pattern: str, folder: Path) -> list[str]:
    try:
        return list(resolve_pattern(pattern, str(folder)))
    except FileNotFoundError:
        return []


FILES = ["a/x-1.parquet", "a/x-2.parquet", "b/test.parquet", "b/train.parquet"]
CARDS: list[tuple[Any, Configs]] = [
    (
        [{"config_name": "one", "data_files": "a/*.parquet"}],
        {"one": {"train": FILES[:2]}},
    ),
    (
        [{"config_name": "one", "data_files": [{"split": "dev", "path": "a/x-2.*"}]},
         {"config_name": "two", "data_files": ["b/te*", "a/x-1.parquet"]}],
        {"one": {"dev": [FILES[1]]}, "two": {"train": [FILES[2], FILES[0]]}},
    ),
    (
        [{"config_name": "one", "data_dir": "b"}],
        {"one": {"train": [FILES[3]], "test": [FILES[2]]}},
    ),
    (
        [{"config_name": "one", "data_dir": "/b/", "data_files": "t?[ar]*n.parquet"}],
        {"one": {"train": [FILES[3]]}},
    ),
    (
        [{"config_name": "one",
          "data_files": {"dev": "a/**", "test": ["b/test.parquet"]}}],
        {"one": {"dev": FILES[:2], "test": [FILES[2]]}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("configs", "expected"), CARDS)
def test_what_the_card_says_counts(configs: object, expected: Configs) -> None:
    assert own_files(FILES, {"configs": configs}) == expected


@pytest.mark.parametrize(
    "configs",
    [1, "x", [], [1], [{}], [{"config_name": 1}], {"a": 1},
     [{"config_name": "a", "data_files": "no/such"}],
     [{"config_name": "a", "data_files": 5}],
     [{"config_name": "a", "data_files": [{"split": "../x", "path": "**"}]}],
     [{"config_name": "a", "data_files": [{"path": {"x": 1}}]}]],
)  # fmt: skip
def test_a_card_that_means_no_file_is_no_card(configs: object) -> None:
    assert set(own_files(FILES, {"configs": configs})) == {"default"}


def test_no_files_make_no_configuration() -> None:
    assert own_files([], {}) == {}


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.parquet", "a.parquet", True),
        ("*.parquet", "b/a.parquet", False),
        ("**/*.parquet", "a.parquet", True),
        ("**/*.parquet", "b/c/a.parquet", True),
        ("**", "b/c/a.parquet", True),
        ("b/**/a.*", "b/a.x", True),
        ("b/**/a.*", "c/a.x", False),
        ("**/c/**/*", "a/c/b/d", True),
        ("a[0-9].x", "a5.x", True),
        ("a[!0-9].x", "a5.x", False),
        ("a[xy-].x", "a-.x", True),
        ("a[b", "a[b", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a*b*c", "aXbXbXc", True),
        ("", "a", False),
        ("x" * 2000, "x" * 2000, False),
    ],
)
def test_patterns(pattern: str, path: str, *, expected: bool) -> None:
    assert matches(pattern, path) is expected


def test_no_pattern_takes_long() -> None:
    """As a regular expression, this one would not end today."""
    started = time.process_time()
    for pattern in ("*a" * 400 + "b", "**/a/" * 150 + "b", "a*" * 400 + "/b"):
        matches(pattern, "a" * 1000)
        matches(pattern, "a/" * 400)
    assert time.process_time() - started < 5


TEXT = st.text("ab*?[]-!/.^", max_size=12)


@given(TEXT, TEXT)
def test_no_pattern_breaks_the_matching(pattern: str, path: str) -> None:
    matches(pattern, path)


JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["config_name", "data_files", "data_dir", "split", "path"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_card_breaks_the_listing(configs: object) -> None:
    assert own_files(FILES, {"configs": configs})
