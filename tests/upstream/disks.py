"""Small disks that exist for one process tree, and libraries that lie to it."""

import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount", "--propagation", "private")


class TinyDisk:
    """A tmpfs that only commands run through `run` see; gone with this object.

    The mount is in a namespace of its own: nothing is left behind, whatever
    happens to the test.
    """

    def __init__(self, path: Path, options: str) -> None:
        self.path = path
        path.mkdir()
        if not shutil.which("unshare") or not shutil.which("nsenter"):
            pytest.skip("unshare and nsenter are not installed")
        script = f"mount -t tmpfs -o {options} tiny '{path}' && echo ready && exec cat"
        self._holder = subprocess.Popen(
            [*_OWN_MOUNTS, "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != "ready\n":
            _, why = self._holder.communicate()
            pytest.skip(f"a tmpfs may not be mounted here: {why.strip()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holder.communicate(timeout=30)

    @property
    def prefix(self) -> list[str]:
        """What to put before a command for it to see the disk."""
        target = str(self._holder.pid)
        return ["nsenter", "--preserve-credentials", "-U", "-m", "-t", target]

    @property
    def outside(self) -> Path:
        """The disk's files, as this process can reach them."""
        return Path(f"/proc/{self._holder.pid}/root{self.path}")

    def run(
        self, *command: str, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.prefix, *command],
            env=None if env is None else dict(env),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def remount(self, options: str) -> None:
        done = self.run("mount", "-o", f"remount,{options}", str(self.path))
        assert done.returncode == 0, done.stderr


def preloaded(folder: Path, name: str, source: str) -> dict[str, str]:
    """Environment that puts *source*, in C, before the C library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    code, library = folder / f"{name}.c", folder / f"{name}.so"
    code.write_text(source, "utf-8")
    made = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(code), "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        with suppress(OSError):
            library.unlink()
        pytest.skip(f"cannot compile: {made.stderr.strip()[:200]}")
    return {"LD_PRELOAD": str(library)}


# Says yes to every flock, whoever has it: Lustre and some NFS mounts do.
LYING_FLOCK = "int flock(int fd, int operation) { return 0; }\n"

# The wall clock jumps by the next of HUBTEST_SHIFTS (seconds) every few readings.
JUMPING_CLOCK = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    static long shifts[16];
    static int known = 0;
    static unsigned calls = 0;
    if (!known) {
        const char *at = getenv("HUBTEST_SHIFTS");
        while (at && *at && known < 16) {
            shifts[known++] = strtol(at, NULL, 10);
            at = strchr(at, ',');
            at = at ? at + 1 : NULL;
        }
        if (!known) known = 1;
    }
    return shifts[(calls++ / 5) % known];
}

int clock_gettime(clockid_t id, struct timespec *out) {
    int code = syscall(SYS_clock_gettime, id, out);
    if (!code && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        out->tv_sec += shift();
    return code;
}

int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""
