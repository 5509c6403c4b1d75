"""Revision records as bytes: canonical JSON, packed with gzip.  Pure.

::

    {"format": 1, "upstream": …, "repo_type": …, "name": …, "hub_id": …,
     "commit": {…}, "recorded_at": "2026-01-02T03:04:05+00:00",
     "entries": [[path, size, git_oid, lfs | null, sha256 | null], …],
     "xet_hashes": [xet_hash | null, …]}

The last is there if any is known: one for each LFS file, in their order.  It is
not among the entries, so that older releases can read these.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hubsync.model.batches import batched
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import HubsyncError
from hubsync.model.paths import check_path
from hubsync.model.record import RecordDamagedError, RepoRecord, RevisionRecord
from hubsync.model.repo import RepoId, RepoType, check_name
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, HeldEntry, TreeEntry
from hubsync.wire.xet import is_xet_hash

FORMAT = 1
_GZIP = 31  # zlib's word for gzip's format

# Most paths, told at once; the others are looked at one by one.
_PLAIN_PATH = re.compile(
    r"(?:(?!\.{1,2}/)[A-Za-z0-9_. +=@-]{1,255}/){0,12}"
    r"(?!\.{1,2}\Z)[A-Za-z0-9_. +=@-]{1,255}"
)

# What reading somebody else's bytes as ours may end in.
_NOT_OURS = (
    *(AttributeError, EOFError, KeyError, OSError, RecursionError, TypeError),
    *(ValueError, zlib.error, HubsyncError),
)


def emit_revision(record: RevisionRecord) -> bytes:
    """The same record gives the same bytes."""
    commit = record.commit
    text = _dump(
        {
            "format": FORMAT,
            **_identity(record.repo, record.hub_id),
            "commit": {
                "oid": commit.oid,
                "title": commit.title,
                "message": commit.message,
                "authors": list(commit.authors),
                "committed_at": _emit_time(commit.committed_at),
            },
            "recorded_at": _emit_time(record.recorded_at),
            "entries": [],
        }
    )
    # Where the entries go: in a string the quotes would have a backslash before them.
    head, between, tail = text.partition(b'"entries":[')
    packed = zlib.compressobj(6, wbits=_GZIP)
    out = [packed.compress(head + between)]
    xet_hashes: list[str | None] = []
    out += map(packed.compress, _emit_entries(record.entries, xet_hashes))
    out.append(packed.compress(tail[:-1]))
    out += map(packed.compress, _emit_xet_hashes(xet_hashes))
    return b"".join([*out, packed.compress(b"}"), packed.flush()])


def _emit_xet_hashes(xet_hashes: Sequence[str | None]) -> Iterator[bytes]:
    if any(xet_hashes):
        before = b',"xet_hashes":['  # the last key, as sorted
        for some in batched(xet_hashes):
            yield before + _dump(some)[1:-1]
            before = b","
        yield b"]"


def _emit_entries(
    entries: Iterable[HeldEntry], xet_hashes: list[str | None]
) -> Iterator[bytes]:
    """A list's items as JSON, some at a time, for there may be very many.

    They are read once: what else is to be written of them is put into *xet_hashes*.
    """
    comma, last = b"", ""
    for some in batched(entries):
        paths = [last, *(one.entry.path for one in some)]
        assert paths == sorted(paths), "a record's entries are ordered"
        last = paths[-1]
        yield comma + _dump([_entry(one) for one in some])[1:-1]
        xet_hashes += (one.entry.xet_hash for one in some if one.entry.lfs)
        comma = b","


def parse_revision(data: bytes, where: str) -> RevisionRecord:
    """What `emit_revision` was asked for.

    Raises:
        RecordDamagedError: these are not such bytes; *where* is for the message.
    """
    try:
        value = _load(gzip.decompress(data))
        repo, hub_id = _read_identity(value)
        commit = value["commit"]
        return RevisionRecord(
            repo=repo,
            hub_id=hub_id,
            commit=Commit(
                oid=GitOid(commit["oid"]).hex,
                title=str(commit["title"]),
                message=str(commit["message"]),
                authors=tuple(map(str, commit["authors"])),
                committed_at=_read_time(commit["committed_at"]),
            ),
            recorded_at=_require_time(value["recorded_at"]),
            entries=_read_entries(value["entries"], value.get("xet_hashes")),
        )
    except _NOT_OURS as error:
        raise _damaged(where, error) from error


def emit_repo(record: RepoRecord) -> bytes:
    """The same record gives the same bytes."""
    return _dump(
        {
            "format": FORMAT,
            **_identity(record.repo, record.hub_id),
            "aliases": sorted(record.aliases),
            "refs": {ref.full: oid for ref, oid in record.refs.items()},
            "card": dict(record.card),
            "commits": list(record.commits),
            "recorded_at": _emit_time(record.recorded_at),
        }
    )


def parse_repo_record(data: bytes, where: str) -> RepoRecord:
    """What `emit_repo` was asked for.

    Raises:
        RecordDamagedError: as `parse_revision`.
    """
    try:
        value = _load(data)
        repo, hub_id = _read_identity(value)
        return RepoRecord(
            repo=repo,
            hub_id=hub_id,
            aliases=tuple(check_name(name) for name in value["aliases"]),
            refs={RefName(n): GitOid(o).hex for n, o in value["refs"].items()},
            card=dict(value["card"]),
            commits=tuple(GitOid(oid).hex for oid in value["commits"]),
            recorded_at=_read_time(value["recorded_at"]),
        )
    except _NOT_OURS as error:
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> RecordDamagedError:
    return RecordDamagedError(
        f"the record {where} cannot be read: {type(error).__name__}: {error}",
        hint="Pull that revision again, or hubsync db upgrade while the catalog "
        "has it. If nobody wants it, delete the file.",
    )


def _identity(repo: RepoId, hub_id: str | None) -> dict[str, object]:
    return {
        "upstream": repo.upstream,
        "repo_type": repo.repo_type.value,
        "name": repo.name,
        "hub_id": hub_id,
    }


def _read_identity(value: Mapping[str, Any]) -> tuple[RepoId, str | None]:
    if value["format"] > FORMAT:
        message = f"format {value['format']} is newer than {FORMAT}"
        raise ValueError(message)
    kind = RepoType(value["repo_type"])
    hub_id = value["hub_id"]
    repo = RepoId(str(value["upstream"]), kind, str(value["name"]))
    return repo, None if hub_id is None else str(hub_id)


def _entry(one: HeldEntry) -> list[object]:
    entry = one.entry
    sha256 = one.digest.hex if one.digest and not entry.lfs else None
    lfs = entry.lfs.hex if entry.lfs else None
    return [entry.path, entry.size_bytes, entry.git_oid.hex, lfs, sha256]


def _read_entries(
    rows: Sequence[Sequence[Any]], xet_hashes: Sequence[str | None] | None
) -> tuple[HeldEntry, ...]:
    for row in rows:
        if not _PLAIN_PATH.fullmatch(row[0]):
            check_path(row[0])
    if xet_hashes is None:
        return tuple(_read_entry(*row) for row in rows)
    lfs_files = sum(row[3] is not None for row in rows)
    if len(xet_hashes) != lfs_files or not all(
        one is None or is_xet_hash(one) for one in xet_hashes
    ):
        message = "its xet hashes are not those of its files"
        raise ValueError(message)
    left = iter(xet_hashes)
    return tuple(
        _read_entry(*row, xet_hash=None if row[3] is None else next(left))
        for row in rows
    )


def _read_entry(
    path: str,
    size_bytes: int,
    git_oid: str,
    lfs: str | None,
    sha256: str | None,
    *,
    xet_hash: str | None = None,
) -> HeldEntry:
    digest = Digest(lfs) if lfs else None
    entry = TreeEntry(path, int(size_bytes), GitOid(git_oid), digest, xet_hash)
    return HeldEntry(entry, digest or (Digest(sha256) if sha256 else None))


def _emit_time(when: datetime | None) -> str | None:
    return None if when is None else when.astimezone(UTC).isoformat()


def _read_time(text: str | None) -> datetime | None:
    return None if text is None else _require_time(text)


def _require_time(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        message = f"the time {text} has no zone"
        raise ValueError(message)
    return when


def _dump(value: object) -> bytes:
    # ASCII: a lone surrogate in a title is data like any other.
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return text.encode("ascii")


def _load(data: bytes) -> Any:
    return json.loads(data)
