"""Running the programs that are compared, and what each run took."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.measure import BenchmarkError, NotInstalledError

# What a program is called, and the Debian package that has it.
PACKAGES = {
    "ab": "apache2-utils",
    "aria2c": "aria2",
    "curl": "curl",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "tar": "tar",
    "wrk": "wrk",
}
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # nginx; not on everyone's path


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    seconds: float
    cpu_seconds: float
    rss_bytes: int
    status: int
    said: str


class Runner:
    """Runs commands from a small process: see `benchmarks.runner`."""

    def __enter__(self) -> Self:
        # Without the project's environment: it must stay small.
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("runner.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Run:
        """Run *command* to its end.

        Raises:
            BenchmarkError: it failed, or did not end.
        """
        assert self._process.stdin
        assert self._process.stdout
        asked = {
            "command": list(command),
            "environment": clean_environment(environment or {}),
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchmarkError(f"`{command[0]}` could not be run")
        done = Run(**json.loads(answer))
        if done.status:
            raise BenchmarkError(
                f"`{' '.join(command)}` ended with {done.status}:\n{done.said}"
            )
        return done


def find(program: str) -> str | None:
    """Where *program* is, if it is installed."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN))
    return shutil.which(program, path=path)


def require(*programs: str) -> None:
    """Raise what is missing, all of it at once."""
    missing = [one for one in programs if find(one) is None]
    if missing:
        raise NotInstalledError("; ".join(said_missing(one) for one in missing))


def said_missing(program: str) -> str:
    return f"{program} is not installed (Debian: apt install {PACKAGES[program]})"


def hubsync(*args: str) -> list[str]:
    return [sys.executable, "-m", "hubsync", *args]


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without settings that would lead a client elsewhere."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HF_", "HUBSYNC_", "HUGGING_FACE_"))
        and not key.lower().endswith("_proxy")
        # An installed program is compiled once, not each time it starts.
        and key != "PYTHONDONTWRITEBYTECODE"
    }
    kept |= {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_XET": "1",
        # The reserve must not end a benchmark on a small disk.
        "HUBSYNC_STORE__RESERVE": "0",
    }
    return {**kept, **more}
