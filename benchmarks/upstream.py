"""The upstream of the pull benchmark: the test hub in front, nginx as its CDN.

All who pull ask the same hub and get the same bytes from the same nginx, so a
ratio says something of them and nothing of the upstream.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from benchmarks.nginx import nginx
from tests.testhub import HubRepo, Lfs, TestHub
from tests.testhub.lfs import xet_hash_of


class Upstream:
    """Repos with LFS files on a CDN that is plain, behind TLS, or far away."""

    def __init__(self, work: Path) -> None:
        self._work, self._root = work, work / "cdn"
        self._stack = ExitStack()
        self._is_quick = False

    def __enter__(self) -> Self:
        self._root.mkdir()
        with ExitStack() as stack:
            self.hub = stack.enter_context(TestHub(self._work / "hub"))
            self._nginx = stack.enter_context(
                nginx(self._work / "nginx", self._root, hub=self.hub.endpoint)
            )
            self._stack = stack.pop_all()
        self.near()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def certificate(self) -> Path:
        return self._nginx.certificate

    @property
    def endpoint(self) -> str:
        """Where the hub is to be asked."""
        return self._nginx.front if self._is_quick else self.hub.endpoint

    @contextmanager
    def quick(self) -> Iterator[None]:
        """The hub's answers come from nginx's memory, once they have come at all.

        The hub is a Python program with one core: of many small files it would
        bound everybody.
        """
        self._is_quick = True
        try:
            yield
        finally:
            self._is_quick = False

    def near(self) -> None:
        """Nothing is in the way of the bytes."""
        self.hub.cdn_endpoint = self._nginx.plain

    def over_tls(self) -> None:
        self.hub.cdn_endpoint = self._nginx.tls

    @contextmanager
    def far_away(self, rate_bytes_per_s: float, delay_s: float) -> Iterator[None]:
        """Each connection gives so much, and the first of it after a while.

        The hub waits as long before each answer; a connection to it costs nothing.
        """
        command = [sys.executable, "-m", "benchmarks.slow_cdn"]
        command += [str(self._root), str(rate_bytes_per_s), str(delay_s)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                port = process.stdout.readline().strip()
                self.hub.cdn_endpoint = f"http://127.0.0.1:{port}"
                self.hub.pace.latency_s = delay_s
                yield
            finally:
                self.hub.pace.latency_s = 0.0
                self.near()
                process.terminate()

    def publish(
        self, name: str, files: Mapping[str, Path], text: Mapping[str, bytes]
    ) -> HubRepo:
        """A repo whose *files* are in LFS, and are taken, and whose *text* is not."""
        repo = self.hub.create_repo(name)
        repo.commit({**{path: Lfs(file) for path, file in files.items()}, **text})
        folder = self._root / "xet-bridge-us" / repo.hub_id
        folder.mkdir(parents=True)
        for path, file in files.items():
            sha256 = self.sha256(repo, path)
            os.link(self.hub.world.lfs.path(sha256), folder / xet_hash_of(sha256))
            file.unlink()  # the hub has a copy
        return repo

    def sha256(self, repo: HubRepo, path: str) -> str:
        commit = repo.resolve("main")
        assert commit
        entry = repo.listing(commit).file(path)
        assert entry
        assert entry.lfs
        return entry.lfs.sha256

    def url(self, repo: str, path: str) -> str:
        return f"{self.endpoint}/{repo}/resolve/main/{path}"
