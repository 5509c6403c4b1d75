"""What the client tests stand on: hubsync and its clients, each as a process."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "tests" / "clients"
BIN = Path(sys.executable).parent
ENVIRONMENTS = ROOT / ".venvs"  # what tests/clients/install.sh makes
JS_PACKAGES = ENVIRONMENTS / "js/node_modules"
JS_CLIENT = JS_PACKAGES / "@huggingface/hub/dist/index.mjs"
TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
_FOREIGN = ("HF_", "HUBSYNC_", "HUGGING", "TRANSFORMERS_", "GIT_", "PYTEST", "XDG_")
Json = dict[str, Any]


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what would lead a client elsewhere; *home* is its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    kept |= {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "no_proxy": "127.0.0.1,localhost",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    return kept | dict(more or {})


def run(*command: str | Path, env: Mapping[str, str], cwd: Path | None = None) -> str:
    """Run a command that must succeed; what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Client:
    """A Python client: its interpreter, its home, its settings.

    A *wrapper* is a command that runs the one given to it.
    """

    home: Path
    settings: Mapping[str, str]
    python: Path = Path(sys.executable)
    wrapper: tuple[str, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        return environment(self.home, self.settings)

    def ask(self, program: str, *args: str | Path) -> Any:
        """Run *program*, which leaves what it found in ``answer``."""
        whole = f"import json, sys\n{program}\nprint(json.dumps(answer))\n"
        said = run(*self.wrapper, self.python, "-c", whole, *args, env=self.env)
        return json.loads(said.splitlines()[-1])

    def version(self, package: str) -> str:
        """The version of *package* that this client has."""
        program = (
            "from importlib.metadata import version; answer = version(sys.argv[1])"
        )
        return str(self.ask(program, package))


@dataclass(frozen=True)
class Store:
    """One hubsync with a store of its own; *more* is in its environment."""

    root: Path
    home: Path
    wrapper: tuple[str, ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        """The folder in the layout of the Hugging Face cache."""
        return self.root / "hub"

    def _command(self, *args: str | Path) -> list[str]:
        command = (sys.executable, "-m", "hubsync", *args, "--root", self.root)
        return [*self.wrapper, *map(str, command)]

    def json(self, *args: str | Path, endpoint: str = "http://127.0.0.1:9") -> Json:
        """Run a command; the last JSON object that it printed."""
        env = environment(self.home, {**self.more, "HF_ENDPOINT": endpoint})
        said = run(*self._command(*args, "--json"), env=env)
        answer: Json = json.loads(said.splitlines()[-1])
        return answer

    @contextlib.contextmanager
    def serving(self, log: Path) -> Iterator[str]:
        """Serve meanwhile, every request logged in *log*; the server's address."""
        command = self._command("serve", "--port", "0", "--json", "--access-log")
        with log.open("w") as errors:
            server = subprocess.Popen(
                command,
                env=environment(self.home, self.more),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert server.stdout
        try:
            line = server.stdout.readline()
            assert line, f"hubsync serve did not start:\n{log.read_text()}"
            yield json.loads(line)["url"]
            server.terminate()
            assert server.wait(STOP_TIMEOUT_S) == 0, log.read_text()
        finally:
            server.kill()
            server.wait(STOP_TIMEOUT_S)
            server.stdout.close()


@dataclass(frozen=True)
class Served:
    """A store that is being served, and the folders that went into it."""

    store: Store
    url: str
    model: Path
    dataset: Path
    commit: str
    dev_commit: str
    dataset_commit: str
    digests: Mapping[str, str] = field(default_factory=dict)


def python_of(name: str) -> Path:
    """The interpreter of one of the environments; skips where it is missing."""
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no .venvs/{name}: run tests/clients/install.sh")
    return python


def js_version(package: str) -> str:
    """The version of one of the JavaScript packages."""
    manifest = json.loads((JS_PACKAGES / package / "package.json").read_text())
    return str(manifest["version"])


def requests_in(log: Path) -> list[str]:
    """The requests that an access log tells of: ``GET /path?query``."""
    found = re.findall(r'method="(\w+)" target="([^"]*)"', log.read_text())
    return [f"{method} {target}" for method, target in found]


def digests_of(folder: Path) -> dict[str, str]:
    """The sha256 of every file in *folder* by its path."""
    return {
        str(path.relative_to(folder)): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".cache" not in path.relative_to(folder).parts
    }


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
