"""A catalog of ten million files: starting on it, finding in it, listing it.

Its rows are made in bulk, and no bytes of the files are there: this is the catalog.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import Group, Plan, Size, main
from benchmarks.commands import clean_environment
from benchmarks.many import fill
from benchmarks.measure import (
    Figure,
    Section,
    drop_cached,
    percentile,
    rounds,
    settle,
)
from benchmarks.server import serving
from benchmarks.stand import get_json

LOOKUPS = 2000
ROW_BYTES = 1000  # of one file, its blob and their indexes, with room for the log
LISTS = {
    "all, 1000 a page": "?limit=1000",
    "by a word": "?search=model-0007",
    "by author, 100 a page": "?author=org-07&limit=100",
}


def sections(plan: Plan) -> Iterator[Section]:
    """All of one catalog, made once."""
    repos, files = plan.sizes["catalog_repos"], plan.sizes["catalog_files"]
    plan.require_room(repos * files * ROW_BYTES)
    store = plan.work / "store"
    began = time.perf_counter()
    catalog = fill(store, repos, files)
    made_s = time.perf_counter() - began
    settle()
    figures = [Figure("to make it, in bulk", "s", values=[made_s])]
    if plan.wants("start"):
        figures += measure_start(plan, store, catalog)
    if plan.wants("lookups"):
        figures += measure_lookups(plan, store, catalog)
    size = catalog.stat().st_size / 2**30
    yield Section(
        f"catalog of {repos} repos with {files} files each, {size:.1f} GiB",
        figures=figures,
        notes=["Cold: a new process, and nothing of the catalog is in memory."],
    )


def measure_start(plan: Plan, store: Path, catalog: Path) -> list[Figure]:
    """From the command to its first answer; and lists, by the way."""
    ready = Figure("`hubsync serve`, cold, to its first answer", "s", 2.0)
    lists = {what: Figure(f"GET /api/models, {what}", "s") for what in LISTS}
    first = Figure("GET /api/models, the first of all", "s")
    for _ in rounds(plan.rounds, plan.seconds_max):
        _drop(catalog)
        began = time.perf_counter()
        with serving(store) as server:
            get_json(f"{server.url}/healthz")
            ready.values.append(time.perf_counter() - began)
            first.values.append(_get(f"{server.url}/api/models?limit=1000"))
            for what, query in LISTS.items():
                lists[what].values.append(_get(f"{server.url}/api/models{query}"))
    return [ready, first, *lists.values()]


def _get(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(url) as answer:
        answer.read()
    return time.perf_counter() - began


def measure_lookups(plan: Plan, store: Path, catalog: Path) -> list[Figure]:
    """From (repo, revision, path) to a blob, each of another file."""
    p50 = Figure("a look-up, cold: median", "ms", 0.5)
    p99 = Figure("a look-up, cold: 99 %", "ms", 2.0)
    warm = Figure("a look-up of what was looked up before: median", "ms")
    for _ in rounds(plan.rounds, plan.seconds_max):
        _drop(catalog)
        cold, again = _lookups(plan, store)
        p50.values.append(percentile(cold, 0.5))
        p99.values.append(percentile(cold, 0.99))
        warm.values.append(percentile(again, 0.5))
    return [p50, p99, warm]


def _lookups(plan: Plan, store: Path) -> tuple[list[float], list[float]]:
    sizes = (plan.sizes["catalog_repos"], plan.sizes["catalog_files"], LOOKUPS)
    command = [sys.executable, "-m", "benchmarks.lookups", str(store)]
    done = subprocess.run(
        [*command, *map(str, sizes)],
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    cold, again = json.loads(done.stdout)
    return cold, again


def _drop(catalog: Path) -> None:
    names = (catalog.name, f"{catalog.name}-wal")
    drop_cached(*(catalog.with_name(name) for name in names))


GROUP = Group(
    "catalog",
    ("start", "lookups"),
    {
        "catalog_repos": Size(10_000, 150, "repos of the large catalog"),
        "catalog_files": Size(1_000, 10, "files of each"),
    },
    sections,
)

if __name__ == "__main__":
    sys.exit(main([GROUP]))
