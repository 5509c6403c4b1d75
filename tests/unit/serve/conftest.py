"""One mirror with something of everything, served once for the room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hubsync.model.repo import RepoType
from tests.unit.serve.mirror import File, Live, Mirror, serving

_WEIGHTS = bytes(range(256)) * 1172
_HEADER = b'{"w":{"dtype":"U8","shape":[300032],"data_offsets":[0,300032]}}'
SAFETENSORS = b"\x40\0\0\0\0\0\0\0" + _HEADER.ljust(0x40) + _WEIGHTS
BIG = bytes(range(251)) * 40_000  # 10 MB, and no two MiB of it alike

CARD: dict[str, object] = {
    "_id": "621ffdc036468d709f17434d",
    "id": "acme/tiny-bert",
    "modelId": "acme/tiny-bert",
    "private": False,
    "gated": False,
    "likes": 7,
    "downloads": 11,
    "pipeline_tag": "fill-mask",
    "library_name": "transformers",
    "tags": ["transformers", "bert", "license:mit", "language:en"],
    "createdAt": "2025-05-05T05:05:05.000Z",
    "cardData": {"license": "mit"},
    "config": {"model_type": "bert"},
    "xetEnabled": True,
}

README = b"""---
license: apache-2.0
pipeline_tag: text-classification
tags: [tiny, handmade]
---
# by hand
"""


def bert_files(config: bytes) -> dict[str, File]:
    return {
        ".gitattributes": File(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"),
        "README.md": File(b"---\nlicense: mit\n---\n# tiny\n"),
        "config.json": File(config),
        "empty.txt": File(b""),
        "model.safetensors": File(SAFETENSORS, lfs=True),
        "sub dir/a b#1.txt": File(b"odd name\n"),
        "sub dir/deep/\u00e9t\u00e9.txt": File(b"summer\n"),
        "vocab.txt": File(b"[PAD]\n[UNK]\n"),
    }


def fill(mirror: Mirror) -> None:
    bert = {"card": CARD, "hub_id": "621ffdc036468d709f17434d"}
    mirror.publish(
        "acme/old-bert",
        bert_files(b'{"v": 1}\n'),
        commit="bert 1",
        refs=("refs/heads/main", "refs/tags/v1.0", "refs/pr/1"),
        **bert,  # type: ignore[arg-type]
    )
    mirror.publish(
        "acme/tiny-bert",
        bert_files(b'{"v": 2}\n'),
        commit="bert 2",
        refs=("refs/heads/main", "refs/heads/feature/x", "refs/convert/parquet"),
        minute=1,
        **bert,  # type: ignore[arg-type]
    )
    csv = File(b"text,label\nhello,1\n")
    mirror.publish(
        "acme/tiny-csv",
        {"train.csv": csv, "test.csv": csv},
        repo_type=RepoType.DATASET,
        commit="csv",
        card={"id": "acme/tiny-csv", "downloads": 5, "tags": ["language:en"]},
        hub_id="63d1a5bbd1d4a3b8f0c7e001",
        minute=2,
    )
    mirror.publish(
        "acme/demo",
        {"app.py": File(b"print('hello')\n")},
        repo_type=RepoType.SPACE,
        commit="space",
        card={"id": "acme/demo", "sdk": "gradio"},
    )
    mirror.publish(
        "acme/handmade",
        {"README.md": File(README), "model.bin": File(BIG, lfs=True)},
        upstream="local",
        commit="handmade",
        minute=3,
    )
    mirror.publish(
        "acme/partial",
        {
            "config.json": File(b"{}"),
            "weights.bin": File(b"weights", lfs=True, held=False),
        },
        commit="partial",
        card={"id": "acme/partial", "gated": "manual", "downloads": 3},
        hub_id="63d1a5bbd1d4a3b8f0c7e002",
    )


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """Read-only for tests."""
    mirror = Mirror(tmp_path_factory.mktemp("mirror"))
    fill(mirror)
    yield mirror
    mirror.close()


@pytest.fixture(scope="module")
def live(mirror: Mirror) -> Iterator[Live]:
    with serving(mirror) as live:
        yield live


@pytest.fixture
def own_mirror(tmp_path: Path) -> Iterator[Mirror]:
    """One that a test may damage."""
    mirror = Mirror(tmp_path / "mirror")
    yield mirror
    mirror.close()
