"""Answers have the keys, the order and the headers of the recorded Hub."""

import hashlib
from typing import Any

import pytest

from tests.selfcheck.asking import Reply, ask, recording
from tests.testhub import HubRepo, Lfs, TestHub

WEIGHTS = b"weights" * 1000


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo(
        "acme/tiny",
        tags=("region:us",),
        pipeline_tag="fill-mask",
        library_name="transformers",
    )
    repo.commit(
        {
            "config.json": b"{}\n",
            "model.safetensors": Lfs(WEIGHTS),
            "onnx/config.json": b"{}\n",
        },
        "First",
    )
    return repo


def order(value: dict[str, Any], model: dict[str, Any]) -> list[str]:
    """The keys of *value* that *model* has, in the order of *value*."""
    return [key for key in value if key in model]


def same_order(value: dict[str, Any], model: dict[str, Any]) -> bool:
    return order(value, model) == order(model, value)


def api(hub: TestHub, rest: str) -> Any:
    reply = ask(f"{hub.endpoint}/api/models/acme/tiny{rest}")
    assert reply.status == 200, reply.body
    return reply.json()


def test_json_is_compact(hub: TestHub, repo: HubRepo) -> None:
    body = ask(f"{hub.endpoint}/api/models/acme/tiny").body
    assert b'", "' not in body
    assert b'": ' not in body


def test_tree_entries_have_the_recorded_keys_in_order(
    hub: TestHub, repo: HubRepo
) -> None:
    shown = api(hub, "/tree/main")
    recorded = recording("models.tree")["response"]["json"]
    kinds = {
        tuple(one): one["type"] for one in recorded
    }  # directory, plain file, LFS file

    assert {tuple(one) for one in shown} == set(kinds)
    assert [one["type"] for one in shown] == ["directory", "file", "file"]
    lfs = next(one["lfs"] for one in shown if "lfs" in one)
    assert list(lfs) == ["oid", "size", "pointerSize"]


def test_an_lfs_oid_is_the_sha1_of_the_pointer(hub: TestHub, repo: HubRepo) -> None:
    entry = next(one for one in api(hub, "/tree/main") if "lfs" in one)
    pointer = ask(f"{hub.endpoint}/acme/tiny/raw/main/model.safetensors")

    blob = b"blob %d\0" % len(pointer.body) + pointer.body
    assert entry["oid"] == hashlib.sha1(blob).hexdigest()
    assert entry["lfs"]["pointerSize"] == len(pointer.body)
    assert pointer.headers["ETag"] == f'"{entry["oid"]}"'
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\n"
    assert pointer.body.decode() == f"{text}size {len(WEIGHTS)}\n"


def test_refs_commits_and_treesize_have_the_recorded_keys(
    hub: TestHub, repo: HubRepo
) -> None:
    refs, commits = api(hub, "/refs"), api(hub, "/commits/main")
    recorded = recording("models.refs")["response"]["json"]
    known = recording("models.commits")["response"]["json"][0]

    assert list(refs) == list(recorded)
    assert list(refs["branches"][0]) == list(recorded["branches"][0])
    assert list(commits[0]) == list(known)
    assert list(commits[0]["authors"][0]) == list(known["authors"][0])
    size = len(WEIGHTS) + 6
    assert api(hub, "/treesize/main") == {"path": "/", "size": size}


def test_paths_info_takes_the_recorded_request(hub: TestHub, repo: HubRepo) -> None:
    call = recording("models.paths-info")["request"]
    reply = ask(
        f"{hub.endpoint}/api/models/acme/tiny/paths-info/main",
        method="POST",
        headers=call["headers"],
        body=call["body"].encode(),
    )

    assert [one["path"] for one in reply.json()] == ["config.json"]
    assert list(reply.json()[0]) == ["type", "oid", "size", "path", "lastCommit"]


def test_siblings_have_sizes_only_with_blobs(hub: TestHub, repo: HubRepo) -> None:
    plain = api(hub, "")["siblings"]
    with_blobs = api(hub, "?blobs=true")["siblings"]

    assert {tuple(one) for one in plain} == {("rfilename",)}
    lfs = next(one["lfs"] for one in with_blobs if "lfs" in one)
    assert list(lfs) == ["sha256", "size", "pointerSize"]


def test_expand_gives_what_was_asked_for_and_no_more(
    hub: TestHub, repo: HubRepo
) -> None:
    assert list(api(hub, "?expand=sha&expand=gated")) == ["_id", "id", "sha", "gated"]
    assert list(api(hub, "?expand%5B%5D=sha")) == ["_id", "id", "sha"]


def test_a_plain_file_is_a_relative_307_without_an_etag(
    hub: TestHub, repo: HubRepo
) -> None:
    oid = hashlib.sha1(b"blob 3\0{}\n").hexdigest()
    hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/config.json", method="HEAD")
    final = ask(hub.endpoint + hop.location, method="HEAD")

    assert hop.status == 307
    sha = repo.resolve("main")
    assert hop.location.startswith(
        f"/api/resolve-cache/models/acme/tiny/{sha}/config.json?%2Facme%2Ftiny%2F"
    )
    assert hop.location.endswith(f"&etag=%22{oid}%22")
    assert hop.headers["X-Repo-Commit"] == sha
    assert hop.headers["X-Linked-Etag"] == f'"{oid}"'
    assert "ETag" not in hop.headers
    assert "X-Linked-Size" not in hop.headers
    assert (final.status, final.headers["ETag"]) == (200, f'"{oid}"')
    assert final.headers["Content-Length"] == "3"
    assert final.headers["X-Repo-Commit"] == sha


def test_an_lfs_file_is_an_absolute_302_to_the_cdn(hub: TestHub, repo: HubRepo) -> None:
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/model.safetensors")

    assert hop.status == 302
    assert hop.location.startswith(f"{hub.cdn_endpoint}/xet-bridge-us/{repo.hub_id}/")
    assert hop.headers["X-Linked-Etag"] == f'"{sha256}"'
    assert hop.headers["X-Linked-Size"] == str(len(WEIGHTS))
    assert hop.headers["X-Repo-Commit"] == repo.resolve("main")
    assert hop.headers["Cache-Control"] == "no-store"
    assert hop.headers["X-Xet-Hash"] != sha256
    link = hop.headers["Link"]
    assert f"<{hub.endpoint}/api/models/acme/tiny/xet-read-token/" in link
    assert 'rel="xet-auth"' in link


ERRORS = [
    ("models.notfound", "/api/models/acme/nope"),
    ("models.revision.notfound", "/api/models/acme/tiny/revision/does-not-exist"),
    ("models.tree.notfound", "/api/models/acme/tiny/tree/main/does-not-exist"),
    ("models.resolve.notfound", "/acme/tiny/resolve/main/does-not-exist.txt"),
    ("whoami-v2", "/api/whoami-v2"),
]


@pytest.mark.parametrize(("name", "path"), ERRORS, ids=[name for name, _ in ERRORS])
def test_an_error_is_answered_as_recorded(
    hub: TestHub, repo: HubRepo, name: str, path: str
) -> None:
    recorded = recording(name)["response"]
    method = recording(name)["request"]["method"]
    reply: Reply = ask(hub.endpoint + path, method=method)

    assert reply.status == recorded["status"]
    for header in ("X-Error-Code", "X-Error-Message", "WWW-Authenticate"):
        assert reply.headers[header] == _header(recorded["headers"], header)
    kind = recorded["headers"]["Content-Type"]
    assert reply.headers["Content-Type"] == kind
    assert hashlib.sha256(reply.body).hexdigest() == recorded["body_sha256"]


def _header(headers: dict[str, str], name: str) -> str | None:
    found = (text for key, text in headers.items() if key.lower() == name.lower())
    return next(found, None)


def test_a_model_has_the_recorded_keys_in_order(hub: TestHub, repo: HubRepo) -> None:
    recorded = recording("models.info")["response"]["json"]
    shown = api(hub, "")

    assert same_order(shown, recorded)
    always = set(recorded) - {"config", "cardData", "safetensors"}
    assert always <= set(shown)


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
def test_datasets_and_spaces_have_the_recorded_keys_in_order(
    hub: TestHub, repo_type: str
) -> None:
    hub.create_repo("acme/other", repo_type).commit({"README.md": b"hi"})
    recorded = recording(f"{repo_type}s.info")["response"]["json"]
    shown = ask(f"{hub.endpoint}/api/{repo_type}s/acme/other").json()

    assert same_order(shown, recorded)
    assert set(shown) <= set(recorded)


def test_a_list_item_has_the_recorded_keys(hub: TestHub, repo: HubRepo) -> None:
    recorded = recording("models.list")["response"]["json"][0]
    shown = ask(f"{hub.endpoint}/api/models?author=acme").json()[0]
    assert order(shown, recorded) == list(recorded)


def test_the_location_of_a_plain_file_repeats_the_path_as_recorded(
    hub: TestHub, repo: HubRepo
) -> None:
    hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/config.json")
    assert "?%2Facme%2Ftiny%2Fresolve%2Fmain%2Fconfig.json=&etag=" in hop.location
