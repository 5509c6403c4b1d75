"""A catalog of very many files, made in bulk: none of their bytes are held here.

As if each repo had been pulled once: its files' rows lie side by side.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hubsync.catalog import bulk
from hubsync.catalog.address import CatalogAddress
from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.session import Session
from hubsync.catalog.tables import CURRENT, blobs, commits, file_spans, refs, repos
from hubsync.store.layout import StoreRoot

REPOS_AT_ONCE = 100  # in one transaction
FOLDER_FILES = 100
FILE_BYTES = 10_000
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def repo_name(number: int) -> str:
    return f"org-{number % 97:02}/model-{number:06}"


def file_path(number: int) -> str:
    return f"part-{number // FOLDER_FILES:03}/shard-{number:05}.safetensors"


def fill(store: Path, repo_count: int, files: int) -> Path:
    """Record *repo_count* repos of *files* files each; the catalog's file."""
    root = StoreRoot.open(store, create=True)
    url = sqlite_url(root.catalog)
    Catalog.open(url).close()
    session = Session(CatalogAddress.parse(url))
    try:
        for start in range(1, repo_count + 1, REPOS_AT_ONCE):
            stop = min(start + REPOS_AT_ONCE, repo_count + 1)
            _record(session, range(start, stop), files)
    finally:
        session.close()
    return root.catalog


def _record(session: Session, numbers: range, files: int) -> None:
    rows = {
        repos: (_repo(number) for number in numbers),
        commits: (_commit(number, files) for number in numbers),
        refs: (_ref(number) for number in numbers),
        blobs: _blobs(numbers, files),
        file_spans: _spans(numbers, files),
    }

    def insert_all(tx: Any) -> None:
        for table, some in rows.items():
            bulk.insert(tx, table, some)

    session.write(insert_all)


def _repo(number: int) -> dict[str, Any]:
    name = repo_name(number)
    return {
        "id": number,
        "upstream": "huggingface",
        "repo_type": "model",
        "name": name,
        "name_folded": name,
        "hub_id": f"{number:024x}",
        "card": {
            "_id": f"{number:024x}",
            "id": name,
            "modelId": name,
            "downloads": number * 7919 % 100_003,
            "likes": number % 101,
            "pipeline_tag": ("text-generation", "fill-mask")[number % 2],
            "library_name": "transformers",
            "tags": ["transformers", "safetensors", "license:mit", "region:us"],
            "createdAt": "2025-05-05T05:05:05.000Z",
            "cardData": {"license": "mit", "language": ["en", "de"]},
            "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
        },
        "recorded_at": BEGAN,
        "last_synced_at": BEGAN,
    }


def _commit(number: int, files: int) -> dict[str, Any]:
    return {
        "id": number,
        "repo_id": number,
        "seq": 1,
        "oid": hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest(),
        "title": "Upload",
        "message": "",
        "authors": ["someone"],
        "committed_at": BEGAN + timedelta(minutes=number),
        "recorded_at": BEGAN,
        "files": files,
        "bytes": files * FILE_BYTES,
    }


def _ref(number: int) -> dict[str, Any]:
    return {
        "repo_id": number,
        "name": "refs/heads/main",
        "commit_id": number,
        "updated_at": BEGAN,
    }


def _blobs(numbers: range, files: int) -> Iterator[dict[str, Any]]:
    """Held, says the catalog.  Their names rise, so that the indexes fill quickly."""
    for blob_id in range(
        (numbers.start - 1) * files + 1, (numbers.stop - 1) * files + 1
    ):
        yield {
            "id": blob_id,
            "key": f"sha256:{blob_id:064x}",
            "size": FILE_BYTES,
            "sha256": f"{blob_id:064x}",
            "held": True,
            "recorded_at": BEGAN,
        }


def _spans(numbers: range, files: int) -> Iterator[dict[str, Any]]:
    paths = [file_path(number) for number in range(files)]
    for repo in numbers:
        for number, path in enumerate(paths):
            blob_id = (repo - 1) * files + number + 1
            yield {
                "repo_id": repo,
                "path": path,
                "from_seq": 1,
                "to_seq": CURRENT,
                "blob_id": blob_id,
                "pointer_oid": f"{blob_id:040x}",
            }
