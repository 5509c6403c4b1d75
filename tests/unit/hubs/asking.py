"""One question to a hub, for tests."""

import asyncio

from hubsync.hubs.huggingface import HubOptions, HuggingFaceHub
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.snapshot import Resolved, TreeEntry
from hubsync.ports.hub import Known
from hubsync.ports.listing import Listed, Search
from tests.pulling import Talk

QUICK = HubOptions(
    connect_timeout_s=5.0,
    read_timeout_s=5.0,
    backoff_base_s=0.001,
    backoff_max_s=0.002,
)


def repo_of(name: str, repo_type: RepoType = RepoType.MODEL) -> RepoId:
    return RepoId("huggingface", repo_type, name)


class Asking:
    """The adapter on one endpoint; *requests* counts those of the last call."""

    def __init__(
        self,
        endpoint: str,
        token: str | bool | None = None,
        options: HubOptions = QUICK,
    ) -> None:
        self.talk = Talk()
        self.hub = HuggingFaceHub(
            "huggingface", endpoint, token, options=options, progress=self.talk
        )
        self.requests = 0

    def resolve(
        self,
        name: str,
        revision: str | None = None,
        *,
        heads: set[str] | None = None,
        repo_type: RepoType = RepoType.MODEL,
    ) -> Resolved:
        known = None if heads is None else Known("id", frozenset(heads))
        before = self.hub.requests
        try:
            return asyncio.run(
                self.hub.resolve(repo_of(name, repo_type), revision, known)
            )
        finally:
            self.requests = self.hub.requests - before

    def tree(self, name: str, commit: str) -> list[TreeEntry]:
        before = self.hub.requests
        try:
            return asyncio.run(self.hub.tree(repo_of(name), commit))
        finally:
            self.requests = self.hub.requests - before

    def search(
        self, search: Search, repo_type: RepoType = RepoType.MODEL
    ) -> list[Listed]:
        async def collect() -> list[Listed]:
            return [one async for one in self.hub.search(repo_type, search)]

        before = self.hub.requests
        try:
            return asyncio.run(collect())
        finally:
            self.requests = self.hub.requests - before

    def look(self, name: str, repo_type: RepoType = RepoType.MODEL) -> Listed:
        before = self.hub.requests
        try:
            return asyncio.run(self.hub.look(repo_of(name, repo_type)))
        finally:
            self.requests = self.hub.requests - before

    def collection(self, slug: str) -> list[RepoId]:
        before = self.hub.requests
        try:
            return asyncio.run(self.hub.collection(slug))
        finally:
            self.requests = self.hub.requests - before
