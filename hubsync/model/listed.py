"""A repo as a hub's list shows it."""

from dataclasses import dataclass
from datetime import datetime

from hubsync.model.repo import RepoId


@dataclass(frozen=True, slots=True)
class Listed:
    """One repo as a hub's list shows it now.

    *head* is the commit of the default branch; None: not told, or no commit yet.
    *used_bytes* is what all its versions take at the hub, if that is told.
    *tags* are the hub's, e.g. ``license:mit``, ``text-generation``.
    """

    repo: RepoId
    hub_id: str | None
    head: str | None
    last_modified: datetime | None
    gated: bool = False
    disabled: bool = False
    private: bool = False
    used_bytes: int | None = None
    tags: tuple[str, ...] = ()
