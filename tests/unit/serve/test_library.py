"""The parts that need no server."""

import pytest

from hubsync.catalog.catalog import Catalog
from hubsync.model.repo import RepoType
from hubsync.serve.errors import Problem
from hubsync.serve.lru import Lru
from hubsync.serve.routing import parse_route
from tests.unit.serve.mirror import File, Mirror, oid, serving


def test_lru_keeps_what_was_used_last_up_to_its_weight() -> None:
    lru: Lru[bytes] = Lru(10, len)
    for name in ("a", "b", "c", "d", "e"):
        lru.put((name,), name.encode() * 2)
    assert lru.get(("a",)) == b"aa"
    lru.put(("f",), b"ff")
    assert lru.get(("b",)) is None
    assert lru.get(("a",)) == b"aa"
    lru.put(("g",), b"too large alone")
    assert lru.get(("g",)) is None
    lru.put(("a",), b"xx")
    assert lru.get(("a",)) == b"aa"


@pytest.mark.parametrize(
    ("raw_path", "verb", "name", "revision", "path"),
    [
        ("/api/models/a/b", "info", "a/b", None, ""),
        ("/api/models/a/b/", "info", "a/b", None, ""),
        ("/api/models/gpt2", "info", "gpt2", None, ""),
        ("/api/models/a%2Fb", "info", "a/b", None, ""),
        ("/api/models/a/b/revision/x%2Fy", "revision", "a/b", "x/y", ""),
        ("/api/models/a/b/revision/refs/pr/1", "revision", "a/b", "refs/pr/1", ""),
        ("/api/datasets/a/tree/main/x", "tree", "a", "main", "x"),
        ("/api/models/a/b/tree/main/x%2Fy/z", "tree", "a/b", "main", "x/y/z"),
        ("/api/models/a/b/tree/refs/pr/1/x", "tree", "a/b", "refs/pr/1", "x"),
        ("/api/models/a/b/tree/main/", "tree", "a/b", "main", ""),
        ("/a/b/resolve/main/x/resolve/y", "resolve", "a/b", "main", "x/resolve/y"),
        ("/gpt2/resolve/main/raw/x", "resolve", "gpt2", "main", "raw/x"),
        ("/a/b/raw/refs%2Fpr%2F1/x", "raw", "a/b", "refs/pr/1", "x"),
        ("/spaces/a/b/resolve/refs/convert/parquet/x/y", "resolve", "a/b",
         "refs/convert/parquet", "x/y"),
        ("/models/a/b/resolve/main/x", "resolve", "a/b", "main", "x"),
    ],
)  # fmt: skip
def test_routes(
    raw_path: str, verb: str, name: str, revision: str | None, path: str
) -> None:
    route = parse_route(raw_path)
    assert (route.verb, route.name, route.revision, route.path) == (
        verb,
        name,
        revision,
        path,
    )
    # To the same shape again: what a renamed repo's old address leads to.
    again = parse_route(route.shape.replace("{}", route.name, 1))
    assert (again.verb, again.name, again.revision, again.path) == (
        verb,
        name,
        revision,
        path,
    )


@pytest.mark.parametrize(
    "raw_path", ["", "/", "/api", "/api/models", "/api/x/a/b", "/a/b", "/a/b/resolve/x"]
)
def test_no_routes(raw_path: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_route(raw_path)
    assert caught.value.status == 404


def test_a_catalog_that_answers_over_a_network_is_asked_in_threads(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "is_sqlite", property(lambda _: False))
    with serving(mirror) as live:
        for target in (
            "/healthz",
            "/api/models/acme/tiny-bert",
            "/api/models/acme/tiny-bert/tree/main",
            "/api/models/acme/tiny-bert/refs",
            "/acme/tiny-bert/resolve/main/config.json",
            "/acme/handmade/resolve/main/model.bin",
        ):
            assert live.get(target).status == 200
        assert live.get("/acme/x/resolve/main/y").code == "RepoNotFound"


def test_a_tree_of_many_files(own_mirror: Mirror) -> None:
    """Longer than what is answered in the loop itself."""
    files = {f"f{number:04}": File(b"") for number in range(600)}
    own_mirror.publish("a/b", files, commit="many")
    with serving(own_mirror) as live:
        tree = "/api/models/a/b/tree/main"
        for _ in range(2):
            assert [one["path"] for one in live.get(tree).json()] == sorted(files)
        assert len(live.get("/api/models/a/b").json()["siblings"]) == 600
        assert live.get("/api/models/a/b").json()["sha"] == oid("many")


def test_a_repo_of_each_type_has_its_own_name(mirror: Mirror) -> None:
    library = mirror.library()
    assert library.repo(RepoType.DATASET, "acme/tiny-csv")
    assert library.repo(RepoType.MODEL, "acme/tiny-csv") is None
