"""huggingface_hub, the newest and an old one, and its command line."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.stand import BIN, OLD_PYTHON, Client, Served, digests_of, run

pytestmark = pytest.mark.clients

SNAPSHOT = """
from huggingface_hub import snapshot_download
answer = snapshot_download(sys.argv[1], revision=sys.argv[2])
"""
ERRORS = """
from huggingface_hub import hf_hub_download, HfApi
def name_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
answer = [
    name_of(lambda: hf_hub_download("acme/nothing", "config.json")),
    name_of(lambda: HfApi().model_info("acme/nothing")),
    name_of(lambda: hf_hub_download("acme/minilm", "config.json", revision="v9")),
    name_of(lambda: HfApi().model_info("acme/minilm", revision="v9")),
    name_of(lambda: hf_hub_download("acme/minilm", "nothing.json")),
    name_of(lambda: HfApi().dataset_info("acme/minilm")),
]
"""
CORE = """
from huggingface_hub import HfApi, hf_hub_download
api = HfApi()
def text(path, **more):
    return open(hf_hub_download("acme/minilm", path, **more), encoding="utf-8").read()
answer = {
    "config": text("config.json"),
    "empty": text("empty.txt"),
    "odd": text("sub dir/a b#1.txt"),
    "dev": text("README.md", revision="dev"),
    "files": api.list_repo_files("acme/minilm"),
    "dataset": api.list_repo_files("acme/vega", repo_type="dataset"),
}
"""


def _is_core(answer: dict[str, object], served: Served) -> None:
    assert answer["config"] == (served.model / "config.json").read_text()
    assert answer["empty"] == ""
    assert answer["odd"] == "spaces, a hash, ümlauts\n"
    assert str(answer["dev"]).endswith("\nThis is the branch dev.\n")
    assert sorted(map(str, answer["files"])) == sorted(served.digests)  # type: ignore[call-overload]
    assert sorted(map(str, answer["dataset"])) == sorted(digests_of(served.dataset))  # type: ignore[call-overload]


def test_hub_client_reads_single_files_and_lists_them(
    served: Served, client: Client
) -> None:
    _is_core(client.ask(CORE), served)


def test_hub_client_downloads_a_snapshot_whose_files_are_the_originals(
    served: Served, client: Client
) -> None:
    folder = Path(client.ask(SNAPSHOT, "acme/minilm", "main"))
    assert folder.name == served.commit
    assert digests_of(folder) == served.digests


def test_hub_client_downloads_no_file_again_when_its_cache_is_warm(
    served: Served, client: Client
) -> None:
    first = client.ask(SNAPSHOT, "acme/minilm", "main")
    before = len(served.requests())
    assert client.ask(SNAPSHOT, "acme/minilm", "main") == first
    later = served.requests()[before:]
    assert later
    assert not [line for line in later if "/resolve/" in line]


def test_hub_client_downloads_a_branch_by_name_and_by_commit(
    served: Served, client: Client
) -> None:
    by_name = Path(client.ask(SNAPSHOT, "acme/minilm", "dev"))
    assert by_name.name == served.dev_commit
    assert Path(client.ask(SNAPSHOT, "acme/minilm", served.dev_commit)) == by_name
    differing = {
        path
        for path, digest in digests_of(by_name).items()
        if digest != served.digests[path]
    }
    assert differing == {"README.md"}


def test_hub_client_raises_its_own_exceptions_for_what_is_not_there(
    client: Client,
) -> None:
    assert client.ask(ERRORS) == [
        "RepositoryNotFoundError",
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        "RevisionNotFoundError",
        "RemoteEntryNotFoundError",
        "RepositoryNotFoundError",
    ]


def test_hub_client_sees_the_tree_and_paths_in_it(
    served: Served, client: Client
) -> None:
    answer = client.ask("""
from huggingface_hub import HfApi
api = HfApi()
def row(one):
    lfs = getattr(one, "lfs", None)
    size = getattr(one, "size", None)
    return [one.path, size, lfs and lfs.sha256, lfs and lfs.pointer_size]
asked = ["model.safetensors", "1_Pooling", "sub dir/a b#1.txt", "nothing"]
expanded = api.get_paths_info("acme/minilm", ["config.json"], expand=True)[0]
answer = {
    "top": [row(one) for one in api.list_repo_tree("acme/minilm")],
    "all": [one.path for one in api.list_repo_tree("acme/minilm", recursive=True)],
    "sub": [row(one) for one in api.list_repo_tree("acme/minilm", "sub dir")],
    "paths": [row(one) for one in api.get_paths_info("acme/minilm", asked)],
    "last": [expanded.last_commit.oid, expanded.last_commit.title],
}
""")
    size = (served.model / "model.safetensors").stat().st_size
    weights = ["model.safetensors", size, served.digests["model.safetensors"]]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\n"
    weights.append(len(pointer) + len(f"size {size}\n"))
    odd = ["sub dir/a b#1.txt", 25, None, None]
    assert weights in answer["top"]
    assert ["1_Pooling", None, None, None] in answer["top"]
    assert set(answer["all"]) == {*served.digests, "1_Pooling", "sub dir"}
    assert answer["sub"] == [odd]
    assert sorted(answer["paths"]) == sorted(
        [weights, ["1_Pooling", None, None, None], odd]
    )
    assert answer["last"] == [served.commit, "Publish MiniLM"]


def test_hub_client_sees_refs_and_commits(served: Served, client: Client) -> None:
    answer = client.ask("""
from huggingface_hub import HfApi
refs = HfApi().list_repo_refs("acme/minilm")
commits = HfApi().list_repo_commits("acme/minilm", revision="dev")
answer = [
    {one.name: [one.ref, one.target_commit] for one in refs.branches},
    [one.name for one in refs.tags],
    [[one.commit_id, one.title] for one in commits],
]
""")
    branches, tags, commits = answer
    assert branches == {
        "main": ["refs/heads/main", served.commit],
        "dev": ["refs/heads/dev", served.dev_commit],
    }
    assert tags == []
    assert commits[0] == [served.dev_commit, "Say which branch it is"]
    assert commits[-1] == [served.commit, "Publish MiniLM"]


def test_hub_client_reads_infos_with_card_and_file_digests(
    served: Served, client: Client
) -> None:
    answer = client.ask("""
from huggingface_hub import HfApi
api = HfApi()
info = api.model_info("acme/minilm", files_metadata=True)
files = {one.rfilename: [one.size, one.lfs and one.lfs.sha256] for one in info.siblings}
data = api.dataset_info("acme/vega")
answer = {
    "model": [info.id, info.sha, info.author, info.private, info.gated],
    "task": [info.library_name, info.card_data.license, "transformers" in info.tags],
    "dates": [info.last_modified.tzname(), info.created_at.tzname()],
    "files": files,
    "dataset": [data.id, data.sha, data.card_data.license],
    "configs": [one["config_name"] for one in data.card_data.configs],
}
""")
    assert answer["model"] == ["acme/minilm", served.commit, "acme", False, False]
    assert answer["task"] == ["sentence-transformers", "apache-2.0", True]
    assert answer["dates"] == ["UTC", "UTC"]
    assert set(answer["files"]) == set(served.digests)
    weights = served.model / "model.safetensors"
    digest = served.digests[weights.name]
    assert answer["files"][weights.name] == [weights.stat().st_size, digest]
    assert answer["files"]["empty.txt"] == [0, None]
    assert answer["dataset"] == ["acme/vega", served.dataset_commit, "bsd-3-clause"]
    assert answer["configs"] == ["stocks", "weather", "columns"]


def test_hub_client_finds_models_and_datasets_in_the_listing(client: Client) -> None:
    answer = client.ask("""
from huggingface_hub import HfApi
api = HfApi()
def ids(**query):
    return [one.id for one in api.list_models(**query)]
times = [one.last_modified for one in api.list_models(sort="last_modified", full=True)]
answer = {
    "all": ids(author="acme"),
    "nobody": ids(author="nobody"),
    "search": ids(search="MINI"),
    "tag": ids(filter="sentence-transformers"),
    "two": ids(filter=["tiny", "license:mit"]),
    "task": ids(pipeline_tag="text-classification"),
    "newest": ids(sort="last_modified", limit=1),
    "sorted": times == sorted(times, reverse=True),
    "datasets": [one.id for one in api.list_datasets(author="acme")],
}
""")
    assert sorted(answer["all"]) == ["acme/minilm", "acme/small"]
    assert answer["nobody"] == []
    assert answer["search"] == answer["tag"] == ["acme/minilm"]
    assert answer["two"] == answer["task"] == ["acme/small"]
    assert len(answer["newest"]) == 1
    assert answer["sorted"]
    assert answer["datasets"] == ["acme/vega"]


def test_hub_client_asks_what_exists_and_reads_safetensors_headers(
    client: Client,
) -> None:
    answer = client.ask("""
from huggingface_hub import HfApi
api = HfApi()
api.auth_check("acme/minilm")
weights = api.get_safetensors_metadata("acme/minilm")
answer = [
    [api.repo_exists("acme/minilm"), api.repo_exists("acme/nothing")],
    [api.file_exists("acme/minilm", f) for f in ("config.json", "empty.txt", "no")],
    [api.revision_exists("acme/minilm", r) for r in ("main", "dev", "v9")],
    [weights.sharded, "embeddings.word_embeddings.weight" in weights.weight_map],
    sum(weights.parameter_count.values()),
]
""")
    assert answer[:4] == [
        [True, False],
        [True, True, False],
        [True, True, False],
        [False, True],
    ]
    assert answer[4] > 22_000_000


@pytest.fixture
def old_client(client: Client) -> Client:
    if not OLD_PYTHON.exists():
        pytest.skip("no .venvs/hub-old: run tests/clients/install.sh")
    return replace(client, python=OLD_PYTHON)


def test_old_hub_client_reads_single_files_and_lists_them(
    served: Served, old_client: Client
) -> None:
    _is_core(old_client.ask(CORE), served)


def test_old_hub_client_downloads_a_snapshot_whose_files_are_the_originals(
    served: Served, old_client: Client
) -> None:
    folder = Path(old_client.ask(SNAPSHOT, "acme/minilm", "main"))
    assert folder.name == served.commit
    assert digests_of(folder) == served.digests


def test_old_hub_client_raises_its_own_exceptions(old_client: Client) -> None:
    names = old_client.ask(ERRORS)
    assert names[:4] == ["RepositoryNotFoundError"] * 2 + ["RevisionNotFoundError"] * 2
    assert names[4] in ("EntryNotFoundError", "RemoteEntryNotFoundError")
    assert names[5] == "RepositoryNotFoundError"


def test_hf_command_downloads_one_file_into_a_folder(
    served: Served, client: Client, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    command = ("download", "acme/minilm", "config.json", "--local-dir", here)
    run(BIN / "hf", *command, env=client.env)
    assert digests_of(here) == {"config.json": served.digests["config.json"]}


def test_hf_command_downloads_a_dataset(
    served: Served, client: Client, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    command = ("download", "acme/vega", "--repo-type", "dataset", "--local-dir", here)
    run(BIN / "hf", *command, env=client.env)
    assert digests_of(here) == digests_of(served.dataset)
    shutil.rmtree(here)
