"""The JavaScript clients, @huggingface/hub and transformers.js, on Node.js."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import SMALL_TABLE
from tests.e2e.stand import (
    CLIENTS,
    JS_CLIENT,
    JS_PACKAGES,
    Client,
    Json,
    Served,
    digests_of,
    js_version,
    run,
)
from tests.e2e.test_libraries import IDS, SENTENCE

pytestmark = pytest.mark.clients

TRANSFORMERS = JS_PACKAGES / "@huggingface/transformers"


@pytest.fixture
def ran_hub(answer: Json, ran: Callable[[str], None]) -> None:
    ran(js_version("@huggingface/hub"))


@pytest.fixture(scope="module")
def answer(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Json:
    """What tests/clients/hub.mjs found."""
    if not JS_CLIENT.exists() or shutil.which("node") is None:
        pytest.skip("no @huggingface/hub in .venvs/js: run tests/clients/install.sh")
    work = tmp_path_factory.mktemp("js")
    arguments = (JS_CLIENT, served.url, work / "cache")
    env = Client(work, {}).env
    said = run("node", CLIENTS / "hub.mjs", *arguments, env=env)
    found: Json = json.loads(said.splitlines()[-1])
    return found


@pytest.mark.usefixtures("ran_hub")
@pytest.mark.table_row("@huggingface/hub", "`modelInfo`")
def test_javascript_client_reads_the_model_info(served: Served, answer: Json) -> None:
    assert answer["info"] == {
        "name": "acme/minilm",
        "sha": served.commit,
        "library": "sentence-transformers",
    }
    assert answer["noRepo"].startswith("404 ")


@pytest.mark.usefixtures("ran_hub")
@pytest.mark.table_row("@huggingface/hub", "`listFiles`, `pathsInfo`")
def test_javascript_client_lists_files_and_paths(served: Served, answer: Json) -> None:
    files = {one["path"]: one for one in answer["files"]}
    plain = {path for path, one in files.items() if one["type"] == "file"}
    assert plain == set(served.digests)
    assert set(files) - plain == {"1_Pooling", "sub dir"}
    digest = served.digests["model.safetensors"]
    assert files["model.safetensors"]["lfs"]["oid"] == digest
    assert {"1_Pooling", "config.json"} <= set(answer["top"])
    assert "1_Pooling/config.json" not in answer["top"]
    assert sorted(answer["dataset"]) == sorted(digests_of(served.dataset))
    paths = {one["path"]: one["type"] for one in answer["paths"]}
    assert paths == {
        "config.json": "file",
        "model.safetensors": "file",
        "1_Pooling": "directory",
    }


@pytest.mark.usefixtures("ran_hub")
@pytest.mark.table_row(
    "@huggingface/hub",
    "`downloadFile`: plain, LFS, empty, oddly named; parts; `fileExists`",
)
def test_javascript_client_downloads_plain_lfs_empty_and_oddly_named_files(
    served: Served, answer: Json
) -> None:
    weights = served.model / "model.safetensors"
    assert answer["config"] == (served.model / "config.json").read_text()
    assert answer["dev"].endswith("\nThis is the branch dev.\n")
    assert answer["odd"] == "spaces, a hash, ümlauts\n"
    assert answer["weights"] == served.digests[weights.name]
    assert answer["part"] == weights.read_bytes()[1000:1016].hex()
    assert answer["empty"] == [0, ""]
    assert answer["absent"] is None
    assert answer["exists"] == [True, True, False]


def test_javascript_client_reads_the_pointer_of_an_lfs_file(answer: Json) -> None:
    assert answer["pointer"].startswith("version https://git-lfs.github.com/spec/v1\n")


@pytest.mark.usefixtures("ran_hub")
@pytest.mark.table_row("@huggingface/hub", "`listModels` by owner and tags")
def test_javascript_client_lists_models(answer: Json) -> None:
    assert sorted(answer["models"]) == ["acme/minilm", "acme/small"]
    assert answer["tagged"] == ["acme/small"]


@pytest.mark.usefixtures("ran_hub")
@pytest.mark.table_row("@huggingface/hub", "`snapshotDownload` of a dataset")
def test_javascript_client_downloads_a_whole_snapshot(
    served: Served, answer: Json
) -> None:
    folder = Path(answer["snapshot"])
    assert folder.name == served.dataset_commit
    assert digests_of(folder) == digests_of(served.dataset)


@pytest.mark.table_row(
    "transformers.js",
    "`AutoTokenizer`; `AutoConfig` of a branch; `AutoModel` of a small ONNX file, run",
)
def test_transformers_js_tokenizes_and_runs_models_by_name(
    served: Served, client: Client, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    module = TRANSFORMERS / "dist/transformers.node.mjs"
    if not module.exists() or shutil.which("node") is None:
        pytest.skip("no transformers.js in .venvs/js: run tests/clients/install.sh")
    ran(js_version("@huggingface/transformers"))
    arguments = (module, served.url, tmp_path / "cache", SENTENCE)
    said = run("node", CLIENTS / "transformers.mjs", *arguments, env=client.env)
    answer = json.loads(said.splitlines()[-1])
    assert [answer["ids"], answer["hidden"]] == [IDS, 384]
    assert answer["shape"] == [1, 3, 2]
    assert answer["found"] == SMALL_TABLE[3] + SMALL_TABLE[0] + SMALL_TABLE[4]
