"""The store's folder as a Hugging Face cache, and a store nobody can write to."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.stand import Client, Served, Store, digests_of

pytestmark = pytest.mark.clients

FROM_CACHE = """
import warnings
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
from transformers import AutoTokenizer
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    scan = scan_cache_dir()
answer = {
    "file": hf_hub_download("acme/minilm", "config.json"),
    "dev": hf_hub_download("acme/minilm", "README.md", revision="dev"),
    "snapshot": snapshot_download("acme/minilm"),
    "dataset": snapshot_download("acme/vega", repo_type="dataset"),
    "ids": AutoTokenizer.from_pretrained("acme/minilm")("Served.")["input_ids"],
    "repos": sorted(f"{one.repo_type} {one.repo_id}" for one in scan.repos),
    "warnings": [str(one) for one in scan.warnings] + [str(w.message) for w in caught],
    "size": scan.size_on_disk,
}
"""
LOAD_FOLDER = """
from datasets import load_dataset
loaded = load_dataset(sys.argv[1], "stocks", split="train")
answer = [len(loaded), loaded[0]["symbol"]]
"""
HELD = ["dataset acme/vega", "model acme/minilm", "model acme/small"]


def _is_whole(answer: dict[str, object], served: Served) -> None:
    snapshots = served.store.cache / "models--acme--minilm" / "snapshots"
    assert answer["file"] == str(snapshots / served.commit / "config.json")
    assert answer["dev"] == str(snapshots / served.dev_commit / "README.md")
    assert answer["snapshot"] == str(snapshots / served.commit)
    assert digests_of(Path(str(answer["snapshot"]))) == served.digests
    assert digests_of(Path(str(answer["dataset"]))) == digests_of(served.dataset)
    assert answer["ids"] == [101, 2366, 1012, 102]
    assert answer["repos"] == HELD
    assert answer["warnings"] == []
    size = sum(path.stat().st_size for path in served.model.rglob("*"))
    assert size < int(str(answer["size"])) < 1.1 * size


@pytest.mark.table_row(
    "huggingface_hub and transformers",
    "from the folder: snapshots, single files, `scan_cache_dir`, `AutoTokenizer`",
)
def test_clients_work_offline_from_the_folder_alone(
    served: Served, offline: Client, ran: Callable[[str], None]
) -> None:
    packages = ("huggingface_hub", "transformers")
    ran(" and ".join(offline.version(package) for package in packages))
    _is_whole(offline.ask(FROM_CACHE), served)


def test_clients_work_offline_from_a_folder_nobody_can_write_to(
    served: Served, offline: Client, read_only: tuple[str, ...]
) -> None:
    _is_whole(replace(offline, wrapper=read_only).ask(FROM_CACHE), served)


@pytest.mark.table_row(
    "datasets", "from the folder: `load_dataset` of a snapshot's path"
)
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
def test_datasets_loads_a_snapshot_folder(
    served: Served,
    offline: Client,
    writable: bool,
    request: pytest.FixtureRequest,
    ran: Callable[[str], None],
) -> None:
    ran(offline.version("datasets"))
    if not writable:
        wrapper = request.getfixturevalue("read_only")
        offline = replace(offline, wrapper=wrapper)
    snapshots = served.store.cache / "datasets--acme--vega" / "snapshots"
    answer = offline.ask(LOAD_FOLDER, snapshots / served.dataset_commit)
    rows = (served.dataset / "csv" / "stocks.csv").read_text().splitlines()
    assert answer == [len(rows) - 1, "MSFT"]


def test_offline_clients_leave_the_folder_as_it_was(
    served: Served, offline: Client
) -> None:
    before = sorted(served.store.root.rglob("*"))
    offline.ask(FROM_CACHE)
    assert sorted(served.store.root.rglob("*")) == before


def test_a_store_nobody_can_write_to_is_served(
    served: Served, client: Client, read_only: tuple[str, ...], tmp_path: Path
) -> None:
    store = Store(served.store.root, served.store.home, wrapper=read_only)
    with store.serving(tmp_path / "log") as url:
        reader = replace(client, settings={"HF_ENDPOINT": url})
        folder = Path(
            reader.ask("""
from huggingface_hub import HfApi, snapshot_download
assert [one.id for one in HfApi().list_models(search="minilm")] == ["acme/minilm"]
answer = snapshot_download("acme/minilm")
""")
        )
    assert digests_of(folder) == served.digests
