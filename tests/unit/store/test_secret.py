"""A store's servers share a secret, and keep it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hubsync.store.layout import StoreRoot
from hubsync.store.secret import NAME, kept_secret


def test_it_is_made_once_for_all_who_ask_at_once(tmp_path: Path) -> None:
    root = StoreRoot.open(tmp_path / "store", create=True)
    with ThreadPoolExecutor(8) as pool:
        got = {*pool.map(lambda _: kept_secret(root), range(32))}
    assert len(got) == 1
    assert len(got.pop()) == 32
    assert kept_secret(StoreRoot.open(root.path, create=False)) == kept_secret(root)
    assert [*root.partial.glob(".serve*")] == []


def test_no_other_user_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        root = StoreRoot.open(tmp_path / "store", create=True)
        kept_secret(root)
    finally:
        os.umask(before)
    assert (root.path / NAME).stat().st_mode & 0o777 == 0o600


def test_two_stores_have_two(tmp_path: Path) -> None:
    roots = [StoreRoot.open(tmp_path / name, create=True) for name in "ab"]
    assert kept_secret(roots[0]) != kept_secret(roots[1])


def test_one_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    root = StoreRoot.open(tmp_path / "store", create=True)
    (root.path / NAME).write_bytes(b"short")
    assert len(kept_secret(root)) == 32
    assert kept_secret(root) == kept_secret(root)


def test_a_store_that_cannot_be_written_has_one_for_today(tmp_path: Path) -> None:
    root = StoreRoot.open(tmp_path / "store", create=True)
    locked = StoreRoot.open(root.path, create=False, read_only=True)
    assert kept_secret(locked) != kept_secret(locked)
    assert not (root.path / NAME).exists()
    kept = kept_secret(root)
    assert kept_secret(locked) == kept
