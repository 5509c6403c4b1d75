"""What is told of a file that is not in the store as it is recorded."""

import pytest

from hubsync.model.repo import RepoType
from tests.unit.serve.mirror import File, Mirror, serving

FILES = {"x": File(b"twelve bytes")}


@pytest.mark.parametrize(
    ("upstream", "repo_type", "said"),
    [
        ("huggingface", RepoType.MODEL, "hubsync verify --all --repair"),
        ("local", RepoType.MODEL, "hubsync add FOLDER a/b"),
        ("local", RepoType.DATASET, "hubsync add FOLDER datasets/a/b"),
    ],
)
def test_the_answer_says_what_mends_it(
    own_mirror: Mirror, upstream: str, repo_type: RepoType, said: str
) -> None:
    own_mirror.publish("a/b", FILES, upstream=upstream, repo_type=repo_type)
    (blob,) = own_mirror.catalog.all_held()
    own_mirror.blobs.path(blob.digest).unlink()
    with serving(own_mirror) as live:
        got = live.get(f"/{repo_type.url_prefix}a/b/resolve/main/x")
    assert got.status == 503
    assert got.json()["error"].endswith(f"on the mirror: {said}")


def test_who_writes_is_told_where_to(own_mirror: Mirror) -> None:
    own_mirror.publish("a/b", FILES, upstream="local")
    with serving(own_mirror) as live:
        got = live.ask("/api/models/a/b/commit/main", "POST", body=b"{}")
    assert got.status == 403
    assert "upstream hub" in got.json()["error"]
    assert "hubsync add" in got.json()["error"]
