"""Asking an upstream who may read: once for all who wait, and not again at once."""

import asyncio
import hashlib

from hubsync.model.repo import RepoId
from hubsync.ports.gate import Gate, GateUnavailableError, Verdict
from hubsync.serve.remembered import Remembered

ANSWERS_MAX = 10_000
QUESTIONS_MAX = 32  # on the way at once: each has a thread
UNAVAILABLE_S = 2.0  # an upstream that does not answer is left alone so long

Key = tuple[bytes, RepoId]


class AskedGate:
    """A `Gate` that remembers.

    A yes and a no count for *cache_s* from when the question was sent.  After
    that nothing counts until the upstream has answered again: whom it has shut
    out is not let in because it is down.
    """

    def __init__(
        self, gate: Gate, cache_s: float, answers: Remembered[Verdict] | None = None
    ) -> None:
        self._gate, self._cache_s = gate, cache_s
        self._answers = answers or Remembered[Verdict](ANSWERS_MAX)
        self._silent_until: dict[str, float] = {}  # by upstream
        self._running: dict[Key, asyncio.Task[Verdict]] = {}
        self._room = asyncio.Semaphore(QUESTIONS_MAX)

    async def may_read(self, repo: RepoId, token: str | None) -> Verdict:
        # The token itself is not kept: what is in our memory opens nothing.
        key = (hashlib.sha256((token or "").encode()).digest(), repo)
        found = self._answers.get(key)
        if found is not None:
            return found
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, token))
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        # One who leaves does not take the answer away from the others.
        return await asyncio.shield(task)

    def _ended(self, key: Key, done: asyncio.Task[Verdict]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # looked at, also when all who waited have left

    async def _ask(self, key: Key, token: str | None) -> Verdict:
        repo = key[1]
        async with self._room:
            sent = self._answers.now()
            if sent < self._silent_until.get(repo.upstream, sent):
                raise GateUnavailableError(f"{repo.upstream} did not answer just now")
            try:
                verdict = await self._gate.may_read(repo, token)
            except GateUnavailableError as error:
                if error.silent:
                    until = self._answers.now() + UNAVAILABLE_S
                    self._silent_until[repo.upstream] = until
                raise
        self._answers.put(key, verdict, until=sent + self._cache_s)
        return verdict
