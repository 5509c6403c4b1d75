"""Runs: what mirrors did, one carrying out after the other.

A run's row names the lease of the process that is at it, which tells a run that
goes on from one whose process was killed (`hubsync.catalog.leases`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from hubsync.catalog import leases, mirrored
from hubsync.catalog.bulk import insert, replacing
from hubsync.catalog.columns import is_speakable
from hubsync.catalog.leases import Lease, Watch
from hubsync.catalog.mirrored import MirrorRepo
from hubsync.catalog.session import Session
from hubsync.catalog.tables import run_repos, runs
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.model.repo import RepoId, RepoType

LEFT = "the process that ran it has ended"
"""The error of a run that nobody has ended."""

_REPLACING = replacing(run_repos)
_BEGIN_LOCK = 0x68756273796E6302  # of PostgreSQL's: who begins a run


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"  # every repo
    PARTIAL = "partial"  # some repos
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunOutcome(StrEnum):
    """What a run met, where not all was as before."""

    CHANGED = "changed"
    FAILED = "failed"
    GONE = "gone"  # upstream has it no more
    RENAMED = "renamed"
    REFUSED = "refused"  # by upstream, or by a rule of ours


@dataclass(frozen=True, slots=True)
class RunCounters:
    """How much a run did.  *waited_s*: how long the upstream made it wait."""

    repos_selected: int = 0
    repos_checked: int = 0
    repos_changed: int = 0
    repos_failed: int = 0
    files_fetched: int = 0
    bytes_fetched: int = 0
    bytes_reused: int = 0
    requests: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunRow:
    """One carrying out of a mirror.

    *error* is why it failed.  A run that was left running is failed, and ends
    (*ended_at*) when somebody writes that down.
    """

    id: int
    mirror: str
    trigger: str  # "command"
    started_at: datetime
    ended_at: datetime | None
    state: RunState
    counters: RunCounters
    error: str | None


@dataclass(frozen=True, slots=True)
class RunRepoRow:
    """What a run met of one revision of a repo.

    *commit* is the one that is there now.  *error* and *exit_code*: as `hubsync
    pull` would have ended.
    """

    repo: RepoId
    revision: str
    outcome: RunOutcome
    commit: str | None = None
    files_fetched: int = 0
    bytes_fetched: int = 0
    bytes_reused: int = 0
    requests: int = 0
    error: str | None = None
    exit_code: int | None = None


class MirrorBusyError(HubsyncError):
    """A mirror is being carried out already."""

    exit_code = ExitCode.BUSY
    retryable = True

    def __init__(self, mirror: str, run: int, since: datetime) -> None:
        super().__init__(
            f"the mirror {mirror!r} is being carried out by run {run}, since "
            f"{since:%Y-%m-%d %H:%M} UTC",
            hint="Two at once would do the same things. Try again when it has ended.",
        )


class Runs:
    """The runs of all mirrors, and what these have brought in.

    As of the catalog, of which it is a part: each method that writes is one
    transaction, and any number of threads may call.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    # Writing

    def begin(
        self, mirror: str, trigger: str, lease: Lease, watch: Watch | None = None
    ) -> int:
        """A run begins; its number.  It goes on for as long as *lease* is held.

        Hold that lease for the run alone: publishing ends the one it is given.
        Runs whose processes have ended are ended before.

        Raises:
            MirrorBusyError: another run of *mirror* goes on.
        """
        now, seen = datetime.now(UTC), watch or Watch()
        begun = self._session.write(
            lambda tx: _begin_alone(tx, mirror, trigger, lease.id, now, seen)
        )
        if isinstance(begun, Row):
            raise MirrorBusyError(mirror, begun.id, begun.started_at)
        return begun

    def end(
        self, run: int, state: RunState, counters: RunCounters, error: str | None = None
    ) -> None:
        """The run has ended.  Its own word counts, also if it was taken for dead."""
        now = datetime.now(UTC)
        values = {"state": state.value, "error": error, **asdict(counters)}
        self._session.write(lambda tx: _end(tx, [run], values, now))

    def note(self, run: int, rows: Iterable[RunRepoRow]) -> None:
        """What the run met.  Of one revision of a repo, the last word counts."""
        latest = {(row.repo, row.revision): _values(run, row) for row in rows}
        self._session.write(
            lambda tx: insert(tx, run_repos, latest.values(), on_conflict=_REPLACING)
        )

    def end_left_running(self, watch: Watch | None = None) -> int:
        """End, as failed, the runs whose processes have ended; how many.

        Of a process that cannot be looked at, dead is who gave no sign of life
        between two calls that are a minute apart.
        """
        if not self._running():
            return 0  # without writing
        now, seen = datetime.now(UTC), watch or Watch()
        return self._session.write(lambda tx: _end_left(tx, seen, now))

    def keep_mirrored(self, rows: Iterable[MirrorRepo]) -> None:
        """Mirrors hold this now, in place of what they held of the same revisions.

        Left out is what was forgotten or damaged since it was brought in: the next
        run is to look at it.
        """
        every = list(rows)
        if every:
            self._session.write(lambda tx: mirrored.keep(tx, every))

    def drop_mirrored(self, mirror: str, keys: Iterable[tuple[RepoId, str]]) -> None:
        """*mirror* holds these revisions of repos no more, or is to look again."""
        every = list(keys)
        if every:
            self._session.write(lambda tx: mirrored.drop(tx, mirror, every))

    # Reading

    def list(self, mirror: str | None = None, limit: int = 50) -> Sequence[RunRow]:
        """Newest first, of one mirror or of all."""
        if mirror is None:
            return self._read(select(runs).limit(limit))
        if not is_speakable(mirror):
            return []
        return self._read(select(runs).where(runs.c.mirror == mirror).limit(limit))

    def last(self, mirror: str) -> RunRow | None:
        """The newest run of *mirror*, ended or not."""
        return next(iter(self.list(mirror, limit=1)), None)

    def find(self, run: int) -> RunRow | None:
        """By its number."""
        return next(iter(self._read(select(runs).where(runs.c.id == run))), None)

    def repos(self, run: int) -> Sequence[RunRepoRow]:
        """What was noted, by upstream, type, name and revision."""
        key = run_repos.primary_key.columns
        noted = select(run_repos).where(run_repos.c.run_id == run).order_by(*key)
        with self._session.reading() as connection:
            return [_to_repo(row) for row in connection.execute(noted)]

    def mirrored(self, mirror: str) -> Sequence[MirrorRepo]:
        """What *mirror* holds as it should be."""
        with self._session.reading() as connection:
            return mirrored.list_mirrored(connection, mirror)

    def _running(self) -> bool:
        running = "SELECT 1 FROM runs WHERE state = ? LIMIT 1"
        return bool(self._session.rows(running, RunState.RUNNING.value))

    def _read(self, statement: Select[Any]) -> Sequence[RunRow]:
        with self._session.reading() as connection:
            rows = connection.execute(statement.order_by(runs.c.id.desc())).all()
            left = _left(connection, rows, Watch())
        return [_to_row(row, is_left=row.id in left) for row in rows]


def _begin_alone(  # noqa: PLR0917 - one row's values
    connection: Connection,
    mirror: str,
    trigger: str,
    lease_id: int,
    now: datetime,
    watch: Watch,
) -> "int | Row[Any]":
    """The new run's number, or the run that goes on."""
    if connection.dialect.name == "postgresql":  # two would not see each other's row
        connection.execute(select(func.pg_advisory_xact_lock(_BEGIN_LOCK)))
    _end_left(connection, watch, now)
    running = select(runs).where(
        runs.c.mirror == mirror, runs.c.state == RunState.RUNNING.value
    )
    other = connection.execute(running).first()
    if other is not None:
        return other
    return _begin(connection, mirror, trigger, lease_id, now)


def _begin(
    connection: Connection, mirror: str, trigger: str, lease_id: int, now: datetime
) -> int:
    row = runs.insert().values(
        mirror=mirror,
        trigger=trigger,
        started_at=now,
        state=RunState.RUNNING.value,
        lease_id=lease_id,
        **asdict(RunCounters()),
    )
    return int(connection.execute(row.returning(runs.c.id)).scalar_one())


def _end(
    connection: Connection, ids: Iterable[int], values: dict[str, Any], now: datetime
) -> None:
    mine = runs.update().where(runs.c.id.in_(list(ids)))
    connection.execute(mine.values(**values, ended_at=now, lease_id=None))


def _end_left(connection: Connection, watch: Watch, now: datetime) -> int:
    leases.drop_dead(connection, watch)
    running = select(runs).where(runs.c.state == RunState.RUNNING.value)
    # Locked: one that ends by itself just now is not left running.
    rows = connection.execute(running.with_for_update()).all()
    left = _left(connection, rows, watch)
    _end(connection, left, {"state": RunState.FAILED.value, "error": LEFT}, now)
    return len(left)


def _left(
    connection: Connection, rows: Iterable[Row[Any]], watch: Watch
) -> frozenset[int]:
    """Those of *rows* that run, but for the process that ran them."""
    running = [row for row in rows if row.state == RunState.RUNNING.value]
    if not running:
        return frozenset()
    held = leases.list_leases(connection)
    alive = {lease.id for lease in held if not leases.is_dead(lease, watch)}
    return frozenset(row.id for row in running if row.lease_id not in alive)


def _to_row(row: Row[Any], *, is_left: bool) -> RunRow:
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    counters = {field.name: found[field.name] for field in fields(RunCounters)}
    run = RunRow(
        row.id,
        row.mirror,
        row.trigger,
        row.started_at,
        row.ended_at,
        RunState(row.state),
        RunCounters(**counters),
        row.error,
    )
    return replace(run, state=RunState.FAILED, error=LEFT) if is_left else run


def _values(run: int, row: RunRepoRow) -> dict[str, Any]:
    return {
        "run_id": run,
        "upstream": row.repo.upstream,
        "repo_type": row.repo.repo_type.value,
        "name": row.repo.name,
        "revision": row.revision,
        "outcome": row.outcome.value,
        "commit_oid": row.commit,
        "files_fetched": row.files_fetched,
        "bytes_fetched": row.bytes_fetched,
        "bytes_reused": row.bytes_reused,
        "requests": row.requests,
        "error": row.error,
        "exit_code": row.exit_code,
    }


def _to_repo(row: Row[Any]) -> RunRepoRow:
    return RunRepoRow(
        RepoId(row.upstream, RepoType(row.repo_type), row.name),
        row.revision,
        RunOutcome(row.outcome),
        row.commit_oid,
        row.files_fetched,
        row.bytes_fetched,
        row.bytes_reused,
        row.requests,
        row.error,
        row.exit_code,
    )
