"""The JSON routes: shapes, parameters, errors."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from hubsync.model.digest import Digest
from hubsync.model.repo import RepoType
from hubsync.serve.conditional import tag_of
from hubsync.wire.lfs import pointer_oid
from tests.unit.serve.conftest import SAFETENSORS, bert_files
from tests.unit.serve.mirror import Answer, File, Live, Mirror, oid, serving

BERT = "/api/models/acme/tiny-bert"
HEAD_2 = oid("bert 2")
ALL_PATHS = [
    "sub dir",
    "sub dir/deep",
    "sub dir/deep/\u00e9t\u00e9.txt",
    "sub dir/a b#1.txt",
    ".gitattributes",
    "README.md",
    "config.json",
    "empty.txt",
    "model.safetensors",
    "vocab.txt",
]


def recorded(name: str) -> Any:
    folder = Path(__file__).parents[2] / "recordings/huggingface"
    return json.loads((folder / f"{name}.json").read_text())


def paths_of(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [one["path"] for one in answer.json()]


# Info


def test_info(live: Live) -> None:
    answer = live.get(BERT)
    info = answer.json()
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-repo-commit"] == info["sha"] == HEAD_2
    expected = {
        "_id": "621ffdc036468d709f17434d",
        "id": "acme/tiny-bert",
        "modelId": "acme/tiny-bert",
        "author": "acme",
        "private": False,
        "gated": False,
        "disabled": False,
        "likes": 7,
        "downloads": 11,
        "lastModified": "2026-01-02T03:01:05.000Z",
        "createdAt": "2025-05-05T05:05:05.000Z",
        "config": {"model_type": "bert"},
    }
    assert expected.items() <= info.items()
    files = [path for path in ALL_PATHS if "." in path]
    assert sorted(one["rfilename"] for one in info["siblings"]) == sorted(files)
    assert all(set(one) == {"rfilename"} for one in info["siblings"])


def test_keys_come_in_the_hubs_order(live: Live) -> None:
    theirs = list(recorded("models.info")["response"]["json"])
    ours = [key for key in live.get(BERT).json() if key in theirs]
    assert ours == [key for key in theirs if key in ours]


def test_info_with_blobs(live: Live) -> None:
    siblings = {
        one["rfilename"]: one
        for one in live.get(f"{BERT}?blobs=true").json()["siblings"]
    }
    digest = Digest.of(SAFETENSORS)
    assert siblings["model.safetensors"] == {
        "rfilename": "model.safetensors",
        "size": len(SAFETENSORS),
        "blobId": pointer_oid(digest, len(SAFETENSORS)).hex,
        "lfs": {"sha256": digest.hex, "size": len(SAFETENSORS), "pointerSize": 131},
    }
    assert set(siblings["config.json"]) == {"rfilename", "size", "blobId"}


@pytest.mark.parametrize("key", ["expand", "expand[]", "expand%5B%5D"])
def test_expand_is_exact(live: Live, key: str) -> None:
    info = live.get(f"{BERT}?{key}=sha&{key}=likes").json()
    assert info == {
        "_id": "621ffdc036468d709f17434d",
        "id": "acme/tiny-bert",
        "likes": 7,
        "sha": HEAD_2,
    }


def test_an_unknown_expand_is_refused(live: Live) -> None:
    for path in (BERT, "/api/models"):
        answer = live.get(f"{path}?expand=sha&expand=secrets")
        assert answer.status == 400
        assert "'secrets'" in answer.json()["error"]


@pytest.mark.parametrize("revision", ["HEAD", "main", "refs%2Fheads%2Fmain", HEAD_2])
def test_info_of_a_revision(live: Live, revision: str) -> None:
    assert live.get(f"{BERT}/revision/{revision}").json()["sha"] == HEAD_2


@pytest.mark.parametrize("revision", ["v1.0", "refs%2Fpr%2F1", "refs/pr/1"])
def test_info_of_an_older_revision(live: Live, revision: str) -> None:
    info = live.get(f"{BERT}/revision/{revision}").json()
    assert info["sha"] == oid("bert 1")
    assert info["lastModified"] == "2026-01-02T03:00:05.000Z"


def test_info_of_local_content_comes_from_its_readme(live: Live) -> None:
    info = live.get("/api/models/acme/handmade").json()
    assert info["pipeline_tag"] == "text-classification"
    assert info["cardData"]["license"] == "apache-2.0"
    assert "license:apache-2.0" in info["tags"]
    assert {"tiny", "handmade"} <= set(info["tags"])
    assert (info["likes"], info["downloads"], info["gated"]) == (0, 0, False)
    assert len(info["_id"]) == 24


def test_local_models_have_the_tags_that_the_hub_would_give(
    own_mirror: Mirror,
) -> None:
    card = b"""---
license: mit
language: [en, fr]
datasets: acme/x
base_model: acme/y
pipeline_tag: fill-mask
tags: [tiny]
---
"""
    config = {"model_type": "bert", "architectures": ["BertModel"], "secret": 1}
    files = {
        "README.md": File(card),
        "config.json": File(json.dumps(config).encode()),
        "model.safetensors": File(SAFETENSORS, lfs=True),
        "onnx/model.onnx": File(b"onnx"),
    }
    own_mirror.publish("a/b", files, upstream="local")
    with serving(own_mirror) as live:
        info = live.get("/api/models/a/b").json()
        assert info["tags"] == [
            "transformers", "onnx", "safetensors", "bert", "fill-mask", "tiny", "en",
            "fr", "dataset:acme/x", "base_model:acme/y", "license:mit",
        ]  # fmt: skip
        assert info["library_name"] == "transformers"
        assert info["config"] == {"model_type": "bert", "architectures": ["BertModel"]}
        assert len(live.get("/api/models?filter=transformers,bert").json()) == 1


@pytest.mark.parametrize(
    "config",
    [b"", b"[]", b"{", b'{"model_type": 1, "architectures": [1]}', b"[" * 9999],
)
def test_no_config_breaks_the_answer(own_mirror: Mirror, config: bytes) -> None:
    own_mirror.publish("a/b", {"config.json": File(config)}, upstream="local")
    with serving(own_mirror) as live:
        assert "config" not in live.get("/api/models/a/b").json()


def test_local_datasets_and_spaces_have_theirs(own_mirror: Mirror) -> None:
    card = b"""---
license: mit
language: en
task_categories: [question-answering]
size_categories: n<1K
sdk: gradio
tags: [tiny]
---
"""
    for kind in (RepoType.DATASET, RepoType.SPACE):
        own_mirror.publish(
            "a/b", {"README.md": File(card)}, repo_type=kind, upstream="local"
        )
    with serving(own_mirror) as live:
        dataset = live.get("/api/datasets/a/b").json()
        assert dataset["tags"] == [
            "task_categories:question-answering", "language:en", "license:mit",
            "size_categories:n<1K", "tiny",
        ]  # fmt: skip
        space = live.get("/api/spaces/a/b").json()
        assert (space["sdk"], space["tags"]) == (
            "gradio",
            ["gradio", "tiny", "license:mit"],
        )


BOMB = "a: &a [x,x,x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "front_matter",
    [BOMB, "a: !!python/object/apply:os.system [id]", "[[" * 3000, "a: " + "[" * 500,
     "big: 99999999999999999999999999", 'half: "\\ud800"', "when: 2026-13-45", "- list",
     "x" * 70_000, "? [a, b]\n: 1", "n: .nan", "d: 2026-01-02", "\t", "a: b: c"],
)  # fmt: skip
def test_s42_no_front_matter_breaks_the_answer(
    own_mirror: Mirror, front_matter: str
) -> None:
    readme = f"---\n{front_matter}\n---\n".encode()
    own_mirror.publish("a/b", {"README.md": File(readme)}, upstream="local")
    with serving(own_mirror) as live:
        for target in ("/api/models/a/b", "/api/models"):
            answer = live.get(target)
            assert answer.status == 200
            assert len(answer.body) < 100_000


def test_no_answer_mentions_xet(live: Live) -> None:
    """A client that sees it would leave for the Hub's own store."""
    targets = [
        BERT,
        f"{BERT}?blobs=true",
        f"{BERT}/revision/main",
        f"{BERT}/tree/main?recursive=true&expand=true",
        f"{BERT}/refs",
        f"{BERT}/commits/main",
        "/api/models?full=true&cardData=true&config=true",
        "/acme/tiny-bert/resolve/main/model.safetensors",
    ]
    for target in targets:
        answer = live.get(target)
        assert answer.status == 200
        assert b"xet" not in answer.body.lower(), target
        # Which names a browser would show is the same for every answer.
        said = {k: v for k, v in answer.headers.items() if "expose" not in k}
        assert "xet" not in str(said).lower(), target


# Tree


def test_a_whole_tree(live: Live) -> None:
    """Folders too; in one level folders stand before files."""
    answer = live.get(f"{BERT}/tree/main?recursive=true&expand=false")
    assert paths_of(answer) == ALL_PATHS
    assert answer.headers["x-repo-commit"] == HEAD_2
    assert "link" not in answer.headers
    entries = {one["path"]: one for one in answer.json()}
    digest = Digest.of(SAFETENSORS)
    assert entries["model.safetensors"] == {
        "type": "file",
        "oid": pointer_oid(digest, len(SAFETENSORS)).hex,
        "size": len(SAFETENSORS),
        "lfs": {"oid": digest.hex, "size": len(SAFETENSORS), "pointerSize": 131},
        "path": "model.safetensors",
    }
    assert list(entries["config.json"]) == ["type", "oid", "size", "path"]
    assert entries["sub dir"]["type"] == "directory"
    assert entries["sub dir"]["size"] == 0


def test_one_level(live: Live) -> None:
    top = [path for path in ALL_PATHS if "/" not in path]
    assert paths_of(live.get(f"{BERT}/tree/main?recursive=false")) == top
    assert paths_of(live.get(f"{BERT}/tree/main")) == top


@pytest.mark.parametrize(
    "folder",
    ["sub%20dir", "sub%20dir/", "sub dir".replace(" ", "%20") + "?expand=false"],
)
def test_a_folder(live: Live, folder: str) -> None:
    expected = ["sub dir/deep", "sub dir/a b#1.txt"]
    assert paths_of(live.get(f"{BERT}/tree/main/{folder}")) == expected


@pytest.mark.parametrize("folder", ["sub%20dir%2Fdeep", "sub%20dir/deep"])
def test_a_folder_in_a_folder(live: Live, folder: str) -> None:
    expected = ["sub dir/deep/\u00e9t\u00e9.txt"]
    assert paths_of(live.get(f"{BERT}/tree/refs%2Fpr%2F1/{folder}")) == expected
    assert paths_of(live.get(f"{BERT}/tree/refs/pr/1/{folder}")) == expected


def last_commits(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {one["path"]: one["lastCommit"] for one in answer.json()}


FIRST = {
    "id": oid("bert 1"),
    "title": "title of bert 1",
    "date": "2026-01-02T03:00:05.000Z",
}
SECOND = {
    "id": HEAD_2,
    "title": "title of bert 2",
    "date": "2026-01-02T03:01:05.000Z",
}


def test_expand_tells_the_commit_that_changed_an_entry(live: Live) -> None:
    told = last_commits(live.get(f"{BERT}/tree/main?expand=true&recursive=true"))
    assert told == dict.fromkeys(ALL_PATHS, FIRST) | {"config.json": SECOND}
    page = live.get(f"{BERT}/tree/main?expand=true&recursive=true&limit=7")
    assert last_commits(page) == {path: told[path] for path in ALL_PATHS[:7]}
    before = last_commits(live.get(f"{BERT}/tree/v1.0?expand=true&recursive=true"))
    assert before == dict.fromkeys(ALL_PATHS, FIRST)


def test_a_folder_changed_with_its_newest_file(own_mirror: Mirror) -> None:
    for minute, name in enumerate(("one", "two", "three")):
        files = {"a/b/c": File(name.encode()), "a/d": File(b"d"), "e/f": File(b"f")}
        if name == "three":
            files["a/b/c"] = File(b"two")
        own_mirror.publish("acme/x", files, commit=name, minute=minute)
    with serving(own_mirror) as live:
        query = "expand=true&recursive=true"
        told = last_commits(live.get(f"/api/models/acme/x/tree/main?{query}"))
    ids = {path: commit["id"] for path, commit in told.items()}
    two = dict.fromkeys(("a", "a/b", "a/b/c"), oid("two"))
    assert ids == two | dict.fromkeys(("a/d", "e", "e/f"), oid("one"))


def test_no_entry_was_changed_after_the_commit_that_is_asked_for(
    own_mirror: Mirror,
) -> None:
    """An old commit may be recorded after a new one."""
    files = {"a": File(b"a")}
    own_mirror.publish("acme/x", files, commit="new", minute=2)
    own_mirror.publish("acme/x", files, commit="old", minute=1, refs=("refs/tags/v0",))
    with serving(own_mirror) as live:
        told = last_commits(live.get("/api/models/acme/x/tree/v0?expand=true"))
    assert told["a"]["id"] == oid("old")


def test_an_expanded_page_names_no_forgotten_commit(own_mirror: Mirror) -> None:
    files = {"a": File(b"a")}
    first = own_mirror.publish("acme/x", files, commit="one", minute=1)
    own_mirror.publish("acme/x", files | {"b": File(b"b")}, commit="two", minute=2)
    with serving(own_mirror) as live:
        target = "/api/models/acme/x/tree/main?expand=true"
        assert last_commits(live.get(target))["a"]["id"] == oid("one")
        own_mirror.catalog.forget(first.repo, first.snapshot)
        assert last_commits(live.get(target))["a"]["id"] == oid("two")


@pytest.mark.parametrize("path", ["nothing", "config.json", "sub%20dir/nothing"])
def test_what_is_no_folder_has_no_tree(live: Live, path: str) -> None:
    answer = live.get(f"{BERT}/tree/main/{path}")
    assert (answer.status, answer.code) == (404, "EntryNotFound")
    name = path.replace("%20", " ")
    assert answer.json() == {"error": f'{name} does not exist on "main"'}
    assert answer.headers["x-repo-commit"] == HEAD_2


def follow(live: Live, target: str) -> list[Answer]:
    pages = []
    while target:
        pages.append(live.get(target))
        link = pages[-1].headers.get("link", "")
        assert not link or (link.startswith(f"<{live.url}/"))
        assert not link or link.endswith('>; rel="next"')
        parts = urlsplit(link[1:].partition(">")[0])
        target = f"{parts.path}?{parts.query}" if link else ""
    return pages


@pytest.mark.parametrize("limit", [1, 3, 10, 50])
def test_a_tree_in_pages(live: Live, limit: int) -> None:
    pages = follow(live, f"{BERT}/tree/main?recursive=true&limit={limit}")
    assert [path for page in pages for path in paths_of(page)] == ALL_PATHS
    assert all(len(page.json()) <= limit for page in pages)
    assert len(pages) == -(-len(ALL_PATHS) // limit)


def test_a_walk_of_a_tree_ends_on_the_commit_it_began_with(own_mirror: Mirror) -> None:
    """Whatever the branch does meanwhile: half a revision is none."""
    before = {f"f{n}": File(b"%d" % n) for n in range(9)} | {"ü/x y": File(b"x")}
    own_mirror.publish("a/b", before, commit="before")
    own_mirror.publish("a/b", {"f9": File(b"9")}, commit="tag", refs=("refs/tags/t",))
    with serving(own_mirror) as live:
        for target in ("tree/main?recursive=true&limit=4", "commits/main?limit=1"):
            first = live.get(f"/api/models/a/b/{target}")
            assert oid("before") in first.headers.get("link", oid("before"))
        first = live.get("/api/models/a/b/tree/main?recursive=true&limit=4")
        own_mirror.publish("a/b", {"f9": File(b"9")}, commit="after")
        link = first.headers["link"][1:].partition(">")[0]
        rest = follow(live, link.removeprefix(live.url))
        seen = [path for page in (first, *rest) for path in paths_of(page)]
        assert seen == ["ü", "ü/x y", *(f"f{n}" for n in range(9))]
        below = live.get("/api/models/a/b/tree/" + oid("before") + "/%C3%BC?limit=1")
        assert paths_of(below) == ["ü/x y"]


def test_a_walk_below_a_folder_stays_there(own_mirror: Mirror) -> None:
    files = {f"ü b/{n}": File(b"%d" % n) for n in range(5)} | {"z": File(b"z")}
    own_mirror.publish("a/b", files)
    with serving(own_mirror) as live:
        pages = follow(live, "/api/models/a/b/tree/main/%C3%BC%20b?limit=2")
        assert [len(paths_of(page)) for page in pages] == [2, 2, 1]
        assert paths_of(pages[-1]) == ["ü b/4"]


def test_a_cursor_of_a_file_that_is_gone_goes_on_behind_it(live: Live) -> None:
    inner = base64.b64encode(b'{"file_name":"config.json.old"}')
    cursor = quote(base64.b64encode(inner + b":50").decode())
    got = live.get(f"{BERT}/tree/main?recursive=true&cursor={cursor}")
    assert paths_of(got) == ALL_PATHS[7:]


def test_a_cursor_that_a_client_made(live: Live) -> None:
    """text-generation-webui writes its own, and goes on until it gets ``[]``."""

    def cursor(name: str) -> str:
        inner = base64.b64encode(json.dumps({"file_name": name}).encode())
        return quote(base64.b64encode(inner + b":50").decode())

    target = f"{BERT}/tree/main?recursive=true&cursor="
    assert paths_of(live.get(target + cursor("config.json"))) == ALL_PATHS[7:]
    assert paths_of(live.get(target + cursor("vocab.txt"))) == []


@pytest.mark.parametrize(
    "query",
    ["cursor=x", "cursor=", "cursor=" + "W" * 4000, "limit=0", "limit=-1", "limit=x",
     "limit=%C2%B2", "limit=" + "9" * 5000,
     "cursor=" + base64.b64encode(b"[" * 3000).decode()],
)  # fmt: skip
def test_a_page_that_nobody_offered(live: Live, query: str) -> None:
    assert live.get(f"{BERT}/tree/main?{query}").status == 400


def test_folder_ids_are_gits_own(own_mirror: Mirror, tmp_path: Path) -> None:
    files = bert_files(b"{}")
    for path, file in files.items():
        target = tmp_path / "work" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
    plain = {path: File(file.data) for path, file in files.items()}
    own_mirror.publish("a/b", plain)

    def git(*args: str) -> str:
        command = ["git", "-c", "core.autocrlf=false", "-C", str(tmp_path / "work")]
        done = subprocess.run([*command, *args], check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    (tmp_path / "work/.git/info/attributes").write_text("* -filter -text\n")
    git("add", "-A")
    root = git("write-tree")
    with serving(own_mirror) as live:
        entries = live.get("/api/models/a/b/tree/main?recursive=true").json()
    folders = [one for one in entries if one["type"] == "directory"]
    assert len(folders) == 2
    for one in folders:
        assert one["oid"] == git("rev-parse", f"{root}:{one['path']}")


def test_treesize(live: Live) -> None:
    sizes = [len(file.data) for file in bert_files(b'{"v": 2}\n').values()]
    assert live.get(f"{BERT}/treesize/main").json() == {"path": "/", "size": sum(sizes)}
    assert live.get(f"{BERT}/treesize/main/sub%20dir").json() == {
        "path": "/sub dir",
        "size": 16,
    }
    assert live.get(f"{BERT}/treesize/main/nothing").code == "EntryNotFound"


# paths-info


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


def test_paths_info_by_form(live: Live) -> None:
    body = b"paths=config.json&paths=sub+dir&paths=nope&paths=sub%20dir%2Fa%20b%231.txt"
    target = f"{BERT}/paths-info/v1.0"
    answer = live.ask(target, "POST", FORM, body + b"&expand=true")
    assert paths_of(answer) == ["config.json", "sub dir", "sub dir/a b#1.txt"]
    assert all(one["lastCommit"]["id"] == oid("bert 1") for one in answer.json())
    plain = live.ask(target, "POST", FORM, body)
    assert all("lastCommit" not in one for one in plain.json())
    assert [one["type"] for one in plain.json()] == ["file", "directory", "file"]


def test_paths_info_by_json(live: Live) -> None:
    body = json.dumps({"paths": ["config.json", "nope"], "expand": True}).encode()
    answer = live.ask(f"{BERT}/paths-info/{HEAD_2}", "POST", JSON, body)
    assert paths_of(answer) == ["config.json"]
    assert answer.json()[0]["lastCommit"]["id"] == HEAD_2
    body = json.dumps({"paths": ["vocab.txt"], "expand": True}).encode()
    answer = live.ask(f"{BERT}/paths-info/{HEAD_2}", "POST", JSON, body)
    assert answer.json()[0]["lastCommit"] == FIRST


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"paths": 1}', b'{"paths": [1]}', b"[" * 5000, b"\xff"]
)
def test_paths_info_of_nonsense(live: Live, body: bytes) -> None:
    assert live.ask(f"{BERT}/paths-info/main", "POST", JSON, body).status == 400


def test_s24_too_many_paths_are_refused(live: Live) -> None:
    target = f"{BERT}/paths-info/main"
    form = b"&".join([b"paths=x"] * 10_000)
    assert live.ask(target, "POST", FORM, form).status == 413
    body = json.dumps({"paths": ["x"] * 3000}).encode()
    assert live.ask(target, "POST", JSON, body).status == 413
    assert live.ask(target, "POST", JSON, b" " * 5_000_000).status == 413


# refs and commits


def test_refs(live: Live) -> None:
    first = oid("bert 1")
    assert live.get(f"{BERT}/refs").json() == {
        "tags": [{"name": "v1.0", "ref": "refs/tags/v1.0", "targetCommit": first}],
        "branches": [
            {
                "name": "feature/x",
                "ref": "refs/heads/feature/x",
                "targetCommit": HEAD_2,
            },
            {"name": "main", "ref": "refs/heads/main", "targetCommit": HEAD_2},
        ],
        "converts": [
            {"name": "parquet", "ref": "refs/convert/parquet", "targetCommit": HEAD_2}
        ],
    }
    with_prs = live.get(f"{BERT}/refs?include_prs=1").json()
    assert with_prs["pullRequests"] == [
        {"name": "1", "ref": "refs/pr/1", "targetCommit": first}
    ]


def test_commits(live: Live) -> None:
    answer = live.get(f"{BERT}/commits/main?expand%5B%5D=formatted")
    assert answer.headers["x-total-count"] == "2"
    assert [one["id"] for one in answer.json()] == [HEAD_2, oid("bert 1")]
    assert answer.json()[0] == {
        "id": HEAD_2,
        "title": "title of bert 2",
        "message": "",
        "authors": [{"user": "someone"}],
        "date": "2026-01-02T03:01:05.000Z",
    }
    older = live.get(f"{BERT}/commits/v1.0").json()
    assert [one["id"] for one in older] == [oid("bert 1")]


def test_commits_in_pages(own_mirror: Mirror) -> None:
    for number in range(60):
        own_mirror.publish("a/b", {"n": File(b"%d" % number)}, commit=str(number))
    with serving(own_mirror) as live:
        pages = follow(live, "/api/models/a/b/commits/main")
        assert [len(page.json()) for page in pages] == [50, 10]
        assert {page.headers["x-total-count"] for page in pages} == {"60"}
        ids = [one["id"] for page in pages for one in page.json()]
        assert ids == [oid(str(number)) for number in reversed(range(60))]
        assert len(follow(live, "/api/models/a/b/commits/main?limit=7")) == 9
        assert live.get("/api/models/a/b/commits/main?p=99").json() == []
        assert live.get("/api/models/a/b/commits/main?p=x").status == 400


def test_commits_of_another_branch_are_no_history(own_mirror: Mirror) -> None:
    """Recorded in between is not committed in between."""

    def publish(commit: str, *refs: str) -> None:
        own_mirror.publish(
            "a/b", {"n": File(commit.encode())}, commit=commit, refs=refs
        )

    def history(revision: str) -> list[str]:
        got = live.get(f"/api/models/a/b/commits/{revision}")
        assert got.headers["x-total-count"] == str(len(got.json()))
        return [names[one["id"]] for one in got.json()]

    names = {oid(name): name for name in ("m1", "d1", "m2", "d2", "x", "m3")}
    for commit, ref in (("m1", "main"), ("d1", "dev"), ("m2", "main"), ("d2", "dev")):
        publish(commit, f"refs/heads/{ref}")
    publish("x")
    publish("m3", "refs/heads/main", "refs/tags/v3")
    with serving(own_mirror) as live:
        assert history("main") == ["m3", "m2", "m1"]
        assert history("v3") == ["m3", "m2", "m1"]
        assert history(oid("m2")) == ["m2", "m1"]
        assert history("dev") == ["d2", "d1"]
        assert history(oid("x")) == ["x"]
        publish("m1", "refs/heads/main")
        assert history("main") == ["m1"]
        publish("d2", "refs/heads/main")
        assert history("main") == ["d2", "m1"]
        assert history(oid("m3")) == ["m3", "m2", "m1"]


# Lists


def ids(live: Live, query: str, plural: str = "models") -> list[str]:
    answer = live.get(f"/api/{plural}{query}")
    assert answer.status == 200, answer.body
    return [one["id"].removeprefix("acme/") for one in answer.json()]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["handmade", "tiny-bert", "partial"]),
        ("?author=acme", ["handmade", "tiny-bert", "partial"]),
        ("?author=ACME", ["handmade", "tiny-bert", "partial"]),
        ("?author=nobody", []),
        ("?search=BERT", ["tiny-bert"]),
        ("?search=acme+part", ["partial"]),
        ("?filter=license:mit", ["tiny-bert"]),
        ("?filter=bert&filter=transformers", ["tiny-bert"]),
        ("?filter=bert,transformers", ["tiny-bert"]),
        ("?filter=bert&filter=nothing", []),
        ("?filter=handmade", ["handmade"]),
        ("?tags=tiny", ["handmade"]),
        ("?pipeline_tag=fill-mask", ["tiny-bert"]),
        ("?library=transformers", ["tiny-bert"]),
        ("?license=apache-2.0", ["handmade"]),
        ("?language=en", ["tiny-bert"]),
        ("?gated=true", ["partial"]),
        ("?gated=False", ["handmade", "tiny-bert"]),
        ("?sort=downloads", ["tiny-bert", "partial", "handmade"]),
        ("?sort=downloads&direction=1", ["handmade", "partial", "tiny-bert"]),
        ("?sort=likes&limit=1", ["tiny-bert"]),
        ("?sort=createdAt&direction=1&limit=1", ["tiny-bert"]),
        ("?sort=last_modified&direction=-1", ["handmade", "tiny-bert", "partial"]),
        ("?skip=1", ["tiny-bert", "partial"]),
        ("?apps=vllm&unknown=1", ["handmade", "tiny-bert", "partial"]),
    ],
)
def test_lists(live: Live, query: str, expected: list[str]) -> None:
    assert ids(live, query) == expected


@pytest.mark.parametrize("query", ["sort=color", "limit=0", "limit=x", "cursor=x"])
def test_a_list_that_cannot_be_meant(live: Live, query: str) -> None:
    assert live.get(f"/api/models?{query}").status == 400


def test_a_list_in_pages(live: Live) -> None:
    pages = follow(live, "/api/models?author=acme&sort=downloads&limit=1&expand=sha")
    assert [page.json()[0]["id"] for page in pages] == [
        "acme/tiny-bert",
        "acme/partial",
        "acme/handmade",
    ]
    assert all(set(page.json()[0]) == {"_id", "id", "sha"} for page in pages)


def test_an_item_has_the_hubs_keys(live: Live) -> None:
    theirs = list(recorded("models.list")["response"]["json"][0])
    item = live.get("/api/models?search=tiny-bert").json()[0]
    assert [key for key in item if key in theirs] == theirs
    full = live.get("/api/models?search=tiny-bert&full=true&config=true").json()[0]
    assert {"sha", "lastModified", "siblings", "gated", "config"} <= set(full)
    assert "cardData" not in full


def test_other_types(live: Live) -> None:
    assert ids(live, "?filter=language%3Aen", "datasets") == ["tiny-csv"]
    assert ids(live, "?author=acme", "spaces") == ["demo"]
    space = live.get("/api/spaces/acme/demo").json()
    assert space["sdk"] == "gradio"
    assert "modelId" not in space
    dataset = live.get("/api/datasets/acme/tiny-csv/revision/main").json()
    assert dataset["downloads"] == 5
    body = live.get("/datasets/acme/tiny-csv/resolve/main/train.csv").body
    assert body == b"text,label\nhello,1\n"
    assert live.get("/spaces/acme/demo/raw/main/app.py").status == 200
    assert live.get("/acme/tiny-csv/resolve/main/train.csv").code == "RepoNotFound"


# Names


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/api/models/acme/old-bert", "/api/models/acme/tiny-bert"),
        ("/api/models/ACME/Tiny-BERT?a=b%2F", "/api/models/acme/tiny-bert?a=b%2F"),
        (
            "/api/models/acme/old-bert/tree/refs%2Fpr%2F1/sub%20dir?recursive=true",
            "/api/models/acme/tiny-bert/tree/refs%2Fpr%2F1/sub%20dir?recursive=true",
        ),
        (
            "/acme/old-bert/resolve/main/sub%20dir/a%20b%231.txt?download=true",
            "/acme/tiny-bert/resolve/main/sub%20dir/a%20b%231.txt?download=true",
        ),
        (
            "/datasets/Acme/Tiny-csv/resolve/main/train.csv",
            "/datasets/acme/tiny-csv/resolve/main/train.csv",
        ),
    ],
)
def test_former_names_and_other_case_lead_on(
    live: Live, asked: str, location: str
) -> None:
    for method in ("GET", "HEAD"):
        answer = live.ask(asked, method)
        assert (answer.status, answer.headers["location"]) == (307, location)
    assert live.get(location).status == 200


def test_the_first_upstream_in_order_has_the_name(own_mirror: Mirror) -> None:
    for upstream in ("other", "huggingface", "local"):
        own_mirror.publish(
            "a/b", {"who": File(upstream.encode())}, upstream=upstream, commit=upstream
        )
        own_mirror.publish(
            "a/c", {"who": File(upstream.encode())}, upstream=upstream, commit=upstream
        ) if upstream != "local" else None
    with serving(own_mirror) as live:
        assert live.get("/a/b/resolve/main/who").body == b"local"
        assert live.get("/a/c/resolve/main/who").body == b"huggingface"
        assert [one["id"] for one in live.get("/api/models").json()] == ["a/b", "a/c"]


def test_a_name_without_owner(own_mirror: Mirror) -> None:
    own_mirror.publish("gpt2", {"config.json": File(b"{}")})
    with serving(own_mirror) as live:
        info = live.get("/api/models/gpt2").json()
        assert info["id"] == "gpt2"
        assert "author" not in info
        assert live.get("/gpt2/resolve/main/config.json").body == b"{}"
        assert live.get("/api/models/gpt2/tree/main").json()[0]["path"] == "config.json"
        assert live.get("/api/models/gpt2/refs").json()["branches"][0]["name"] == "main"


def test_what_is_published_meanwhile_is_served_at_once(own_mirror: Mirror) -> None:
    own_mirror.publish("a/b", {"f": File(b"1")}, commit="1")
    with serving(own_mirror) as live:
        tree = "/api/models/a/b/tree/main"
        before = live.get(tree).json()
        own_mirror.publish("a/b", {"f": File(b"2"), "g": File(b"")}, commit="2")
        assert live.get("/a/b/resolve/main/f").body == b"2"
        assert len(live.get(tree).json()) == 2
        assert live.get(f"/api/models/a/b/tree/{oid('1')}").json() == before


def test_a_repo_without_main(own_mirror: Mirror) -> None:
    own_mirror.publish("a/b", {"f": File(b"1")}, refs=("refs/pr/3",))
    with serving(own_mirror) as live:
        assert live.get("/api/models/a/b").json()["sha"] == oid("one")
        assert live.get("/api/models/a/b/refs").json()["branches"] == []
        assert live.get("/a/b/resolve/main/f").code == "RevisionNotFound"


def test_an_empty_repo(own_mirror: Mirror) -> None:
    own_mirror.publish("a/b", {}, repo_type=RepoType.DATASET)
    with serving(own_mirror) as live:
        assert live.get("/api/datasets/a/b/tree/main?recursive=true").json() == []
        assert live.get("/api/datasets/a/b").json()["siblings"] == []


# Errors and the rest


@pytest.mark.parametrize(
    "target",
    ["/api/models/acme/nothing", "/api/models/nothing", "/api/datasets/acme/tiny-bert",
     "/api/models/acme/nothing/revision/main", "/api/models/acme/nothing/tree/main",
     "/acme/nothing/resolve/main/config.json", "/acme/nothing/raw/main/x",
     "/api/models/acme/nothing/auth-check", "/api/models/acme/nothing/refs",
     "/datasets/acme/tiny-bert/resolve/main/config.json"],
)  # fmt: skip
def test_a_repo_that_is_not_mirrored(live: Live, target: str) -> None:
    for method in ("GET", "HEAD"):
        answer = live.ask(target, method)
        assert (answer.status, answer.code) == (404, "RepoNotFound")
    assert "Repository not found" in live.get(target).json()["error"]


@pytest.mark.parametrize(
    "target",
    [f"{BERT}/revision/zzz", f"{BERT}/tree/zzz", f"{BERT}/commits/zzz",
     f"{BERT}/treesize/zzz", "/acme/tiny-bert/resolve/zzz/config.json",
     "/acme/tiny-bert/raw/zzz/config.json"],
)  # fmt: skip
def test_a_revision_that_is_not_there(live: Live, target: str) -> None:
    theirs = recorded("models.revision.notfound")["response"]
    for method in ("GET", "HEAD"):
        answer = live.ask(target, method)
        assert (answer.status, answer.code) == (theirs["status"], "RevisionNotFound")
        assert answer.headers["x-error-message"] == "Invalid rev id: zzz"
    assert live.get(target).json() == {"error": "Invalid rev id: zzz"}


def test_a_file_that_is_not_there(live: Live) -> None:
    theirs = recorded("models.resolve.notfound")["response"]
    answer = live.get("/acme/tiny-bert/resolve/main/nothing.json")
    assert answer.status == theirs["status"]
    assert answer.body.decode() == theirs["text"]
    for key in ("Content-Type", "X-Error-Code", "X-Error-Message"):
        assert answer.headers[key.lower()] == theirs["headers"][key]
    assert answer.headers["x-repo-commit"] == HEAD_2
    folder = live.get("/acme/tiny-bert/resolve/main/sub%20dir")
    assert (folder.status, folder.code) == (404, "EntryNotFound")


def test_whoami(live: Live) -> None:
    theirs = recorded("whoami-v2")["response"]
    answer = live.get("/api/whoami-v2")
    assert (answer.status, answer.json()) == (theirs["status"], theirs["json"])
    for key in ("Www-Authenticate", "X-Error-Message", "Content-Type"):
        assert answer.headers[key.lower()] == theirs["headers"][key]
    me = live.get("/api/whoami-v2", Authorization="Bearer anything").json()
    assert (me["type"], me["orgs"]) == ("user", [])
    assert me["auth"]["accessToken"]["role"] == "read"


def test_small_routes(live: Live) -> None:
    assert live.get(f"{BERT}/auth-check").status == 200
    harnesses = live.get("/api/agent-harnesses").json()
    assert harnesses == {"standardEnvVars": [], "harnesses": {}}
    assert live.get("/api/collections?owner=acme").json() == []
    assert live.get("/api/collections/acme/x-abc").status == 404
    assert live.get("/api/datasets/acme/tiny-csv/parquet").status == 404
    assert live.get("/healthz").json()["status"] == "ok"
    assert live.get(f"{BERT}/likers").json() == []
    assert live.get(f"{BERT}/discussions?p=0").json() == {
        "discussions": [],
        "count": 0,
        "start": 0,
        "numClosedDiscussions": 0,
    }
    for kind, key in (("models", "pipeline_tag"), ("datasets", "task_categories")):
        assert live.get(f"/api/{kind}-tags-by-type").json()[key] == []
    welcome = live.get("/").body.decode()
    assert f"HF_ENDPOINT={live.url}" in welcome


@pytest.mark.parametrize(
    "target",
    ["/api", "/api/", "/api/nothing", "/api/models/a/b/c", "/favicon.ico", "/a/b/c/d",
     f"{BERT}/nothing", f"{BERT}/likers/x", f"{BERT}/discussions/1", "/v2/a/b/tags/x",
     f"{BERT}/revision", f"{BERT}/tree/", "/acme/tiny-bert/resolve/main",
     "/acme/tiny-bert/info/refs?service=git-upload-pack", "/acme/tiny-bert"],
)  # fmt: skip
def test_other_routes_are_a_fast_404(live: Live, target: str) -> None:
    answer = live.get(target)
    assert answer.status == 404
    assert answer.json()["error"]


def test_an_address_that_the_hub_redirected_to(live: Live) -> None:
    base = "/api/resolve-cache/models/acme"
    query = "?%2Facme%2Ftiny-bert%2Fresolve%2Fmain%2Fconfig.json=&etag=%22x%22"
    answer = live.get(f"{base}/tiny-bert/{HEAD_2}/config.json{query}")
    assert (answer.status, answer.body) == (200, b'{"v": 2}\n')
    assert answer.headers["x-repo-commit"] == HEAD_2
    odd = live.get(f"{base}/tiny-bert/{HEAD_2}/sub%20dir/a%20b%231.txt")
    assert odd.body == b"odd name\n"
    moved = live.get(f"{base}/old-bert/{HEAD_2}/config.json{query}")
    assert moved.status == 307
    assert live.get(moved.headers["location"]).status == 200
    for tail in ("main/config.json", HEAD_2, f"{HEAD_2}/", f"{HEAD_2}/nothing"):
        assert live.get(f"{base}/tiny-bert/{tail}").status == 404
    assert live.get(f"/api/resolve-cache/x/acme/a/{HEAD_2}/b").status == 404


@pytest.mark.parametrize(
    "target",
    [BERT, f"{BERT}/tree/main", f"{BERT}/refs", f"{BERT}/commits/main", "/api/models"],
)
def test_json_that_is_known_is_not_sent_again(live: Live, target: str) -> None:
    first = live.get(target)
    etag = first.headers["etag"]
    assert etag.startswith('W/"')
    again = live.get(target, If_None_Match=etag)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == etag
    for name in ("x-repo-commit", "link", "x-total-count"):
        assert again.headers.get(name) == first.headers.get(name)
    assert live.ask(target, "HEAD", {"If-None-Match": etag}).status == 304
    other = live.get(target, If_None_Match='W/"2-other"')
    assert (other.status, other.body) == (200, first.body)


def test_an_error_has_no_etag(live: Live) -> None:
    assert "etag" not in live.get("/api/models/acme/nothing").headers


@pytest.mark.parametrize(
    "name",
    ["models.info", "models.list", "models.refs", "datasets.info", "spaces.info"],
)
def test_the_etag_is_the_hubs(name: str) -> None:
    said = recorded(name)["response"]
    body = json.dumps(said["json"], separators=(",", ":"), ensure_ascii=False).encode()
    assert f'W/"{tag_of(body)}"' == said["headers"]["Etag"]


HEADS = [
    BERT, f"{BERT}/revision/main", f"{BERT}/tree/main?recursive=true", f"{BERT}/refs",
    f"{BERT}/commits/main", f"{BERT}/treesize/main", f"{BERT}/auth-check",
    f"{BERT}/discussions", "/api/models", "/api/datasets", "/api/spaces", "/", "/v2/",
    "/api/collections", "/api/agent-harnesses", "/api/models-tags-by-type", "/healthz",
    "/acme/tiny-bert/resolve/main/config.json", "/acme/tiny-bert/raw/main/config.json",
    "/acme/tiny-bert/raw/main/model.safetensors", "/api/models/acme/nothing",
    f"{BERT}/tree/nothing", f"{BERT}/tree/main/nothing", "/api/models?limit=0",
    "/acme/tiny-bert/resolve/main/nothing", "/splits", "/rows", "/nothing",
]  # fmt: skip


@pytest.mark.parametrize("target", HEADS)
def test_head_is_get_without_a_body(live: Live, target: str) -> None:
    """Length, type, errors' codes and sentences: all that GET says of itself."""
    get, head = live.get(target), live.ask(target, "HEAD")
    assert (head.status, head.body) == (get.status, b"")
    theirs = {**get.headers, "date": "", "x-request-id": ""}
    assert {**head.headers, "date": "", "x-request-id": ""} == theirs
    assert get.headers["content-length"] == str(len(get.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "target",
    ["/api/repos/create", f"{BERT}/commit/main", f"{BERT}/settings", "/", BERT,
     "/acme/tiny-bert/resolve/main/paths-info/x", f"{BERT}/preupload/main",
     "/acme/tiny-bert.git/info/lfs/objects/batch"],
)  # fmt: skip
def test_writes_are_refused(live: Live, method: str, target: str) -> None:
    answer = live.ask(target, method, JSON, b"{}")
    assert answer.status == 403
    assert "read-only" in answer.json()["error"]
