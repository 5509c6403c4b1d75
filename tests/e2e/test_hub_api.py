"""What huggingface_hub's HfApi is told about repos and their files."""

import pytest

from tests.e2e.stand import Client, Served

pytestmark = pytest.mark.clients

WEIGHTS = "model.safetensors"


@pytest.mark.table_row("huggingface_hub", "`list_repo_tree`, `get_paths_info`")
def test_hub_client_sees_the_tree_and_paths_in_it(
    served: Served, recent_hub: Client
) -> None:
    answer = recent_hub.ask("""
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
    weights = [WEIGHTS, size, served.digests[WEIGHTS]]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\n"
    weights.append(len(pointer) + len(f"size {size}\n"))
    odd = ["sub dir/a b#1.txt", 25, None, None]
    assert weights in answer["top"]
    assert ["1_Pooling", None, None, None] in answer["top"]
    assert set(answer["all"]) == {*served.digests, "1_Pooling", "sub dir"}
    assert answer["sub"] == [odd]
    expected = {"1_Pooling": [None] * 3, WEIGHTS: weights[1:], odd[0]: odd[1:]}
    assert {path: facts for path, *facts in answer["paths"]} == expected
    assert answer["last"] == [served.commit, "Publish MiniLM"]


@pytest.mark.table_row("huggingface_hub", "`list_repo_refs`, `list_repo_commits`")
def test_hub_client_sees_refs_and_commits(served: Served, recent_hub: Client) -> None:
    answer = recent_hub.ask("""
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
    # What main held when it was added is not known to be its parent.
    assert commits == [[served.dev_commit, "Say which branch it is"]]


@pytest.mark.table_row(
    "huggingface_hub", "`model_info`, `dataset_info`: card, files, digests"
)
def test_hub_client_reads_infos_with_card_and_file_digests(
    served: Served, recent_hub: Client
) -> None:
    answer = recent_hub.ask("""
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
    assert answer["configs"] == ["stocks", "weather"]


@pytest.mark.table_row(
    "huggingface_hub", "`list_models`, `list_datasets`: filters, search, sort"
)
def test_hub_client_finds_models_and_datasets_in_the_listing(
    recent_hub: Client,
) -> None:
    answer = recent_hub.ask("""
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


@pytest.mark.table_row(
    "huggingface_hub", "`repo_exists`, `file_exists`, `get_safetensors_metadata`"
)
def test_hub_client_asks_what_exists_and_reads_safetensors_headers(
    recent_hub: Client,
) -> None:
    answer = recent_hub.ask("""
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
