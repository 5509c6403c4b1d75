"""huggingface_hub, the newest and an old one, and its command line."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.stand import (
    BIN,
    OLD_PYTHON,
    Client,
    Json,
    Served,
    digests_of,
    requests_in,
    run,
)

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


def _is_core(answer: Json, served: Served) -> None:
    assert answer["config"] == (served.model / "config.json").read_text()
    assert answer["empty"] == ""
    assert answer["odd"] == "spaces, a hash, ümlauts\n"
    assert answer["dev"].endswith("\nThis is the branch dev.\n")
    assert sorted(answer["files"]) == sorted(served.digests)
    assert sorted(answer["dataset"]) == sorted(digests_of(served.dataset))


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
    served: Served, client: Client, tmp_path: Path
) -> None:
    first = client.ask(SNAPSHOT, "acme/minilm", "main")
    # A server of its own: its log is whole once it has stopped.
    log = tmp_path / "access.log"
    with served.store.serving(log) as url:
        again = replace(client, settings={"HF_ENDPOINT": url})
        assert again.ask(SNAPSHOT, "acme/minilm", "main") == first
    requests = requests_in(log)
    assert requests
    assert not [line for line in requests if "/resolve/" in line]


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
