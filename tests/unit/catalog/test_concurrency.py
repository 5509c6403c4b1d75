"""Many publishers at once lose nothing and mix nothing up."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from hubsync.catalog.catalog import Catalog
from tests.unit.catalog.making import (
    lfs,
    oid,
    plain,
    publish,
    publish_from_process,
    publish_series,
    repo,
    series_tree,
)

SERIES, LENGTH = 4, 12


def check_series(catalog: Catalog, names: list[str]) -> None:
    """Every commit of every series is recorded, with exactly its tree."""
    for name in dict.fromkeys(names):
        row = catalog.find_repo(repo(name))
        assert row is not None
        writers = [number for number, other in enumerate(names) if other == name]
        found = catalog.snapshots(row)
        assert [snap.seq for snap in found] == list(range(len(found), 0, -1))
        by_oid = {snap.commit.oid: snap for snap in found}
        assert by_oid.keys() == {
            oid((writer, turn)) for writer in writers for turn in range(LENGTH)
        }
        for writer in writers:
            for turn in range(LENGTH):
                entries = catalog.entries(by_oid[oid((writer, turn))])
                assert [entry.entry for entry in entries] == series_tree(writer, turn)
        # The log is one unbroken line to where the ref points now.
        moves = catalog.ref_log(row)
        assert [move.old for move in moves[:-1]] == [move.new for move in moves[1:]]
        assert moves[-1].old is None
        assert catalog.refs(row)[0].commit == moves[0].new


@pytest.mark.parametrize(
    "names", [["org/one"] * SERIES, [f"org/n{n}" for n in range(SERIES)]]
)
def test_threads_publish_at_once(catalog: Catalog, names: list[str]) -> None:
    with ThreadPoolExecutor(SERIES) as pool:
        done = [
            pool.submit(publish_series, catalog, name, writer, LENGTH)
            for writer, name in enumerate(names)
        ]
        for future in done:
            future.result()
    check_series(catalog, names)


@pytest.mark.parametrize(
    "names", [["org/one"] * SERIES, [f"org/n{n}" for n in range(SERIES)]]
)
def test_processes_publish_at_once(catalog_url: str, names: list[str]) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(SERIES, mp_context=spawn) as pool:
        done = [
            pool.submit(publish_from_process, catalog_url, name, writer, LENGTH)
            for writer, name in enumerate(names)
        ]
        for future in done:
            future.result()
    with Catalog.open(catalog_url) as catalog:
        check_series(catalog, names)


def test_publishing_beside_forgetting_and_gc_keeps_every_tree(
    catalog: Catalog,
) -> None:
    """Blob rows that one drops are the ones that another is about to name."""
    trees = [
        [plain(f"f{n}", b"%d" % (n % 7)) for n in range(turn % 5 + 1)]
        + [lfs("l", b"%d" % (turn % 3))]
        for turn in range(25)
    ]

    def come_and_go(name: str) -> None:
        for turn, tree in enumerate(trees):
            published = publish(catalog, turn, tree, of=repo(name))
            if turn % 2:
                catalog.forget(published.repo, published.snapshot)
            catalog.drop_unneeded([one.digest for one in catalog.unneeded_blobs()])

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(come_and_go, f"org/n{n}") for n in range(4)]
        for future in done:
            future.result()
    for row in catalog.repos():
        found = catalog.snapshots(row)
        assert len(found) == 13
        for snapshot in found:
            turn = int(snapshot.commit.title.split()[1])
            entries = [entry.entry for entry in catalog.entries(snapshot)]
            assert entries == trees[turn]


def test_a_renamed_repo_published_at_once_stays_one(catalog: Catalog) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = [
            pool.submit(publish, catalog, n, of=repo(f"org/n{n % 2}"), hub_id="id1")
            for n in range(16)
        ]
        for future in done:
            future.result()
    (row,) = catalog.repos()
    assert len(catalog.snapshots(row)) == 16
    assert {row.repo.name, *row.aliases} == {"org/n0", "org/n1"}
