"""Addresses that nothing is at, and other ways to write those that something is at."""

import pytest

from hubsync.serve.errors import Problem
from hubsync.serve.routing import parse_route
from tests.unit.serve.mirror import Live, oid

NO_ROUTES = [
    "/api/models/acme/tiny-bert/nonsense",
    "/api/models/acme/tiny-bert/overview",
    "/api/models/acme%2Ftiny-bert/nonsense",
    "/api/models/acme/tiny-bert/resolve-nothing/main/config.json",
    "/api/models/acme/tiny-bert/compare/main...main",
    "/api/models/acme/tiny-bert/refs/heads",
    "/api/models/acme/tiny-bert/discussions/1",
    "/api/models/not/here/discussions/1",
    "/api/models/not/here/refs/heads",
    "/api/spaces/acme/demo/runtime",
    "/api/models/a/b/c/d",
    "/api/models/a//b",
    "/api/models/a%2Fb%2Fc",
    "/api/models/a%2Fb/c/tree/main",
    "/api/nothing",
    "/api/users/acme/overview",
    "/api/collections/acme/x-123",
    "/acme/tiny-bert/blob/main/config.json",
    "/acme%2Ftiny-bert/x/resolve/main/config.json",
    "/a/b/c/resolve/main/config.json",
    "/datasets/acme/tiny-csv/blob/main/train.csv",
]


@pytest.mark.parametrize("target", NO_ROUTES)
def test_an_unknown_route_is_not_an_unknown_repo(live: Live, target: str) -> None:
    """Clients would say that the repo is gone, and some would ask for a login."""
    answer = live.get(target)
    assert (answer.status, answer.code) == (404, None)
    assert answer.json() == {"error": "This mirror has no such route"}
    assert answer.headers["x-error-message"] == "This mirror has no such route"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_write_to_an_unknown_route_is_a_write(live: Live, method: str) -> None:
    for target in ("/api/models/a/b/c/d", "/acme/tiny-bert.git/info/lfs/objects/batch"):
        answer = live.ask(target, method)
        assert answer.status == 403
        assert "read-only" in answer.json()["error"]


def test_a_name_that_cannot_be_one_is_an_unknown_repo(live: Live) -> None:
    for target in ("/api/models/a--b", "/api/models/-a/b/tree/main"):
        assert (live.get(target).status, live.get(target).code) == (404, "RepoNotFound")


@pytest.mark.parametrize(
    "target",
    [
        "/acme/tiny-bert.git/info/refs?service=git-upload-pack",
        "/acme/tiny-bert/info/refs?service=git-upload-pack",
        "/datasets/acme/tiny-csv.git/info/refs?service=git-upload-pack",
        "/acme/tiny-bert.git/info/lfs/objects/batch",
        "/acme/tiny-bert.git/info/lfs/locks",
        "/acme/tiny-bert.git/HEAD",
        "/acme/tiny-bert.git",
        "/gpt2.git/info/refs",
    ],
)
def test_git_hears_that_there_is_no_git(live: Live, target: str) -> None:
    answer = live.get(target)
    assert (answer.status, answer.code) == (404, None)
    assert answer.json()["error"].startswith("Git is not served here")
    assert answer.headers["x-error-message"] == answer.json()["error"]


def test_what_only_looks_like_git_is_a_file() -> None:
    assert parse_route("/a/b/resolve/main/x.git/info/refs").path == "x.git/info/refs"
    with pytest.raises(Problem, match="no such route"):
        parse_route("/a/b/tree/main/info/refs/x")


COMMIT = oid("bert 2")


@pytest.mark.parametrize(
    "target",
    [
        "/acme/tiny-bert/resolve/{}/config.json",
        "/acme/tiny-bert/raw/{}/config.json",
        "/api/models/acme/tiny-bert/revision/{}",
        "/api/models/acme/tiny-bert/tree/{}",
        "/api/models/acme/tiny-bert/commits/{}",
        "/api/models/acme/tiny-bert/treesize/{}/sub%20dir",
        "/api/resolve-cache/models/acme/tiny-bert/{}/config.json",
    ],
)
def test_a_commit_is_the_same_in_capitals(live: Live, target: str) -> None:
    answer, same = (
        live.get(target.format(one)) for one in (COMMIT.upper(), COMMIT.title())
    )
    assert (answer.status, same.status) == (200, 200)
    assert answer.body == same.body == live.get(target.format(COMMIT)).body
    assert answer.headers.get("x-repo-commit", COMMIT) == COMMIT


def test_paths_are_asked_of_a_commit_in_capitals(live: Live) -> None:
    target = f"/api/models/acme/tiny-bert/paths-info/{COMMIT.upper()}"
    answer = live.ask(target, "POST", body=b"paths=config.json")
    assert [one["path"] for one in answer.json()] == ["config.json"]
