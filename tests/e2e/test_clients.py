"""huggingface_hub, three generations of it, and its command line."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.stand import (
    BIN,
    Client,
    Json,
    Served,
    digests_of,
    python_of,
    requests_in,
    run,
    sha256,
)

pytestmark = pytest.mark.clients

SNAPSHOT = """
from huggingface_hub import snapshot_download
answer = snapshot_download(sys.argv[1], revision=sys.argv[2])
"""
ONE_FILE = """
from huggingface_hub import hf_hub_download
answer = hf_hub_download(sys.argv[1], sys.argv[2])
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


@pytest.mark.table_row(
    "huggingface_hub",
    "`hf_hub_download` by branch, of empty and oddly named files; `list_repo_files`",
)
def test_hub_client_reads_single_files_and_lists_them(
    served: Served, any_hub: Client
) -> None:
    _is_core(any_hub.ask(CORE), served)


@pytest.mark.table_row(
    "huggingface_hub", "`snapshot_download` of a model; every file by its sha256"
)
def test_hub_client_downloads_a_snapshot_whose_files_are_the_originals(
    served: Served, any_hub: Client
) -> None:
    folder = Path(any_hub.ask(SNAPSHOT, "acme/minilm", "main"))
    assert folder.name == served.commit
    assert digests_of(folder) == served.digests


@pytest.mark.table_row(
    "huggingface_hub", "`snapshot_download` again: no file is asked for a second time"
)
def test_hub_client_downloads_no_file_again_when_its_cache_is_warm(
    served: Served, client: Client, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    ran(client.version("huggingface_hub"))
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


@pytest.mark.table_row(
    "huggingface_hub", "its own exceptions for repos, revisions and files not there"
)
def test_hub_client_raises_its_own_exceptions_for_what_is_not_there(
    any_hub: Client,
) -> None:
    assert [name.removeprefix("Remote") for name in any_hub.ask(ERRORS)] == [
        "RepositoryNotFoundError",
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        "RevisionNotFoundError",
        "EntryNotFoundError",
        "RepositoryNotFoundError",
    ]


@pytest.mark.table_row("hf", "`hf download` of one file with `--local-dir`")
def test_hf_command_downloads_one_file_into_a_folder(
    served: Served, client: Client, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    ran(run(BIN / "hf", "version", env=client.env).split()[-1])
    here = tmp_path / "here"
    command = ("download", "acme/minilm", "config.json", "--local-dir", here)
    run(BIN / "hf", *command, env=client.env)
    assert digests_of(here) == {"config.json": served.digests["config.json"]}


@pytest.mark.table_row("hf", "`hf download` with `--include`, `hf cache verify`")
def test_hf_command_verifies_what_it_has_downloaded(
    served: Served, client: Client, ran: Callable[[str], None]
) -> None:
    ran(run(BIN / "hf", "version", env=client.env).split()[-1])
    wanted = ("acme/minilm", "--include", "*.safetensors")
    run(BIN / "hf", "download", *wanted, env=client.env)
    run(BIN / "hf", "cache", "verify", "acme/minilm", env=client.env)
    (kept,) = (client.home / "hf/hub").rglob("*.safetensors")
    # What it holds against the mirror's digests: it has to notice this.
    with kept.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damaged")
    with pytest.raises(AssertionError, match="Checksum verification failed"):
        run(BIN / "hf", "cache", "verify", "acme/minilm", env=client.env)


@pytest.mark.table_row("hf_transfer", "`hf_hub_download` in parts at once")
def test_hf_transfer_downloads_in_parts_at_once(
    served: Served, client: Client, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    log = tmp_path / "access.log"
    with served.store.serving(log) as url:
        settings = {"HF_ENDPOINT": url, "HF_HUB_ENABLE_HF_TRANSFER": "1"}
        settings["HF_HUB_DISABLE_XET"] = "1"
        old = replace(client, settings=settings, python=python_of("hub-old"))
        hub = old.version("huggingface_hub")
        ran(f"{old.version('hf_transfer')} in huggingface_hub {hub}")
        path = Path(old.ask(ONE_FILE, "acme/minilm", "model.safetensors"))
    assert sha256(path) == served.digests[path.name]
    body = f"GET /acme/minilm/resolve/main/{path.name}"
    assert requests_in(log).count(body) > 5


@pytest.mark.table_row("hf", "`hf download --repo-type dataset`")
def test_hf_command_downloads_a_dataset(
    served: Served, client: Client, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    ran(run(BIN / "hf", "version", env=client.env).split()[-1])
    here = tmp_path / "here"
    command = ("download", "acme/vega", "--repo-type", "dataset", "--local-dir", here)
    run(BIN / "hf", *command, env=client.env)
    assert digests_of(here) == digests_of(served.dataset)
    shutil.rmtree(here)
