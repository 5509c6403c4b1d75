"""Rows of the fault matrix that the store concerns, each by its number.

Kills, power cuts and failing system calls have suites of their own, in
tests/crash; fencing is in tests/simulation and tests/unit/sync.
"""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from hubsync.catalog.catalog import Catalog
from hubsync.model.errors import HubsyncError
from hubsync.model.snapshot import SnapshotState
from tests.postgres import require_server
from tests.pulling import Mirror
from tests.testhub import Fault, HubRepo, Lfs, Seen, TestHub, Virtual
from tests.upstream.cutting_proxy import CuttingProxy, When
from tests.upstream.disks import JUMPING_CLOCK, LYING_FLOCK, TinyDisk, preloaded
from tests.upstream.faulting import (
    FILE,
    MIB,
    NIGHTLY,
    QuickMirror,
    assert_sound,
    parts,
    quick_mirror,
    tiny_repo,
    whole,
)

PULL = (sys.executable, "-m", "hubsync", "pull")
TEN_YEARS_S = 315_360_000
TESTS = Path(__file__).parents[1]
# Rows that concern neither pull nor store, and have their tests with what they do
# concern.  All others up to F46 have one named after them, here or elsewhere:
#     grep -rnE "def test_f[0-9]+_" tests
NOT_OF_PULL_AND_STORE = {
    23: "a worker process that dies: its task is given to another by the daemon",
    47: "bundles",
    48: "schema migrations",
}


@pytest.fixture
def mirror(tmp_path: Path, hub: TestHub) -> QuickMirror:
    return quick_mirror(tmp_path / "mirror", hub)


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    return tiny_repo(hub)


def test_each_row_of_pull_and_store_has_a_test_named_after_it() -> None:
    named = re.compile(r"^ *(?:async )?def test_f(\d+)_", re.MULTILINE)
    rows = {
        int(row)
        for path in TESTS.rglob("test_*.py")
        for row in named.findall(path.read_text())
    }
    assert set(range(1, 49)) - rows == NOT_OF_PULL_AND_STORE.keys()


def on_disk(
    mirror: Mirror, disk: TinyDisk, *args: str, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command where it sees *disk*."""
    return disk.run(
        sys.executable, "-m", "hubsync", *args, env=mirror.environment(**more)
    )


def assert_one_clear_line(done: "subprocess.CompletedProcess[str]", code: int) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(re.findall("^hubsync: error: ", done.stderr, re.MULTILINE)) == 1


def test_f5_a_full_disk_stops_the_pull_serves_what_is_held_and_goes_on_when_freed(
    tmp_path: Path, hub: TestHub, repo: HubRepo
) -> None:
    hub.create_repo("acme/large").commit(
        {f"{n}.bin": Lfs(Virtual(3_000_000, seed=n)) for n in range(4)}
    )
    with TinyDisk(tmp_path / "disk", "size=24m") as disk:
        mirror = quick_mirror(disk.path / "store", hub)
        assert on_disk(mirror, disk, "pull", "acme/tiny").returncode == 0
        _fill_beside_a_pull(mirror, disk)
        shown = on_disk(mirror, disk, "list")
        assert "acme/tiny" in shown.stdout
        assert "acme/large" not in shown.stdout
        out = str(tmp_path / "out")
        assert on_disk(mirror, disk, "checkout", "acme/tiny", out).returncode == 0
        hub.log.clear()
        (disk.outside / "filler").unlink()
        done = on_disk(mirror, disk, "pull", "acme/large")
        assert done.returncode == 0, done.stderr
        assert hub.lfs_bytes_sent < 12_000_000, "what had come is not fetched again"
        assert on_disk(mirror, disk, "verify", "--all").returncode == 0


def _fill_beside_a_pull(mirror: Mirror, disk: TinyDisk) -> None:
    """What it planned did fit, and then somebody else takes the room."""
    pull = [*disk.prefix, *PULL, "acme/large", "--progress", "json"]
    slowly = mirror.environment(HUBSYNC_TRANSFER__RATE_LIMIT="3MB/s")
    with subprocess.Popen(pull, env=slowly, stderr=subprocess.PIPE) as pulling:
        assert pulling.stderr is not None
        for line in pulling.stderr:
            last = json.loads(line)
            if last["event"] == "progress" and last["bytes"]:
                _fill(disk)
                break
        *_, last = map(json.loads, pulling.stderr)
    assert (last["event"], last["exit_code"]) == ("error", 7)
    assert pulling.returncode == 7


def test_a_plan_that_cannot_fit_is_refused_before_its_first_byte(
    tmp_path: Path, hub: TestHub
) -> None:
    hub.create_repo("acme/large").commit(
        {f"{n}.bin": Lfs(Virtual(3_000_000, seed=n)) for n in range(4)}
    )
    with TinyDisk(tmp_path / "disk", "size=10m") as disk:
        mirror = quick_mirror(disk.path / "store", hub)
        plan = on_disk(mirror, disk, "pull", "acme/large", "--dry-run")
        assert plan.returncode == 0
        assert "warning: this would be refused: 12.0 MB are needed" in plan.stderr
        done = on_disk(mirror, disk, "pull", "acme/large")
        assert_one_clear_line(done, 7)
        said = r"12\.0 MB are needed in \S+, \d+\.\d MB are free and 0 B are kept"
        assert re.search(said, done.stderr)
        assert hub.lfs_bytes_sent == 0
        # What is there of it needs no more room.
        some = on_disk(mirror, disk, "pull", "acme/large", "--include", "[01].bin")
        assert some.returncode == 0
        assert_one_clear_line(on_disk(mirror, disk, "pull", "acme/large"), 7)
        disk.remount("size=16m")
        assert on_disk(mirror, disk, "pull", "acme/large").returncode == 0


def test_the_plan_of_a_store_that_is_not_there_looks_where_it_would_be(
    tmp_path: Path, hub: TestHub
) -> None:
    hub.create_repo("acme/large").commit({"a.bin": Lfs(Virtual(3_000_000, seed=1))})
    with TinyDisk(tmp_path / "disk", "size=2m") as disk:
        mirror = quick_mirror(disk.path / "not" / "yet", hub)
        done = on_disk(mirror, disk, "pull", "acme/large", "--dry-run", "--json")
        assert done.returncode == 0
        (warning,) = json.loads(done.stdout)["warnings"]
        assert "3.0 MB are needed" in warning
        assert not (disk.outside / "not").exists()


def test_f6_a_full_disk_below_the_catalog_harms_no_reader(
    tmp_path: Path, hub: TestHub, repo: HubRepo
) -> None:
    repo.commit({f"{n}.txt": b"%d" % n * 50 for n in range(300)}, branch="many")
    with TinyDisk(tmp_path / "disk", "size=4m") as disk:
        url = f"sqlite:///{disk.path}/catalog.db"
        mirror = quick_mirror(tmp_path / "store", hub, HUBSYNC_CATALOG__URL=url)
        assert on_disk(mirror, disk, "pull", "acme/tiny").returncode == 0
        _fill(disk)
        done = on_disk(mirror, disk, "pull", "acme/tiny@many")
        assert done.returncode in (1, 7), done.stderr
        assert "Traceback" not in done.stderr
        shown = on_disk(mirror, disk, "show", "acme/tiny")
        assert shown.returncode == 0, shown.stderr
        (disk.outside / "filler").unlink()
        done = on_disk(mirror, disk, "pull", "acme/tiny@many")
        assert done.returncode == 0, done.stderr
        assert on_disk(mirror, disk, "verify", "--all").returncode == 0


def _fill(disk: TinyDisk) -> None:
    with (disk.outside / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_f5_a_disk_without_one_free_byte_is_emptied_by_forget_and_gc(
    tmp_path: Path, hub: TestHub, repo: HubRepo
) -> None:
    large = hub.create_repo("acme/large")
    large.commit({f"{n}.txt": b"%d" % n * 5000 for n in range(300)})
    with TinyDisk(tmp_path / "disk", "size=24m") as disk:
        mirror = quick_mirror(disk.path / "store", hub)
        assert on_disk(mirror, disk, "pull", "acme/tiny").returncode == 0
        assert on_disk(mirror, disk, "pull", "acme/large").returncode == 0
        ballast = disk.outside / "store" / "ballast"
        assert ballast.stat().st_blocks * 512 >= 2**21
        _fill(disk)
        for words in (["forget", "acme/large"], ["gc"]):
            done = on_disk(mirror, disk, *words)
            assert done.returncode == 0, done.stderr
        assert not ballast.exists(), "there is better use for the room"
        disk_free = os.statvfs(disk.outside)
        assert disk_free.f_bavail * disk_free.f_frsize > 3_000_000
        assert "acme/large" not in on_disk(mirror, disk, "list").stdout
        (disk.outside / "filler").unlink()
        assert on_disk(mirror, disk, "gc").returncode == 0
        assert ballast.stat().st_size == 2**21
        assert on_disk(mirror, disk, "verify", "--all").returncode == 0


def test_f5_where_there_is_no_ballast_a_full_disk_is_said_so(
    tmp_path: Path, hub: TestHub, repo: HubRepo
) -> None:
    with TinyDisk(tmp_path / "disk", "size=24m") as disk:
        mirror = quick_mirror(disk.path / "store", hub)
        assert on_disk(mirror, disk, "pull", "acme/tiny").returncode == 0
        (disk.outside / "store" / "ballast").unlink()
        _fill(disk)
        for words in (["forget", "acme/tiny"], ["gc"]):
            assert_one_clear_line(on_disk(mirror, disk, *words), 7)
        shown = on_disk(mirror, disk, "list")
        assert "acme/tiny" in shown.stdout


def test_f7_no_inodes_left_is_said_so_and_can_be_resumed(
    tmp_path: Path, hub: TestHub
) -> None:
    repo = hub.create_repo("acme/many")
    repo.commit({f"{n}.txt": b"%d" % n * 9 for n in range(150)})
    with TinyDisk(tmp_path / "disk", "size=64m,nr_inodes=120") as disk:
        mirror = quick_mirror(disk.path / "store", hub)
        done = on_disk(mirror, disk, "pull", "acme/many")
        assert_one_clear_line(done, 7)
        assert "inodes" in done.stderr
        disk.remount("nr_inodes=5000")
        done = on_disk(mirror, disk, "pull", "acme/many")
        assert done.returncode == 0, done.stderr
        assert on_disk(mirror, disk, "verify", "--all").returncode == 0


def test_f8_a_file_that_may_not_get_so_large_fails_and_the_others_come(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    others = {f"{seed}.bin": Virtual(900_000, seed=seed) for seed in range(8, 15)}
    repo.commit({name: Lfs(content) for name, content in others.items()})
    hub.pace.rate_bytes_per_s = 2 * MIB  # most of the others come after it
    for _ in range(2):  # the second begins with what the first has left
        done = subprocess.run(
            [*PULL, "acme/tiny"],
            env=mirror.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=lambda: _limit(resource.RLIMIT_FSIZE, 1_000_000),
        )
        assert_one_clear_line(done, 7)
        assert "w.bin of" in done.stderr
        assert "larger than the file system or ulimit allows" in done.stderr
        assert "ulimit -f" in done.stderr
    assert all(whole(mirror, one.content()) for one in others.values())
    assert not whole(mirror)
    hub.log.clear()
    hub.pace.rate_bytes_per_s = None
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert hub.lfs_bytes_sent <= FILE.size, (
        "what had come of it, and the others, are kept"
    )


def _limit(what: int, value: int) -> None:
    if what == resource.RLIMIT_FSIZE:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(what, (value, resource.getrlimit(what)[1]))


def test_f9_few_open_files_are_enough_for_many(
    mirror: QuickMirror, hub: TestHub
) -> None:
    repo = hub.create_repo("acme/many")
    repo.commit({f"{n}.txt": b"%d" % n * 9 for n in range(200)} | {"w.bin": Lfs(FILE)})
    mirror = quick_mirror(
        mirror.root,
        hub,
        HUBSYNC_TRANSFER__MAX_CONNECTIONS="32",
        HUBSYNC_TRANSFER__CONNECTIONS_PER_FILE="16",
    )
    done = subprocess.run(
        [*PULL, "acme/many"],
        env=mirror.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: _limit(resource.RLIMIT_NOFILE, 64),
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert len(mirror.blobs()) == 201


def test_f10_a_store_that_became_read_only_answers_and_refuses_to_pull(
    tmp_path: Path, hub: TestHub, repo: HubRepo
) -> None:
    with TinyDisk(tmp_path / "disk", "size=32m") as disk:
        mirror = quick_mirror(disk.path / "store", hub)
        assert on_disk(mirror, disk, "pull", "acme/tiny").returncode == 0
        disk.remount("ro")
        done = on_disk(mirror, disk, "pull", "acme/tiny", "--force")
        assert_one_clear_line(done, 1)
        assert "read-only" in done.stderr
        assert_one_clear_line(on_disk(mirror, disk, "gc"), 1)
        for args in (
            *(["list"], ["show", "acme/tiny"], ["log", "acme/tiny"], ["db", "check"]),
            *(["verify", "--all"], ["verify", "acme/tiny"], ["gc", "--dry-run"]),
            *(["pull", "acme/tiny", "--offline"], ["pull", "acme/tiny", "--dry-run"]),
        ):
            done = on_disk(mirror, disk, *args)
            assert done.returncode == 0, done.stderr
        assert_one_clear_line(on_disk(mirror, disk, "verify", "--all", "--repair"), 1)
        out = str(tmp_path / "out")
        assert on_disk(mirror, disk, "checkout", "acme/tiny", out).returncode == 0
        disk.remount("rw")
        assert on_disk(mirror, disk, "verify", "--all").returncode == 0


def test_f10_damage_on_a_read_only_disk_is_told_and_left_alone(
    tmp_path: Path, hub: TestHub, repo: HubRepo
) -> None:
    with TinyDisk(tmp_path / "disk", "size=32m") as disk:
        mirror = quick_mirror(disk.path / "store", hub)
        assert on_disk(mirror, disk, "pull", "acme/tiny").returncode == 0
        name = FILE.sha256
        blob = disk.outside / "store/blobs/sha256" / name[:2] / name[2:4] / name
        _flip(blob, 5, 5)
        damaged = blob.read_bytes()
        disk.remount("ro")
        for _ in range(2):
            done = on_disk(mirror, disk, "verify", "--all")
            assert done.returncode == 6
            assert "neither put aside nor remembered" in done.stderr
            assert f"damaged: sha256:{name}" in done.stderr
        assert blob.read_bytes() == damaged
        disk.remount("rw")
        assert on_disk(mirror, disk, "verify", "--all", "--repair").returncode == 0
        assert on_disk(mirror, disk, "verify", "--all").returncode == 0


def test_f12_each_flipped_bit_is_found_and_healed(tmp_path: Path, hub: TestHub) -> None:
    # No view: it would be laid out anew for each of them.
    config = tmp_path / "hubsync.toml"
    config.write_text("[store]\nviews = []\n", "utf-8")
    mirror = quick_mirror(tmp_path / "mirror", hub, HUBSYNC_CONFIG=str(config))
    chance, files = random.Random(12), 500 if NIGHTLY in os.environ else 150
    repo = hub.create_repo("acme/many")
    repo.commit({f"{n}.txt": chance.randbytes(2000 + n) for n in range(files)})
    mirror.pull("acme/many")
    for _ in range(2):
        for path in mirror.blobs().values():
            _flip(path, chance.randrange(path.stat().st_size), chance.randrange(8))
        done = mirror.run("verify", "--all", "--json")
        assert done.returncode == 6
        assert json.loads(done.stdout.splitlines()[-1])["damaged"] == files
        assert mirror.blobs() == {}, "nothing damaged is served"
        mirror.pull("acme/many")
        assert len(mirror.blobs()) == files
    assert mirror.json("verify", "--all")["damaged"] == 0


def _flip(path: Path, at: int, bit: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
    path.chmod(0o444)


def _truncate(path: Path) -> None:
    os.truncate(path, 1000)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("harm", [_truncate, _empty, Path.unlink])
def test_f13_a_blob_that_is_cut_emptied_or_gone_is_fetched_again(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, harm: Callable[[Path], None]
) -> None:
    mirror.pull("acme/tiny")
    harm(mirror.blobs()[FILE.sha256])
    hub.log.clear()
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert hub.lfs_bytes_sent == FILE.size
    assert mirror.json("verify", "--all")["damaged"] == 0


@pytest.mark.parametrize("harm", [_truncate, Path.unlink])
@pytest.mark.parametrize("how", ["verify --all --repair", "pull acme/both"])
def test_f13_damage_is_told_until_its_bytes_are_fetched_again(
    mirror: QuickMirror, hub: TestHub, harm: Callable[[Path], None], how: str
) -> None:
    """A file that nobody has asked for is none, though it is not held either."""
    hub.create_repo("acme/pointers").commit({"w.bin": Lfs(b"never fetched" * 999)})
    mirror.pull("acme/pointers", skip_smudge=True)
    both = hub.create_repo("acme/both")
    both.commit({"README.md": b"plain " * 500, "w.bin": Lfs(b"large " * 5000)})
    mirror.pull("acme/both")
    for path in mirror.blobs().values():
        harm(path)
    assert mirror.run("verify", "--all").returncode == 6
    for words in (["--all"], ["acme/both"]):
        done = mirror.run("verify", *words, "--json")
        assert done.returncode == 6
        assert json.loads(done.stdout.splitlines()[-1])["damaged"] == 2
    assert mirror.run("verify", "acme/pointers").returncode == 0
    repaired = mirror.run(*how.split())
    assert repaired.returncode == 0, repaired.stderr
    assert mirror.json("verify", "--all") == {
        "blobs": 2,
        "bytes": 33_000,
        "damaged": 0,
        "repaired": 0,
    }


def test_f14_a_blob_is_not_to_be_overwritten_in_place(
    mirror: QuickMirror, repo: HubRepo
) -> None:
    mirror.pull("acme/tiny")
    for path in mirror.blobs().values():
        assert path.stat().st_mode & 0o222 == 0
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        with pytest.raises(PermissionError):
            mirror.blobs()[FILE.sha256].open("r+b")
        return
    path = mirror.blobs()[FILE.sha256]
    os.chown(path, 65534, 65534)  # even its owner
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", f": >> {path.name}"],
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "denied" in done.stderr
    _flip(path, 5, 5)  # root may do all: then it is found
    assert mirror.run("verify", "--all").returncode == 6
    mirror.pull("acme/tiny")
    assert whole(mirror)


def test_f15_a_deleted_catalog_is_made_again_from_the_store(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    repo.tag("v1", repo.resolve("main") or "")
    mirror.pull("acme/tiny", "v1")
    mirror.pull("acme/tiny")
    repo.commit({"config.json": b'{"v": 2}'})
    mirror.pull("acme/tiny")
    before = [mirror.json("show", f"acme/tiny@{ref}") for ref in ("main", "v1")]
    for path in mirror.root.glob("catalog.db*"):
        path.unlink()
    done = mirror.run("db", "rebuild")
    assert done.returncode == 0, done.stderr
    assert [mirror.json("show", f"acme/tiny@{ref}") for ref in ("main", "v1")] == before
    assert len(mirror.run("log", "acme/tiny", "--json").stdout.splitlines()) == 2
    hub.log.clear()
    mirror.pull("acme/tiny")
    assert parts(hub) == []
    assert mirror.run("gc").returncode == 0
    assert whole(mirror)


def test_f16_gc_after_an_old_catalog_was_put_back_loses_nothing(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny")
    backup = mirror.root.parent / "backup.db"
    # The last connection to close has emptied the write-ahead log.
    shutil.copyfile(mirror.root / "catalog.db", backup)
    later = Virtual(700_000, seed=9)
    repo.commit({"later.bin": Lfs(later)})
    mirror.pull("acme/tiny")
    for path in mirror.root.glob("catalog.db*"):
        path.unlink()
    shutil.copyfile(backup, mirror.root / "catalog.db")
    done = mirror.run("gc")
    assert done.returncode == 0, done.stderr
    assert whole(mirror, later.content()), "its revision is recorded in the store"
    hub.log.clear()
    mirror.pull("acme/tiny")
    assert mirror.json("verify", "--all")["damaged"] == 0
    assert whole(mirror)


def test_f18_a_flock_that_lies_costs_bandwidth_and_no_byte(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, tmp_path: Path
) -> None:
    lying = preloaded(tmp_path, "flock", LYING_FLOCK)
    hub.pace.rate_bytes_per_s = 2 * MIB
    several = [
        subprocess.Popen([*PULL, "acme/tiny", "-q"], env=mirror.environment(**lying))
        for _ in range(3)
    ]
    codes = [one.wait(60) for one in several]
    assert 0 in codes
    assert_sound(mirror)
    hub.pace.rate_bytes_per_s = None
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert mirror.json("verify", "--all")["damaged"] == 0


def test_f19_gc_beside_pulls_takes_nothing_they_count_on(
    mirror: QuickMirror, hub: TestHub
) -> None:
    chance = random.Random(19)
    shared = Virtual(400_000, seed=19)
    for number in range(6):
        own = {f"{n}.txt": chance.randbytes(900) for n in range(20)}
        hub.create_repo(f"acme/r{number}").commit({**own, "shared.bin": Lfs(shared)})
    mirror.pull("acme/r0")
    mirror.run("forget", "acme/r0", "--yes")
    hub.pace.latency_s = 0.01
    names = [f"acme/r{number}" for number in range(6)]
    pulling = subprocess.Popen([*PULL, *names, "-q"], env=mirror.environment())
    collected = 0
    while pulling.poll() is None:
        done = mirror.run("gc", "--json")
        assert done.returncode in (0, 9), done.stderr
        collected += done.returncode == 0
    assert pulling.returncode == 0
    assert mirror.run("gc").returncode == 0
    for name in names:
        assert mirror.json("show", name)["state"] == "complete"
    assert mirror.json("verify", "--all")["damaged"] == 0
    assert whole(mirror, shared.content())
    assert collected, "gc has run beside them"


@pytest.mark.parametrize(
    "shifts", [(TEN_YEARS_S,), (0, TEN_YEARS_S, -TEN_YEARS_S, 3600)]
)
def test_f21_a_clock_that_is_wrong_or_jumps_deletes_nothing(
    mirror: QuickMirror,
    repo: HubRepo,
    hub: TestHub,
    tmp_path: Path,
    shifts: tuple[int, ...],
) -> None:
    jumping = preloaded(tmp_path, "clock", JUMPING_CLOCK)
    jumping["HUBTEST_SHIFTS"] = ",".join(map(str, shifts))
    stalled = threading.Event()

    def notice(seen: Seen) -> None:
        if len(parts(hub)) >= 6:
            stalled.set()

    hub.hooks.append(notice)
    hub.faults.add(Fault("stall", role="cdn", after=4, times=-1))
    patient = {**jumping, "HUBSYNC_TRANSFER__READ_TIMEOUT": "1s"}
    pulling = subprocess.Popen(
        [*PULL, "acme/tiny", "-q"], env=mirror.environment(**patient)
    )
    assert stalled.wait(30)
    done = mirror.run("gc", env=jumping)
    assert done.returncode in (0, 9), done.stderr
    hub.faults.clear()
    assert pulling.wait(60) == 0
    done = mirror.run("gc", env=jumping)
    assert done.returncode in (0, 9), done.stderr
    assert whole(mirror)
    assert hub.lfs_bytes_sent <= FILE.size + 8 * MIB // 4, "no partial was deleted"
    assert mirror.json("verify", "--all")["damaged"] == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_f24_a_connection_to_postgresql_cut_in_any_commit_is_no_half_truth(
    tmp_path: Path, hub: TestHub, repo: HubRepo, when: When
) -> None:
    server = require_server()
    with server.database() as direct:
        url = make_url(direct)
        assert url.host
        assert url.port
        with CuttingProxy((url.host, url.port)) as proxy:
            through = url.set(port=proxy.port).render_as_string(hide_password=False)
            settings = {"HUBSYNC_CATALOG__URL": through}
            mirror = quick_mirror(tmp_path / "first", hub, **settings)
            mirror.pull("acme/tiny")
            proxy.when, number = when, 0
            while number == proxy.cuts:
                number += 1
                repo.commit({"config.json": b"%d" % number})
                proxy.commits, proxy.cut_at = 0, number
                with suppress(HubsyncError):
                    mirror.pull("acme/tiny")
                proxy.cut_at = None
                assert mirror.pull("acme/tiny").commit.oid == repo.resolve("main")
                with Catalog.open(direct) as catalog:
                    [row] = catalog.repos()
                    found = catalog.snapshots(row)
                    assert len(found) == number + 1, "each version once"
                    assert {catalog.state(one).state for one in found} == {
                        SnapshotState.COMPLETE
                    }
            assert proxy.cuts >= 2, "there were commits to cut"
            assert_sound(mirror)
