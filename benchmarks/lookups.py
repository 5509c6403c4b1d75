"""``python -m benchmarks.lookups STORE REPOS FILES COUNT``: how long look-ups take.

Each is of a random file, (repo, revision, path) to blob.  A process of its own, so
that nothing is warm.  Prints as JSON the milliseconds of each, and of each again.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from benchmarks.many import file_path, repo_name
from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.model.repo import RepoType
from hubsync.serve.library import Library
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs


async def main(store: Path, repos: int, files: int, count: int) -> None:
    asked = [
        (repo_name(random.randint(1, repos)), file_path(random.randrange(files)))
        for _ in range(count)
    ]
    root = StoreRoot.open(store, create=False)
    with Catalog.open(sqlite_url(root.catalog), read_only=True) as catalog:
        library = Library(catalog, LocalBlobs(root), upstream_order=("huggingface",))
        taken = [[await _ask(library, *one) for one in asked] for _ in range(2)]
    print(json.dumps(taken))


async def _ask(library: Library, name: str, path: str) -> float:
    await asyncio.sleep(0)  # as the next request would be
    began = time.perf_counter()
    row = await library.find_repo(RepoType.MODEL, name)
    assert row
    snapshot = await library.find_snapshot(row, "main")
    assert snapshot
    entry = await library.find_entry(snapshot, path)
    milliseconds = 1000 * (time.perf_counter() - began)
    assert entry
    assert entry.digest
    return milliseconds


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
