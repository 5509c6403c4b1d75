import errno
import json
import os
import threading
from pathlib import Path

import pytest

from hubsync.model.digest import Digest
from hubsync.model.paths import HostilePathError
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import BlobNotFoundError
from hubsync.store.disk import StoreIOError
from hubsync.store.local import LocalBlobs
from hubsync.store.views import hf_cache
from hubsync.store.views.hf_cache import HfCacheView
from tests.contract.made import COMMIT, OTHER_COMMIT, absent, fill, hold, lfs, plain
from tests.contract.view import MAIN, README, REPO, WEIGHTS, files_in, snapshot


@pytest.fixture
def folder(blobs: LocalBlobs) -> Path:
    return blobs.root.hub / "models--org--name"


@pytest.fixture
def readme(blobs: LocalBlobs) -> HeldEntry:
    return hold(blobs, plain("README.md", README), README)


@pytest.fixture
def weights(blobs: LocalBlobs) -> HeldEntry:
    return hold(blobs, lfs("sub/deep/model.bin", WEIGHTS), WEIGHTS)


def test_blobs_are_hard_links_named_by_etag(
    blobs: LocalBlobs,
    view: HfCacheView,
    folder: Path,
    readme: HeldEntry,
    weights: HeldEntry,
) -> None:
    view.checkout(snapshot([readme, weights]))
    names = {readme.entry.git_oid.hex: readme, Digest.of(WEIGHTS).hex: weights}

    assert {path.name for path in (folder / "blobs").iterdir()} == set(names)
    for name, one in names.items():
        assert one.digest
        link = folder / "blobs" / name
        assert not link.is_symlink()
        assert link.samefile(blobs.path(one.digest))


def test_snapshots_are_relative_links_to_blobs(
    view: HfCacheView, folder: Path, readme: HeldEntry, weights: HeldEntry
) -> None:
    top = view.checkout(snapshot([readme, weights]))

    assert top == folder / "snapshots" / COMMIT
    assert (top / "README.md").readlink() == Path(
        f"../../blobs/{readme.entry.git_oid.hex}"
    )
    assert (top / "sub/deep/model.bin").readlink() == Path(
        f"../../../../blobs/{Digest.of(WEIGHTS).hex}"
    )


def test_the_whole_store_can_be_moved(
    blobs: LocalBlobs, view: HfCacheView, readme: HeldEntry, tmp_path: Path
) -> None:
    place = view.checkout(snapshot([readme])).relative_to(blobs.root.path)
    blobs.root.path.rename(tmp_path / "moved")

    assert files_in(tmp_path / "moved" / place) == {"README.md": README}


def test_a_ref_is_exactly_forty_characters(view: HfCacheView, folder: Path) -> None:
    refs = [
        MAIN,
        RefName.branch("feature/x"),
        RefName.tag("v1"),
        RefName("refs/pr/1"),
        RefName("refs/convert/parquet"),
    ]
    view.checkout(snapshot([], refs=refs))
    names = ("main", "feature/x", "v1", "refs/pr/1", "refs/convert/parquet")

    assert files_in(folder / "refs") == dict.fromkeys(names, COMMIT.encode())


def test_no_client_ever_sees_a_file_that_is_no_ref_among_the_refs(
    view: HfCacheView, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take it for one, and call the cache corrupted."""
    seen: set[str] = set()
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        seen.update(files_in(folder / "refs"))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    view.checkout(snapshot([]))
    view.checkout(snapshot([], commit=OTHER_COMMIT))

    assert seen == {"main"}


def test_a_moved_ref_names_the_new_commit(view: HfCacheView, folder: Path) -> None:
    view.checkout(snapshot([]))
    view.checkout(snapshot([], commit=OTHER_COMMIT))
    assert (folder / "refs/main").read_text() == OTHER_COMMIT

    view.move_refs(REPO, COMMIT, [MAIN])
    assert (folder / "refs/main").read_text() == COMMIT


def test_nothing_is_written_when_nothing_changed(
    view: HfCacheView, folder: Path, readme: HeldEntry, weights: HeldEntry
) -> None:
    view.checkout(snapshot([readme, weights]))
    before = inodes(folder)
    view.checkout(snapshot([readme, weights]))

    assert inodes(folder) == before


def inodes(folder: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def test_a_ref_below_a_former_ref_takes_its_place(
    view: HfCacheView, folder: Path
) -> None:
    view.checkout(snapshot([], refs=[RefName.branch("a"), MAIN]))
    view.checkout(snapshot([], refs=[RefName.branch("a/b")]))
    assert set(files_in(folder / "refs")) == {"a/b", "main"}

    view.checkout(snapshot([], refs=[RefName.branch("a")]))
    assert set(files_in(folder / "refs")) == {"a", "main"}


def test_a_ref_no_file_can_be_named_like_is_refused_before_anything_is_written(
    view: HfCacheView, folder: Path
) -> None:
    for name in ("\ud800", "x" * 200 + "é" * 40):
        with pytest.raises(HostilePathError):
            view.checkout(snapshot([], refs=[MAIN, RefName.branch(name)]))

    assert not folder.exists()


def test_removed_refs_leave_no_empty_folders(view: HfCacheView, folder: Path) -> None:
    nested = RefName.branch("feature/x")
    view.checkout(snapshot([], refs=[MAIN, nested]))
    view.checkout(snapshot([], commit=OTHER_COMMIT, refs=[]))
    view.remove(REPO, COMMIT, [nested, RefName.tag("never/was"), MAIN])

    assert list((folder / "refs").iterdir()) == []


def test_the_tree_is_listed_as_the_client_lists_it(
    view: HfCacheView, folder: Path, readme: HeldEntry, weights: HeldEntry
) -> None:
    view.checkout(snapshot([weights, readme]))

    assert (folder / f"trees/{COMMIT}.json").read_text() == json.dumps(
        {
            "format_version": 1,
            "files": {
                "README.md": {
                    "size": len(README),
                    "blob_id": readme.entry.git_oid.hex,
                },
                "sub/deep/model.bin": {
                    "size": len(WEIGHTS),
                    "blob_id": weights.entry.git_oid.hex,
                    "lfs_sha256": Digest.of(WEIGHTS).hex,
                    "lfs_size": len(WEIGHTS),
                },
            },
        },
        indent=1,
    )


def test_a_tree_is_listed_only_while_its_snapshot_is_complete(
    view: HfCacheView, folder: Path, readme: HeldEntry, weights: HeldEntry
) -> None:
    listing = folder / f"trees/{COMMIT}.json"
    view.checkout(snapshot([readme, absent(weights.entry)]))
    assert not listing.exists()
    view.checkout(snapshot([readme, weights]))
    assert listing.exists()
    view.checkout(snapshot([readme, absent(weights.entry)]))
    assert not listing.exists()


def test_a_damaged_blob_fetched_again_is_linked_again(
    blobs: LocalBlobs, view: HfCacheView, weights: HeldEntry
) -> None:
    top = view.checkout(snapshot([weights]))
    assert weights.digest
    path = blobs.path(weights.digest)
    path.chmod(0o644)
    path.write_bytes(b"damage")
    blobs.quarantine(weights.digest)
    fill(blobs, weights.entry.want, WEIGHTS)
    view.checkout(snapshot([weights]))

    assert files_in(top) == {"sub/deep/model.bin": WEIGHTS}


def test_links_to_what_is_no_longer_held_go_with_their_bytes(
    view: HfCacheView, folder: Path, readme: HeldEntry, weights: HeldEntry
) -> None:
    view.checkout(snapshot([readme, weights]))
    view.checkout(snapshot([readme, absent(weights.entry)]))

    assert [path.name for path in (folder / "blobs").iterdir()] == [
        readme.entry.git_oid.hex
    ]


def test_what_a_client_is_downloading_there_is_left_alone(
    view: HfCacheView, folder: Path, readme: HeldEntry
) -> None:
    view.checkout(snapshot([readme]))
    view.checkout(snapshot([], commit=OTHER_COMMIT))
    unfinished = folder / f"blobs/{'c' * 64}.01234567.incomplete"
    unfinished.touch()
    view.remove(REPO, COMMIT, [])

    assert list((folder / "blobs").iterdir()) == [unfinished]


def test_a_clients_own_copy_of_a_file_becomes_a_link(
    view: HfCacheView, readme: HeldEntry, weights: HeldEntry
) -> None:
    top = view.checkout(snapshot([absent(readme.entry), weights]))
    (top / "README.md").write_bytes(b"not the same at all")
    view.checkout(snapshot([readme, weights]))

    assert (top / "README.md").is_symlink()
    assert (top / "README.md").read_bytes() == README


def test_s7_a_link_planted_in_a_snapshot_leads_nowhere(
    view: HfCacheView, tmp_path: Path, readme: HeldEntry, weights: HeldEntry
) -> None:
    top = view.checkout(snapshot([readme]))
    (tmp_path / "outside").mkdir()
    (top / "sub").symlink_to(tmp_path / "outside")

    with pytest.raises(StoreIOError, match="is not a folder"):
        view.checkout(snapshot([readme, weights]))
    assert not list((tmp_path / "outside").iterdir())


def test_a_path_that_would_escape_is_refused(
    blobs: LocalBlobs, view: HfCacheView, folder: Path
) -> None:
    with pytest.raises(HostilePathError):
        view.checkout(snapshot([hold(blobs, plain("../../x", README), README)]))

    assert not list((folder / "snapshots").iterdir())


def test_a_blob_that_is_said_to_be_held_and_is_not_is_named(
    blobs: LocalBlobs, view: HfCacheView, folder: Path, readme: HeldEntry
) -> None:
    assert readme.digest
    blobs.remove(readme.digest)

    with pytest.raises(BlobNotFoundError, match=readme.digest.hex):
        view.checkout(snapshot([readme]))
    assert not list((folder / "snapshots").iterdir())
    assert not list((folder / "refs").iterdir())


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_there_are_no_hard_links_there_are_relative_symlinks(
    view: HfCacheView,
    folder: Path,
    readme: HeldEntry,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    top = view.checkout(snapshot([readme]))
    view.checkout(snapshot([readme]))
    link = (folder / "blobs" / readme.entry.git_oid.hex).readlink()

    assert not link.is_absolute()
    assert str(link).startswith("../../../blobs/sha256/")
    assert files_in(top) == {"README.md": README}


def test_a_repo_nobody_can_ask_for_leaves_no_folder(
    view: HfCacheView, folder: Path, readme: HeldEntry
) -> None:
    view.checkout(snapshot([readme]))
    view.remove(REPO, COMMIT, [MAIN])

    assert not folder.exists()
    assert not list(folder.parent.glob("models*"))


def test_a_process_that_died_while_building_does_not_matter(
    blobs: LocalBlobs, view: HfCacheView, readme: HeldEntry
) -> None:
    left = blobs.root.staging / "models--org--name/snapshot/sub"
    left.mkdir(parents=True)
    (left / "half").touch()
    left.parent.parent.with_name("models--org--name.lock").touch()
    top = view.checkout(snapshot([readme]))

    assert files_in(top) == {"README.md": README}
    assert not list(blobs.root.staging.iterdir())


def test_a_failed_layout_leaves_what_was_there(
    view: HfCacheView,
    folder: Path,
    readme: HeldEntry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view.checkout(snapshot([readme]))

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(hf_cache, "sync_folder", fail)
        with pytest.raises(StoreIOError):
            view.checkout(snapshot([readme], commit=OTHER_COMMIT))

    assert (folder / "refs/main").read_text() == COMMIT
    assert files_in(folder / "snapshots" / COMMIT) == {"README.md": README}
    view.checkout(snapshot([readme], commit=OTHER_COMMIT))
    assert (folder / "refs/main").read_text() == OTHER_COMMIT


def test_many_lay_out_one_repo_at_once(
    blobs: LocalBlobs, view: HfCacheView, readme: HeldEntry, weights: HeldEntry
) -> None:
    places: list[Path] = []

    def lay_out(n: int) -> None:
        commit = COMMIT if n % 2 else OTHER_COMMIT
        other = HfCacheView(blobs.root, blobs.path)
        places.append(other.checkout(snapshot([readme, weights], commit=commit)))

    threads = [threading.Thread(target=lay_out, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(places) == 8
    for place in set(places):
        assert files_in(place) == {"README.md": README, "sub/deep/model.bin": WEIGHTS}


def test_the_folder_of_a_repo_says_its_type_and_owner(view: HfCacheView) -> None:
    for repo_type, name, folder in (
        (RepoType.MODEL, "gpt2", "models--gpt2"),
        (RepoType.DATASET, "a/b", "datasets--a--b"),
        (RepoType.SPACE, "a/b", "spaces--a--b"),
    ):
        path = view.path(RepoId("huggingface", repo_type, name), COMMIT)
        assert path.parts[-3:] == (folder, "snapshots", COMMIT)
