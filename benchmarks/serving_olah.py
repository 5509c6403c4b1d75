"""olah, which keeps what it was once asked for, beside hubsync."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.commands import clean_environment
from benchmarks.content import LARGE, MIB, REPO, SMALL
from benchmarks.load import drain, fast_rate, slices
from benchmarks.measure import (
    BenchmarkError,
    Comparison,
    Section,
    alternating,
    rounds,
)
from benchmarks.nginx import free_ports
from benchmarks.server import on_core
from benchmarks.stand import CONNECTIONS, HUBSYNC, Stand, check, get_json

OLAH = "olah"
PACKAGE = "olah==0.5.4"
START_TIMEOUT_S = 60.0
INSTALL_TIMEOUT_S = 600


def measure_olah(stand: Stand) -> Iterator[Section]:
    """Everything was asked of it once before: nothing is fetched any more."""
    title = f"serve: {PACKAGE}, everything kept there"
    if stand.plan.is_quick:
        yield Section(title, notes=["Not installed for a quick run."])
        return
    program = _install(stand.plan.work / "olah")
    if program is None:
        yield Section(title, notes=[f"{PACKAGE} could not be installed by pip."])
        return
    with _running(program, stand) as olah:
        theirs, path = (
            f"{olah}/{REPO}/resolve/main/",
            f"/api/models/{REPO}/revision/main",
        )
        check(stand, theirs)
        ours, kept = get_json(stand.ours.url + path), get_json(olah + path)
        assert isinstance(ours, dict)
        assert isinstance(kept, dict)
        if ours.keys() != kept.keys():
            raise BenchmarkError("olah's answer has other keys than ours")
        bases = {HUBSYNC: stand.base(HUBSYNC), OLAH: theirs}
        apis = {HUBSYNC: stand.ours.url + path, OLAH: olah + path}
        yield Section(title, _race(stand, bases, apis))


def _race(
    stand: Stand, bases: dict[str, str], apis: dict[str, str]
) -> list[Comparison]:
    def rate(method: str, url: str) -> float:
        return fast_rate(
            url, method, stand.runner, connections=CONNECTIONS, seconds=stand.load_s
        )

    def get(parts: int, base: str) -> float:
        size = stand.content.large_bytes
        return size / MIB / drain(base + LARGE, slices(size, parts))

    kinds = {
        "/api/models/R/revision/main": (1.5, "/s", partial(rate, "GET"), apis),
        "HEAD resolve": (
            None,
            "/s",
            partial(rate, "HEAD"),
            {name: base + SMALL for name, base in bases.items()},
        ),
        "the large file, one range": (None, "MiB/s", partial(get, 1), bases),
        "the large file, 16 ranges": (None, "MiB/s", partial(get, 16), bases),
    }
    found = {
        what: Comparison(what, OLAH, unit, "more", asked)
        for what, (asked, unit, _, _) in kinds.items()
    }
    for number in rounds(stand.plan.rounds, stand.plan.seconds_max):
        for what, (_, _, measure, urls) in kinds.items():
            runs = {name: partial(measure, url) for name, url in urls.items()}
            taken = alternating(number, runs)
            found[what].add(taken[HUBSYNC], taken[OLAH])
    return list(found.values())


def _install(folder: Path) -> Path | None:
    """olah in an environment of its own; None: it is not to be had."""
    try:
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "pip"), "install", "-q", PACKAGE],
        ):
            subprocess.run(
                command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S
            )
    except (subprocess.SubprocessError, OSError):
        return None
    return folder / "bin" / "olah-cli"


@contextmanager
def _running(program: Path, stand: Stand) -> Iterator[str]:
    """olah with hubsync as its hub; it says a line of each request to nobody."""
    (port,) = free_ports(1)
    hub = stand.ours.url.partition("://")[2]
    here, work = f"127.0.0.1:{port}", stand.plan.work
    options = {
        "host": "127.0.0.1",
        "port": str(port),
        "hf-scheme": "http",
        "hf-netloc": hub,
        "hf-lfs-netloc": hub,
        "mirror-scheme": "http",
        "mirror-netloc": here,
        "repos-path": str(work / "olah-repos"),
        "log-path": str(work / "olah-logs"),
    }
    command = [str(program)]
    for name, value in options.items():
        command += [f"--{name}", value]
    process = subprocess.Popen(
        on_core(command),
        cwd=work,
        env=clean_environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(process, f"http://{here}/api/models/{REPO}/revision/main")
        yield f"http://{here}"
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def _wait_for(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=START_TIMEOUT_S).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError("olah did not start") from None
            time.sleep(0.1)
        else:
            return
