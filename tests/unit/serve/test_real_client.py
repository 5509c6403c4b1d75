"""The real huggingface_hub, unmodified, with nothing but HF_ENDPOINT set."""

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.unit.serve.conftest import SAFETENSORS
from tests.unit.serve.mirror import Live, Mirror, oid, serving

HEAD_2 = oid("bert 2")


def client(live: Live, home: Path, code: str) -> Any:
    """What *code* leaves in ``result``, run by a client that knows only the URL."""
    script = "\n".join(
        [
            "import json, sys, warnings",
            "warnings.simplefilter('error')",
            "result = {}",
            textwrap.dedent(code),
            "json.dump(result, sys.stdout, default=str)",
        ]
    )
    environment = {
        key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment
        | {
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": live.url,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "no_proxy": "*",
        },
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def counts(live: Live) -> Counter[str]:
    """Requests by method and route, but for the one about the client itself."""
    found: Counter[str] = Counter()
    for line in live.requests():
        method, target, _ = line.split(" ")
        kind = next(
            (k for k in ("/resolve/", "/tree/", "/revision/") if k in target), target
        )
        if kind != "/api/agent-harnesses":
            found[f"{method} {kind}"] += 1
    return found


SNAPSHOT = """
from pathlib import Path
from huggingface_hub import snapshot_download
folder = Path(snapshot_download("acme/tiny-bert"))
files = [path for path in folder.rglob("*") if path.is_file()]
result = {str(path.relative_to(folder)): path.stat().st_size for path in files}
result["folder"] = folder.name
"""


def test_a_snapshot_cold_and_warm(mirror: Mirror, tmp_path: Path) -> None:
    """1 + 1 + 2 requests a file (the empty one needs no GET), then one."""
    with serving(mirror) as live:
        cold = client(live, tmp_path, SNAPSHOT)
        assert cold.pop("folder") == HEAD_2
        assert len(cold) == 8
        assert cold["model.safetensors"] == len(SAFETENSORS)
        assert cold["sub dir/deep/\u00e9t\u00e9.txt"] == 7
        assert counts(live) == {
            "GET /revision/": 1,
            "GET /tree/": 1,
            "HEAD /resolve/": 8,
            "GET /resolve/": 7,
        }
        assert not any("xet" in line.lower() for line in live.requests())
        live.log.clear()
        assert client(live, tmp_path, SNAPSHOT)["folder"] == HEAD_2
        assert counts(live) == {"GET /revision/": 1}


def test_single_files(live: Live, tmp_path: Path) -> None:
    found = client(
        live,
        tmp_path,
        """
        from pathlib import Path
        from huggingface_hub import hf_hub_download, get_hf_file_metadata, hf_hub_url
        def read(name, **more):
            return Path(hf_hub_download("acme/tiny-bert", name, **more)).read_text()
        result["main"] = read("config.json")
        result["tag"] = read("config.json", revision="v1.0")
        result["pr"] = read("config.json", revision="refs/pr/1")
        result["branch"] = read("config.json", revision="feature/x")
        result["odd"] = read("sub dir/a b#1.txt")
        result["empty"] = read("empty.txt")
        old = hf_hub_download("acme/old-bert", "config.json")
        result["old"] = Path(old).read_text()
        data = hf_hub_download("acme/tiny-csv", "train.csv", repo_type="dataset")
        result["csv"] = Path(data).read_text()
        meta = get_hf_file_metadata(hf_hub_url("acme/tiny-bert", "model.safetensors"))
        result["meta"] = [meta.commit_hash, meta.size, meta.xet_file_data]
        """,
    )
    assert found == {
        "main": '{"v": 2}\n',
        "tag": '{"v": 1}\n',
        "pr": '{"v": 1}\n',
        "branch": '{"v": 2}\n',
        "odd": "odd name\n",
        "empty": "",
        "old": '{"v": 2}\n',
        "csv": "text,label\nhello,1\n",
        "meta": [HEAD_2, len(SAFETENSORS), None],
    }


def test_questions(live: Live, tmp_path: Path) -> None:
    found = client(
        live,
        tmp_path,
        """
        from huggingface_hub import HfApi
        api = HfApi()
        info = api.model_info("acme/tiny-bert", files_metadata=True)
        result["info"] = [info.sha, info.pipeline_tag, info.likes, len(info.siblings)]
        result["expand"] = api.model_info("acme/tiny-bert", expand=["sha", "gated"]).sha
        result["old"] = api.model_info("acme/old-bert").id
        result["space"] = api.space_info("acme/demo").sdk
        result["dataset"] = api.dataset_info("acme/tiny-csv").downloads
        result["files"] = api.list_repo_files("acme/tiny-bert", revision="refs/pr/1")
        tree = list(api.list_repo_tree("acme/tiny-bert", recursive=True, expand=True))
        result["commits_of"] = {one.path: one.last_commit.oid for one in tree}
        sub = api.list_repo_tree("acme/tiny-bert", "sub dir", revision="feature/x")
        result["sub"] = [one.path for one in sub]
        paths = api.get_paths_info(
            "acme/tiny-bert", ["config.json", "sub dir", "no"], expand=True
        )
        result["paths"] = [type(one).__name__ for one in paths]
        refs = api.list_repo_refs("acme/tiny-bert", include_pull_requests=True)
        result["refs"] = [
            [one.name for one in some]
            for some in (refs.branches, refs.tags, refs.converts, refs.pull_requests)
        ]
        commits = api.list_repo_commits("acme/tiny-bert", formatted=False)
        result["commits"] = [one.title for one in commits]
        models = api.list_models(author="acme", sort="downloads", limit=2,
                                 expand=["sha", "lastModified"])
        result["models"] = [[one.id, one.sha] for one in models]
        result["all"] = len(list(api.list_models(full=True, cardData=True)))
        result["filtered"] = [one.id for one in api.list_models(filter="license:mit")]
        result["datasets"] = [one.id for one in api.list_datasets(language="en")]
        result["exists"] = [
            api.repo_exists("acme/tiny-bert"), api.repo_exists("acme/nothing"),
            api.revision_exists("acme/tiny-bert", "v1.0"),
            api.revision_exists("acme/tiny-bert", "v9"),
            api.file_exists("acme/tiny-bert", "config.json"),
            api.file_exists("acme/tiny-bert", "no.json"),
            api.file_exists("acme/nothing", "no.json"),
        ]
        result["auth"] = api.auth_check("acme/tiny-bert")
        result["whoami"] = api.whoami(token="hf_x")["name"]
        result["collections"] = list(api.list_collections(owner="acme"))
        """,
    )
    assert found == {
        "info": [HEAD_2, "fill-mask", 7, 8],
        "expand": HEAD_2,
        "old": "acme/tiny-bert",
        "space": "gradio",
        "dataset": 5,
        "files": found["files"],
        "commits_of": dict.fromkeys(
            [*found["files"], "sub dir", "sub dir/deep"], oid("bert 1")
        )
        | {"config.json": HEAD_2},
        "sub": ["sub dir/deep", "sub dir/a b#1.txt"],
        "paths": ["RepoFile", "RepoFolder"],
        "refs": [["feature/x", "main"], ["v1.0"], ["parquet"], ["1"]],
        "commits": ["title of bert 2", "title of bert 1"],
        "models": [["acme/tiny-bert", HEAD_2], ["acme/partial", oid("partial")]],
        "all": 3,
        "filtered": ["acme/tiny-bert"],
        "datasets": ["acme/tiny-csv"],
        "exists": [True, False, True, False, True, False, False],
        "auth": None,
        "whoami": "mirror",
        "collections": [],
    }
    assert len(found["files"]) == 8


def test_more_questions(mirror: Mirror, tmp_path: Path) -> None:
    with serving(mirror) as live:
        found = client(
            live,
            tmp_path,
            """
            from typing import get_args
            from huggingface_hub import HfApi
            from huggingface_hub import hf_api
            api = HfApi()
            for kind, info, names in (
                ("model", api.model_info, hf_api.ExpandModelProperty_T),
                ("dataset", api.dataset_info, hf_api.ExpandDatasetProperty_T),
                ("space", api.space_info, hf_api.ExpandSpaceProperty_T),
            ):
                repo = {"model": "acme/tiny-bert", "dataset": "acme/tiny-csv",
                        "space": "acme/demo"}[kind]
                result[kind] = info(repo, expand=list(get_args(names))).id
            for sort in get_args(hf_api.ModelSort_T):
                listed = api.list_models(sort=sort, limit=2)
                result[f"by {sort}"] = len(list(listed))
            result["large"] = [
                one.id for one in api.list_models(num_parameters="min:1B")
            ]
            result["apps"] = [one.id for one in api.list_models(apps=["llama.cpp"])]
            result["spaces"] = [one.id for one in api.list_spaces(filter="gradio")]
            result["talk"] = list(api.get_repo_discussions("acme/tiny-bert"))
            result["likers"] = list(api.list_repo_likers("acme/tiny-bert"))
            result["tags"] = [api.get_model_tags()["license"],
                              api.get_dataset_tags()["language"]]
            weights = api.get_safetensors_metadata("acme/tiny-bert")
            result["weights"] = weights.parameter_count
            info = api.model_info("acme/tiny-bert", expand=["safetensors"])
            result["counted"] = info.safetensors.parameters
            result["tree size"] = api.repo_info("acme/tiny-bert").sha
            """,
        )
    kinds = [found.pop(kind) for kind in ("model", "dataset", "space")]
    assert kinds == ["acme/tiny-bert", "acme/tiny-csv", "acme/demo"]
    assert {found.pop(key) for key in list(found) if key.startswith("by ")} == {2}
    assert found == {
        "large": [],
        "apps": [],
        "spaces": [],
        "talk": [],
        "likers": [],
        "tags": [[], []],
        "weights": {"U8": 300032},
        "counted": {"U8": 300032},
        "tree size": HEAD_2,
    }


ERRORS = """
from huggingface_hub import HfApi, hf_hub_download, snapshot_download, auth_check
api = HfApi()
def name(call, *args, **more):
    try:
        return repr(call(*args, **more))
    except Exception as error:
        return type(error).__name__
bert, none = "acme/tiny-bert", "acme/nothing"
result["no repo"] = [
    name(api.model_info, none), name(hf_hub_download, none, "config.json"),
    name(snapshot_download, none), name(api.list_repo_files, none),
    name(api.list_repo_refs, none), name(auth_check, none),
    name(api.dataset_info, bert),
]
result["no revision"] = [
    name(api.model_info, bert, revision="v9"),
    name(hf_hub_download, bert, "config.json", revision="v9"),
    name(snapshot_download, bert, revision="v9"),
    name(api.list_repo_commits, bert, revision="v9"),
]
result["no entry"] = [
    name(hf_hub_download, bert, "no.json"),
    name(hf_hub_download, "acme/partial", "weights.bin"),
    name(lambda: list(api.list_repo_tree(bert, "no"))),
    name(lambda: list(api.list_repo_tree(bert, "config.json"))),
]
result["other"] = [
    name(api.model_info, bert, expand=["colour"]),
    name(api.create_repo, "acme/new", token="hf_x"),
    name(api.whoami),
]
"""


def test_errors(live: Live, tmp_path: Path) -> None:
    found = client(live, tmp_path, ERRORS)
    assert set(found["no repo"]) == {"RepositoryNotFoundError"}
    assert set(found["no revision"]) == {"RevisionNotFoundError"}
    assert set(found["no entry"]) == {"RemoteEntryNotFoundError"}
    assert found["other"][0] == "BadRequestError"
    assert found["other"][1] == "HfHubHTTPError"
    cache = tmp_path / "hf/hub/models--acme--tiny-bert/.no_exist"
    assert (cache / HEAD_2 / "no.json").exists()


def test_a_file_system(live: Live, tmp_path: Path) -> None:
    found = client(
        live,
        tmp_path,
        """
        import hashlib
        from huggingface_hub import HfFileSystem
        fs = HfFileSystem()
        bert = "acme/tiny-bert"
        result["ls"] = sorted(fs.ls(bert, detail=False))
        result["glob"] = sorted(fs.glob("datasets/acme/tiny-csv/**/*.csv"))
        result["find"] = len(fs.find(bert))
        result["exists"] = [fs.exists(f"{bert}/config.json"), fs.exists("acme/no/x")]
        result["cat"] = fs.cat_file(f"{bert}@v1.0/config.json").decode()
        with fs.open(f"{bert}/model.safetensors", block_size=1000) as file:
            file.seek(100)
            result["read"] = file.read(1000).hex()
            file.seek(-10, 2)
            result["end"] = file.read().hex()
        result["branch"] = len(fs.ls(f"{bert}@feature%2Fx"))
        result["pr"] = len(fs.ls(f"{bert}@refs/pr/1/sub dir"))
        fs.get_file(f"{bert}/model.safetensors", "got")
        result["sha"] = hashlib.sha256(open("got", "rb").read()).hexdigest()
        """.replace('"got"', repr(str(tmp_path / "got"))),
    )
    assert [one.removeprefix("acme/tiny-bert/") for one in found["ls"]] == [
        ".gitattributes",
        "README.md",
        "config.json",
        "empty.txt",
        "model.safetensors",
        "sub dir",
        "vocab.txt",
    ]
    folder = "datasets/acme/tiny-csv"
    assert found["glob"] == [f"{folder}/test.csv", f"{folder}/train.csv"]
    assert found["find"] == 8
    assert found["exists"] == [True, False]
    assert found["cat"] == '{"v": 1}\n'
    assert bytes.fromhex(found["read"]) == SAFETENSORS[100:1100]
    assert bytes.fromhex(found["end"]) == SAFETENSORS[-10:]
    assert (found["branch"], found["pr"]) == (7, 2)
    tree = live.get("/api/models/acme/tiny-bert/tree/main").json()
    digest = next(one for one in tree if one["path"] == "model.safetensors")
    assert found["sha"] == digest["lfs"]["oid"]


@pytest.mark.parametrize("name", ["acme/handmade"])
def test_local_content_with_a_large_file(live: Live, tmp_path: Path, name: str) -> None:
    code = SNAPSHOT.replace("acme/tiny-bert", name)
    found = client(live, tmp_path, code)
    assert found["model.bin"] == 251 * 40_000
