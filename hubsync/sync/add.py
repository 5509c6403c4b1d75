"""Recording a local folder as a repo of the mirror."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.leases import Lease
from hubsync.catalog.rows import Publication, Published
from hubsync.model.digest import Descriptor, Digest, GitOid, git_header
from hubsync.model.errors import HubsyncError, UsageError
from hubsync.model.paths import check_tree_paths
from hubsync.model.repo import RepoId
from hubsync.model.revision import DEFAULT_BRANCH, RefName
from hubsync.model.snapshot import Commit, RepoInfo, TreeEntry
from hubsync.ports.blobs import BlobCorruptError, BlobStore, HeldBlob, Ingest
from hubsync.ports.progress import Progress
from hubsync.ports.records import Records
from hubsync.sync.lease import leased
from hubsync.sync.publish import Publisher
from hubsync.wire.gitattributes import (
    LfsRules,
    hub_default_rules,
    parse_gitattributes,
)
from hubsync.wire.gitobjects import commit_oid, tree_oids
from hubsync.wire.lfs import pointer_oid

BLOCK_BYTES = 2**20
PLAIN_BYTES_MAX = 10 * 2**20  # the Hub refuses larger files outside LFS
GROUP_FILES = 64  # each an open file until the group is stored
GROUP_BYTES = 64 * 2**20
PROBE_BYTES = 8192  # what git reads to tell binary from text

# No clock and no name of this machine in it: the same folder and message give
# the same commit everywhere, so two sites that add it hold one version.
COMMIT_HEADERS = {
    "author": "hubsync <hubsync@localhost> 0 +0000",
    "committer": "hubsync <hubsync@localhost> 0 +0000",
}

_GITS_OWN = frozenset({".git"})  # a folder, or a file in a worktree
_SKIPPED_PATHS = frozenset({".cache/huggingface"})  # what `hf download` leaves


@dataclass(frozen=True, slots=True)
class AddRequest:
    """Record *folder* as the new head of *branch* of *repo*."""

    folder: Path
    repo: RepoId
    message: str = ""
    author: str = ""
    branch: str = DEFAULT_BRANCH


@dataclass(frozen=True, slots=True)
class AddResult:
    """What was recorded.  *bytes_stored* is what the store did not hold before."""

    published: Published
    files: int
    lfs_files: int
    bytes: int
    bytes_stored: int


class FileChangedError(HubsyncError):
    """A file was written to while it was being added."""


def add_folder(
    request: AddRequest,
    catalog: Catalog,
    blobs: BlobStore,
    records: Records,
    progress: Progress,
    *,
    lock_views: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> AddResult:
    """Store every file of a folder, then record them as one commit.

    *lock_views* gives the views' lock, shared, for the moment of publishing.

    Raises:
        UsageError: no folder, no file in it, or something that is no file.
        HostilePathError: a file name that a repo may not have.
        FileChangedError: a file changed meanwhile; nothing was recorded.
    """
    files = sorted(_walk(request.folder))
    if not files:
        raise UsageError(f"there is no file in {request.folder}")
    names = [path.relative_to(request.folder).as_posix() for path in files]
    check_tree_paths(names)
    rules = _rules(request.folder)
    progress.plan(len(files), sum(path.stat().st_size for path in files))
    entries: list[TreeEntry] = []
    stored = 0
    with leased(catalog, f"add of {request.repo}") as lease:
        adder = _Adder(catalog, blobs, lease)
        for group in _groups(zip(files, names, strict=True)):
            found = [_look(path, name, rules, progress) for path, name in group]
            stored += adder.store(found)
            entries += [one.entry for one in found]
        published = Publisher(catalog, records, lock_views).publish(
            _publication(request, entries), lease, brought_in=True
        )
    return AddResult(
        published,
        files=len(entries),
        lfs_files=sum(entry.is_lfs for entry in entries),
        bytes=sum(entry.size_bytes for entry in entries),
        bytes_stored=stored,
    )


def _publication(request: AddRequest, entries: Sequence[TreeEntry]) -> Publication:
    title = request.message.strip() or f"Add {request.repo.name}"
    tree = tree_oids((entry.path, entry.git_oid) for entry in entries)[""]
    subject, _, body = title.partition("\n")
    return Publication(
        repo=request.repo,
        info=RepoInfo(request.repo, hub_id=_hub_id(request.repo)),
        commit=Commit(
            oid=commit_oid(tree, title + "\n", COMMIT_HEADERS).hex,
            title=subject,
            message=body.strip(),
            authors=(request.author,) if request.author else (),
            # Clients print milliseconds, so that is what we can give back.
            committed_at=datetime.now(UTC).replace(microsecond=0),
        ),
        entries=entries,
        refs=[RefName.branch(request.branch)],
        must_hold=lambda _path, _is_lfs: True,
    )


def _hub_id(repo: RepoId) -> str:
    """24 hex, the form of the Hub's own ids; stable for a name."""
    return hashlib.sha256(str(repo).encode()).hexdigest()[:24]


def _rules(folder: Path) -> LfsRules:
    try:
        return parse_gitattributes((folder / ".gitattributes").read_text("utf-8"))
    except FileNotFoundError:
        return hub_default_rules()
    except UnicodeDecodeError as error:
        raise UsageError(f"{folder / '.gitattributes'} is no UTF-8 text") from error


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below *folder*; links to files are followed, to folders not."""
    if not folder.is_dir():
        raise UsageError(
            f"not a folder: {folder}",
            hint="Name the folder with the files first, then the repo: "
            "hubsync add ./my-model acme/my-model",
        )
    for top, folders, files in os.walk(folder, onerror=_refuse):
        here = Path(top)
        for name in list(folders):
            path = here / name
            if name in _GITS_OWN or _is_client_cache(folder, path):
                folders.remove(name)
            elif path.is_symlink():
                raise UsageError(
                    f"{path} is a link to a folder",
                    hint="Copy it in, or remove it: links to folders may loop.",
                )
        for name in files:
            if name in _GITS_OWN:
                continue
            path = here / name
            if not path.is_file():
                raise UsageError(f"{path} is not a file (a socket, a dangling link?)")
            yield path


def _is_client_cache(folder: Path, path: Path) -> bool:
    return path.relative_to(folder).as_posix() in _SKIPPED_PATHS


def _refuse(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class _Found:
    """A file of the folder, read once."""

    path: Path
    entry: TreeEntry
    blob: HeldBlob  # under the names that it will have in the store
    halves: "_Halves"


@dataclass(slots=True)
class _Halves:
    """One file's progress: it is read for its digest, and again to be copied.

    Each of its bytes counts half then and half now.  So the sum grows all the
    time, and tells when all will be done.
    """

    progress: Progress
    name: str
    size_bytes: int
    told_bytes: int = 0

    def start(self) -> None:
        self.progress.file_started(self.name, self.size_bytes, 0)

    def hashed(self, size_bytes: int) -> None:
        """So many of its bytes in all."""
        self._reach(size_bytes // 2)

    def stored(self, size_bytes: int) -> None:
        """So many of its bytes in all, all of which are hashed."""
        self._reach((self.size_bytes + size_bytes) // 2)

    def done(self) -> None:
        self._reach(self.size_bytes)
        self.progress.file_verified(self.name, self.size_bytes)
        self.progress.file_done(self.name)

    def _reach(self, size_bytes: int) -> None:
        self.progress.file_advanced(self.name, size_bytes - self.told_bytes)
        self.told_bytes = size_bytes


def _groups(files: Iterable[tuple[Path, str]]) -> Iterator[list[tuple[Path, str]]]:
    """Small files together, so that they wait for the disk once; large ones alone."""
    group: list[tuple[Path, str]] = []
    size = 0
    for path, name in files:
        group.append((path, name))
        size += path.stat().st_size
        if len(group) == GROUP_FILES or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _look(path: Path, name: str, rules: LfsRules, progress: Progress) -> _Found:
    halves = _Halves(progress, name, path.stat().st_size)
    halves.start()
    size, digest, git_oid, binary = _hash(path, halves)
    if rules.is_lfs(name) or size > PLAIN_BYTES_MAX or binary:
        entry = TreeEntry(name, size, pointer_oid(digest, size), digest)
        return _Found(path, entry, HeldBlob(digest, size), halves)
    entry = TreeEntry(name, size, git_oid)
    return _Found(path, entry, HeldBlob(digest, size, git_oid), halves)


@dataclass(frozen=True, slots=True)
class _Adder:
    """Stores files of a folder under a lease."""

    catalog: Catalog
    blobs: BlobStore
    lease: Lease

    def store(self, group: Sequence[_Found]) -> int:
        """Make *group* held; the bytes that were new."""
        # Before looking what is there: what is there then stays.
        self.catalog.claim(self.lease, (one.blob.digest for one in group))
        stored = 0
        fresh: dict[Digest, Ingest] = {}
        try:
            for one in group:
                digest = one.blob.digest
                # Not "is there a file of that name?": the store also makes sure
                # that the name is durable.
                ingest = None if digest in fresh else self._begin(one, fresh)
                if ingest is None:
                    one.halves.stored(one.blob.size_bytes)
                    continue
                self._copy(one, ingest)
                fresh[digest] = ingest
                stored += one.blob.size_bytes
            self._publish(fresh)
        finally:
            for ingest in fresh.values():
                ingest.abort()
        self.catalog.record_blobs([one.blob for one in group], self.lease)
        for one in group:
            one.halves.done()
        return stored

    def _begin(self, found: _Found, fresh: dict[Digest, Ingest]) -> Ingest | None:
        """None: it is in the store already."""
        blob = found.blob
        want = Descriptor(blob.size_bytes, blob.digest, blob.git_oid)
        ingest = self.blobs.begin(want, wait=not fresh)
        if ingest is None:
            # Whoever has it may be waiting for one of ours.
            self._publish(fresh)
            ingest = self.blobs.begin(want)
            assert ingest is not None, "it waited"
        return None if isinstance(ingest, HeldBlob) else ingest

    def _publish(self, fresh: dict[Digest, Ingest]) -> None:
        self.blobs.publish(list(fresh.values()))
        fresh.clear()

    def _copy(self, found: _Found, ingest: Ingest) -> None:
        path = found.path
        try:
            with path.open("rb") as file:
                file.seek(ingest.offset)
                while block := file.read(BLOCK_BYTES):
                    ingest.write(block)
                    found.halves.stored(ingest.offset)
            ingest.verify()
        except BlobCorruptError as error:
            raise FileChangedError(
                f"{path} changed while it was being added",
                hint="Nothing was recorded. Add the folder again when nobody "
                "writes to it.",
            ) from error
        except BaseException:
            ingest.abort()
            raise


def _hash(path: Path, halves: _Halves) -> tuple[int, Digest, GitOid, bool]:
    """Size, sha256, git object id, and whether git would call it binary."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        sha256 = hashlib.sha256()
        sha1 = hashlib.sha1(git_header(size))  # noqa: S324 - git's choice
        read, binary = 0, False
        while block := file.read(BLOCK_BYTES):
            binary = binary or (read == 0 and b"\0" in block[:PROBE_BYTES])
            sha256.update(block)
            sha1.update(block)
            read += len(block)
            halves.hashed(read)
    if read != size:
        raise FileChangedError(f"{path} changed while it was being read")
    return size, Digest(sha256.hexdigest()), GitOid(sha1.hexdigest()), binary
