"""From any state of a database to ours, or a clear refusal."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from hubsync.catalog import schema
from hubsync.catalog.address import CatalogAddress
from hubsync.catalog.catalog import Catalog
from hubsync.catalog.errors import CatalogError, SchemaError
from hubsync.catalog.session import make_engine
from hubsync.model.errors import ExitCode
from tests.unit.catalog.making import open_and_publish, plain, publish

ROOT = Path(__file__).parents[2]
HEAD = schema.head()
NEXT = f"{int(HEAD) + 1:04}"


def run_sql(url: str, statement: str) -> None:
    engine = make_engine(CatalogAddress.parse(url))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def write_migration(versions: Path, body: str) -> None:
    (versions / f"{NEXT}_next.py").write_text(
        f'"""The next release."""\nimport sqlalchemy as sa\nfrom alembic import op\n'
        f'revision = "{NEXT}"\ndown_revision = "{HEAD}"\n'
        f"def upgrade() -> None:\n    {body}\n"
    )


def test_the_head_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.migrations_dir()))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_every_migration_explains_itself() -> None:
    for script in (schema.migrations_dir() / "versions").glob("*.py"):
        assert re.fullmatch(r"\d{4}_[a-z0-9_]+\.py", script.name)
        said = script.read_text()
        assert said.startswith('"""')
        for part in (
            "Why:",
            "Safe under the previous release:",
            f'"{script.name[:4]}"',
        ):
            assert part in said, (script.name, part)


def test_an_empty_database_becomes_a_catalog(empty_url: str) -> None:
    assert schema.current(empty_url) is None
    assert schema.upgrade(empty_url) == (None, HEAD)
    assert schema.current(empty_url) == HEAD
    schema.check(empty_url)
    assert schema.upgrade(empty_url) == (HEAD, HEAD)


def test_asking_makes_no_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    with pytest.raises(SchemaError):
        schema.check(url)
    assert list(tmp_path.iterdir()) == []


def test_opening_an_empty_database_makes_its_tables(empty_url: str) -> None:
    with Catalog.open(empty_url) as catalog:
        assert catalog.repos() == []
    schema.check(empty_url)


def test_a_database_of_someone_else_is_left_alone(empty_url: str) -> None:
    run_sql(empty_url, "CREATE TABLE repos (id integer)")
    for touch in (Catalog.open, schema.upgrade, schema.check):
        with pytest.raises(SchemaError, match="none that hubsync made"):
            touch(empty_url)


@pytest.mark.parametrize("version", ["9999", "ae1027a6acf"])
def test_a_newer_catalog_is_refused_politely(empty_url: str, version: str) -> None:
    schema.upgrade(empty_url)
    run_sql(empty_url, f"UPDATE alembic_version SET version_num = '{version}'")
    for touch in (Catalog.open, schema.upgrade, schema.check):
        with pytest.raises(SchemaError, match=version) as refused:
            touch(empty_url)
        assert refused.value.exit_code is ExitCode.USAGE
        assert refused.value.hint is not None
        assert "Upgrade hubsync" in refused.value.hint
    assert schema.current(empty_url) == version


def test_an_older_catalog_is_upgraded_only_when_told(
    empty_url: str, next_release: Path
) -> None:
    with pytest.MonkeyPatch.context() as today:
        today.setattr(schema, "migrations_dir", lambda: ROOT / "migrations")
        with Catalog.open(empty_url) as catalog:
            row = publish(catalog, 1, [plain("a", b"1")]).repo
    write_migration(next_release, 'op.add_column("repos", sa.Column("x", sa.Text()))')
    for touch in (Catalog.open, schema.check):
        with pytest.raises(SchemaError, match=NEXT) as refused:
            touch(empty_url)
        assert refused.value.exit_code is ExitCode.USAGE
        assert refused.value.hint is not None
        assert "hubsync db upgrade" in refused.value.hint
    assert schema.upgrade(empty_url) == (HEAD, NEXT)
    with Catalog.open(empty_url) as catalog:
        assert catalog.repos() == [row]


def test_a_failed_migration_leaves_all_as_it_was(
    empty_url: str, next_release: Path
) -> None:
    schema.upgrade(empty_url)
    write_migration(
        next_release,
        'op.add_column("repos", sa.Column("x", sa.Text()))\n'
        '    op.execute("SELECT 1 FROM nowhere")',
    )
    with pytest.raises(CatalogError, match="nowhere"):
        schema.upgrade(empty_url)
    assert schema.current(empty_url) == HEAD
    with pytest.raises(CatalogError, match="x"):
        upgrade_reads_x(empty_url)


def upgrade_reads_x(url: str) -> None:
    with schema.upgrading(CatalogAddress.parse(url)) as connection:
        connection.execute(text("SELECT x FROM repos"))


def test_processes_upgrade_one_empty_database_at_once(empty_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        done = [pool.submit(schema.upgrade, empty_url) for _ in range(4)]
        results = [future.result() for future in done]
    assert sorted(results, key=str) == [(HEAD, HEAD)] * 3 + [(None, HEAD)]


def test_processes_open_one_empty_database_at_once(empty_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        done = [pool.submit(open_and_publish, empty_url, n) for n in range(4)]
        for future in done:
            future.result()
    with Catalog.open(empty_url) as catalog:
        (row,) = catalog.repos()
        assert len(catalog.snapshots(row)) == 4


def alembic(url: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-x", f"url={url}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_developers_own_commands_work(empty_url: str) -> None:
    """Up, no drift, down to nothing, and up again."""
    alembic(empty_url, "upgrade", "head")
    assert schema.current(empty_url) == HEAD
    assert "No new upgrade operations" in alembic(empty_url, "check")
    alembic(empty_url, "downgrade", "base")
    assert schema.current(empty_url) is None
    open_and_publish(empty_url, 1)


def test_an_installed_package_finds_its_migrations(
    empty_url: str, tmp_path: Path
) -> None:
    """In a wheel they are inside the package (pyproject.toml, force-include)."""
    site = tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "hubsync", site / "hubsync", ignore=ignored)
    shutil.copytree(ROOT / "migrations", site / "hubsync/_migrations", ignore=ignored)
    code = (
        "import sys; from hubsync.catalog import schema; "
        "print(schema.migrations_dir()); print(schema.upgrade(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, empty_url],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder, result = done.stdout.splitlines()
    assert folder == str(site / "hubsync/_migrations")
    assert result == str((None, HEAD))
