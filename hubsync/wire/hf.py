"""The Hugging Face Hub's JSON, both directions.

What `emit_*` writes has the Hub's own key order: with compact separators it is
the recorded bodies byte for byte.  Xet is mentioned (``xetHash``) only on demand:
a client that sees it does not come back to plain HTTP.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from hubsync.model.digest import GitOid
from hubsync.model.revision import InvalidRevisionError, RefName
from hubsync.model.snapshot import Commit, TreeEntry
from hubsync.wire.hf_fields import (
    EPOCH,
    WireError,
    format_time,
    read_list,
    read_object,
    read_oid,
    read_sha256,
    read_size,
    read_text,
    read_time,
)
from hubsync.wire.hf_info import emit_info, parse_info
from hubsync.wire.lfs import emit_pointer
from hubsync.wire.xet import is_xet_hash

__all__ = [
    "RateLimit",
    "WireError",
    "emit_commit",
    "emit_directory",
    "emit_info",
    "emit_last_commit",
    "emit_refs",
    "emit_tree_entry",
    "format_time",
    "parse_commits",
    "parse_info",
    "parse_rate_limit",
    "parse_refs",
    "parse_time",
    "parse_tree_entry",
    "parse_wait_s",
]


def parse_time(text: object, field: str = "date") -> datetime:
    return read_time(text, field)


def parse_tree_entry(obj: object) -> TreeEntry | None:
    """One entry of ``/tree`` or ``/paths-info``; None for a directory.

    Raises:
        WireError: naming the field.
    """
    entry = read_object(obj, "tree entry")
    path = read_text(entry.get("path"), "tree path")
    kind = entry.get("type")
    if kind == "directory":
        return None
    if kind != "file":
        raise WireError(f"type of {path!r}", f"is neither file nor directory: {kind!r}")
    oid = read_oid(entry.get("oid"), f"oid of {path!r}")
    size = read_size(entry.get("size"), f"size of {path!r}")
    if entry.get("lfs") is None:
        return TreeEntry(path, size, oid)
    lfs = read_object(entry["lfs"], f"lfs of {path!r}")
    digest = read_sha256(lfs.get("oid"), f"lfs.oid of {path!r}")
    if read_size(lfs.get("size"), f"lfs.size of {path!r}") != size:
        raise WireError(f"lfs.size of {path!r}", f"is not its size, {size}")
    xet_hash = entry.get("xetHash")
    if not is_xet_hash(xet_hash):  # not worth refusing a tree for
        return TreeEntry(path, size, oid, digest)
    return TreeEntry(path, size, oid, digest, str(xet_hash))


def emit_tree_entry(
    entry: TreeEntry,
    *,
    last_commit: Commit | None = None,
    expand: bool = False,
    xet: bool = False,
) -> dict[str, object]:
    found: dict[str, object] = {
        "type": "file",
        "oid": entry.git_oid.hex,
        "size": entry.size_bytes,
    }
    if entry.lfs:
        found["lfs"] = {
            "oid": entry.lfs.hex,
            "size": entry.size_bytes,
            "pointerSize": len(emit_pointer(entry.lfs, entry.size_bytes)),
        }
    if xet and entry.xet_hash:
        found["xetHash"] = entry.xet_hash
    found["path"] = entry.path
    if expand and last_commit:
        found["lastCommit"] = emit_last_commit(last_commit)
    return found


def emit_last_commit(commit: Commit) -> dict[str, object]:
    """What an expanded entry says of the commit that changed it last."""
    return {
        "id": commit.oid,
        "title": commit.title,
        "date": format_time(commit.committed_at or EPOCH),
    }


def emit_directory(path: str, oid: str) -> dict[str, object]:
    return {"type": "directory", "oid": GitOid(oid).hex, "size": 0, "path": path}


def parse_commits(obj: object) -> list[Commit]:
    """One page of ``/commits/{rev}``, newest first.

    Raises:
        WireError: naming the field.
    """
    return [
        _parse_commit(read_object(one, "commit")) for one in read_list(obj, "commits")
    ]


def _parse_commit(commit: Mapping[str, object]) -> Commit:
    oid = read_oid(commit.get("id"), "commit id").hex
    authors = [
        read_object(author, f"author of {oid}").get("user")
        for author in read_list(commit.get("authors", []), f"authors of {oid}")
    ]
    return Commit(
        oid,
        title=read_text(commit.get("title", ""), f"title of {oid}"),
        message=read_text(commit.get("message", ""), f"message of {oid}"),
        # An author who has no account may have no "user".
        authors=tuple(
            read_text(a, f"author of {oid}") for a in authors if a is not None
        ),
        committed_at=read_time(commit.get("date"), f"date of {oid}"),
    )


def emit_commit(commit: Commit) -> dict[str, object]:
    return {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.message,
        "authors": [{"user": user} for user in commit.authors],
        # Clients stop at a commit without a date.
        "date": format_time(commit.committed_at or EPOCH),
    }


_REF_LISTS = {
    "tags": ("tag", "refs/tags/"),
    "branches": ("branch", "refs/heads/"),
    "converts": ("convert", "refs/convert/"),
    "pullRequests": ("pr", "refs/pr/"),
}


def parse_refs(obj: object) -> dict[RefName, str]:
    """``full name -> commit`` of every ref in ``/refs``.

    Raises:
        WireError: naming the field.
    """
    lists = read_object(obj, "refs")
    found = {}
    for key in _REF_LISTS:
        for one in read_list(lists.get(key, []), key):
            ref = read_object(one, key)
            full = read_text(ref.get("ref"), f"ref in {key}")
            try:
                name = RefName(full)
            except InvalidRevisionError as error:
                raise WireError(f"ref in {key}", f"is {error}") from None
            found[name] = read_oid(ref.get("targetCommit"), f"commit of {full}").hex
    return found


def emit_refs(refs: Mapping[RefName, str], *, pull_requests: bool) -> dict[str, object]:
    """Clients need the lists to exist, and ``pullRequests`` when they ask for it."""
    return {
        key: [
            {
                "name": ref.full.removeprefix(prefix),
                "ref": ref.full,
                "targetCommit": commit,
            }
            for ref, commit in refs.items()
            if ref.kind == kind
        ]
        for key, (kind, prefix) in _REF_LISTS.items()
        if key != "pullRequests" or pull_requests
    }


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What is left of a window: *remaining* requests for the next *reset_s*."""

    bucket: str
    remaining: int
    reset_s: int


_SECONDS = re.compile(r"[0-9]{1,9}")
_RATE_LIMIT = re.compile(r'\s*"([^"]+)"\s*;\s*r=([0-9]{1,9})\s*;\s*t=([0-9]{1,9})\s*')


def parse_rate_limit(header: str) -> RateLimit | None:
    """The ``RateLimit`` header ``"api";r=0;t=55``; None if it is not that."""
    found = _RATE_LIMIT.fullmatch(header)
    return RateLimit(found[1], int(found[2]), int(found[3])) if found else None


def parse_wait_s(headers: Mapping[str, str]) -> float | None:
    """How long to be silent, by the headers of a refusal; None if it does not say.

    ``RateLimit`` is on every answer: it counts only when nothing remains.
    """
    limit = parse_rate_limit(headers.get("ratelimit", ""))
    if limit is not None and limit.remaining == 0:
        return limit.reset_s + 1.0  # the window ends within that second
    after = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(after):
        return float(after)
    # By the clock of whoever says it: ours may be wrong.
    until, now = _parse_date(after), _parse_date(headers.get("date", ""))
    return max((until - now).total_seconds(), 0.0) if until and now else None


def _parse_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
