"""F15 and F16: the catalog is gone, or is an old one; the store knows it all."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from hubsync.catalog import schema
from hubsync.catalog.catalog import Catalog
from hubsync.model.errors import ExitCode
from tests.postgres import require_server
from tests.pulling import Mirror
from tests.testhub import Lfs, TestHub

WEIGHTS = b"weights " * 40_000

# A pull that is killed -9 when it comes to call what is named.
KILLED_AT = """
import importlib, os, signal, sys
from hubsync.cli.main import main

module, _, name = sys.argv[1].partition(":")
owner = importlib.import_module(module)
*path, name = name.split(".")
for part in path:
    owner = getattr(owner, part)
setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
main(sys.argv[2:])
"""
BETWEEN = {
    "record and rows": "hubsync.catalog.catalog:Catalog.publish",
    "rows and the repo's record": "hubsync.sync.publish:write_repo",
    "the repo's record and the view": "hubsync.sync.pull:lay_out",
}


def contents(root: Path) -> dict[str, Any]:
    """All that the catalog says which a rebuild must bring back."""
    with Catalog.open(f"sqlite:///{root}/catalog.db") as catalog:
        found: dict[str, Any] = {"held": set(catalog.all_held())}
        for row in catalog.repos():
            found[str(row.repo)] = {
                "hub_id": row.hub_id,
                "aliases": row.aliases,
                "card": row.card,
                "refs": {ref.name.full: ref.commit for ref in catalog.refs(row)},
                "commits": [
                    (one.commit, one.recorded_at, catalog.entries(one))
                    for one in catalog.snapshots(row)
                ],
            }
        return found


@pytest.fixture
def filled(mirror: Mirror, hub: TestHub, tmp_path: Path) -> Mirror:
    """Branches, tags, a rename, pointers, a part of a repo, a force-push, own files."""
    model = hub.create_repo("acme/model", tags=("demo",))
    first = model.commit({"README.md": b"# one\n", "w.bin": Lfs(WEIGHTS)}, "first")
    mirror.pull("acme/model")
    model.tag("v1", first)
    mirror.pull("acme/model", "v1")
    model.commit({"README.md": b"# two\n", "extra/a.txt": b"a" * 99}, "second")
    mirror.pull("acme/model", include=("README.md",))
    mirror.pull("acme/model")
    model.rename("acme/renamed")
    model.commit({"README.md": b"# three\n"}, "third")
    mirror.pull("acme/model")
    other = hub.create_repo("acme/pointers")
    other.commit({"p.txt": b"plain", "big.bin": Lfs(b"big" * 50_000)})
    mirror.pull("acme/pointers", skip_smudge=True)
    forced = hub.create_repo("acme/forced")
    old = forced.commit({"f": b"1"})
    mirror.pull("acme/forced")
    forced.commit({"f": b"2"})
    mirror.pull("acme/forced")
    forced.force_push("main", old)
    mirror.pull("acme/forced")
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.txt").write_text("mine")
    assert mirror.run("add", str(own), "team/own").returncode == 0
    assert mirror.run("forget", f"acme/forced@{old}").returncode == 0
    # What nothing refers to has no record, and need not come back.
    assert mirror.run("gc").returncode == 0
    return mirror


def test_f15_a_lost_catalog_is_made_again_with_equal_refs(filled: Mirror) -> None:
    before = contents(filled.root)
    for path in filled.root.glob("catalog.db*"):
        path.unlink()
    done = filled.json("db", "rebuild")
    assert done["problems"] == []
    assert contents(filled.root) == before
    assert filled.json("verify", "--all")["damaged"] == 0
    again = filled.pull("acme/renamed")
    assert again.requests == 1, "nothing has to be fetched or listed again"
    assert filled.run("gc").returncode == 0
    assert contents(filled.root) == before


def test_f15_the_views_come_back_too(filled: Mirror) -> None:
    seen = {path for path in (filled.root / "hub").rglob("*") if path.is_symlink()}
    (filled.root / "catalog.db").unlink()
    shutil.rmtree(filled.root / "hub")
    filled.json("db", "rebuild")
    now = {path for path in (filled.root / "hub").rglob("*") if path.is_symlink()}
    assert now >= seen, "a renamed repo is laid out whole under both of its names"


def test_f15_a_rebuild_is_refused_where_there_is_a_catalog(filled: Mirror) -> None:
    before = contents(filled.root)
    done = filled.run("db", "rebuild")
    assert done.returncode == ExitCode.USAGE
    assert "--adopt" in done.stderr
    assert contents(filled.root) == before


def test_f15_a_damaged_catalog_is_put_aside_and_kept(filled: Mirror) -> None:
    before = contents(filled.root)
    (filled.root / "catalog.db").write_bytes(b"no database" * 1000)
    assert filled.run("db", "rebuild").returncode != 0
    done = filled.run("db", "rebuild", "--force")
    assert done.returncode == 0, done.stderr
    assert contents(filled.root) == before
    assert len(list(filled.root.glob("catalog.db.*.bak"))) == 1


def test_f15_a_catalog_that_a_server_has_open_is_not_put_aside(filled: Mirror) -> None:
    serve = [sys.executable, "-m", "hubsync", "serve", "--port", "0", "--json"]
    before = contents(filled.root)
    with subprocess.Popen(
        serve, env=filled.environment(), stdout=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stdout is not None
        url = json.loads(serving.stdout.readline())["url"]
        with urllib.request.urlopen(f"{url}/api/models/acme/renamed") as answer:
            assert answer.status == 200
        done = filled.run("db", "rebuild", "--force")
        serving.terminate()
    assert done.returncode == ExitCode.BUSY
    assert f"process {serving.pid} " in done.stderr
    assert not list(filled.root.glob("*.bak*"))
    done = filled.run("db", "rebuild", "--force")
    assert done.returncode == 0, done.stderr
    assert contents(filled.root) == before
    assert [path.suffix for path in filled.root.glob("*.bak*")] == [".bak"]


def test_db_check_says_what_is_wrong_by_its_exit_code(
    filled: Mirror, hub: TestHub, tmp_path: Path
) -> None:
    assert filled.run("db", "check").returncode == 0
    shutil.copy(filled.root / "catalog.db", tmp_path / "backup.db")
    hub.create_repo("acme/newer").commit({"f": b"new"})
    filled.pull("acme/newer")
    newer = (filled.root / "catalog.db").read_bytes()
    shutil.copy(tmp_path / "backup.db", filled.root / "catalog.db")
    done = filled.run("db", "check", "--json")
    assert done.returncode == ExitCode.FAILED
    assert json.loads(done.stdout)["unknown"] == 1
    assert "db rebuild --adopt" in done.stderr
    (filled.root / "catalog.db").write_bytes(newer)
    record = min((filled.root / "records").rglob("*.json.gz"))
    record.write_bytes(b"\x1f\x8bgarbage")
    done = filled.run("db", "check", "--json")
    assert done.returncode == ExitCode.INTEGRITY
    (problem,) = json.loads(done.stdout)["damaged_records"]
    assert record.name in problem
    assert filled.run("db", "upgrade").returncode == 0
    assert filled.run("db", "check").returncode == 0


def test_f15_a_record_that_went_bad_is_named_and_the_rest_comes_back(
    filled: Mirror,
) -> None:
    records = sorted((filled.root / "records").rglob("*.json.gz"))
    records[0].write_bytes(b"\x1f\x8bgarbage")
    (filled.root / "catalog.db").unlink()
    done = filled.run("db", "rebuild")
    assert done.returncode == ExitCode.PARTLY
    assert records[0].name in done.stderr
    held = filled.run("list", "--json").stdout.splitlines()
    assert len(held) == len(records) - 1


def test_f16_an_old_catalog_put_back_loses_nothing_to_gc(
    mirror: Mirror, hub: TestHub, tmp_path: Path
) -> None:
    repo = hub.create_repo("acme/model")
    repo.commit({"a.txt": b"a", "w.bin": Lfs(WEIGHTS)})
    mirror.pull("acme/model")
    shutil.copy(mirror.root / "catalog.db", tmp_path / "backup.db")
    repo.commit({"b.txt": b"b", "new.bin": Lfs(WEIGHTS * 2)})
    mirror.pull("acme/model")
    newest = contents(mirror.root)
    blobs = mirror.blobs().keys()
    for path in mirror.root.glob("catalog.db*"):
        path.unlink()
    shutil.copy(tmp_path / "backup.db", mirror.root / "catalog.db")

    done = mirror.run("gc")
    assert done.returncode == 0
    assert "db rebuild" in done.stderr, "the rollback is noticed"
    assert mirror.blobs().keys() == blobs
    assert mirror.json("db", "rebuild", "--adopt")["commits"] == 1
    adopted = contents(mirror.root)
    assert adopted["held"] == newest["held"]
    ours = "huggingface:acme/model"
    assert adopted[ours]["commits"] == newest[ours]["commits"]


def test_a_killed_forget_is_finished_by_gc(mirror: Mirror, hub: TestHub) -> None:
    repo = hub.create_repo("acme/model")
    oid = repo.commit({"a.txt": b"a"})
    mirror.pull("acme/model")
    (record,) = (mirror.root / "records").rglob(f"{oid}.json.gz")
    record.rename(f"{record}.forgotten")
    assert mirror.run("gc").returncode == 0
    assert record.exists(), "the catalog still has the commit: so do the records"
    assert mirror.run("forget", "acme/model").returncode == 0
    assert not list((mirror.root / "records").rglob("*.json*"))


def test_an_unchanged_pull_writes_no_record_and_mends_a_missing_one(
    mirror: Mirror, hub: TestHub
) -> None:
    repo = hub.create_repo("acme/model")
    repo.commit({"a.txt": b"a"})
    mirror.pull("acme/model")
    records = list((mirror.root / "records").rglob("*.json*"))
    before = {path: path.stat().st_mtime_ns for path in records}
    assert len(before) == 2
    mirror.pull("acme/model")
    assert {path: path.stat().st_mtime_ns for path in records} == before
    for path in records:
        path.unlink()
    mirror.pull("acme/model")
    assert all(path.exists() for path in records)


@pytest.mark.parametrize("point", BETWEEN)
@pytest.mark.parametrize("renamed", [False, True])
def test_f15_a_pull_killed_anywhere_leaves_records_to_rebuild_from(
    mirror: Mirror, hub: TestHub, point: str, *, renamed: bool
) -> None:
    repo = hub.create_repo("acme/model")
    first = repo.commit({"a.txt": b"a", "w.bin": Lfs(WEIGHTS)})
    mirror.pull("acme/model")
    if renamed:
        repo.rename("acme/renamed")
    second = repo.commit({"b.txt": b"b"})
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT, BETWEEN[point], "pull", "acme/model"],
        env=mirror.environment(),
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    blobs = mirror.blobs().keys()

    (mirror.root / "catalog.db").unlink()
    assert mirror.json("db", "rebuild")["problems"] == []
    assert mirror.run("gc").returncode == 0
    assert mirror.blobs().keys() == blobs, "what was brought in is in a tree now"
    name = "huggingface:acme/renamed" if renamed else "huggingface:acme/model"
    (rebuilt,) = (value for key, value in contents(mirror.root).items() if key == name)
    assert [one.oid for one, *_ in rebuilt["commits"]] == [second, first]

    mirror.pull("acme/model")
    after = contents(mirror.root)
    assert after[name]["refs"] == {"refs/heads/main": second}
    assert set(after) == {name, "held"}
    (mirror.root / "catalog.db").unlink()
    mirror.json("db", "rebuild")
    assert contents(mirror.root) == after


def test_f15_a_lost_repo_record_is_named_and_its_commits_come_back(
    filled: Mirror,
) -> None:
    before = contents(filled.root)
    paths = sorted((filled.root / "records").rglob("repo.json"))
    paths[0].unlink()
    paths[1].write_bytes(b"{")
    (filled.root / "catalog.db").unlink()
    done = filled.run("db", "rebuild")
    assert done.returncode == ExitCode.PARTLY
    assert str(paths[0]) in done.stderr
    assert str(paths[1]) in done.stderr
    after = contents(filled.root)
    for name in before.keys() - {"held"}:
        assert after[name]["commits"] == before[name]["commits"]


def test_f15_verify_finds_what_a_size_does_not_tell(filled: Mirror) -> None:
    weights = max(filled.blobs().values(), key=lambda path: path.stat().st_size)
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(data)
    (filled.root / "catalog.db").unlink()
    done = filled.run("db", "rebuild", "--verify")
    assert done.returncode == ExitCode.PARTLY
    assert weights.name in done.stderr
    assert weights.name not in filled.blobs()


def test_a_store_without_records_says_so_and_an_upgrade_writes_them(
    filled: Mirror,
) -> None:
    before = contents(filled.root)
    commits = sum(len(it["commits"]) for name, it in before.items() if name != "held")
    assert filled.json("db", "check")["without_record"] == 0
    shutil.rmtree(filled.root / "records")
    assert filled.json("db", "check")["without_record"] == commits
    assert "db upgrade" in filled.run("db", "check").stderr
    assert filled.json("db", "upgrade")["records_written"] == commits
    assert filled.json("db", "check")["without_record"] == 0
    (filled.root / "catalog.db").unlink()
    filled.json("db", "rebuild")
    assert contents(filled.root) == before


def test_f16_refs_move_again_to_what_the_old_catalog_lacked(
    mirror: Mirror, hub: TestHub, tmp_path: Path
) -> None:
    repo = hub.create_repo("acme/model")
    repo.commit({"a.txt": b"a"})
    mirror.pull("acme/model")
    shutil.copy(mirror.root / "catalog.db", tmp_path / "backup.db")
    repo.tag("v2", repo.commit({"b.txt": b"b"}))
    mirror.pull("acme/model")
    mirror.pull("acme/model", "v2")
    newest = contents(mirror.root)
    for path in mirror.root.glob("catalog.db*"):
        path.unlink()
    shutil.copy(tmp_path / "backup.db", mirror.root / "catalog.db")
    assert mirror.json("gc", "--dry-run")["adoptable"] == 1
    assert mirror.json("db", "rebuild", "--adopt")["commits"] == 1
    assert contents(mirror.root) == newest
    assert mirror.json("gc")["adoptable"] == 0


def test_f15_on_postgresql_the_new_database_has_to_be_empty(
    mirror: Mirror, hub: TestHub
) -> None:
    repo = hub.create_repo("acme/model")
    oid = repo.commit({"a.txt": b"a", "w.bin": Lfs(WEIGHTS)})
    mirror.pull("acme/model")  # into SQLite; the records are the store's
    server = require_server()
    with server.database(server.template("catalog", schema.upgrade)) as url:
        env = {"HUBSYNC_CATALOG__URL": url}
        assert mirror.json("db", "rebuild", env=env)["commits"] == 1
        assert oid in mirror.run("list", "--json", env=env).stdout
        assert mirror.json("verify", "--all", env=env)["blobs"] == 2
        for option in ([], ["--force"]):
            done = mirror.run("db", "rebuild", *option, env=env)
            assert done.returncode == ExitCode.USAGE
        assert mirror.json("db", "rebuild", "--adopt", env=env)["commits"] == 0
