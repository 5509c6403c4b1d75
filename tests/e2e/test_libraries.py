"""Libraries on top of huggingface_hub: file system, transformers, datasets."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.stand import Client, Served, python_of

pytestmark = pytest.mark.clients

SENTENCE = "No wrong byte is ever served."
EMBEDDING = [-0.0198427, -0.0055577, -0.0471593]  # what MiniLM makes of it, the start
IDS = [101, 2053, 3308, 24880, 2003, 2412, 2366, 1012, 102]

RUN_MODEL = """
import torch
from transformers import AutoModel, AutoTokenizer
torch.set_num_threads(1)
def embedded(name):
    tokens = AutoTokenizer.from_pretrained(name)(sys.argv[1], return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(name).eval()(**tokens).last_hidden_state
    return torch.nn.functional.normalize(hidden.mean(dim=1), dim=1)[0]
found = embedded("acme/minilm")
same = torch.equal(found, embedded(sys.argv[2]))
answer = {"embedding": found.tolist(), "same": same}
"""


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.table_row("HfFileSystem", "`ls`, `glob`, `find`")
def test_hf_file_system_lists_and_globs(served: Served, recent_hub: Client) -> None:
    answer = recent_hub.ask("""
from huggingface_hub import HfFileSystem
fs = HfFileSystem()
answer = {
    "ls": fs.ls("acme/minilm", detail=False),
    "dev": fs.ls("acme/minilm@dev/sub dir", detail=False),
    "glob": fs.glob("acme/minilm/**/config*.json"),
    "data": fs.glob("datasets/acme/vega/**/*.csv"),
    "find": fs.find("acme/minilm"),
}
""")
    assert "acme/minilm/1_Pooling" in answer["ls"]
    assert answer["dev"] == ["acme/minilm@dev/sub dir/a b#1.txt"]
    assert sorted(answer["glob"]) == [
        "acme/minilm/1_Pooling/config.json",
        "acme/minilm/config.json",
        "acme/minilm/config_sentence_transformers.json",
    ]
    assert sorted(answer["data"]) == [
        "datasets/acme/vega/csv/seattle-weather.csv",
        "datasets/acme/vega/csv/stocks.csv",
    ]
    assert sorted(answer["find"]) == sorted(f"acme/minilm/{p}" for p in served.digests)


@pytest.mark.table_row(
    "HfFileSystem", "`open` with seeks, `cat_file` with ranges, `info`, `exists`"
)
def test_hf_file_system_reads_whole_files_and_parts(
    served: Served, recent_hub: Client
) -> None:
    answer = recent_hub.ask("""
from huggingface_hub import HfFileSystem
fs = HfFileSystem()
weights = "acme/minilm/model.safetensors"
with fs.open(weights, "rb", block_size=1 << 16) as file:
    file.seek(50_000_000)
    middle = file.read(64).hex()
    file.seek(-16, 2)
    end = file.read().hex()
info = fs.info(weights)
answer = {
    "info": [info["type"], info["size"], info["lfs"]["sha256"]],
    "folder": fs.info("acme/minilm/1_Pooling")["type"],
    "exists": [fs.exists(f"acme/minilm/{p}") for p in ("empty.txt", "no", "sub dir")],
    "cat": fs.cat_file("acme/minilm/sub dir/a b#1.txt").decode(),
    "slice": fs.cat_file(weights, start=100, end=132).hex(),
    "empty": fs.cat_file("acme/minilm/empty.txt").decode(),
    "parts": [middle, end],
}
""")
    data = (served.model / "model.safetensors").read_bytes()
    digest = served.digests["model.safetensors"]
    assert answer["info"] == ["file", len(data), digest]
    assert answer["folder"] == "directory"
    assert answer["exists"] == [True, False, True]
    assert answer["cat"] == "spaces, a hash, ümlauts\n"
    assert answer["slice"] == data[100:132].hex()
    assert answer["empty"] == ""
    assert answer["parts"] == [data[50_000_000:50_000_064].hex(), data[-16:].hex()]


@pytest.mark.table_row("transformers", "`AutoTokenizer`, and `AutoConfig` of a branch")
def test_transformers_tokenizes_with_a_model_by_name(
    client: Client, ran: Callable[[str], None]
) -> None:
    ran(client.version("transformers"))
    program = """
from transformers import AutoConfig, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("acme/minilm")
config = AutoConfig.from_pretrained("acme/minilm", revision="dev")
answer = [tokenizer(sys.argv[1])["input_ids"], config.hidden_size]
"""
    assert client.ask(program, SENTENCE) == [IDS, 384]


@pytest.mark.table_row(
    "transformers", "`AutoModel` of MiniLM with PyTorch: a forward pass, its numbers"
)
def test_transformers_runs_a_model_by_name(
    served: Served, client: Client, ran: Callable[[str], None]
) -> None:
    client = replace(client, python=python_of("torch"))
    torch = client.version("torch")
    ran(f"{client.version('transformers')} with torch {torch}")
    answer = client.ask(RUN_MODEL, SENTENCE, served.model)
    assert answer["same"]
    assert answer["embedding"][:3] == pytest.approx(EMBEDDING, abs=1e-4)


@pytest.mark.table_row("safetensors", "`load_file` of MiniLM's weights, every tensor")
def test_safetensors_loads_the_weights(
    served: Served, client: Client, ran: Callable[[str], None]
) -> None:
    ran(client.version("safetensors"))
    answer = client.ask(
        """
from huggingface_hub import hf_hub_download
from safetensors.numpy import load_file
tensors = load_file(hf_hub_download("acme/minilm", "model.safetensors"))
local = load_file(sys.argv[1])
same = all((tensors[name] == local[name]).all() for name in local)
answer = [sorted(tensors) == sorted(local), bool(same), len(tensors)]
""",
        served.model / "model.safetensors",
    )
    assert answer == [True, True, 104]


@pytest.mark.table_row("tokenizers", "`Tokenizer.from_pretrained`")
def test_tokenizers_tokenizes_with_a_model_by_name(
    client: Client, ran: Callable[[str], None]
) -> None:
    ran(client.version("tokenizers"))
    program = """
from tokenizers import Tokenizer
found = Tokenizer.from_pretrained("acme/minilm").encode(sys.argv[1])
answer = [i for i, seen in zip(found.ids, found.attention_mask) if seen]
"""
    assert client.ask(program, SENTENCE) == IDS


@pytest.mark.table_row(
    "datasets", "`load_dataset`: configurations of the card, CSV, Parquet by glob"
)
def test_datasets_loads_every_configuration(
    served: Served, client: Client, ran: Callable[[str], None]
) -> None:
    ran(client.version("datasets"))
    answer = client.ask("""
from datasets import get_dataset_config_names, load_dataset
answer = {"names": get_dataset_config_names("acme/vega")}
asked = {
    "stocks": {"name": "stocks"},
    "weather": {"name": "weather"},
    "columns": {"data_files": "data/*.parquet"},
}
for name, config in asked.items():
    loaded = load_dataset("acme/vega", **config)
    answer[name] = [list(loaded), len(loaded["train"]), loaded["train"][0]]
answer["default"] = len(load_dataset("acme/vega", split="train"))
""")
    stocks = _rows(served.dataset / "csv" / "stocks.csv")
    weather = _rows(served.dataset / "csv" / "seattle-weather.csv")
    assert answer["names"] == ["stocks", "weather"]
    first = {"symbol": "MSFT", "date": "Jan 1 2000", "price": 39.81}
    assert answer["stocks"] == [["train"], len(stocks), first]
    assert answer["columns"] == answer["stocks"]
    assert answer["default"] == len(stocks)
    assert answer["weather"][:2] == [["train"], len(weather)]
    assert answer["weather"][2]["weather"] == "drizzle"


@pytest.mark.table_row(
    "datasets", "`load_dataset(streaming=True)`: CSV and Parquet, every row"
)
def test_datasets_streams_without_downloading(
    served: Served, client: Client, ran: Callable[[str], None]
) -> None:
    ran(client.version("datasets"))
    answer = client.ask("""
from datasets import load_dataset
def streamed(**config):
    rows = load_dataset("acme/vega", **config, split="train", streaming=True)
    return [[row["symbol"], row["date"], str(row["price"])] for row in rows]
answer = [streamed(name="stocks"), streamed(data_files="data/*.parquet")]
""")
    rows = _rows(served.dataset / "csv" / "stocks.csv")
    expected = [[r["symbol"], r["date"], str(float(r["price"]))] for r in rows]
    assert answer == [expected, expected]
