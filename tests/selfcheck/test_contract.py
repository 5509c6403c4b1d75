"""Names, identities, odd files and odd requests, as the contract has them."""

from pathlib import Path

import pytest

from tests.selfcheck.asking import ask, bearer
from tests.testhub import HubRepo, Lfs, TestHub


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/tiny")
    repo.commit({"a.txt": b"12345"})
    return repo


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/{0}?blobs=true",
        "/api/models/{0}/tree/main?recursive=true",
        "/{0}/resolve/main/a.txt?download=true",
    ],
)
def test_an_old_name_or_another_case_is_a_relative_307(
    hub: TestHub, repo: HubRepo, path: str
) -> None:
    repo.rename("acme/New")
    for name in ("acme/tiny", "ACME/new"):
        reply = ask(hub.endpoint + path.format(name))
        assert (reply.status, reply.location) == (307, path.format("acme/New"))


def test_the_id_stays_over_a_rename_and_changes_when_created_again(
    hub: TestHub, repo: HubRepo
) -> None:
    def key(name: str) -> object:
        return ask(f"{hub.endpoint}/api/models/{name}").json()["_id"]

    first = key("acme/tiny")
    repo.rename("acme/new")
    assert key("acme/new") == first
    repo.delete()
    hub.create_repo("acme/new").commit({"a.txt": b"1"})
    assert key("acme/new") != first


def test_a_short_sha_and_head_are_revisions(hub: TestHub, repo: HubRepo) -> None:
    sha = repo.resolve("main")
    assert sha is not None
    for revision in ("HEAD", sha[:7], sha):
        reply = ask(f"{hub.endpoint}/api/models/acme/tiny/revision/{revision}")
        assert reply.json()["sha"] == sha


def test_a_force_push_moves_the_branch_and_keeps_the_old_commit(
    hub: TestHub, repo: HubRepo
) -> None:
    first = repo.resolve("main")
    assert first is not None
    second = repo.commit({"a.txt": b"2"})
    repo.force_push("main", first)
    url = f"{hub.endpoint}/api/models/acme/tiny/revision"

    assert ask(f"{url}/main").json()["sha"] == first
    assert ask(f"{url}/{second}").status == 200


def test_a_bad_token_is_refused_only_where_a_token_is_needed(
    hub: TestHub, repo: HubRepo
) -> None:
    headers = bearer("hf_garbage")
    public = ask(f"{hub.endpoint}/api/models/acme/tiny", headers=headers)
    missing = ask(f"{hub.endpoint}/api/models/acme/nope", headers=headers)
    who = ask(f"{hub.endpoint}/api/whoami-v2", headers=headers)

    assert public.status == 200
    for reply in (missing, who):
        assert reply.status == 401
        message = "Invalid credentials in Authorization header"
        assert reply.headers["X-Error-Message"] == message


def test_a_private_repo_is_missing_to_others(hub: TestHub) -> None:
    hub.add_token("hf_good", can_read={"acme/secret"})
    hub.add_token("hf_other", "bob")
    hub.create_repo("acme/secret", private=True).commit({"a.txt": b"12345"})
    url = f"{hub.endpoint}/acme/secret/resolve/main/a.txt"
    allowed = ask(url, headers=bearer("hf_good"))

    assert ask(url).status == 401
    refused = ask(url, headers=bearer("hf_other"))
    assert (refused.status, refused.headers["X-Error-Code"]) == (404, "RepoNotFound")
    assert (allowed.status, allowed.body) == (200, b"12345")
    assert "X-Repo-Commit" in allowed.headers


def test_a_gated_repo_keeps_its_commits_back(hub: TestHub) -> None:
    hub.create_repo("acme/gated", gated="auto").commit({"a.txt": b"1"})
    base = f"{hub.endpoint}/api/models/acme/gated"
    refused = ask(f"{base}/commits/main")

    assert (refused.status, refused.headers["X-Error-Code"]) == (401, "GatedRepo")
    for open_path in ("", "/tree/main", "/refs"):
        assert ask(base + open_path).status == 200


def test_names_that_differ_in_case_are_two_files(hub: TestHub, repo: HubRepo) -> None:
    repo.commit({"A.txt": b"upper"})
    shown = ask(f"{hub.endpoint}/api/models/acme/tiny/tree/main").json()
    assert [one["path"] for one in shown] == ["A.txt", "a.txt"]


def test_a_hub_opened_again_has_its_repos_and_files(tmp_path: Path) -> None:
    with TestHub(tmp_path) as hub:
        sha = hub.create_repo("acme/tiny").commit({"m.bin": Lfs(b"weights" * 9)})
    with TestHub(tmp_path) as hub:
        hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/m.bin")
        assert hop.headers["X-Repo-Commit"] == sha
        assert ask(hop.location).body == b"weights" * 9


def test_a_hub_opened_again_gives_new_ids(tmp_path: Path) -> None:
    with TestHub(tmp_path) as hub:
        old = hub.create_repo("acme/tiny")
        old.commit({"a.txt": b"1"})
        old.delete()
    with TestHub(tmp_path) as hub:
        new = hub.create_repo("acme/tiny")
        assert new.hub_id != old.hub_id
        assert new.resolve("main") is None


def test_an_empty_lfs_file_is_empty(hub: TestHub, repo: HubRepo) -> None:
    repo.commit({"empty.bin": Lfs(b"")})
    reply = ask(f"{hub.endpoint}/acme/tiny/resolve/main/empty.bin")
    assert (reply.status, reply.body) == (200, b"")


def test_a_lost_lfs_object_is_404_on_resolve(hub: TestHub, repo: HubRepo) -> None:
    repo.commit({"m.bin": Lfs(b"weights")})
    sha = repo.resolve("main")
    assert sha is not None
    pointer = repo.listing(sha).entries["m.bin"].lfs
    assert pointer is not None
    hub.world.lfs.remove(pointer.sha256)
    assert ask(f"{hub.endpoint}/acme/tiny/resolve/main/m.bin").status == 404


def test_the_resolve_cache_does_not_go_round_the_gate(hub: TestHub) -> None:
    sha = hub.create_repo("acme/gated", gated="auto").commit({"a.txt": b"12345"})
    url = f"{hub.endpoint}/api/resolve-cache/models/acme/gated/{sha}/a.txt"
    assert ask(url).status == 401


def test_a_file_that_did_not_change_is_304_on_resolve(
    hub: TestHub, repo: HubRepo
) -> None:
    url = f"{hub.endpoint}/acme/tiny/resolve/main/a.txt"
    etag = ask(url).headers["X-Linked-Etag"]
    assert ask(url, headers={"If-None-Match": etag}).status == 304


def test_several_ranges_at_once_are_answered_whole(hub: TestHub, repo: HubRepo) -> None:
    hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/a.txt")
    reply = ask(hub.endpoint + hop.location, headers={"Range": "bytes=0-1,3-4"})
    assert (reply.status, reply.body) == (200, b"12345")


def test_a_list_obeys_filter_and_sort(hub: TestHub) -> None:
    for name, tag, date in [
        ("old", "gguf", "2026-02-01"),
        ("new", "gguf", "2026-03-01"),
        ("other", "onnx", "2026-04-01"),
    ]:
        repo = hub.create_repo(f"acme/{name}", tags=(tag,))
        repo.commit({"a": b"1"}, date=f"{date}T00:00:00.000Z")
    url = f"{hub.endpoint}/api/models?filter=gguf&sort=lastModified&direction=-1"
    assert [one["id"] for one in ask(url).json()] == ["acme/new", "acme/old"]


def test_an_unknown_expand_is_400(hub: TestHub, repo: HubRepo) -> None:
    assert ask(f"{hub.endpoint}/api/models/acme/tiny?expand=nonsense").status == 400


def test_a_page_is_never_larger_than_the_page_size(hub: TestHub, repo: HubRepo) -> None:
    hub.page_size = 2
    repo.commit({f"{n}.txt": b"1" for n in range(5)})
    url = f"{hub.endpoint}/api/models/acme/tiny/tree/main?limit=1000"
    assert len(ask(url).json()) == 2


def test_used_storage_is_the_size_of_the_lfs_objects(
    hub: TestHub, repo: HubRepo
) -> None:
    repo.commit({"m.bin": Lfs(b"weights")})
    shown = ask(f"{hub.endpoint}/api/models/acme/tiny?expand=usedStorage").json()
    assert shown["usedStorage"] == 7
