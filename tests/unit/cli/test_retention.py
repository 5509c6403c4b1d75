"""Letting go, collecting, checking: what the store holds afterwards."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.model.digest import Digest
from hubsync.model.errors import ExitCode
from tests.unit.cli.harness import FILES, PROJECT, Cli, listing, read, write

Held = tuple[Cli, str, str]
FIRST_ONLY = {Digest.of(FILES[name]).hex for name in ("config.json", "sub/vocab.txt")}

HOLD = """
import sys
from pathlib import Path
from hubsync.store.layout import StoreRoot

with getattr(StoreRoot.open(Path(sys.argv[1]), create=False), sys.argv[2])():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def lock_held(root: Path, kind: str) -> Iterator[None]:
    """Another process holds the store's lock until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.stdin.close()
            assert process.wait(60) == 0


def blob_path(cli: Cli, data: bytes) -> Path:
    name = Digest.of(data).hex
    return cli.root / "blobs/sha256" / name[:2] / name[2:4] / name


def flip(path: Path) -> None:
    """One wrong bit, the size as before."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    path.chmod(0o444)


def test_forget_and_gc_take_the_bytes_off_the_disk(held: Held) -> None:
    cli, first, _ = held
    before = {path.name for path in cli.blobs()}
    cli.good("forget", f"acme/model@{first}")
    assert {path.name for path in cli.blobs()} == before
    freed = cli.good("gc", "--json").object()
    assert {path.name for path in cli.blobs()} == before - FIRST_ONLY
    size = len(FILES["config.json"]) + len(FILES["sub/vocab.txt"])
    assert (freed["blobs"], freed["bytes"]) == (2, size)
    inodes = {path.stat().st_ino for path in (cli.root / "hub").rglob("*")}
    assert {path.stat().st_ino for path in cli.blobs()} <= inodes


def test_what_other_versions_need_stays_whole(held: Held) -> None:
    cli, first, second = held
    cli.good("forget", f"acme/model@{first}")
    cli.good("gc")
    assert cli("show", f"acme/model@{first}").code == ExitCode.NOT_FOUND
    assert cli.good("show", "acme/model", "--json").object()["state"] == "complete"
    cli.good("verify", "--all")
    assert not cli.snapshot("acme/model", first).exists()
    view = read(cli.snapshot("acme/model", second))
    cli.good("checkout", "acme/model", cli.tmp / "out")
    assert read(cli.tmp / "out") == view


def test_forgetting_the_whole_repo_empties_the_store(held: Held) -> None:
    cli, _, _ = held
    done = cli.good("forget", "acme/model", "--json").object()
    assert done["whole_repo"]
    assert len(done["commits"]) == 2
    cli.good("gc")
    assert cli.blobs() == []
    assert not (cli.root / "hub/models--acme--model").exists()
    assert cli.good("list").out == ""
    assert cli("log", "acme/model").code == ExitCode.NOT_FOUND


def test_forgetting_the_head_takes_its_ref_with_it(held: Held) -> None:
    cli, first, second = held
    found = cli.good("forget", "acme/model@main", "--json").object()
    assert found["commits"] == [second]
    assert found["refs"] == ["refs/heads/main"]
    assert not (cli.root / "hub/models--acme--model/refs/main").exists()
    assert cli.good("show", f"acme/model@{first}", "--json").object()["refs"] == []


def test_what_was_forgotten_can_be_added_again(held: Held) -> None:
    cli, first, _ = held
    cli.good("forget", "acme/model")
    cli.good("gc")
    folder = write(cli.tmp / "again", FILES)
    found = cli.good("add", folder, "acme/model", "-m", "one", "--json").object()
    assert found["commit"] == first
    assert found["bytes_stored"] == sum(map(len, FILES.values()))
    assert read(Path(found["path"])) == FILES


def test_a_dry_run_of_gc_tells_what_gc_does_and_changes_nothing(held: Held) -> None:
    cli, first, _ = held
    cli.good("forget", f"acme/model@{first}")
    before = listing(cli.root)
    told = cli.good("gc", "--dry-run", "--json").object()
    assert listing(cli.root) == before
    assert told.pop("dry_run") is True
    done = cli.good("gc", "--json").object()
    assert done.pop("dry_run") is False
    assert done == told


def test_gc_of_a_store_where_all_is_needed_deletes_nothing(held: Held) -> None:
    cli, _, _ = held
    before = listing(cli.root)
    assert cli.good("gc", "--json").object()["blobs"] == 0
    assert listing(cli.root) == before


def test_gc_removes_a_blob_that_the_catalog_does_not_know(held: Held) -> None:
    cli, _, _ = held
    stray = blob_path(cli, b"stray")
    write(stray.parent, {stray.name: b"stray"})
    note = write(stray.parent, {"README": b"not a blob"}) / "README"
    told = cli.good("gc", "--dry-run", "--json").object()
    assert (told["strays"], told["bytes"]) == (1, 5)
    assert cli.good("gc", "--json").object()["strays"] == 1
    assert not stray.exists()
    assert note.exists()


@pytest.mark.parametrize(
    "words", [["gc"], ["gc", "--dry-run"], ["forget", "acme/model"]], ids=" ".join
)
def test_it_runs_beside_a_pull_and_beside_another_gc(
    held: Held, words: list[str]
) -> None:
    cli, _, _ = held
    with lock_held(cli.root, "lock_shared"):
        cli.good(*words)


@pytest.mark.parametrize(
    "words", [["gc"], ["forget", "acme/model"], ["verify", "--all"]], ids=" ".join
)
def test_nothing_runs_beside_who_needs_the_store_alone(
    held: Held, words: list[str]
) -> None:
    cli, _, _ = held
    modules = ("gc_cmd", "forget_cmd", "verify_cmd")
    code = (
        "import sys, hubsync.cli.main as main\n"
        f"for name in {modules!r}:\n"
        "    module = __import__(f'hubsync.cli.{name}', fromlist=['x'])\n"
        "    module.LOCK_WAIT_S = 0.1\n"
        "sys.exit(main.run(sys.argv[1:]))\n"
    )
    with lock_held(cli.root, "lock_exclusive"):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=cli.env,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == ExitCode.BUSY
    assert "hint:" in done.stderr


def test_what_a_running_command_has_claimed_stays(held: Held) -> None:
    cli, first, _ = held
    with Catalog.open(sqlite_url(cli.root / "catalog.db")) as catalog:
        lease = catalog.open_lease("a test")
        names = [Digest.of(FILES[name]) for name in ("config.json", "sub/vocab.txt")]
        catalog.claim(lease, names[:1])
        cli.good("forget", f"acme/model@{first}")
        told = cli.good("gc", "--dry-run", "--json").object()
        done = cli.good("gc", "--json").object()
        assert (done["blobs"], done["leases"]) == (1, 1)
        assert told == {**done, "dry_run": True}
        assert blob_path(cli, FILES["config.json"]).exists()
        assert not blob_path(cli, FILES["sub/vocab.txt"]).exists()
        catalog.close_lease(lease)
        assert cli.good("gc", "--json").object()["blobs"] == 1
    assert not blob_path(cli, FILES["config.json"]).exists()


def test_a_grace_keeps_what_came_in_lately(held: Held) -> None:
    cli, _, _ = held
    cli.good("forget", "acme/model")
    stray = blob_path(cli, b"stray")
    write(stray.parent, {stray.name: b"stray"})
    for words in (["gc", "--dry-run"], ["gc"]):
        kept = cli.good(*words, "--grace", "1h", "--json").object()
        assert (kept["blobs"], kept["strays"]) == (0, 0)
    assert cli.good("gc", "--grace", "0s", "--json").object()["blobs"] > 0
    assert cli.blobs() == []
    done = cli("gc", "--grace", "soon")
    assert done.code == ExitCode.USAGE
    assert "24h" in done.err or "14d" in done.err


def test_the_trash_keeps_what_is_taken_out_when_told_to(held: Held) -> None:
    cli, first, _ = held
    keeping = Cli(cli.tmp, cli.root, {"HUBSYNC_STORE__TRASH_KEEP": "1h"})
    cli.good("forget", f"acme/model@{first}")
    assert keeping.good("gc", "--json").object()["blobs"] == 2
    names = {path.name.partition(".")[0] for path in (cli.root / "trash").iterdir()}
    assert names == FIRST_ONLY
    assert keeping.good("gc", "--json").object()["put_back"] == 0
    assert len(list((cli.root / "trash").iterdir())) == 2
    cli.good("gc")
    assert list((cli.root / "trash").iterdir()) == []


def test_gc_puts_back_what_an_interrupted_gc_took_out_and_is_needed(
    held: Held,
) -> None:
    cli, _, _ = held
    path = blob_path(cli, FILES["weights.bin"])
    path.rename(cli.root / "trash" / f"{path.name}.1.2.3")
    told = cli.good("gc", "--dry-run", "--json").object()
    assert told["put_back"] == 1
    assert cli.good("gc", "--json").object()["put_back"] == 1
    assert path.read_bytes() == FILES["weights.bin"]
    cli.good("verify", "--all")


def test_reading_commands_do_not_wait_for_gc(held: Held) -> None:
    cli, _, _ = held
    with lock_held(cli.root, "lock_exclusive"):
        cli.good("list")
        cli.good("show", "acme/model")
        cli.good("checkout", "acme/model", cli.tmp / "out")


def test_two_adds_run_at_once(held: Held) -> None:
    cli, _, _ = held
    with lock_held(cli.root, "lock_shared"):
        cli.good("add", write(cli.tmp / "folder", FILES), "acme/other")


@pytest.mark.parametrize(
    "words", [["verify", "--all"], ["verify", "acme/model"]], ids=" ".join
)
def test_verify_of_a_sound_store_finds_nothing(held: Held, words: list[str]) -> None:
    cli, _, _ = held
    before = listing(cli.root)
    report = cli.good(*words, "--json").object()
    assert report["damaged"] == 0
    assert report["blobs"] == len(cli.blobs())
    assert listing(cli.root) == before


@pytest.mark.parametrize("name", ["weights.bin", "README.md"])
def test_a_flipped_bit_is_found_and_put_where_nobody_reads_it(
    held: Held, name: str
) -> None:
    cli, first, second = held
    damaged = blob_path(cli, FILES[name])
    flip(damaged)
    done = cli("verify", "--all", "--json")
    assert done.code == ExitCode.INTEGRITY
    *found, report = done.objects()
    assert report["damaged"] == 1
    assert [one["digest"] for one in found] == [f"sha256:{damaged.name}"]
    assert len(found[0]["files"]) == 2
    assert not damaged.exists()
    (aside,) = (cli.root / "quarantine").iterdir()
    assert damaged.name in aside.name
    for commit in (first, second):
        view = cli.snapshot("acme/model", commit)
        assert name not in read(view)
        assert not (view / name).is_symlink()
        assert "README.md" in read(view) or name == "README.md"
    wrong = bytes([FILES[name][0] ^ 1]) + FILES[name][1:]
    assert wrong not in read(cli.root / "hub").values()


@pytest.mark.parametrize("name", ["weights.bin", "README.md"])
def test_damage_is_told_until_it_is_mended(held: Held, name: str) -> None:
    cli, first, _ = held
    flip(blob_path(cli, FILES[name]))
    assert cli("verify", "--all").code == ExitCode.INTEGRITY
    for words in (["--all"], ["acme/model"], [f"acme/model@{first}"]):
        done = cli("verify", *words, "--json")
        assert done.code == ExitCode.INTEGRITY
        told, report = done.objects()
        assert report["damaged"] == 1
        assert "since" in told["found"]
        assert len(told["files"]) == 2
        assert all(file.endswith(name) for file in told["files"])
    rows = cli.good("list", "--json").objects()
    assert {one["files_damaged"] for one in rows} == {1}
    assert "1 damaged" in cli.good("list").out
    shown = cli.good("show", "acme/model", "--json").object()
    states = {file["path"]: file["state"] for file in shown["files"]}
    assert [path for path, state in states.items() if state == "damaged"] == [name]
    assert cli("checkout", "acme/model", cli.tmp / "out").code == ExitCode.NOT_FOUND


def test_damage_of_one_repo_is_not_told_of_another(held: Held) -> None:
    cli, _, _ = held
    cli.good("add", write(cli.tmp / "other", {"x": b"other"}), "acme/other")
    flip(blob_path(cli, FILES["weights.bin"]))
    assert cli("verify", "--all").code == ExitCode.INTEGRITY
    cli.good("verify", "acme/other")


def test_what_was_forgotten_is_damaged_no_more(held: Held) -> None:
    cli, _, _ = held
    flip(blob_path(cli, FILES["weights.bin"]))
    assert cli("verify", "--all").code == ExitCode.INTEGRITY
    cli.good("forget", "acme/model")
    cli.good("verify", "--all")


def test_a_plain_file_that_was_lost_makes_the_snapshot_partial(held: Held) -> None:
    cli, first, _ = held
    blob_path(cli, FILES["README.md"]).unlink()
    done = cli("verify", f"acme/model@{first}", "--json")
    assert done.code == ExitCode.INTEGRITY
    assert done.objects()[0]["found"] == "missing"
    states = {one["state"] for one in cli.good("list", "--json").objects()}
    assert states == {"partial"}


@pytest.mark.parametrize("name", ["weights.bin", "README.md"])
def test_adding_the_folder_again_mends_the_damage(held: Held, name: str) -> None:
    cli, first, _ = held
    flip(blob_path(cli, FILES[name]))
    assert cli("verify", "--all").code == ExitCode.INTEGRITY
    folder = write(cli.tmp / "again", FILES)
    found = cli.good("add", folder, "acme/model", "-m", "one", "--json").object()
    assert (found["commit"], found["bytes_stored"]) == (first, len(FILES[name]))
    assert read(Path(found["path"])) == FILES
    cli.good("verify", "--all")


def test_a_truncated_blob_is_found(held: Held) -> None:
    cli, _, _ = held
    path = blob_path(cli, FILES["weights.bin"])
    path.chmod(0o600)
    path.write_bytes(FILES["weights.bin"][:-1])
    done = cli("verify", "--all", "--json")
    assert done.code == ExitCode.INTEGRITY
    assert "bytes long" in done.objects()[0]["found"]


def test_what_has_no_upstream_cannot_be_repaired_and_says_so(held: Held) -> None:
    cli, _, _ = held
    flip(blob_path(cli, FILES["weights.bin"]))
    done = cli("verify", "--all", "--repair")
    assert done.code == ExitCode.INTEGRITY
    assert "cannot repair weights.bin" in done.err


def test_adding_twice_stores_nothing_new(held: Held) -> None:
    cli, first, _ = held
    before = {path.name for path in cli.blobs()}
    folder = write(cli.tmp / "again", FILES)
    found = cli.good("add", folder, "acme/model", "-m", "one", "--json").object()
    assert (found["commit"], found["new_commit"]) == (first, False)
    assert found["bytes_stored"] == 0
    assert {path.name for path in cli.blobs()} == before
    assert cli.good("show", "acme/model", "--json").object()["commit"] == first


@pytest.fixture
def frozen(held: Held) -> Iterator[Cli]:
    """The store on a read-only mount."""
    cli, _, _ = held
    mount = cli.tmp / "mount"
    mount.mkdir()

    def run(*words: str) -> bool:
        return subprocess.run(words, check=False, capture_output=True).returncode == 0

    if not run("mount", "--bind", str(cli.root), str(mount)):
        pytest.skip("mounting is not permitted here")
    try:
        if not run("mount", "-o", "remount,ro,bind", str(mount)):
            pytest.skip("a read-only mount is not permitted here")
        yield Cli(cli.tmp, mount)
    finally:
        run("umount", str(mount))


def test_a_read_only_store_can_be_read(frozen: Cli) -> None:
    assert len(frozen.good("list", "--json").objects()) == 2
    frozen.good("show", "acme/model")
    frozen.good("log", "acme/model")
    frozen.good("checkout", "acme/model", frozen.tmp / "out")


@pytest.mark.parametrize(
    "words",
    [
        ["gc"],
        ["forget", "acme/model"],
        ["verify", "--all", "--repair"],
        ["add", "x", "acme/y"],
        ["pull", "acme/y"],
    ],
    ids=" ".join,
)
def test_a_read_only_store_is_not_changed_and_says_why(
    frozen: Cli, words: list[str]
) -> None:
    write(frozen.tmp / "x", FILES)
    done = frozen(*words)
    assert done.code == ExitCode.FAILED
    assert "read-only" in done.err


LOST = [
    ["list"],
    ["show", "acme/model"],
    ["verify", "--all"],
    ["gc"],
    ["gc", "--force"],
    ["forget", "acme/model"],
    ["pull", "acme/other"],
    ["db", "upgrade"],
    ["db", "check"],
]


@pytest.mark.parametrize("words", LOST, ids=" ".join)
@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_lost_catalog_is_not_begun_anew(
    held: Held, words: list[str], left: str
) -> None:
    """An empty one would have gc delete what it does not know."""
    cli, _, _ = held
    for path in cli.root.glob("catalog.db*"):
        path.unlink()
    if left == "an empty file":
        (cli.root / "catalog.db").touch()
    before = listing(cli.root)
    done = cli(*words)
    assert done.code == ExitCode.USAGE
    assert "hubsync db rebuild" in done.err
    assert listing(cli.root) == before
    assert sum(path.stat().st_size for path in cli.root.glob("catalog.db*")) == 0
    cli.good("db", "rebuild")
    assert len(cli.good("list", "--json").objects()) == 2


def test_blobs_without_records_are_not_collected_by_a_new_catalog(held: Held) -> None:
    cli, _, _ = held
    for path in cli.root.glob("catalog.db*"):
        path.unlink()
    for path in (cli.root / "records").rglob("*.gz"):
        path.unlink()
    done = cli("db", "rebuild", "--json")
    assert done.code == ExitCode.PARTLY
    assert "no record" in done.err
    before = cli.blobs()
    for words in (["gc"], ["gc", "--dry-run"]):
        done = cli(*words)
        assert done.code == ExitCode.USAGE
        assert "--force" in done.err
        assert cli.blobs() == before
    assert cli.good("gc", "--force", "--json").object()["strays"] == len(before)
    assert cli.blobs() == []


def test_what_was_forgotten_to_the_last_is_collected_unasked(held: Held) -> None:
    cli, _, _ = held
    cli.good("forget", "acme/model")
    cli.good("gc")
    assert cli.blobs() == []
    # As a gc leaves it that is killed between the rows and the bytes.
    stray = cli.root / "blobs/sha256/00/00" / ("0" * 64)
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"stray")
    cli.good("gc")
    assert cli.blobs() == []
