"""Rust's hf-hub, both generations of it, inside wheels that embed it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.conftest import SMALL_TOKENIZER
from tests.e2e.stand import Client, Served, digests_of, python_of, requests_in
from tests.e2e.test_libraries import EMBEDDING, SENTENCE

pytestmark = pytest.mark.clients

EMBED = """
import embed_anything
from embed_anything import EmbeddingModel
model = EmbeddingModel.from_pretrained_hf(model_id="acme/minilm")
answer = list(embed_anything.embed_query([sys.argv[1]], embedder=model)[0].embedding)
"""
VOCABULARY = """
from outlines_core import Vocabulary
vocabulary = Vocabulary.from_pretrained("acme/small")
found = {token: vocabulary.get(token) for token in ("a", "b", "ab")}
answer = {"end": vocabulary.get_eos_token_id(), "found": found}
"""


@pytest.fixture
def rust(client: Client) -> Client:
    return replace(client, python=python_of("rust"))


@pytest.mark.table_row(
    "hf-hub 1.0 (Rust), in embed_anything", "MiniLM's forward pass by candle"
)
def test_rust_client_runs_a_model_by_name(
    served: Served, rust: Client, ran: Callable[[str], None]
) -> None:
    ran(rust.version("embed_anything"))
    answer = rust.ask(EMBED, SENTENCE)
    assert answer[:3] == pytest.approx(EMBEDDING, abs=1e-4)
    snapshots = rust.home / "hf/hub/models--acme--minilm/snapshots"
    kept = digests_of(snapshots / served.commit)
    assert kept == {path: served.digests[path] for path in kept}
    assert "model.safetensors" in kept


@pytest.mark.table_row(
    "hf-hub 0.4 (Rust), in outlines_core",
    "`Vocabulary.from_pretrained`",
    result="partly: `tokenizer.json` comes from the mirror; for the rest it asks the "
    "Hub, unless `~/.cache/huggingface/hub` leads to the store's folder",
)
def test_older_rust_client_reads_a_tokenizer_by_name(
    served: Served, rust: Client, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    ran(rust.version("outlines_core"))
    # Not HF_HOME, which tokenizer.json goes to: that one has to come over HTTP.
    folder = rust.home / ".cache/huggingface/hub"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(served.store.cache)
    log = tmp_path / "access.log"
    with served.store.serving(log) as url:
        answer = replace(rust, settings={"HF_ENDPOINT": url}).ask(VOCABULARY)
    assert answer == {"end": 0, "found": {"a": [1], "b": [2], "ab": [4]}}
    # One byte first, to learn commit, size and ETag.
    wanted = "GET /acme/small/resolve/main/tokenizer.json"
    assert requests_in(log) == [wanted, wanted]
    kept = (rust.home / "hf/hub/models--acme--small/snapshots").rglob("*.json")
    assert [json.loads(path.read_text()) for path in kept] == [SMALL_TOKENIZER]
