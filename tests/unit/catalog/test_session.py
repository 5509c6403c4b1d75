"""Opening, closing, and what is said when the database refuses."""

import sqlite3
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import func, make_url, select

from hubsync.catalog import errors, schema, sqlite
from hubsync.catalog.bulk import insert
from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.tables import commits, file_spans
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.ports.blobs import NoRoomError
from tests.postgres import PASSWORD, PostgresServer, require_server
from tests.unit.catalog.making import held, oid, plain, publish, repo


@pytest.fixture
def server() -> PostgresServer:
    return require_server()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An SQLite catalog with one commit, closed."""
    path = tmp_path / "catalog.db"
    with Catalog.open(sqlite_url(path)) as catalog:
        publish(catalog, 1, [plain("a", b"1")])
    return path


def test_what_was_published_is_there_after_reopening(catalog_url: str) -> None:
    with Catalog.open(catalog_url) as catalog:
        published = publish(catalog, 1, [plain("a", b"1")])
    with Catalog.open(catalog_url) as catalog:
        assert catalog.repos() == [published.repo]
        assert catalog.snapshots(published.repo) == [published.snapshot]


def test_a_catalog_opened_for_reading_writes_nothing(catalog_url: str) -> None:
    with Catalog.open(catalog_url) as catalog:
        row = publish(catalog, 1, [plain("a", b"1")]).repo
    with Catalog.open(catalog_url, read_only=True) as catalog:
        assert catalog.find_repo(repo()) == row
        assert len(catalog.entries(catalog.snapshots(row)[0])) == 1
        with pytest.raises(errors.CatalogReadOnlyError):
            publish(catalog, 2)
        with pytest.raises(errors.CatalogReadOnlyError):
            catalog.record_blobs([held(b"1")])
        # The driver refuses as well, not only our own flag.
        catalog._session.read_only = False
        with pytest.raises(errors.CatalogReadOnlyError):
            publish(catalog, 2)


def test_a_missing_sqlite_catalog_is_not_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with pytest.raises(errors.CatalogAddressError, match="no catalog at") as refused:
        Catalog.open(sqlite_url(path), read_only=True)
    assert refused.value.hint
    assert not path.exists()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"not a database, " * 100)
    for read_only in (False, True):
        with pytest.raises(errors.CatalogDamagedError, match=r"catalog\.db") as refused:
            Catalog.open(sqlite_url(path), read_only=read_only)
        assert refused.value.exit_code is ExitCode.INTEGRITY


def test_a_damaged_database_is_named(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(errors.CatalogDamagedError, match="damaged"):
        Catalog.open(sqlite_url(path)).close()


@pytest.mark.parametrize("place", ["missing/catalog.db", "."])
def test_a_place_without_a_file_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(errors.CatalogAddressError) as refused:
        Catalog.open(sqlite_url(tmp_path / place))
    assert refused.value.exit_code is ExitCode.USAGE
    assert str(tmp_path) in str(refused.value)


def test_a_full_disk_says_so_and_changes_nothing(path: Path) -> None:
    with Catalog.open(sqlite_url(path)) as catalog:
        with catalog._session.engine.connect() as connection:
            # It goes back to the pool, and the next writer takes it from there.
            connection.exec_driver_sql("PRAGMA max_page_count=1")
        tree = [plain(f"f{n}", b"%d" % n) for n in range(3000)]
        with pytest.raises(NoRoomError):
            publish(catalog, 2, tree)
        assert [row.commit.oid for row in catalog.snapshots(catalog.repos()[0])] == [
            oid(1)
        ]


def test_waiting_too_long_for_another_writer_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Catalog.open(sqlite_url(path)) as catalog:
        with pytest.raises(errors.CatalogBusyError) as refused:
            publish(catalog, 2)
        assert refused.value.exit_code is ExitCode.BUSY
        assert refused.value.hint
        assert len(catalog.repos()) == 1  # reading goes on
        other.execute("ROLLBACK")
        assert publish(catalog, 2).new_commit
    other.close()


def test_the_sqlite_file_is_as_durable_as_promised(path: Path) -> None:
    connection = sqlite.connect(path)
    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    }
    connection.close()
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_a_new_file_is_switched_to_wal_by_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    lock, path = sqlite._folder_lock, tmp_path / "new.db"

    @contextmanager
    def watched(folder: Path) -> Iterator[None]:
        with lock(folder):
            before = path.read_bytes()[18:20]
            yield
            seen.append((folder, before, path.read_bytes()[18:20]))

    monkeypatch.setattr(sqlite, "_folder_lock", watched)
    for _ in range(2):
        sqlite.connect(path).close()
    assert seen == [(tmp_path, b"", b"\x02\x02")]


def test_an_error_while_copying_is_ours_too(server: PostgresServer) -> None:
    """COPY goes past SQLAlchemy, and so would its errors."""
    rows = [
        {"repo_id": 1, "path": "a\0", "from_seq": n, "to_seq": n + 1, "blob_id": 1}
        for n in range(1000)
    ]
    with server.database() as url, Catalog.open(url) as catalog:
        with pytest.raises(errors.CatalogError):
            catalog._session.write(lambda tx: insert(tx, file_spans, rows))
        rows = [row | {"path": "a"} for row in rows]
        with pytest.raises(errors.CatalogError, match="foreign key"):
            catalog._session.write(lambda tx: insert(tx, file_spans, rows))


def test_closing_leaves_no_files_beside_the_catalog(path: Path) -> None:
    assert [file.name for file in path.parent.iterdir()] == ["catalog.db"]


def test_a_read_leaves_no_transaction_open(path: Path) -> None:
    """Or the write-ahead log could never be shortened."""
    with Catalog.open(sqlite_url(path)) as catalog:
        row = catalog.repos()[0]
        catalog.entry(catalog.snapshots(row)[0], "a")
        publish(catalog, 2)
        other = sqlite.connect(path)
        busy, _, _ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        other.close()
        assert busy == 0


def test_a_reader_of_several_statements_sees_one_state(catalog: Catalog) -> None:
    publish(catalog, 1)
    count = select(func.count()).select_from(commits)
    with catalog._session.reading() as connection:
        before = connection.scalar(count)
        publish(catalog, 2)
        assert connection.scalar(count) == before == 1


def test_one_catalog_serves_many_threads(catalog: Catalog) -> None:
    row = publish(catalog, 0, [plain("a", b"0")]).repo
    start = threading.Barrier(12)

    def read() -> None:
        start.wait()
        for _ in range(60):
            snapshot = catalog.resolve(row, "main")
            assert snapshot
            one, (other,) = catalog.entry(snapshot, "a"), catalog.entries(snapshot)
            assert one
            assert one.entry == other.entry  # it may become held in between

    def write(number: int) -> None:
        start.wait()
        for turn in range(10):
            content = b"%d-%d" % (number, turn)
            publish(catalog, content, [plain("a", content)])
            catalog.record_blobs([held(content)])

    with ThreadPoolExecutor(12) as pool:
        done = [pool.submit(read) for _ in range(8)]
        done += [pool.submit(write, number) for number in range(4)]
        for future in done:
            future.result()
    found = catalog.snapshots(row)
    assert [snap.seq for snap in found] == list(range(41, 0, -1))
    assert list(catalog.unneeded_blobs()) == []
    assert len(list(catalog.all_held())) == 40


def test_a_missing_driver_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(errors.CatalogAddressError, match="psycopg") as refused:
        Catalog.open("postgresql://me@127.0.0.1/base")
    assert refused.value.hint == "pip install 'hubsync[postgres]'"


def refusal(url: str) -> HubsyncError:
    with pytest.raises(HubsyncError) as refused:
        Catalog.open(url)
    said = f"{refused.value} {refused.value.hint}"
    assert str(make_url(url).password) not in said
    assert "Traceback" not in said
    assert "\n" not in said
    return refused.value


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    error = refusal("postgresql://me:hunter2@127.0.0.1:1/base")
    assert isinstance(error, errors.CatalogUnavailableError)
    assert error.exit_code is ExitCode.UNAVAILABLE
    assert "postgresql://me@127.0.0.1:1/base" in str(error)


def test_an_unknown_host_is_unavailable() -> None:
    error = refusal("postgresql://me:hunter2@no-such-host.invalid/base")
    assert error.exit_code is ExitCode.UNAVAILABLE


def test_wrong_names_and_passwords_are_the_users_to_mend(
    server: PostgresServer,
) -> None:
    for url in (
        server.url("no_such_base"),
        server.url("postgres", username="no_such_user"),
        server.url("postgres", password="hunter2"),
    ):
        error = refusal(url)
        assert isinstance(error, errors.CatalogAddressError), error
        assert error.exit_code is ExitCode.USAGE
        assert PASSWORD not in str(error)


def test_a_server_that_was_restarted_is_found_again(server: PostgresServer) -> None:
    with server.database() as url, Catalog.open(url) as catalog:
        row = publish(catalog, 1).repo
        server.execute(
            sql.SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = {}"
            ).format(sql.Literal(make_url(url).database))
        )
        assert catalog.find_repo(repo()) == row
        assert publish(catalog, 2).new_commit


def test_a_path_too_long_for_the_index_is_named(server: PostgresServer) -> None:
    with server.database() as url, Catalog.open(url) as catalog:
        path = "/".join(oid(n) for n in range(99))
        with pytest.raises(HubsyncError, match="too long") as refused:
            publish(catalog, 1, [plain(path, b"1")])
        assert refused.value.exit_code is ExitCode.INTEGRITY


def test_the_version_of_the_data_changes_with_each_commit(path: Path) -> None:
    url = sqlite_url(path)
    with Catalog.open(url, read_only=True) as reader, Catalog.open(url) as writer:
        seen = [reader.data_version()]
        reader.repos()
        assert reader.data_version() == seen[0]
        for number in (2, 3):
            publish(writer, number, [plain("a", b"%d" % number)])
            seen.append(reader.data_version())
        assert len(set(seen)) == 3
        own = writer.data_version()  # a commit of one's own counts, too
        publish(writer, 4, [plain("a", b"4")])
        assert writer.data_version() != own


@pytest.fixture
def unchangeable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a read-only mount: SQLite itself would never look again."""
    monkeypatch.setattr(
        sqlite,
        "_connect_read_only",
        lambda one: sqlite._open_uri(
            one, "mode=ro&immutable=1", sqlite.FrozenConnection
        ),
    )


@pytest.mark.usefixtures("unchangeable")
def test_the_version_of_a_file_that_was_opened_as_unchangeable(path: Path) -> None:
    with Catalog.open(sqlite_url(path), read_only=True) as reader:
        before = reader.data_version()
        assert reader.data_version() == before
        with Catalog.open(sqlite_url(path)) as writer:
            publish(writer, 2, [plain("a", b"2")])
        assert reader.data_version() != before


@pytest.mark.usefixtures("unchangeable")
def test_the_version_of_a_file_that_was_gone_for_a_while(path: Path) -> None:
    """A mount that came back is the same file, and is opened again."""
    with Catalog.open(sqlite_url(path), read_only=True) as reader:
        before = reader.data_version()
        aside = path.rename(path.with_name("aside"))
        with pytest.raises(HubsyncError):
            reader.data_version()
        aside.rename(path)
        assert reader.data_version() != before
        assert reader.data_version() == reader.data_version()


def test_postgresql_cannot_tell_whether_anything_has_changed(
    server: PostgresServer,
) -> None:
    template = server.template("catalog", schema.upgrade)
    with server.database(template) as url, Catalog.open(url) as catalog:
        assert catalog.data_version() is None
