"""Asking an upstream who may read, and who somebody is, and remembering it."""

from hubsync.model.repo import RepoId
from hubsync.ports.gate import Account, Gate, Verdict
from hubsync.serve.questions import About, Kept, Questions, Room
from hubsync.serve.remembered import Remembered

ACCOUNTS_MAX = 1000  # one may have many organisations to its name


class AskedGate:
    """A `Gate` that remembers.

    A yes and a no count for *cache_s* from when the question was sent.  After
    that nothing counts until the upstream has answered again: whom it has shut
    out is not let in because it is down.
    """

    def __init__(
        self,
        gate: Gate,
        cache_s: float,
        verdicts: Remembered[Kept[Verdict]] | None = None,
    ) -> None:
        self._gate, room = gate, Room()
        self._verdicts = Questions[Verdict](room, cache_s, verdicts)
        self._accounts = Questions[Account | None](
            room, cache_s, Remembered[Kept[Account | None]](ACCOUNTS_MAX)
        )

    async def may_read(self, repo: RepoId, token: str | None) -> Verdict:
        """As `Gate.may_read`."""
        about = About.of(repo.upstream, token, repo)
        return await self._verdicts.answer(
            about, lambda: self._gate.may_read(repo, token)
        )

    async def whose(self, token: str, upstream: str) -> Account | None:
        """As `Gate.whose`."""
        about = About.of(upstream, token, "account")
        return await self._accounts.answer(
            about, lambda: self._gate.whose(token, upstream)
        )
