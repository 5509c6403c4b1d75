"""A PostgreSQL server for tests: one a process, one database a test.

``HUBSYNC_TEST_PG_URL`` names a server (its user may create databases); without
it, Debian's binaries are started on a folder that is thrown away.
"""

import atexit
import functools
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, make_url

PASSWORD = "s3cret-of-the-tests"
_BINARIES = "/usr/lib/postgresql"
_USER = "postgres"


class NoServerError(Exception):
    """There is no PostgreSQL to test with, and why."""


class PostgresServer:
    """A running server, and databases on it."""

    def __init__(self, admin: URL) -> None:
        self._admin = admin
        self._templates: dict[str, str] = {}

    def url(self, database: str, **changes: str | int) -> str:
        url = self._admin.set(database=database)
        url = url.set(**changes)  # type: ignore[arg-type]
        return url.render_as_string(hide_password=False)

    def execute(self, statement: sql.Composed, database: str = "") -> None:
        url = self._admin.set(drivername="postgresql")
        url = url.set(database=database or url.database)
        with psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True
        ) as connection:
            connection.execute(statement)

    def create(self, template: str | None = None) -> str:
        """A new database's name."""
        name = f"hubsync_test_{uuid.uuid4().hex[:12]}"
        source = sql.Identifier(template or "template0")
        self.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'").format(
                sql.Identifier(name), source
            )
        )
        return name

    def drop(self, name: str) -> None:
        self.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                sql.Identifier(name)
            )
        )

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The URL of a database that is dropped afterwards."""
        name = self.create(template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def template(self, key: str, fill: Callable[[str], object]) -> str:
        """The name of a database that *fill* was called with the URL of, once."""
        if key not in self._templates:
            name = self.create()
            atexit.register(self.drop, name)
            fill(self.url(name))
            self._templates[key] = name
        return self._templates[key]


def require_server() -> PostgresServer:
    """The server of this process; skips the test when there is none."""
    found = _server()
    if isinstance(found, NoServerError):
        pytest.skip(f"no PostgreSQL: {found}")
    return found


@functools.cache
def _server() -> PostgresServer | NoServerError:
    if given := os.environ.get("HUBSYNC_TEST_PG_URL"):
        url = make_url(given)
        return PostgresServer(url.set(drivername="postgresql+psycopg"))
    try:
        return _start()
    except NoServerError as error:
        return error


def _binaries() -> Path:
    found = sorted(
        (path.parent for path in Path(_BINARIES).glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name),
    )
    if not found:
        message = f"HUBSYNC_TEST_PG_URL is not set and {_BINARIES} has no binaries"
        raise NoServerError(message)
    return found[-1]


def _as_server_user() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        message = "this is root, and setpriv is not installed"
        raise NoServerError(message)
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]


def _start() -> PostgresServer:
    binaries, prefix = _binaries(), _as_server_user()
    folder = Path(tempfile.mkdtemp(prefix="hubsync-pg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if prefix:
        shutil.chown(folder, _USER, _USER)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    user = _USER if prefix else getpass.getuser()
    made = subprocess.run(
        [
            *prefix,
            str(binaries / "initdb"),
            *("--pgdata", str(folder / "data"), "--username", user),
            *("--encoding", "UTF8", "--no-sync", "--pwfile", str(secret)),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    if made.returncode:
        message = f"initdb failed: {made.stderr.strip()}"
        raise NoServerError(message)
    port = _free_port()
    command = [
        *prefix,
        *(["--pdeathsig", "INT"] if prefix else []),
        str(binaries / "postgres"),
        *("-D", str(folder / "data"), "-k", str(folder), "-p", str(port)),
        *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
        *("-c", "full_page_writes=off", "-c", "synchronous_commit=off"),
        # Written to stderr in English, so that we see when it is ready.
        *("-c", "lc_messages=C", "-c", "logging_collector=off"),
    ]
    _run(command, folder)
    return PostgresServer(
        URL.create(
            "postgresql+psycopg", user, PASSWORD, "127.0.0.1", port, database="postgres"
        )
    )


def _run(command: list[str], folder: Path) -> None:
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True
    )
    atexit.register(_stop, process)
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if "ready to accept connections" in line:
            break
    else:
        message = f"postgres did not start: {''.join(said)}"
        raise NoServerError(message)
    # Someone has to go on reading, or the server would block on a full pipe.
    threading.Thread(
        target=lambda: deque(process.stderr or (), maxlen=0), daemon=True
    ).start()


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
