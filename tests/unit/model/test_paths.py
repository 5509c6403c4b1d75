"""Which file names a repo may have, and which a person's folder may get."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.errors import ExitCode
from hubsync.model.paths import (
    PATH_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    HostilePathError,
    check_export_path,
    check_path,
    check_tree_paths,
    name_clashes,
)

HOSTILE = [
    *("", ".", "..", "/", "//", "./", "../", "/.", "/.."),
    *("../x", "../../x", "a/../x", "a/..", "a/../../x", "a/b/..", "..//x"),
    *("/abs", "/etc/passwd", "//host/share", "///x"),
    *("a//b", "a/", "a/b/", "a///b", "a//"),
    *("./a", "a/./b", "a/.", "./../a"),
    *("a\0b", "\0", "a/\0/b", "a\0/../b"),
    *("a\nb", "a\rb", "a\tb", "\x1b[31mred", "a\x07", "a\x7fb", "a\x85b", "a\x9bb"),
    *("\x01", "a/\x1f"),
    *("a\\b", "\\", "..\\x", "C:\\x", "\\\\host\\share", "a/..\\b", "a/\\"),
    *("\ud800", "a\udc80b", "a/\udfff", "\udcff/x", "\ud83d/\ude00"),
    *("s" * (SEGMENT_BYTES_MAX + 1), "a/" + "s" * (SEGMENT_BYTES_MAX + 1)),
    *("\N{LATIN SMALL LETTER E WITH ACUTE}" * 128, "\N{GRINNING FACE}" * 64),
    *("/".join(["ab"] * 1366), "a/" * (PATH_BYTES_MAX // 2) + "b"),
]

LEGAL = [
    *("a", "a/b", "README.md", ".gitattributes", ".hidden", "a/.hidden/b", "..."),
    *("..a", "a..", "a..b", "...a/...", " ", "a b", " a", "a ", "-rf", "--", "~"),
    *("C:", "C:/x", "a:b", "CON", "nul.txt", "a?b*c", '"', "'", "$(x)", "%2e%2e/x"),
    *(".git/config", ".GIT", "git~1", "\N{RIGHT-TO-LEFT OVERRIDE}gpj"),
    *("\N{LATIN SMALL LETTER E WITH ACUTE}", "e\u0301", "\N{GRINNING FACE}/x"),
    *("s" * SEGMENT_BYTES_MAX, "\N{GRINNING FACE}" * 63, "@", "#", "a@b"),
    "/".join(["abc"] * 1024),
]


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("path", HOSTILE, ids=ascii)
def test_s1_a_hostile_name_is_refused_everywhere(path: str) -> None:
    for check in (check_path, check_export_path):
        with pytest.raises(HostilePathError) as caught:
            check(path)
        assert caught.value.exit_code == ExitCode.INTEGRITY
        assert caught.value.path == path
        assert caught.value.hint
        str(caught.value).encode()  # can be printed, whatever the name is
        assert len(str(caught.value)) < 1000
    with pytest.raises(HostilePathError):
        check_tree_paths(["good", path])


@pytest.mark.parametrize("path", LEGAL, ids=ascii)
def test_an_odd_name_is_not_a_hostile_one(path: str) -> None:
    assert check_path(path) == path
    check_tree_paths([path])


def _is_segment(text: str) -> bool:
    return text not in ("", ".", "..") and len(text.encode()) <= SEGMENT_BYTES_MAX


SEGMENT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"),
    min_size=1,
    max_size=60,
).filter(_is_segment)
PATH = st.lists(SEGMENT, min_size=1, max_size=8).map("/".join)


@given(path=PATH)
def test_every_path_of_good_segments_is_allowed_as_it_is(path: str) -> None:
    assert check_path(path) == path


@given(
    path=PATH, at=st.integers(0, 500), bad=st.sampled_from(["\0", "\\", "\n", "\ud800"])
)
def test_one_bad_character_anywhere_spoils_a_path(path: str, at: int, bad: str) -> None:
    at %= len(path) + 1
    with pytest.raises(HostilePathError):
        check_path(path[:at] + bad + path[at:])


@given(
    parts=st.lists(SEGMENT, max_size=6),
    at=st.integers(0, 6),
    bad=st.sampled_from(["", ".", ".."]),
)
def test_s2_one_bad_segment_anywhere_spoils_a_path(
    parts: list[str], at: int, bad: str
) -> None:
    at %= len(parts) + 1
    with pytest.raises(HostilePathError):
        check_path("/".join([*parts[:at], bad, *parts[at:]]))


@given(text=st.text(max_size=100))
def test_any_text_is_a_path_or_refused_and_nothing_else(text: str) -> None:
    try:
        assert check_path(text) == text
    except HostilePathError:
        return
    assert not text.startswith("/")
    assert not {"", ".", ".."} & set(text.split("/"))


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["a", "a"], "twice"),
        (["a/b", "c", "a/b"], "twice"),
        (["a", "a/b"], "is a file in the same tree"),
        (["a/b", "a"], "is a file in the same tree"),
        (["a/b/c/d", "a/b"], "is a file in the same tree"),
        (["a", "a.b", "a/b"], "is a file in the same tree"),
    ],
)
def test_a_tree_has_each_path_once_and_no_file_that_is_a_folder(
    paths: list[str], said: str
) -> None:
    with pytest.raises(HostilePathError, match=said):
        check_tree_paths(paths)


def test_siblings_with_a_common_start_are_no_conflict() -> None:
    check_tree_paths(["a.b", "a-b", "a/b", "a/b.c", "a0", "ab/c", "A", "A.b/c"])


@given(paths=st.lists(PATH, unique=True, max_size=12))
def test_a_tree_is_refused_exactly_when_a_file_is_a_folder(paths: list[str]) -> None:
    conflict = any(other.startswith(f"{path}/") for path in paths for other in paths)
    if conflict:
        with pytest.raises(HostilePathError):
            check_tree_paths(paths)
    else:
        check_tree_paths(paths)


@pytest.mark.parametrize(
    "path",
    [
        *("CON", "con", "Con.txt", "a/NUL", "nul.tar.gz", "COM1", "lpt9.x", "AUX/b"),
        *("prn", "COM\N{SUPERSCRIPT ONE}", "\N{FULLWIDTH LATIN SMALL LETTER C}on"),
        *("a.", "a./b", "a ", "b /c", "...", "a/..."),
        *("a:b", "C:/x", "a/b:stream"),
        *(".git", ".git/config", "a/.git/hooks/x", ".GIT", ".Git/x", "git~1", "GIT~1"),
        *(".git.", ".git ", ".git. ./x", "\N{FULLWIDTH FULL STOP}git"),
        *("\u202egpj.exe", "a/\u2066b", "x\u2069", "\u202a", "\u200e.git:"),
    ],
    ids=ascii,
)
def test_a_folder_gets_no_name_that_means_something_else_there(path: str) -> None:
    check_path(path)
    with pytest.raises(HostilePathError):
        check_export_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("README.md", ".gitattributes", ".gitignore", ".github/x", "a.git", "con1"),
        *("console", "com", "com10", "icon", "a.con", "nulx.txt", ".hidden", "a b"),
        *("\N{LATIN SMALL LETTER E WITH ACUTE}", "\u05d0\u05d1", "git~2", "-rf", "a~"),
    ],
    ids=ascii,
)
def test_a_folder_gets_every_ordinary_name(path: str) -> None:
    assert check_export_path(path) == path


@pytest.mark.parametrize(
    "path",
    [".g\u200cit/config", ".gi\u200dt", "\ufeff.git", ".git\u200b", ".g\u2060it"],
    ids=ascii,
)
def test_a_name_that_hfs_folds_into_git_is_not_exported(path: str) -> None:
    """HFS+ ignores these characters in names: CVE-2014-9390."""
    with pytest.raises(HostilePathError):
        check_export_path(path)


@pytest.mark.parametrize(
    ("paths", "clashes"),
    [
        (["a", "b"], []),
        (["README", "readme"], [("README", "readme")]),
        (["\u00e9", "e\u0301"], [("e\u0301", "\u00e9")]),
        (["stra\u00dfe", "strasse"], [("strasse", "stra\u00dfe")]),
        (["a/X", "a/x", "b/x"], [("a/X", "a/x")]),
        (["A", "a", "\uff21"], [("A", "a")]),
    ],
)
def test_names_that_are_one_file_elsewhere_are_found(
    paths: list[str], clashes: list[tuple[str, str]]
) -> None:
    assert name_clashes(paths) == clashes
    assert name_clashes(reversed(paths)) == clashes


def test_a_file_that_is_a_folder_elsewhere_is_found() -> None:
    assert name_clashes(["Data", "data/x"])


def test_folders_that_merge_elsewhere_are_no_clash() -> None:
    assert name_clashes(["A/x", "a/y"]) == []


@given(paths=st.sets(PATH, max_size=10))
def test_a_set_without_clashes_stays_a_set_when_folded(paths: set[str]) -> None:
    clashes = name_clashes(paths)
    assert all(one != other and {one, other} <= paths for one, other in clashes)
    if not clashes:
        assert len({path.lower() for path in paths}) == len(paths)
