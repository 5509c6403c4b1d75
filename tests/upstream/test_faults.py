"""Bad luck on the way: each ends in the right bytes, or in one clear sentence."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hubsync.model.errors import HubsyncError
from hubsync.ports.blobs import BlobCorruptError
from hubsync.ports.hub import FileNotFoundOnHubError, HubAnswerError, UnavailableError
from tests.pulling import Mirror, Talk
from tests.testhub import Fault, HubRepo, Lfs, TestHub
from tests.upstream.faulting import QuickMirror

WEIGHTS = os.urandom(2_500_000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def mirror(tmp_path: Path, hub: TestHub) -> Mirror:
    # Files of this size come in one piece: parts are in test_fault_matrix_*.
    settings = {"HUBSYNC_TRANSFER__READ_TIMEOUT": "2s"}
    return QuickMirror(tmp_path / "mirror", hub.endpoint, settings)


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/tiny")
    repo.commit({"config.json": b"{}", "w.bin": Lfs(WEIGHTS), "b.txt": b"b" * 5000})
    return repo


def whole(mirror: Mirror) -> bool:
    path = mirror.blobs().get(SHA256)
    return path is not None and path.read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "fault",
    [
        Fault("truncate", role="cdn", at=1_000_000),
        Fault("truncate", role="cdn", at=1_000_000, times=3),
        Fault("no_length", role="cdn", at=700_000),
        Fault("shorter", role="cdn", at=900_000),
        Fault("reset", role="cdn"),
        Fault("reset", role="hub", match="/resolve/"),
        Fault("reset", role="hub", match="/api/models/"),
        Fault("status", role="cdn", status=503),
        Fault("status", role="hub", match="/resolve/", status=502, body="<html>"),
        Fault("status", role="hub", match="/tree/", status=500),
        Fault("status", role="hub", match="/resolve/", status=429),
        Fault("expire", role="cdn"),
        Fault("gzip", role="cdn"),
        Fault("stall", role="cdn", at=100_000),
        Fault("flip", role="cdn", at=12_345),
        Fault("longer", role="cdn", at=17),
        Fault("flip", role="hub", match="resolve-cache.*b.txt", at=10),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.role}-{fault.status}-{fault.times}",
)
def test_a_passing_fault_costs_time_and_nothing_else(
    mirror: Mirror, repo: HubRepo, hub: TestHub, fault: Fault
) -> None:
    # Its own copy: a fault counts down.
    hub.faults.add(Fault(**{name: getattr(fault, name) for name in _FIELDS}))
    talk = Talk()
    result = mirror.pull("acme/tiny", talk=talk)
    assert whole(mirror)
    assert result.path is not None
    assert (result.path / "b.txt").read_bytes() == b"b" * 5000
    # A reset before any answer may be mended by the client library itself.
    assert talk.notes or fault.kind == "reset", "a person is told"


_FIELDS = tuple(Fault.__dataclass_fields__)


def test_a_cut_body_is_continued_at_the_byte(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("truncate", role="cdn", at=1_500_000))
    mirror.pull("acme/tiny")
    second = hub.log.matching(role="cdn")[1]
    start = int(second.headers["Range"].removeprefix("bytes=").partition("-")[0])
    assert 0 < start <= 1_500_000
    assert hub.lfs_bytes_sent <= len(WEIGHTS) + 1_500_000 - start


@pytest.mark.parametrize("kind", ["ignore_range", "wrong_range"])
def test_a_server_that_does_not_go_on_where_we_were_starts_over(
    mirror: Mirror, repo: HubRepo, hub: TestHub, kind: str
) -> None:
    hub.faults.add(Fault("truncate", role="cdn", at=1_500_000))
    hub.faults.add(Fault(kind, role="cdn"))  # type: ignore[arg-type]
    mirror.pull("acme/tiny")
    assert whole(mirror)


def test_an_address_that_expires_half_way_is_signed_anew_and_continued(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("truncate", role="cdn", at=1_500_000))
    hub.faults.add(Fault("expire", role="cdn"))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert len(hub.log.matching("w.bin", role="hub")) == 2


def test_a_flipped_byte_is_refused_after_one_retry_and_never_visible(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("flip", role="cdn", at=12_345, times=-1))
    done = mirror.run("pull", "acme/tiny")
    assert done.returncode == 6, done.stderr
    assert "w.bin" in done.stderr
    assert "acme/tiny" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(hub.log.matching(role="cdn")) == 2
    assert SHA256 not in mirror.blobs()
    assert mirror.run("list", "--json").stdout == ""
    assert not (mirror.root / "hub/models--acme--tiny").exists()
    for name, path in mirror.blobs().items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    hub.faults.clear()
    mirror.pull("acme/tiny")
    assert whole(mirror)


def test_a_flipped_byte_in_a_new_version_leaves_the_old_one_in_place(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    first = mirror.pull("acme/tiny").commit.oid
    repo.commit({"config.json": b'{"v": 2}', "w2.bin": Lfs(b"v2" * 9000)})
    hub.faults.add(Fault("flip", role="cdn", at=3, times=-1))
    with pytest.raises(BlobCorruptError):
        mirror.pull("acme/tiny")
    assert (mirror.root / "hub/models--acme--tiny/refs/main").read_text() == first
    assert mirror.json("show", "acme/tiny")["commit"] == first


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("html", match="/api/models"), HubAnswerError),
        (Fault("status", match="/api/models", status=503, times=-1), UnavailableError),
        (Fault("reset", match="/api/models", times=-1), UnavailableError),
        (Fault("status", role="cdn", status=500, times=-1), UnavailableError),
        (Fault("expire", role="cdn", times=-1), UnavailableError),
        (Fault("truncate", role="cdn", at=0, times=-1), UnavailableError),
        (Fault("redirect", role="cdn", location="/again", times=-1), HubsyncError),
        (Fault("redirect", match="w.bin", location="file:///etc/passwd"), HubsyncError),
        (
            Fault("status", match="/resolve/.*w.bin", status=404, times=-1),
            FileNotFoundOnHubError,
        ),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_lasting_fault_is_one_clear_error_and_the_store_stays_valid(
    mirror: Mirror, repo: HubRepo, hub: TestHub, fault: Fault, error: type[HubsyncError]
) -> None:
    mirror = QuickMirror(
        mirror.root,
        mirror.endpoint,
        {"HUBSYNC_TRANSFER__RETRIES": "2", "HUBSYNC_TRANSFER__READ_TIMEOUT": "2s"},
    )
    hub.faults.add(Fault(**{name: getattr(fault, name) for name in _FIELDS}))
    with pytest.raises(error):
        mirror.pull("acme/tiny")
    hub.faults.clear()
    mirror.pull("acme/tiny")
    assert whole(mirror)


def test_a_429_is_obeyed_as_its_header_says(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    limited = {"RateLimit": '"api";r=0;t=0'}
    hub.faults.add(Fault("status", match="/tree/", status=429, headers=limited))
    talk = Talk()
    mirror.pull("acme/tiny", talk=talk)
    assert any("1 s" in note for note in talk.notes), talk.notes


def test_a_window_that_is_too_long_is_reported_and_not_waited_for(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    limited = {"RateLimit": '"api";r=0;t=4000'}
    hub.faults.add(Fault("status", match="/api/", status=429, headers=limited))
    done = mirror.run("pull", "acme/tiny")
    assert done.returncode == 5
    assert "4001 s" in done.stderr


def test_no_network_is_said_so(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "m", "http://127.0.0.1:9")
    done = mirror.run("pull", "acme/tiny")
    assert done.returncode == 5
    assert "does not answer" in done.stderr
    assert "--offline" in done.stderr


def test_a_full_disk_is_exit_code_7_and_can_be_resumed(
    mirror: Mirror, repo: HubRepo
) -> None:
    # A limit on file size is what this process can set without being root.
    limited = (
        "import resource, sys, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, resource.RLIM_INFINITY));"
        "from hubsync.cli.main import main; main(['pull', 'acme/tiny'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited],
        env=mirror.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
    assert mirror.run("list", "--json").stdout == ""
    mirror.pull("acme/tiny")
    assert whole(mirror)


def test_the_reserve_is_kept_free(mirror: Mirror, repo: HubRepo) -> None:
    done = mirror.run("pull", "acme/tiny", env={"HUBSYNC_STORE__RESERVE": "900000TiB"})
    assert done.returncode == 7
    assert "reserve" in done.stderr


def test_two_pulls_of_one_repo_at_once_fetch_each_lfs_file_once(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("slow", role="cdn", rate=8_000_000))
    together = [
        subprocess.Popen(
            [sys.executable, "-m", "hubsync", "pull", "acme/tiny", "-q"],
            env=mirror.environment(),
        )
        for _ in range(2)
    ]
    assert [one.wait(60) for one in together] == [0, 0]
    assert whole(mirror)
    assert hub.lfs_bytes_sent == len(WEIGHTS)


def test_gc_beside_a_pull_takes_nothing_from_it(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    stalled = threading.Event()
    hub.hooks.append(lambda seen: stalled.set() if seen.role == "cdn" else None)
    hub.faults.add(Fault("stall", role="cdn", at=1000, times=-1))
    pulling = subprocess.Popen(
        [sys.executable, "-m", "hubsync", "pull", "acme/tiny", "-q"],
        env=mirror.environment(
            HUBSYNC_TRANSFER__READ_TIMEOUT="2s", HUBSYNC_TRANSFER__RETRIES="50"
        ),
    )
    try:
        assert stalled.wait(30)
        # The small files are in the store soon, and in no recorded tree.
        deadline = time.monotonic() + 30
        while len(mirror.blobs()) < 2:
            assert time.monotonic() < deadline
            assert pulling.poll() is None
            assert mirror.json("gc")["leases"] == 1
        for _ in range(2):
            done = mirror.json("gc")
            assert (done["blobs"], done["strays"], done["leases"]) == (0, 0, 1)
        hub.faults.clear()
        assert pulling.wait(60) == 0
    finally:
        pulling.kill()
        pulling.wait()
    assert whole(mirror)
    assert len(hub.log.matching("b.txt", role="hub")) <= 2  # and its redirect
    done = mirror.json("gc")
    assert (done["blobs"], done["strays"], done["leases"]) == (0, 0, 0)
    assert mirror.json("verify", "--all")["damaged"] == 0


def test_what_a_killed_pull_had_claimed_goes_with_the_next_gc(
    mirror: Mirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("stall", role="cdn", at=1000, times=-1))
    pulling = subprocess.Popen(
        [sys.executable, "-m", "hubsync", "pull", "acme/tiny", "-q"],
        env=mirror.environment(),
    )
    try:
        deadline = time.monotonic() + 30
        while len(mirror.blobs()) < 2:
            assert time.monotonic() < deadline
            assert pulling.poll() is None
    finally:
        pulling.kill()
        pulling.wait()
    done = mirror.json("gc")
    assert done["leases"] == 0
    assert done["blobs"] + done["strays"] == 2
    assert mirror.blobs() == {}
    hub.faults.clear()
    mirror.pull("acme/tiny")
    assert whole(mirror)
