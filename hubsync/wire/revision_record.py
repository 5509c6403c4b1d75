"""Revision records as bytes: canonical JSON, packed with gzip.  Pure.

::

    {"format": 1, "repo": "hf:models/org/name", "hub_id": …, "commit": {…},
     "recorded_at": "2026-01-02T03:04:05+00:00",
     "entries": [[path, size, git_oid, lfs | null, sha256 | null], …]}
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import HubsyncError
from hubsync.model.paths import check_path
from hubsync.model.record import RecordDamagedError, RepoRecord, RevisionRecord
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, HeldEntry, TreeEntry

FORMAT = 1

# What reading somebody else's bytes as ours may end in.
_NOT_OURS = (
    *(AttributeError, EOFError, KeyError, OSError, RecursionError, TypeError),
    *(ValueError, zlib.error, HubsyncError),
)


def emit_revision(record: RevisionRecord) -> bytes:
    """The same record gives the same bytes."""
    commit = record.commit
    when = commit.committed_at
    entries = sorted(record.entries, key=lambda one: one.entry.path)
    return gzip.compress(
        _dump(
            {
                "format": FORMAT,
                **_identity(record.repo, record.hub_id),
                "commit": {
                    "oid": commit.oid,
                    "title": commit.title,
                    "message": commit.message,
                    "authors": list(commit.authors),
                    "committed_at": when.isoformat() if when else None,
                },
                "recorded_at": record.recorded_at.astimezone(UTC).isoformat(),
                "entries": [_entry(one) for one in entries],
            }
        ),
        compresslevel=6,
        mtime=0,
    )


def parse_revision(data: bytes, where: str) -> RevisionRecord:
    """What `emit_revision` was asked for.

    Raises:
        RecordDamagedError: these are not such bytes; *where* is for the message.
    """
    try:
        value = _load(gzip.decompress(data))
        repo, hub_id = _read_identity(value)
        commit, when = value["commit"], value["commit"]["committed_at"]
        return RevisionRecord(
            repo=repo,
            hub_id=hub_id,
            commit=Commit(
                oid=GitOid(commit["oid"]).hex,
                title=str(commit["title"]),
                message=str(commit["message"]),
                authors=tuple(map(str, commit["authors"])),
                committed_at=datetime.fromisoformat(when) if when else None,
            ),
            recorded_at=datetime.fromisoformat(value["recorded_at"]),
            entries=tuple(_read_entry(*row) for row in value["entries"]),
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
            aliases=tuple(map(str, value["aliases"])),
            refs={RefName(n): GitOid(o).hex for n, o in value["refs"].items()},
            card=value["card"],
        )
    except _NOT_OURS as error:
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> RecordDamagedError:
    return RecordDamagedError(
        f"the record {where} cannot be read: {type(error).__name__}: {error}",
        hint="Pull that revision again; until then the others can be used.",
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


def _read_entry(
    path: str, size_bytes: int, git_oid: str, lfs: str | None, sha256: str | None
) -> HeldEntry:
    check_path(path)
    digest = Digest(lfs) if lfs else None
    entry = TreeEntry(path, int(size_bytes), GitOid(git_oid), digest)
    return HeldEntry(entry, digest or (Digest(sha256) if sha256 else None))


def _dump(value: object) -> bytes:
    # ASCII: a lone surrogate in a title is data like any other.
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return text.encode("ascii")


def _load(data: bytes) -> Any:
    return json.loads(data)
