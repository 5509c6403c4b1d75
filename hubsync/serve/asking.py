"""Asking an upstream who may read, and who somebody is, and remembering it."""

from hubsync.model.repo import RepoId
from hubsync.model.token import digest_of
from hubsync.ports.gate import Account, Gate, Verdict
from hubsync.serve.questions import (
    ANSWERS_MAX,
    About,
    Kept,
    Questions,
    Room,
)
from hubsync.serve.remembered import Remembered

ACCOUNTS_MAX = 1000  # one may have many organisations to its name


class AskedGate:
    """A `Gate` that remembers.

    A yes and a no count for *cache_s* from when the question was sent.  A yes
    counts *stale_s* longer while the upstream does not answer: whom it has shut
    out meanwhile reads on so long, and not for ever because it is down.
    """

    def __init__(
        self,
        gate: Gate,
        cache_s: float,
        stale_s: float,
        verdicts: Remembered[Kept[Verdict]] | None = None,
    ) -> None:
        self._gate, room = gate, Room()
        self._verdicts = Questions(
            room,
            verdicts or Remembered[Kept[Verdict]](ANSWERS_MAX),
            cache_s=cache_s,
            stale_s=stale_s,
            lasts=lambda verdict: verdict is Verdict.YES,
        )
        self._accounts = Questions(
            room,
            Remembered[Kept[Account | None]](ACCOUNTS_MAX),
            cache_s=cache_s,
            stale_s=stale_s,
            lasts=lambda account: account is not None,
        )

    async def may_read(self, repo: RepoId, token: str | None) -> Verdict:
        """As `Gate.may_read`."""

        async def ask() -> Verdict:
            verdict = await self._gate.may_read(repo, token)
            if verdict is Verdict.WRONG_TOKEN:
                self._refused(token)
            return verdict

        return await self._verdicts.answer(About.of(repo.upstream, token, repo), ask)

    async def whose(self, token: str, upstream: str) -> Account | None:
        """As `Gate.whose`."""

        async def ask() -> Account | None:
            account = await self._gate.whose(token, upstream)
            if account is None:
                self._refused(token)
            return account

        return await self._accounts.answer(About.of(upstream, token, "account"), ask)

    def _refused(self, token: str | None) -> None:
        """It opens nothing, whatever it did for other repos before."""
        digest = digest_of(token or "")
        self._verdicts.forget(digest)
        self._accounts.forget(digest)
