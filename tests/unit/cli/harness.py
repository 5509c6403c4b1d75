"""Runs the real command, in a process of its own, far from anybody's home."""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubsync.cli.main import COMMANDS, main

PROJECT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "hubsync"]
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: refused at once

FILES = {
    "README.md": b"# Acme\n",
    "config.json": b"{}\n",
    "weights.bin": b"weights " * 1000,
    "sub/vocab.txt": b"a\nb\n",
}


# Forked from a server that has imported everything: a command then takes
# milliseconds instead of a second of importing.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["hubsync.cli.main", *(f"hubsync.cli.{module}" for module, _ in COMMANDS.values())]
)
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def object(self) -> dict[str, Any]:
        (found,) = self.objects()
        return found


def environment(tmp: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    ours = ("HUBSYNC_", "HF_", "HUGGING_", "XDG_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    env |= {
        "PYTHONPATH": str(PROJECT),
        "PYTHONWARNINGS": "error",
        "HOME": str(tmp),
        "XDG_CONFIG_HOME": str(tmp / "config"),
        "XDG_DATA_HOME": str(tmp / "data"),
        "HF_HOME": str(tmp / "hf"),
        "HF_ENDPOINT": UNREACHABLE,
        "HUBSYNC_TRANSFER__RETRIES": "0",
    }
    return env | dict(more or {})


@dataclass(frozen=True)
class Cli:
    """A command line with a store at *root*."""

    tmp: Path
    root: Path
    more: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *words: str | Path) -> Done:
        """Run one command, forked."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            process = _FORKS.Process(
                target=_run_here,
                args=([str(word) for word in words], self.tmp, self.env, out, err),
            )
            process.start()
            process.join(PATIENCE_S)
            if process.exitcode is None:
                process.kill()
                process.join()
            assert process.exitcode is not None
            done = Done(
                process.exitcode, out.read_text("utf-8"), err.read_text("utf-8")
            )
            process.close()
        return _without_traceback(done)

    def started(self, *words: str | Path) -> Done:
        """Run one command as a shell would: a new interpreter."""
        done = subprocess.run(
            [*COMMAND, *map(str, words)],
            capture_output=True,
            check=False,
            encoding="utf-8",
            cwd=self.tmp,
            env=self.env,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )
        return _without_traceback(Done(done.returncode, done.stdout, done.stderr))

    def good(self, *words: str | Path) -> Done:
        done = self(*words)
        assert done.code == 0, done.err
        return done

    @property
    def env(self) -> dict[str, str]:
        return environment(self.tmp, {"HUBSYNC_ROOT": str(self.root), **self.more})

    def blobs(self) -> list[Path]:
        return sorted(one for one in (self.root / "blobs").rglob("*") if one.is_file())

    def snapshot(self, repo: str, commit: str) -> Path:
        name = repo.replace("/", "--")
        return self.root / "hub" / f"models--{name}" / "snapshots" / commit


def _without_traceback(done: Done) -> Done:
    assert "Traceback" not in done.err, done.err
    assert "Warning" not in done.err, done.err
    return done


def _run_here(
    words: Sequence[str], cwd: Path, env: Mapping[str, str], out: Path, err: Path
) -> None:
    """In the forked process: become the command."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    warnings.simplefilter("error")
    main(words)


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and size of every file: what is the same has changed nothing."""
    return {
        path.relative_to(folder).as_posix(): (path.lstat().st_ino, path.lstat().st_size)
        for path in folder.rglob("*")
        if not path.is_dir() and not path.name.startswith("catalog.db")
    }
