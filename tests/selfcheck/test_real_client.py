"""The unmodified huggingface_hub client cannot tell the test hub from the Hub."""

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.testhub import HubRepo, Lfs, TestHub

WEIGHTS = bytes(range(256)) * 4000
FILES: dict[str, bytes | Path | Lfs | None] = {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "README.md": b"# tiny\n",
    "empty.txt": b"",
    "model.safetensors": Lfs(WEIGHTS),
    "sub dir/a b#1.txt": b"odd name\n",
}


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    return hub.create_repo("acme/tiny")


@pytest.fixture
def api(hub: TestHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=False)


def download_all(hub: TestHub, cache: Path, revision: str | None = None) -> Path:
    return Path(
        snapshot_download(
            "acme/tiny",
            revision=revision,
            endpoint=hub.endpoint,
            cache_dir=cache,
            token=False,
        )
    )


def test_xet_is_off_so_that_files_come_over_http() -> None:
    assert constants.HF_HUB_DISABLE_XET


def test_a_snapshot_has_every_byte_of_every_file(
    hub: TestHub, repo: HubRepo, tmp_path: Path
) -> None:
    commit = repo.commit(FILES)
    folder = download_all(hub, tmp_path / "cache")

    assert folder.name == commit
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "README.md").read_bytes() == b"# tiny\n"
    assert (folder / "empty.txt").read_bytes() == b""
    assert (folder / "sub dir" / "a b#1.txt").read_bytes() == b"odd name\n"
    assert hub.lfs_bytes_sent == len(WEIGHTS)


def test_the_cache_names_lfs_by_sha256_and_plain_files_by_git_sha1(
    hub: TestHub, repo: HubRepo, tmp_path: Path
) -> None:
    repo.commit(FILES)
    folder = download_all(hub, tmp_path / "cache")

    lfs_name = (folder / "model.safetensors").resolve().name
    plain_name = (folder / "README.md").resolve().name
    assert lfs_name == hashlib.sha256(WEIGHTS).hexdigest()
    assert plain_name == hashlib.sha1(b"blob 7\0# tiny\n").hexdigest()


def test_a_warm_snapshot_costs_one_request(
    hub: TestHub, repo: HubRepo, tmp_path: Path
) -> None:
    repo.commit(FILES)
    download_all(hub, tmp_path / "cache")
    hub.log.clear()
    download_all(hub, tmp_path / "cache")

    paths = [seen.path for seen in hub.requests]
    assert paths == ["/api/models/acme/tiny/revision/main"]


def test_a_tree_of_several_pages_is_listed_whole(
    hub: TestHub, repo: HubRepo, api: HfApi
) -> None:
    hub.page_size = 4
    repo.commit({f"dir{n}/file{n}.txt": b"%d" % n for n in range(7)})
    found = list(api.list_repo_tree("acme/tiny", recursive=True))

    files = [entry for entry in found if isinstance(entry, RepoFile)]
    folders = [entry for entry in found if isinstance(entry, RepoFolder)]
    assert [entry.path for entry in files] == [f"dir{n}/file{n}.txt" for n in range(7)]
    assert [entry.path for entry in folders] == [f"dir{n}" for n in range(7)]
    assert len(hub.hub_requests("/tree/")) == 4


def test_an_expanded_tree_names_the_last_commit_of_each_entry(
    repo: HubRepo, api: HfApi
) -> None:
    first = repo.commit({"a.txt": b"1", "b.txt": b"1"}, "Both")
    second = repo.commit({"b.txt": b"2"}, "Only b")
    found = api.list_repo_tree("acme/tiny", expand=True)

    commits = {
        entry.path: entry.last_commit.oid for entry in found if entry.last_commit
    }
    assert commits == {"a.txt": first, "b.txt": second}


def test_commits_come_newest_first_over_pages_of_fifty(
    hub: TestHub, repo: HubRepo, api: HfApi
) -> None:
    made = [repo.commit({"n.txt": b"%d" % n}, f"Step {n}") for n in range(53)]
    found = api.list_repo_commits("acme/tiny")

    assert [commit.commit_id for commit in found] == made[::-1]
    assert found[0].title == "Step 52"
    assert found[0].authors == ["alice"]
    assert len(hub.hub_requests("/commits/")) == 2


def test_refs_of_all_four_kinds_are_told_apart(repo: HubRepo, api: HfApi) -> None:
    commit = repo.commit({"a.txt": b"1"})
    repo.tag("v1.0", commit)
    repo.branch("feature/x", commit)
    repo.convert("parquet", commit)
    repo.open_pr(commit)
    refs = api.list_repo_refs("acme/tiny", include_pull_requests=True)

    assert {ref.name for ref in refs.branches} == {"main", "feature/x"}
    assert [ref.ref for ref in refs.tags] == ["refs/tags/v1.0"]
    assert [ref.ref for ref in refs.converts] == ["refs/convert/parquet"]
    assert refs.pull_requests is not None
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"]


@pytest.mark.parametrize(
    "revision", ["v1.0", "feature/x", "refs/pr/1", "refs/convert/parquet"]
)
def test_a_file_is_found_at_every_kind_of_revision(
    hub: TestHub, repo: HubRepo, tmp_path: Path, revision: str
) -> None:
    commit = repo.commit({"a.txt": b"1"})
    repo.tag("v1.0", commit)
    repo.branch("feature/x", commit)
    repo.convert("parquet", commit)
    repo.open_pr(commit)
    repo.commit({"a.txt": b"2"})
    folder = download_all(hub, tmp_path / "cache", revision)

    assert folder.name == commit
    assert (folder / "a.txt").read_bytes() == b"1"


def test_paths_info_leaves_out_what_does_not_exist(repo: HubRepo, api: HfApi) -> None:
    repo.commit(FILES)
    asked = ["model.safetensors", "sub dir", "nope"]
    found = api.get_paths_info("acme/tiny", asked, expand=True)

    by_path = {entry.path: entry for entry in found}
    assert set(by_path) == {"model.safetensors", "sub dir"}
    weights = by_path["model.safetensors"]
    assert isinstance(weights, RepoFile)
    assert weights.lfs is not None
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert weights.last_commit is not None


def test_info_with_blobs_knows_sizes_and_sha256(repo: HubRepo, api: HfApi) -> None:
    commit = repo.commit(FILES)
    info = api.model_info("acme/tiny", files_metadata=True)

    assert info.sha == commit
    sizes = {one.rfilename: one.size for one in info.siblings or []}
    assert sizes["model.safetensors"] == len(WEIGHTS)
    assert sizes["README.md"] == 7


def test_a_list_of_several_pages_is_walked(hub: TestHub, api: HfApi) -> None:
    for number in range(5):
        hub.create_repo(f"acme/m{number}").commit({"a": b"1"})
    hub.create_repo("other/m").commit({"a": b"1"})
    found = api.list_models(author="acme", limit=5, expand=["sha"])

    assert {one.id for one in found} == {f"acme/m{n}" for n in range(5)}


def test_a_renamed_repo_is_still_found(
    hub: TestHub, repo: HubRepo, tmp_path: Path
) -> None:
    repo.commit(FILES)
    repo.rename("acme/new")
    folder = download_all(hub, tmp_path / "cache")

    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_missing_repo_needs_a_token_to_be_called_missing(
    hub: TestHub, api: HfApi
) -> None:
    hub.add_token("hf_good")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/nope", token="hf_good")
    with pytest.raises(HfHubHTTPError) as caught:
        api.model_info("acme/nope")

    assert caught.value.response is not None
    assert caught.value.response.status_code == 401
    assert "X-Error-Code" not in caught.value.response.headers


def test_a_missing_revision_and_a_missing_file_have_errors_of_their_own(
    hub: TestHub, repo: HubRepo, api: HfApi, tmp_path: Path
) -> None:
    repo.commit(FILES)
    with pytest.raises(RevisionNotFoundError):
        api.model_info("acme/tiny", revision="nope")
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("acme/tiny", "nope"))
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download(
            "acme/tiny",
            "nope.txt",
            endpoint=hub.endpoint,
            cache_dir=tmp_path,
            token=False,
        )


@pytest.mark.parametrize(("token", "status"), [(False, 401), ("hf_stranger", 403)])
def test_a_gated_repo_refuses_files_but_shows_its_info(
    hub: TestHub, api: HfApi, tmp_path: Path, token: str | bool, status: int
) -> None:
    hub.add_token("hf_stranger", "bob")
    hub.create_repo("acme/gated", gated="manual").commit(FILES)
    with pytest.raises(GatedRepoError) as caught:
        hf_hub_download(
            "acme/gated",
            "README.md",
            endpoint=hub.endpoint,
            cache_dir=tmp_path,
            token=token,
        )

    assert caught.value.response is not None
    assert caught.value.response.status_code == status
    assert api.model_info("acme/gated", token=token).gated == "manual"
    assert list(api.list_repo_tree("acme/gated", token=token))


def test_an_approved_token_gets_gated_files(hub: TestHub, tmp_path: Path) -> None:
    hub.add_token("hf_good", approved={"acme/gated"})
    hub.create_repo("acme/gated", gated="auto").commit(FILES)
    folder = snapshot_download(
        "acme/gated", endpoint=hub.endpoint, cache_dir=tmp_path, token="hf_good"
    )

    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    to_cdn = hub.log.matching(role="cdn")
    assert to_cdn
    assert all("Authorization" not in seen.headers for seen in to_cdn)


def test_a_disabled_repo_says_so(hub: TestHub) -> None:
    hub.create_repo("acme/off", disabled=True).commit(FILES)
    url = f"{hub.endpoint}/acme/off/resolve/main/README.md"
    with pytest.raises(DisabledRepoError):
        get_hf_file_metadata(url, token=False)
