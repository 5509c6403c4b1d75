"""A store of our own and the commands on it, for tests that pull."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubsync.config.load import load
from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.progress import SilentProgress
from hubsync.sync.planner import Selection
from hubsync.sync.request import PullRequest, PullResult
from hubsync.wiring import open_app


@dataclass
class Talk(SilentProgress):
    """Remembers what a person would have been told."""

    notes: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def file_done(self, path: str) -> None:
        self.done.append(path)


def clean_environment(**more: str) -> dict[str, str]:
    """Ours, without settings that would lead a client elsewhere."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HF_", "HUBSYNC_", "HUGGING_FACE_"))
    }
    kept |= {"no_proxy": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {**kept, **more}


@dataclass
class Mirror:
    """One store that pulls from one endpoint."""

    root: Path
    endpoint: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        home = str(self.root.parent / f"{self.root.name}-home")
        ours = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": home,
            "HUBSYNC_ROOT": str(self.root),
            "HUBSYNC_STORE__RESERVE": "0",
        }
        return clean_environment(**{**ours, **self.settings, **more})

    def run(
        self, *args: str, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command as a user does."""
        return subprocess.run(
            [sys.executable, "-m", "hubsync", *args],
            env=self.environment(**(env or {})),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def json(self, *args: str, env: Mapping[str, str] | None = None) -> Any:
        """The last object that a command prints, which must succeed."""
        done = self.run(*args, "--json", env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def pull(
        self,
        name: str,
        revision: str | None = None,
        *,
        repo_type: RepoType = RepoType.MODEL,
        talk: Talk | None = None,
        force: bool = False,
        **selection: Any,
    ) -> PullResult:
        """Pull in this process: faster, and errors come as exceptions."""
        request = PullRequest(
            RepoId("huggingface", repo_type, name),
            revision,
            Selection(**selection),
            force=force,
        )
        settings = load(environ=self.environment()).settings
        settings = settings.model_copy(
            update={"store": settings.store.model_copy(update={"root": self.root})}
        )
        with open_app(settings, create=True) as app, app.root.lock_shared():
            return asyncio.run(app.puller(talk or Talk()).pull(request))

    def blobs(self) -> dict[str, Path]:
        """Every blob in the store, by its name."""
        return {
            path.name: path
            for path in (self.root / "blobs").rglob("*")
            if path.is_file()
        }
