"""Those who read, and what each may."""

import functools
import json
from dataclasses import dataclass
from typing import Protocol

from hubsync.catalog.rows import RepoRow
from hubsync.catalog.tokens import TokenRow
from hubsync.model.globs import matches
from hubsync.model.repo import LOCAL, RepoId
from hubsync.model.token import digest_of
from hubsync.ports.gate import Account, Verdict
from hubsync.serve.asking import AskedGate


class Reader(Protocol):
    """Whoever sent one request."""

    @property
    def name(self) -> str:
        """For logs and ``whoami-v2``; never what it has shown to be let in."""

    @property
    def is_verified(self) -> bool:
        """Whether it has shown something that we know to be right."""

    @property
    def must_log_in(self) -> bool:
        """Whether it has shown nothing, and might see more if it did."""

    @property
    def reads_all(self) -> bool:
        """Whether there is nothing that it may not read."""

    def lists(self, row: RepoRow) -> bool:
        """Whether lists of repos name this one."""

    def sees(self, row: RepoRow) -> bool:
        """Whether it sees what a hub shows of a repo to everybody, whoever it is."""

    async def verdict(self, repo: RepoId, row: RepoRow | None) -> Verdict:
        """What it may do with *repo*; *row* None: with one that is not held.

        Raises:
            GateUnavailableError: whom it would have to be asked does not answer.
        """


@dataclass(frozen=True, slots=True)
class FullReader:
    """One who may read everything."""

    name: str
    is_verified: bool
    must_log_in = False
    reads_all = True

    def lists(self, row: RepoRow) -> bool:
        return True

    def sees(self, row: RepoRow) -> bool:
        return True

    async def verdict(self, repo: RepoId, row: RepoRow | None) -> Verdict:
        return Verdict.YES


ANYBODY = FullReader("anybody", is_verified=False)


@dataclass(frozen=True, slots=True)
class TokenReader:
    """The holder of one of our own tokens."""

    row: TokenRow
    is_verified = True
    must_log_in = False

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def reads_all(self) -> bool:
        return "*" in self.row.grant.repos

    def lists(self, row: RepoRow) -> bool:
        return self._may_read(row.repo)

    def sees(self, row: RepoRow) -> bool:
        return self._may_read(row.repo)

    async def verdict(self, repo: RepoId, row: RepoRow | None) -> Verdict:
        return Verdict.YES if self._may_read(repo) else Verdict.NO

    def _may_read(self, repo: RepoId) -> bool:
        return self.reads_all or matches(repo, self.row.grant.repos)


@dataclass(frozen=True, slots=True)
class HubReader:
    """The holder of a token of the upstream's, or of none."""

    gate: AskedGate
    token: str | None
    is_verified = False
    reads_all = False

    @property
    def name(self) -> str:
        return f"hub:{digest_of(self.token)[:12]}" if self.token else "anonymous"

    @property
    def must_log_in(self) -> bool:
        return self.token is None

    async def account(self, upstream: str) -> Account | None:
        """Whose the token is; None: *upstream* refuses it, or there is none.

        Raises:
            GateUnavailableError: *upstream* does not say.
        """
        return await self.gate.whose(self.token, upstream) if self.token else None

    def lists(self, row: RepoRow) -> bool:
        """Not what is private: a list would ask upstream about each."""
        return self.sees(row)

    def sees(self, row: RepoRow) -> bool:
        """What is not private: gates and switches are in front of files alone."""
        return row.repo.upstream == LOCAL or _privacy(row.card_json) is False

    async def verdict(self, repo: RepoId, row: RepoRow | None) -> Verdict:
        if row is not None and (repo.upstream == LOCAL or _is_for_all(row.card_json)):
            return Verdict.YES
        return await self.gate.may_read(repo, self.token)


def _is_for_all(card_json: str) -> bool:
    return _marks(card_json) == (False, False, False)


def _privacy(card_json: str) -> object:
    return _marks(card_json)[0]


@functools.lru_cache(maxsize=1000)
def _marks(card_json: str) -> tuple[object, object, object]:
    """``(private, gated, disabled)`` as the hub said; None where it said nothing.

    What is not said is not taken for a no, but ``disabled``: lists leave it out.
    """
    card = json.loads(card_json)
    if not isinstance(card, dict):
        return None, None, None
    return card.get("private"), card.get("gated"), card.get("disabled", False)
