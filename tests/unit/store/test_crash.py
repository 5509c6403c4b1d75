"""Whatever lies under a blob's name hashes to it, whenever the process dies."""

import hashlib
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.unit.store.ingesting import content, ingest

KILLS = 60
CODE = [sys.executable, "-m", "tests.unit.store.ingesting"]
TOP = Path(__file__).parents[3]


def strace_works() -> bool:
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(
        ["strace", "-e", "inject=fsync:error=EIO", "true"],
        check=False,
        capture_output=True,
    )
    return tried.returncode == 0


needs_strace = pytest.mark.skipif(
    not strace_works(), reason="strace cannot inject faults here"
)


def check_names(root: StoreRoot) -> set[str]:
    """Every blob there, each of them hashed."""
    found = set()
    for path in root.blobs.rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
            found.add(path.name)
    return found


def names(seeds: range) -> set[str]:
    return {hashlib.sha256(content(seed)).hexdigest() for seed in seeds}


@pytest.mark.slow
def test_a_store_survives_kill_9_at_any_time(root: StoreRoot) -> None:
    """Acknowledged blobs stay, nothing torn is seen, and the next one resumes."""
    chance = random.Random(20261124)
    acknowledged: set[str] = set()
    seed, resumed = 0, 0
    for _ in range(KILLS):
        with subprocess.Popen(
            [*CODE, root.path, str(seed), str(seed + 10_000)],
            stdout=subprocess.PIPE,
            cwd=TOP,
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            try:
                process.wait(chance.uniform(0, 0.08))
            except subprocess.TimeoutExpired:
                process.kill()
            said = process.stdout.read().decode().split("\n")[:-1]
        acknowledged.update(said)
        seed += len(said)  # the next process goes on with the one that was cut
        partials = [path.stat().st_size for path in root.partial.iterdir()]
        resumed += any(partials)

        assert acknowledged <= check_names(root)
        assert len(partials) <= 1

    assert acknowledged == names(range(seed))
    assert resumed, "no kill hit the middle of a blob"
    assert ingest(LocalBlobs(root), seed) in check_names(root)
    assert not list(root.partial.iterdir())


@needs_strace
def test_bytes_are_durable_before_their_name_and_the_name_before_the_word(
    root: StoreRoot, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    calls = "fsync,fdatasync,fchmod,rename,renameat,renameat2,write,mkdir"
    subprocess.run(
        [
            *("strace", "-y", "-s", "999", "-o", str(trace), "-e", f"trace={calls}"),
            *(*CODE, str(root.path), "1", "2"),
        ],
        check=True,
        cwd=TOP,
        stdout=subprocess.DEVNULL,
    )
    digest = next(iter(names(range(1, 2))))
    top, ab, cd = "blobs/sha256", digest[:2], digest[2:4]
    lines = trace.read_text().splitlines()
    bytes_durable = find(lines, r"fsync\(.*/partial/")
    named = find(lines, rf"rename\(.*/partial/.*/{top}/{ab}/{cd}/{digest}\"")
    word = find(lines, rf"write\(1.*{digest}")

    assert bytes_durable < find(lines, r"fchmod\(.*/partial/.*0444") < named
    # The name, and those of the folders made for it, in whichever order.
    for folder in (top, f"{top}/{ab}", f"{top}/{ab}/{cd}"):
        assert named < find(lines, rf"fsync\(.*/{folder}>") < word, lines


def find(lines: list[str], pattern: str) -> int:
    found = [n for n, line in enumerate(lines) if re.search(pattern, line)]
    assert len(found) == 1, (pattern, lines)
    return found[0]


@needs_strace
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir", "fchmod", "pwrite64"])
@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC", "signal=KILL"])
def test_each_call_may_fail_or_be_the_last(
    tmp_path: Path, call: str, fault: str
) -> None:
    """No fault is followed by an acknowledgement; the next attempt succeeds."""
    for nth in range(1, 20):
        root = StoreRoot.open(tmp_path / f"store{nth}", create=True)
        done = subprocess.run(
            [
                *("strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}"),
                *("-e", f"inject={call}:{fault}:when={nth}"),
                *(*CODE, str(root.path), "7", "8"),
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=TOP,
        )
        if done.returncode == 0:
            break  # there is no nth call
        assert done.stdout == "ready\n"
        assert "Traceback" not in done.stderr or "hubsync." in done.stderr
        there = check_names(root)
        if fault != "signal=KILL":
            assert not there, "not acknowledged, so not to be believed in"
        assert ingest(LocalBlobs(root), 7) in check_names(root)
    else:
        pytest.fail("it never got through")
    assert nth > 1, "the fault hit nothing"
