"""What info says of weights, read from the held files themselves."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hubsync.model.digest import Digest
from hubsync.model.repo import RepoType
from hubsync.ports.blobs import BlobStore
from hubsync.serve import weights
from tests.gguf_files import CHATML, tiny_llama
from tests.unit.serve.mirror import File, Live, Mirror, serving


def safetensors(tensors: Mapping[str, tuple[str, list[int]]], data: int = 8) -> bytes:
    header = {name: {"dtype": kind, "shape": shape, "data_offsets": [0, data]}
              for name, (kind, shape) in tensors.items()}  # fmt: skip
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(data)


ONE = safetensors({"a": ("F32", [3, 5]), "b": ("BF16", [7])})
TWO = safetensors({"c": ("F32", [100])})


def lfs(data: bytes, *, held: bool = True) -> File:
    return File(data, lfs=True, held=held)


def info(live: Live, query: str = "") -> Any:
    answer = live.get(f"/api/models/a/b{query}")
    assert answer.status == 200, answer.body
    return answer.json()


def test_one_file(own_mirror: Mirror) -> None:
    own_mirror.publish("a/b", {"model.safetensors": lfs(ONE)}, upstream="local")
    expected = {"parameters": {"F32": 15, "BF16": 7}, "total": 22}
    with serving(own_mirror) as live:
        whole = info(live)
        assert whole["safetensors"] == expected
        assert "gguf" not in whole
        assert info(live, "/revision/main")["safetensors"] == expected
        shown = info(live, "?expand=safetensors&expand=gguf")
        assert shown == {"_id": whole["_id"], "id": "a/b", "safetensors": expected}
        assert "safetensors" not in info(live, "?expand=sha")


INDEX = {"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}
SHARDED: list[dict[str, File]] = [
    {
        "model.safetensors.index.json": File(json.dumps(INDEX).encode()),
        "x-1.safetensors": lfs(ONE),
        "x-2.safetensors": lfs(TWO),
        "optimizer.safetensors": lfs(TWO),
    },
    {
        "model-00001-of-00002.safetensors": lfs(ONE),
        "model-00002-of-00002.safetensors": lfs(TWO),
    },
]


@pytest.mark.parametrize("files", SHARDED, ids=["by its index", "by its names"])
def test_several_files(own_mirror: Mirror, files: dict[str, File]) -> None:
    own_mirror.publish("a/b", files, upstream="local")
    with serving(own_mirror) as live:
        expected = {"parameters": {"F32": 115, "BF16": 7}, "total": 122}
        assert info(live)["safetensors"] == expected


@pytest.mark.parametrize(
    "files",
    [
        {"model.safetensors": lfs(ONE, held=False)},
        {"model.safetensors": lfs(b"")},
        {"model.safetensors": lfs(ONE[:50])},
        {"model.safetensors": lfs(b"\xff" * 100)},
        {"model.safetensors": lfs(struct.pack("<Q", 10**7) + b"{}")},
        {"model.safetensors": lfs(safetensors({"a": ("F32", [2**62, 2**62])}))},
        {**SHARDED[0], "x-2.safetensors": lfs(TWO + b"x", held=False)},
        {**SHARDED[0], "x-2.safetensors": lfs(b"junk")},
        {**SHARDED[0], "model.safetensors.index.json": File(b"{")},
        {"model.safetensors.index.json": SHARDED[0]["model.safetensors.index.json"]},
        {"model-00001-of-00002.safetensors": lfs(ONE)},
        {"model.gguf": lfs(b"GGUF")},
        {"model.gguf": lfs(b"GGUF\3\0\0\0" + b"\xff" * 5000)},
        {"model.gguf": lfs(tiny_llama()[:-200])},
        {"model.gguf": lfs(tiny_llama(), held=False)},
        {"mmproj-model.gguf": lfs(tiny_llama())},
    ],
)  # fmt: skip
def test_s45_what_cannot_be_read_is_not_said(
    own_mirror: Mirror, files: dict[str, File]
) -> None:
    """S45: a bad file gives nothing, and breaks nothing."""
    own_mirror.publish("a/b", files, upstream="local")
    with serving(own_mirror) as live:
        for _ in range(2):
            found = info(live)
            assert "safetensors" not in found
            assert "gguf" not in found
        listed = live.get("/api/models?expand=safetensors&expand=gguf")
        assert [one["id"] for one in listed.json()] == ["a/b"]
        assert not any(one.exc_info for one in live.log)


def test_a_gguf_file(own_mirror: Mirror) -> None:
    files = {"tiny-Q4_K_M.gguf": lfs(tiny_llama()), "zz.gguf": lfs(b"GGUF")}
    own_mirror.publish("a/b", files, upstream="local")
    with serving(own_mirror) as live:
        assert info(live)["gguf"] == {
            "total": 1088,
            "architecture": "llama",
            "context_length": 2048,
            "chat_template": CHATML,
            "bos_token": "<s>",
            "eos_token": "</s>",
        }


def test_the_hubs_own_numbers_win(own_mirror: Mirror) -> None:
    card = {"id": "a/b", "safetensors": {"parameters": {"F16": 9}, "total": 9}}
    files = {"model.safetensors": lfs(ONE)}
    own_mirror.publish("a/b", files, card=card)
    with serving(own_mirror) as live:
        assert info(live)["safetensors"]["total"] == 9


def test_they_stand_where_the_hub_has_them(own_mirror: Mirror) -> None:
    files = {"model.safetensors": lfs(ONE), "x.gguf": lfs(tiny_llama())}
    own_mirror.publish("a/b", files, upstream="local")
    with serving(own_mirror) as live:
        assert list(info(live))[-3:] == ["createdAt", "safetensors", "gguf"]


def test_datasets_have_none(own_mirror: Mirror) -> None:
    files = {"model.safetensors": lfs(ONE)}
    own_mirror.publish("a/b", files, upstream="local", repo_type=RepoType.DATASET)
    with serving(own_mirror) as live:
        assert "safetensors" not in live.get("/api/datasets/a/b").json()


class Counting:
    """A `BlobStore` that counts what is opened."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner
        self.opened: list[Digest] = []

    def open(self, digest: Digest) -> object:
        self.opened.append(digest)
        return self._inner.open(digest)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_each_file_is_read_once(
    own_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"model.safetensors": lfs(ONE), "x.gguf": lfs(tiny_llama())}
    own_mirror.publish("a/b", files, upstream="local", commit="one")
    more = {**files, "README.md": File(b"more")}
    own_mirror.publish("a/b", more, upstream="local", commit="two", minute=1)
    own_mirror.publish("a/c", files, upstream="local", commit="three")
    counting = Counting(own_mirror.blobs)
    monkeypatch.setattr(own_mirror, "blobs", counting)
    with serving(own_mirror) as live:
        for target in ("a/b", "a/b", "a/b/revision/main", "a/c"):
            assert live.get(f"/api/models/{target}").json()["gguf"]["total"] == 1088
        weights_read = [one for one in counting.opened if one != Digest.of(b"more")]
        assert sorted(weights_read) == sorted({Digest.of(ONE), Digest.of(tiny_llama())})


def test_what_is_fetched_later_is_said_later(
    own_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "UNSETTLED_S", 0.0)
    absent = {"model.safetensors": lfs(ONE, held=False)}
    own_mirror.publish("a/b", absent, upstream="local")
    with serving(own_mirror) as live:
        assert "safetensors" not in info(live)
        own_mirror.publish("x/y", {"w": lfs(ONE)}, upstream="local")
        assert info(live)["safetensors"]["total"] == 22


def test_a_damaged_blob_is_nothing_to_talk_about(own_mirror: Mirror) -> None:
    own_mirror.publish("a/b", {"model.safetensors": lfs(ONE)}, upstream="local")
    path = own_mirror.blobs.path(Digest.of(ONE))
    path.chmod(0o600)
    path.unlink()
    with serving(own_mirror) as live:
        assert "safetensors" not in info(live)


def test_s11_what_an_index_names_is_looked_up_and_never_opened(tmp_path: Path) -> None:
    """An index may name what it likes: names are looked up, never opened."""
    index = {"weight_map": {"a": "../../catalog.db", "b": "/etc/passwd"}}
    mirror = Mirror(tmp_path / "m")
    try:
        files = {"model.safetensors.index.json": File(json.dumps(index).encode())}
        mirror.publish("a/b", files, upstream="local")
        with serving(mirror) as live:
            assert "safetensors" not in info(live)
    finally:
        mirror.close()
