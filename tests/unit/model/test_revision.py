"""Revisions are what git allows as names; refs know what they are."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubsync.model.errors import ExitCode, UsageError
from hubsync.model.revision import (
    InvalidRevisionError,
    RefName,
    check_branch,
    check_revision,
    is_commit,
    may_be_short_commit,
    ref_candidates,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "text",
    [
        "main",
        "v1.0",
        "refs/pr/1",
        "refs/convert/parquet",
        "a/b/c",
        COMMIT,
        "x" * 255,
        "release-2.x",
        "user@host",
        "a.lockx",
        "文",
        "1",
    ],
)
def test_a_name_that_git_allows_is_a_revision(text: str) -> None:
    assert check_revision(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "..",
        "a..b",
        "../x",
        "a/../b",
        "/a",
        "a/",
        "a//b",
        "-x",
        "--all",
        ".a",
        "a/.b",
        "a.",
        "a.lock",
        "a.lock/b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "a@{1}",
        "a\x00b",
        "a\nb",
        "a\tb",
        "\x7f",
        "x" * 256,
        "HEAD^{tree}",
    ],
    ids=ascii,
)
def test_a_name_that_git_refuses_is_no_revision(text: str) -> None:
    with pytest.raises(InvalidRevisionError) as caught:
        check_revision(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="ab./-@{~^:?*[\\ \x7f", min_size=1, max_size=12))
def test_whatever_passes_git_would_take_as_a_branch(text: str) -> None:
    try:
        check_revision(text)
    except InvalidRevisionError:
        return
    done = subprocess.run(
        ["git", "check-ref-format", f"refs/heads/{text}"], check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("full", "kind", "short"),
    [
        ("refs/heads/main", "branch", "main"),
        ("refs/heads/a/b", "branch", "a/b"),
        ("refs/tags/v1", "tag", "v1"),
        ("refs/pr/12", "pr", "refs/pr/12"),
        ("refs/convert/parquet", "convert", "refs/convert/parquet"),
        ("refs/notes/x", "other", "refs/notes/x"),
    ],
)
def test_a_ref_knows_its_kind_and_what_people_call_it(
    full: str, kind: str, short: str
) -> None:
    ref = RefName(full)
    assert (ref.kind, ref.short, str(ref)) == (kind, short, full)
    assert full in ref_candidates(short)


@pytest.mark.parametrize("full", ["main", "heads/main", "refs/", "refs/heads/", "refs"])
def test_a_ref_is_written_in_full(full: str) -> None:
    with pytest.raises(InvalidRevisionError):
        RefName(full)


def test_branch_and_tag_of_one_name_are_two_refs() -> None:
    assert RefName.branch("v1") != RefName.tag("v1")
    assert ref_candidates("v1") == ["refs/heads/v1", "refs/tags/v1"]


@pytest.mark.parametrize(
    ("text", "full", "short"),
    [
        (COMMIT, True, False),
        (COMMIT[:39], False, True),
        (COMMIT[:7], False, True),
        (COMMIT[:6], False, False),
        (COMMIT.upper(), False, False),
        (COMMIT + "\n", False, False),
        (COMMIT + "0", False, False),
        ("main", False, False),
    ],
)
def test_commits_are_told_from_names(text: str, full: bool, short: bool) -> None:
    assert is_commit(text) is full
    assert may_be_short_commit(text) is short


@pytest.mark.parametrize("name", ["main", "v1", "a/b", "deadbee-x", "refs", "abcdef"])
def test_what_a_branch_may_be_called(name: str) -> None:
    assert check_branch(name) == name


@pytest.mark.parametrize(
    "name", ["refs/pr/1", "refs/heads/main", "30d67a70", "A" * 40, "0" * 7]
)
def test_a_branch_is_not_called_like_something_else(name: str) -> None:
    with pytest.raises(UsageError, match="looks like"):
        check_branch(name)
