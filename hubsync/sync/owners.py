"""Whose each record is, and in which order a repo's commits were recorded.

As a rule that is simple: a folder is a repo, and its own record lists its commits.
Somebody may have been killed while a repo changed its name, or the repo's record
may be damaged; then the commits' records say the rest.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from hubsync.model.errors import HubsyncError
from hubsync.model.record import (
    RecordDamagedError,
    RecordFolder,
    RepoRecord,
    RevisionRecord,
)
from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.records import Records

Name = tuple[str, RepoType, str]


@dataclass(frozen=True, slots=True)
class Where:
    """Where a commit's record is; *revision* if it had to be read already."""

    folder: RecordFolder
    revision: RevisionRecord | None = None


@dataclass(slots=True)
class Owned:
    """A repo with its commits, in the order in which they were recorded."""

    repo: RepoRecord
    commits: dict[str, Where] = field(default_factory=dict)


def owners(records: Records, problems: list[str]) -> list[Owned]:
    """Every repo that is recorded; what cannot be read is named in *problems*."""
    found: dict[RepoId, Owned] = {}
    folders = list(records.folders())
    present = _present_names(folders)
    for folder in folders:
        if isinstance(folder.repo, RecordDamagedError):
            problems.append(f"{folder.repo}: where the repo's refs point is lost")
            _take_unlabelled(records, folder, found, problems)
            continue
        record = folder.repo
        if record.recorded_at is None and not folder.commits:
            continue  # its first commit did not come to be
        owned = found.setdefault(present[record.repo], Owned(record))
        owned.repo = _joined(owned.repo, record, present[record.repo])
        for oid in folder.commits:
            # Twice only in the middle of a rename: the one under the present name.
            if oid not in owned.commits or record.repo == owned.repo.repo:
                owned.commits[oid] = Where(folder)
    _put_in_order(records, found, problems)
    taken = {(one.upstream, one.repo_type, one.name) for one in found}
    for owned in found.values():
        owned.repo = _without_others(owned.repo, taken)
    return [found[repo] for repo in sorted(found)]


def _take_unlabelled(
    records: Records,
    folder: RecordFolder,
    found: dict[RepoId, Owned],
    problems: list[str],
) -> None:
    """Commits say themselves of which repo they are."""
    read = []
    for oid in folder.commits:
        try:
            read.append(records.read_revision(folder, oid))
        except HubsyncError as error:
            problems.append(str(error))
    if not read:
        return
    read.sort(key=lambda one: one.recorded_at)
    # Commits from before a rename have the name that the repo had then.
    named = next((one for one in read if records.is_of(folder, one.repo)), read[-1])
    names = {one.repo.name for one in read if one.repo.name != named.repo.name}
    record = RepoRecord(named.repo, named.hub_id, sorted(names))
    owned = found.setdefault(named.repo, Owned(record))
    for one in read:
        owned.commits.setdefault(one.commit.oid, Where(folder, one))


def _present_names(folders: Sequence[RecordFolder]) -> dict[RepoId, RepoId]:
    """Under which name each repo is known now."""
    known = [
        folder.repo
        for folder in folders
        if isinstance(folder.repo, RepoRecord)
        and (folder.commits or folder.repo.recorded_at)
    ]
    later: dict[Name, list[RepoRecord]] = {}
    for record in known:
        for name in record.aliases:
            key = (record.repo.upstream, record.repo.repo_type, name)
            later.setdefault(key, []).append(record)
    present = {}
    for record in known:
        now, seen = record, {record.repo}
        while True:
            key = (now.repo.upstream, now.repo.repo_type, now.repo.name)
            heirs = [one for one in later.get(key, ()) if _was(now, one)]
            if not heirs or heirs[0].repo in seen:
                break
            now = heirs[0]
            seen.add(now.repo)
        present[record.repo] = now.repo
    return present


def _was(former: RepoRecord, now: RepoRecord) -> bool:
    """Whether *former* is what *now*, which lists its name, was before.

    Not when the name belongs to another repo by now.
    """
    if None not in (former.hub_id, now.hub_id) and former.hub_id != now.hub_id:
        return False
    if now.repo.name in former.aliases and _age(now) <= _age(former):
        return False
    return now.recorded_at is None or set(former.commits) <= set(now.commits)


def _age(record: RepoRecord) -> tuple[bool, int]:
    """Of two names that a repo has traded, the greater is the present one."""
    return record.recorded_at is None, len(record.commits)


def _joined(one: RepoRecord, other: RepoRecord, present: RepoId) -> RepoRecord:
    """Two records of one repo; what its present one says comes first."""
    now, former = (other, one) if other.repo == present else (one, other)
    names = {*now.aliases, *former.aliases, now.repo.name, former.repo.name}
    return RepoRecord(
        repo=present,
        hub_id=now.hub_id or former.hub_id,
        aliases=sorted(names - {present.name}),
        refs={**former.refs, **now.refs},
        card=now.card or former.card,
        commits=tuple(dict.fromkeys([*former.commits, *now.commits])),
        recorded_at=former.recorded_at or now.recorded_at,
    )


def _put_in_order(
    records: Records, found: dict[RepoId, Owned], problems: list[str]
) -> None:
    """As their repo lists them; then those whose publisher was killed, by time."""
    by_id = {
        (one.repo.repo.upstream, one.repo.repo.repo_type, one.repo.hub_id): one
        for one in found.values()
        if one.repo.hub_id is not None
    }
    late: list[tuple[Owned, Where, RevisionRecord]] = []
    for owned in found.values():
        listed = {
            oid: owned.commits.pop(oid)
            for oid in owned.repo.commits
            if oid in owned.commits
        }
        for oid, where in owned.commits.items():
            try:
                one = where.revision or records.read_revision(where.folder, oid)
            except HubsyncError as error:
                problems.append(str(error))
                continue
            owner = owned
            if one.hub_id not in (None, owned.repo.hub_id):
                key = (one.repo.upstream, one.repo.repo_type, one.hub_id)
                owner = by_id.get(key, owned)
            late.append((owner, Where(where.folder, where.revision), one))
        owned.commits = listed
    late.sort(key=lambda item: item[2].recorded_at)
    for owner, where, one in late:
        owner.commits.setdefault(one.commit.oid, where)


def _without_others(repo: RepoRecord, taken: Container[Name]) -> RepoRecord:
    """A name that somebody has now is nobody's former one."""
    kind = (repo.repo.upstream, repo.repo.repo_type)
    free = tuple(name for name in repo.aliases if (*kind, name) not in taken)
    return replace(repo, aliases=free)
