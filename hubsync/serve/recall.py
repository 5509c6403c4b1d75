"""What was looked up before, for as long as the catalog stays as it was."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.model.snapshot import HeldEntry
from hubsync.serve.ready import Head

ITEMS_MAX = 5000  # of each kind; 1 kB each
NAME_CHARS_MAX = 500  # a longer one is not worth the room


@dataclass(frozen=True, slots=True)
class HotFile:
    """The answer to a request for a file: of all of it, of a part.

    *used* is to be called each time.
    """

    one: HeldEntry
    whole: Head
    part: Head  # without the lengths
    used: Callable[[], None] | None


@dataclass(slots=True)
class Known:
    """Rows that were found, by what was asked; that nothing was found is not kept."""

    repos: dict[tuple[RepoType, str], RepoRow] = field(default_factory=dict)
    snapshots: dict[tuple[int, str | None], SnapshotRow] = field(default_factory=dict)
    entries: dict[tuple[int, str], HeldEntry] = field(default_factory=dict)
    hot: dict[bytes, HotFile] = field(default_factory=dict)  # by a request's target

    @property
    def is_full(self) -> bool:
        kinds = (self.repos, self.snapshots, self.entries, self.hot)
        return any(len(kind) >= ITEMS_MAX for kind in kinds)


class Recall:
    """Exact, not "fresh enough": after a commit by anybody nothing is recalled.

    What a HEAD asks takes four SELECTs, 60 us; whether the catalog has changed is
    known in 4 us.  For the one thread of a loop.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._version: object = None
        self._known = Known()
        self._is_asked = False

    def now(self) -> Known:
        """What is known of the catalog as it is now.

        Take it before a look-up and put the result in after: if the catalog has
        changed in between, nobody will be given this one again.
        """
        if not self._is_asked:
            version = self._catalog.data_version()
            if version is None:
                return Known()
            if version != self._version or self._known.is_full:
                self._version, self._known = version, Known()
            # All that is answered in one turn of the loop had come in before the
            # turn began, so one question is enough for all of it.
            self._is_asked = True
            asyncio.get_running_loop().call_soon(self._ask_again)
        return self._known

    def _ask_again(self) -> None:
        self._is_asked = False
