"""What every `View` promises.  Subclass it; give ``view`` and ``store``."""

from collections.abc import Sequence
from pathlib import Path

from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import HeldEntry, SnapshotState
from hubsync.ports.blobs import BlobStore
from hubsync.ports.view import View, ViewSnapshot
from tests.contract.made import COMMIT, OTHER_COMMIT, absent, hold, lfs, plain

REPO = RepoId("huggingface", RepoType.MODEL, "org/name")
MAIN = RefName.branch("main")
README, WEIGHTS = b"# hello\n", b"\0weights" * 999


def snapshot(
    entries: Sequence[HeldEntry],
    *,
    repo: RepoId = REPO,
    commit: str = COMMIT,
    refs: Sequence[RefName] = (MAIN,),
) -> ViewSnapshot:
    whole = all(one.held for one in entries)
    state = SnapshotState.COMPLETE if whole else SnapshotState.POINTERS
    return ViewSnapshot(repo, commit, entries, state, refs)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


class ViewContract:
    def test_a_snapshot_has_every_held_file_at_its_path(
        self, view: View, store: BlobStore
    ) -> None:
        folder = view.checkout(
            snapshot(
                [
                    hold(store, plain("README.md", README), README),
                    hold(store, lfs("onnx/deep/model.bin", WEIGHTS), WEIGHTS),
                    hold(store, plain("empty", b""), b""),
                ]
            )
        )

        assert files_in(folder) == {
            "README.md": README,
            "onnx/deep/model.bin": WEIGHTS,
            "empty": b"",
        }

    def test_path_says_where_a_snapshot_is_before_it_is_there(
        self, view: View, store: BlobStore
    ) -> None:
        foretold = view.path(REPO, COMMIT)
        assert not foretold.exists()

        assert view.checkout(snapshot([])) == foretold
        assert foretold.is_dir()

    def test_a_file_that_is_not_held_is_absent_and_no_pointer_stands_for_it(
        self, view: View, store: BlobStore
    ) -> None:
        folder = view.checkout(
            snapshot(
                [
                    hold(store, plain("README.md", README), README),
                    absent(lfs("model.bin", WEIGHTS)),
                ]
            )
        )

        assert files_in(folder) == {"README.md": README}

    def test_a_file_that_came_later_is_added(
        self, view: View, store: BlobStore
    ) -> None:
        readme = hold(store, plain("README.md", README), README)
        weights = lfs("sub/model.bin", WEIGHTS)
        view.checkout(snapshot([readme, absent(weights)]))
        folder = view.checkout(snapshot([readme, hold(store, weights, WEIGHTS)]))

        assert files_in(folder) == {"README.md": README, "sub/model.bin": WEIGHTS}

    def test_a_file_that_is_no_longer_held_is_taken_out(
        self, view: View, store: BlobStore
    ) -> None:
        readme = hold(store, plain("README.md", README), README)
        weights = lfs("sub/model.bin", WEIGHTS)
        view.checkout(snapshot([readme, hold(store, weights, WEIGHTS)]))
        folder = view.checkout(snapshot([readme, absent(weights)]))

        assert files_in(folder) == {"README.md": README}

    def test_laying_out_twice_is_laying_out_once(
        self, view: View, store: BlobStore
    ) -> None:
        wanted = snapshot([hold(store, plain("a", README), README)])

        assert view.checkout(wanted) == view.checkout(wanted)
        assert files_in(view.path(REPO, COMMIT)) == {"a": README}

    def test_two_snapshots_stand_side_by_side(
        self, view: View, store: BlobStore
    ) -> None:
        old = view.checkout(snapshot([hold(store, plain("a", b"old"), b"old")]))
        new = view.checkout(
            snapshot([hold(store, plain("a", b"new"), b"new")], commit=OTHER_COMMIT)
        )

        assert files_in(old) == {"a": b"old"}
        assert files_in(new) == {"a": b"new"}

    def test_removing_one_snapshot_leaves_the_other_whole(
        self, view: View, store: BlobStore
    ) -> None:
        shared = hold(store, plain("shared", README), README)
        own = hold(store, lfs("own", WEIGHTS), WEIGHTS)
        view.checkout(snapshot([shared, own]))
        view.checkout(snapshot([shared], commit=OTHER_COMMIT, refs=()))
        view.remove(REPO, COMMIT, [MAIN])

        assert not view.path(REPO, COMMIT).exists()
        assert files_in(view.path(REPO, OTHER_COMMIT)) == {"shared": README}

    def test_no_ref_is_left_that_leads_nowhere(
        self, view: View, store: BlobStore
    ) -> None:
        """As a pull killed before it moved the ref leaves one to an older commit."""
        one = hold(store, plain("a", README), README)
        old, deep = RefName.branch("old"), RefName.branch("deep/er")
        view.checkout(snapshot([one], refs=(MAIN, deep)))
        view.checkout(snapshot([one], commit=OTHER_COMMIT, refs=(old,)))
        refs = view.path(REPO, COMMIT).parents[1] / "refs"
        view.remove(REPO, COMMIT)

        assert files_in(refs) == {"old": OTHER_COMMIT.encode()}

    def test_removing_a_repo_leaves_its_neighbours(
        self, view: View, store: BlobStore
    ) -> None:
        one = hold(store, plain("a", README), README)
        other = RepoId("huggingface", RepoType.DATASET, "org/name")
        view.checkout(snapshot([one]))
        view.checkout(snapshot([one], repo=other))
        view.remove(REPO, None)

        assert not view.path(REPO, COMMIT).exists()
        assert files_in(view.path(other, COMMIT)) == {"a": README}

    def test_removing_what_is_not_there_is_harmless(
        self, view: View, store: BlobStore
    ) -> None:
        view.remove(REPO, None)
        view.remove(REPO, COMMIT, [MAIN])
        view.checkout(snapshot([]))
        view.remove(REPO, OTHER_COMMIT, [RefName.branch("other")])

        assert view.path(REPO, COMMIT).is_dir()

    def test_a_removed_snapshot_can_be_laid_out_again(
        self, view: View, store: BlobStore
    ) -> None:
        wanted = snapshot([hold(store, plain("a/b", README), README)])
        view.checkout(wanted)
        view.remove(REPO, COMMIT, [MAIN])

        assert files_in(view.checkout(wanted)) == {"a/b": README}
