"""What a pull is asked for, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit
from hubsync.sync.planner import Plan, Selection, Totals


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One repo at one revision (None: the hub's default branch)."""

    repo: RepoId
    revision: str | None = None
    selection: Selection = field(default_factory=Selection)
    force: bool = False  # list the tree again; accept a repo with a new hub id
    offline: bool = False  # send nothing; answer from the store
    dry_run: bool = False  # plan only; change nothing
    admit: Callable[[RepoId], None] = lambda _: None  # raises for another name's repo
    admit_size: Callable[[Totals], None] = lambda _: None  # raises for too much
    contents: bool = True  # False: record it also if none of its files are for us


@dataclass(frozen=True, slots=True)
class PullResult:
    """What was brought in.

    *path* is None after a dry run without a view.  *bytes_fetched* came over the
    network, those of retries included; *bytes_resumed* an earlier pull had left,
    or another command has brought in meanwhile; after a dry run, what a pull would go
    on from.  *requests* were sent in all: to
    the hub, and to where it redirects.
    """

    repo: RepoId
    revision: str
    commit: Commit
    ref: RefName | None
    totals: Totals
    path: Path | None
    new_commit: bool
    bytes_fetched: int
    requests: int
    elapsed_s: float
    warnings: tuple[str, ...] = ()
    bytes_resumed: int = 0
    files_fetched: int = 0
    plan: Plan | None = None  # of a dry run: nothing else is said of single files
    sends_contents: bool = False  # as `Hub.sends_contents`, after a dry run

    @property
    def bytes_reused(self) -> int:
        """What the selection needed and nobody had to fetch for it."""
        return self.totals.spared_bytes + self.bytes_resumed
