"""Pulling damaged files again, for ``hubsync verify --repair``."""

from collections.abc import Callable, Sequence

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.cli.output import say
from hubsync.cli.progress import AnyProgress
from hubsync.cli.running import run_to_end
from hubsync.model.errors import HubsyncError
from hubsync.retention.verify import Damage
from hubsync.sync.planner import Selection
from hubsync.sync.request import PullRequest
from hubsync.wiring import App


def repair_all(
    app: App, damaged: Sequence[Damage], progress_of: Callable[[str], AnyProgress]
) -> set[str]:
    """Pull the files of *damaged* again; the names of the blobs that are held again."""
    mended: set[str] = set()
    for damage in damaged:
        # The same bytes may be a plain file here and in LFS there, and a repo that
        # is gone upstream may share them with one that is not.
        for row, snapshot, path in damage.files:
            if not _is_held(app, snapshot, path):
                _pull_again(app, progress_of(path), row, snapshot, path)
        if damage.files and all(
            _is_held(app, one, path) for _, one, path in damage.files
        ):
            mended.add(damage.name)
    return mended


def _is_held(app: App, snapshot: SnapshotRow, path: str) -> bool:
    entry = app.catalog.entry(snapshot, path)
    return entry is None or entry.held  # None: forgotten meanwhile


def _pull_again(
    app: App, progress: AnyProgress, row: RepoRow, snapshot: SnapshotRow, path: str
) -> None:
    request = PullRequest(
        row.repo, snapshot.commit.oid, Selection(path=path), offline=False
    )
    try:
        run_to_end(app.puller(progress).pull(request))
    except HubsyncError as error:
        say(f"hubsync: cannot repair {path} of {row.repo}: {error}")
    finally:
        progress.close()
