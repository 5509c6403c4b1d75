"""Globs over repos: those that fit, and those that never could."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.globs import can_match, matches
from hubsync.model.repo import RepoId, RepoType

NAME = st.from_regex(r"[A-Za-z0-9_]{1,5}(/[A-Za-z0-9_]{1,5})?", fullmatch=True)
REPO = st.builds(
    RepoId, st.sampled_from(["local", "my-hub"]), st.sampled_from(RepoType), NAME
)


@given(repo=REPO, data=st.data())
def test_what_fits_a_repo_could(repo: RepoId, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([str(repo), repo.path, repo.name]))
    # Pieces of the name give way to what stands for them.
    cuts = data.draw(st.lists(st.integers(0, len(name)), max_size=4))
    places = [0, *sorted(cuts), len(name)]
    glob = ""
    for start, stop in pairwise(places):
        piece = name[start:stop]
        wild = ["*", "?" * len(piece), piece, piece.upper()]
        if piece.isalnum():
            wild.append("".join(f"[!-{chr(ord(one) + 1)}]" for one in piece))
        glob += data.draw(st.sampled_from(wild))
    assert matches(repo, [glob])
    assert can_match(glob)


@pytest.mark.parametrize(
    "glob",
    [
        *("", "acme//x y", "acme//x", "acme/x y", "/acme/x", "acme/", "a/b/c/d"),
        *(
            "models/acme/*",
            "hf:models/acme/x",
            "a:b:c",
            ":x",
            "x@v1",
            "https://hf.co/x",
        ),
        *("acme/[x", "acme\\x", "a,b"),
    ],
)
def test_what_no_repo_is_called_like_fits_none(glob: str) -> None:
    assert not can_match(glob)
