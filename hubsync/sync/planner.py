"""What a pull will fetch, and why not the rest.  Pure: no I/O, no clock."""

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hubsync.model.digest import Descriptor, Digest, GitOid
from hubsync.model.snapshot import TreeEntry


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of a tree are wanted with their contents.

    *include* and *exclude* are globs as ``huggingface_hub`` reads them
    (``allow_patterns``, ``ignore_patterns``): ``*`` also matches ``/``, and a
    pattern ending in ``/`` means everything below that folder.  *path* selects
    exactly one file, *paths* exactly those that the tree has of them.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    path: str | None = None
    skip_smudge: bool = False
    paths: frozenset[str] | None = None

    def wants(self, path: str) -> bool:
        if self.path is not None:
            return path == self.path
        if self.paths is not None:
            return path in self.paths
        included = not self.include or _matches(path, self.include)
        return included and not _matches(path, self.exclude)


def _matches(path: str, globs: Sequence[str]) -> bool:
    return any(
        fnmatchcase(path, glob + "*" if glob.endswith("/") else glob) for glob in globs
    )


@dataclass(frozen=True, slots=True)
class PlannedFetch:
    """One blob to fetch, asked for at the first path that needs it."""

    entry: TreeEntry
    paths: int

    @property
    def want(self) -> Descriptor:
        return self.entry.want


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pull does with each file of the tree; every file is in one place."""

    fetch: tuple[PlannedFetch, ...]  # by blob: two paths, one download
    reuse: tuple[TreeEntry, ...]  # selected, and held already
    share: tuple[TreeEntry, ...]  # selected, the same blob as one in `fetch`
    pointers: tuple[TreeEntry, ...]  # LFS, left as pointers by skip_smudge
    skipped: tuple[TreeEntry, ...]  # not selected

    @property
    def fetch_bytes(self) -> int:
        return sum(item.want.size_bytes for item in self.fetch)

    def requests_hub(self, *, sends_contents: bool) -> tuple[int, int]:
        """Least and most requests to the hub that fetching takes, if all goes well.

        The Hub is asked once for an LFS file's address; its parts come from the
        CDN, which counts nothing.  A plain file is asked for, and redirected to the
        Hub.  A hub that *sends_contents* is asked once for each file.  An empty one
        is known without asking.

        Not counted are the further parts of what a hub sends itself and is too
        large for one request: how many depends on how fast it comes.
        """
        sized = [item.entry for item in self.fetch if item.entry.size_bytes]
        redirects = 0 if sends_contents else sum(not entry.is_lfs for entry in sized)
        return len(sized), len(sized) + redirects

    @property
    def totals(self) -> "Totals":
        """What the plan comes to."""
        share_bytes = sum(entry.size_bytes for entry in self.share)
        reuse_bytes = sum(entry.size_bytes for entry in self.reuse)
        return Totals(
            selected=len(self.fetch) + len(self.reuse) + len(self.share),
            pointers=len(self.pointers),
            skipped=len(self.skipped),
            fetch_bytes=self.fetch_bytes,
            reuse_bytes=reuse_bytes,
            share_bytes=share_bytes,
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """What a plan comes to, without its files: there may be very many."""

    selected: int  # files whose contents are held after the plan is applied
    pointers: int
    skipped: int
    fetch_bytes: int
    reuse_bytes: int
    share_bytes: int

    @property
    def spared_bytes(self) -> int:
        """Selected bytes that need no fetching: held, or fetched for another path."""
        return self.reuse_bytes + self.share_bytes

    @property
    def selected_bytes(self) -> int:
        return self.fetch_bytes + self.spared_bytes


def plan_pull(
    tree: Iterable[TreeEntry],
    held: AbstractSet[Digest],
    held_oids: AbstractSet[GitOid],
    selection: Selection,
) -> Plan:
    """Decide for every file of *tree*.

    Args:
        tree: the files of one commit.
        held: digests of LFS files of the tree that the store holds.
        held_oids: git object ids of its plain files that the store holds.
        selection: what was asked for.
    """
    first: dict[Digest | GitOid, TreeEntry] = {}
    others: Counter[Digest | GitOid] = Counter()  # paths with the same bytes
    reuse: list[TreeEntry] = []
    share: list[TreeEntry] = []
    pointers: list[TreeEntry] = []
    skipped: list[TreeEntry] = []
    total = 0
    for entry in sorted(tree, key=lambda entry: entry.path):
        total += 1
        name = entry.blob_name
        is_held = entry.lfs in held if entry.lfs else entry.git_oid in held_oids
        if not selection.wants(entry.path):
            skipped.append(entry)
        elif is_held:
            reuse.append(entry)
        elif selection.skip_smudge and entry.is_lfs:
            pointers.append(entry)
        elif name in first:
            others[name] += 1
            share.append(entry)
        else:
            first[name] = entry

    plan = Plan(
        tuple(PlannedFetch(entry, 1 + others[name]) for name, entry in first.items()),
        tuple(reuse),
        tuple(share),
        tuple(pointers),
        tuple(skipped),
    )
    places = (plan.fetch, reuse, share, pointers, skipped)
    assert sum(map(len, places)) == total, "one place for each"
    return plan
