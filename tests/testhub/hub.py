"""The hub as a test holds it: two servers in a thread, and what they saw."""

import asyncio
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.testhub.cdn import Cdn
from tests.testhub.log import Seen
from tests.testhub.server import HubServer
from tests.testhub.state import HubState
from tests.testhub.world import Account, HubRepo


class TestHub(HubState):
    """Use as a context manager.

    *endpoint* is the hub, *cdn_endpoint* the second port that LFS files are
    redirected to.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(
        self, folder: Path, *, page_size: int = 1000, url_lifetime_s: float = 3600.0
    ) -> None:
        super().__init__(folder, page_size, url_lifetime_s)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="testhub", daemon=True)
        self._failure: BaseException | None = None

    def create_repo(self, name: str, repo_type: str = "model", **more: Any) -> HubRepo:
        return self.world.create(name, repo_type, **more)

    def create_repos(
        self,
        contents: Mapping[str, Mapping[str, bytes]],
        repo_type: str = "model",
        **more: Any,
    ) -> list[HubRepo]:
        """A repo for each name, with one commit of its files: thousands a second.

        They share one git repository, so no file of theirs can be of LFS.
        """
        more.setdefault("used_storage", 0)
        return self.world.create_many(contents, repo_type, **more)

    def create_collection(self, slug: str, items: Iterable[tuple[str, str]]) -> str:
        """*items*: the type of each (model, paper, …) and its id."""
        self.collections.items[slug] = list(items)
        return slug

    def add_token(
        self,
        token: str,
        user: str = "alice",
        *,
        approved: set[str] | None = None,
        can_read: set[str] | None = None,
    ) -> str:
        self.world.accounts[token] = Account(
            user, frozenset(approved or ()), frozenset(can_read or ())
        )
        return token

    @property
    def requests(self) -> list[Seen]:
        return self.log.all()

    @property
    def lfs_bytes_sent(self) -> int:
        return sum(one.sent for one in self.log.matching(role="cdn"))

    def hub_requests(self, pattern: str = "") -> list[Seen]:
        """Requests that the hub itself counts against the limits."""
        return self.log.matching(pattern, role="hub")

    def start(self) -> Self:
        self._thread.start()
        self._ready.wait(30)
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        """Stop, if it has not been before."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self.world.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to start()
            self._failure = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        cdn = Cdn(self)
        cdn_runner, self.cdn_endpoint = await _listen(cdn.handle)
        server = HubServer(self, cdn)
        hub_runner, self.endpoint = await _listen(server.handle)
        self._ready.set()
        await self._stop.wait()
        self.pace.released.set()
        await hub_runner.cleanup()
        await cdn_runner.cleanup()


async def _listen(handler: Any) -> tuple[web.ServerRunner, str]:
    server = web.Server(handler, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"
