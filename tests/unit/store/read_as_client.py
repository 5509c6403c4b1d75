"""What huggingface_hub itself makes of a cache folder, offline, as JSON.

Run with ``HF_HUB_CACHE`` set, in a process of its own: it reads that once.
"""

import json
import sys
import warnings
from pathlib import Path

from huggingface_hub import (
    get_cached_repo_tree,
    hf_hub_download,
    scan_cache_dir,
    snapshot_download,
)
from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError


def main() -> None:
    warnings.simplefilter("error")
    repo_id, repo_type, revision, path = sys.argv[1:]
    found: dict[str, object] = {}
    try:
        found["file"] = Path(
            hf_hub_download(repo_id, path, repo_type=repo_type, revision=revision)
        ).read_text()
    except LocalEntryNotFoundError as error:
        found["file"] = type(error).__name__
    folder = Path(snapshot_download(repo_id, repo_type=repo_type, revision=revision))
    found["snapshot"] = sorted(
        one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()
    )
    try:
        tree = get_cached_repo_tree(repo_id, repo_type=repo_type, revision=revision)
        found["tree"] = {one.path: [one.size, one.blob_id] for one in tree}
    except CachedRepoTreeNotFoundError:
        found["tree"] = None
    scanned = scan_cache_dir()
    found["warnings"] = [str(one) for one in scanned.warnings]
    found["repos"] = [
        [repo.repo_type, repo.repo_id, repo.nb_files, sorted(repo.refs)]
        for repo in scanned.repos
    ]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
