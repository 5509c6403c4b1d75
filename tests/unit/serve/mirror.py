"""A small mirror, built the way a pull builds one, and a live server on it."""

import asyncio
import hashlib
import http.client
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.rows import Publication, Published
from hubsync.model.digest import Descriptor, Digest, GitOid
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, RepoInfo, TreeEntry
from hubsync.ports.blobs import HeldBlob
from hubsync.ports.gate import Gate
from hubsync.serve.app import create_app, serve
from hubsync.serve.events import Event
from hubsync.serve.folder import BlobFolder
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.wire.lfs import pointer_oid

WAIT_S = 20.0


def oid(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class File:
    """What a repo has at one path.  *held* False: recorded, never fetched."""

    data: bytes
    lfs: bool = False
    held: bool = True
    xet_hash: str | None = None


class Mirror:
    """Store and catalog in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = LocalBlobs(StoreRoot.open(folder, create=True))
        self.catalog = Catalog.open(sqlite_url(folder / "catalog.db"))

    def library(self) -> Library:
        return Library(
            self.catalog, self.blobs, upstream_order=("local", "huggingface")
        )

    def publish(
        self,
        name: str,
        files: Mapping[str, File],
        *,
        repo_type: RepoType = RepoType.MODEL,
        upstream: str = "huggingface",
        commit: str = "one",
        refs: tuple[str, ...] = ("refs/heads/main",),
        card: Mapping[str, object] | None = None,
        hub_id: str | None = None,
        minute: int = 0,
    ) -> Published:
        repo = RepoId(upstream, repo_type, name)
        entries = [self._store(path, file) for path, file in files.items()]
        return self.catalog.publish(
            Publication(
                repo=repo,
                info=RepoInfo(repo, hub_id, card or {}),
                commit=Commit(
                    oid(commit),
                    title=f"title of {commit}",
                    message="",
                    authors=("someone",),
                    committed_at=datetime(2026, 1, 2, 3, minute, 5, tzinfo=UTC),
                ),
                entries=entries,
                refs=[RefName(ref) for ref in refs],
            )
        )

    def _store(self, path: str, file: File) -> TreeEntry:
        size, digest = len(file.data), Digest.of(file.data)
        git_oid = GitOid.of_blob(file.data)
        entry = (
            TreeEntry(path, size, pointer_oid(digest, size), digest, file.xet_hash)
            if file.lfs
            else TreeEntry(path, size, git_oid)
        )
        if file.held:
            ingest = self.blobs.begin(Descriptor(size, digest, git_oid))
            if ingest and not isinstance(ingest, HeldBlob):
                ingest.write(file.data)
                ingest.complete()
            held = HeldBlob(digest, size, None if file.lfs else git_oid)
            self.catalog.record_blobs([held])
        return entry

    def close(self) -> None:
        self.catalog.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, its header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        return self.headers.get("x-error-code")


@dataclass(slots=True)
class Live:
    """A running server."""

    url: str
    log: list[logging.LogRecord] = field(default_factory=list)
    logged: threading.Condition = field(default_factory=threading.Condition)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def ask(
        self,
        target: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=WAIT_S)
        try:
            connection.request(method, target, body=body, headers=dict(headers or {}))
            got = connection.getresponse()
            names = {key.lower(): value for key, value in got.getheaders()}
            return Answer(got.status, names, got.read())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Answer:
        return self.ask(
            target, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    def wait_for(self, event: str) -> None:
        """Until the server has logged *event*."""
        with self.logged:
            seen = self.logged.wait_for(
                lambda: any(str(one.msg).startswith(event) for one in self.log), WAIT_S
            )
        assert seen, [str(one.msg) for one in self.log]

    def requests(self) -> list[str]:
        """``METHOD target status`` of each request so far."""
        return [
            "{method} {target} {status}".format(**one.msg.fields)
            for one in self.log
            if isinstance(one.msg, Event) and "target" in one.msg.fields
        ]


class _Recorder(logging.Handler):
    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def emit(self, record: logging.LogRecord) -> None:
        with self._live.logged:
            self._live.log.append(record)
            self._live.logged.notify_all()


@contextmanager
def serving(
    mirror: Mirror, *, gate: Gate | None = None, **options: Any
) -> Iterator[Live]:
    """A server in a thread, until the block ends."""
    live = Live("")
    ready = threading.Event()
    handles: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    failures: list[BaseException] = []

    async def main() -> None:
        chosen = ServeOptions(**{"port": 0, "drain_s": 1.0, **options})
        stop = asyncio.Event()
        handles.append((asyncio.get_running_loop(), stop))

        def on_ready(url: str) -> None:
            live.url = url
            ready.set()

        folder = BlobFolder(mirror.blobs.root.blobs, mirror.blobs.path)
        app = create_app(mirror.library(), chosen, gate=gate, folder=folder)
        await serve(app, chosen, on_ready, stop)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)
        finally:
            ready.set()

    logger = logging.getLogger("hubsync.serve")
    recorder, before = _Recorder(live), logger.level
    logger.addHandler(recorder)
    logger.setLevel(logging.INFO)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        if not failures:
            yield live
    finally:
        loop, stop = handles[0]
        if not failures:
            loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT_S)
        logger.removeHandler(recorder)
        logger.setLevel(before)
    assert not thread.is_alive()
    if failures:
        raise failures[0]
