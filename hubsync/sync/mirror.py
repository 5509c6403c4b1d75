"""Carrying out a mirror once: choose, see what has changed, bring that in, note it.

Nothing is deleted here: what the hub does not show any more is noted and kept.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.mirrored import MirrorRepo
from hubsync.catalog.runs import (
    RunCounters,
    RunOutcome,
    RunRepoRow,
    RunState,
)
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.model.repo import RepoId
from hubsync.model.units import format_size
from hubsync.ports.blobs import NoRoomError
from hubsync.ports.hub import Hub, NotAllowedError, is_silence
from hubsync.ports.listing import Lister
from hubsync.sync.freshness import SILENCES_MAX, Freshness, Item, RefLister, Verdict
from hubsync.sync.lease import leased
from hubsync.sync.planner import Totals
from hubsync.sync.pull import Puller
from hubsync.sync.request import PullRequest, PullResult
from hubsync.sync.rules import Rule
from hubsync.sync.selectors import Selector
from hubsync.transfer.fetch import Fetcher

AT_ONCE = 4  # repos; the connections of a run are shared by all of them


class Upstream(Hub, Lister, RefLister, Protocol):
    """What a mirror needs of its hub."""


class TooLargeError(NotAllowedError):
    """A repo has more bytes selected than its mirror allows."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one item; *result* of what was brought in, or would be."""

    item: Item
    verdict: Verdict
    error: HubsyncError | None = None
    result: PullResult | None = None


@dataclass(slots=True)
class Report:
    """One run of one mirror."""

    rule: Rule
    run: int | None  # its number; None: nothing was written
    outcomes: list[Outcome] = field(default_factory=list)
    requests: int = 0
    elapsed_s: float = 0.0
    error: HubsyncError | None = None  # what ended it early

    def end_early(self, error: HubsyncError | None) -> None:
        """What came first counts."""
        self.error = self.error or error

    def count(self, verdict: Verdict) -> int:
        return sum(one.verdict is verdict for one in self.outcomes)

    @property
    def state(self) -> RunState:
        """Succeeded only if nothing failed."""
        failed = self.error is not None or self.count(Verdict.FAILED)
        if not failed:
            return RunState.SUCCEEDED
        good = self.count(Verdict.CHANGED) + self.count(Verdict.UNCHANGED)
        return RunState.PARTIAL if good else RunState.FAILED

    @property
    def exit_code(self) -> ExitCode:
        if self.state is RunState.SUCCEEDED:
            return ExitCode.DONE
        first = self.error or next(
            (one.error for one in self.outcomes if one.error is not None), None
        )
        if self.state is RunState.PARTIAL and self.error is None:
            return ExitCode.PARTLY
        return first.exit_code if first else ExitCode.FAILED

    @property
    def counters(self) -> RunCounters:
        """They add up: checked = unchanged + changed + failed + gone."""
        verdicts = Counter(one.verdict for one in self.outcomes)
        results = [one.result for one in self.outcomes if one.result is not None]
        looked_at = len(self.outcomes) - verdicts[Verdict.REFUSED]
        return RunCounters(
            repos_selected=looked_at,
            repos_checked=looked_at,
            repos_changed=verdicts[Verdict.CHANGED],
            repos_failed=verdicts[Verdict.FAILED],
            files_fetched=sum(one.files_fetched for one in results),
            bytes_fetched=sum(one.bytes_fetched for one in results),
            bytes_reused=sum(one.bytes_reused for one in results),
            requests=self.requests,
        )


class MirrorRunner:
    """Plans and carries out rules.  The caller holds the store's shared lock."""

    def __init__(
        self,
        catalog: Catalog,
        puller: Puller,
        open_hub: Callable[[str], Upstream],
        open_engine: Callable[[], AbstractAsyncContextManager[Fetcher]],
        told: Callable[[Rule, Outcome], None] = lambda _rule, _outcome: None,
    ) -> None:
        self._catalog, self._puller = catalog, puller
        self._open_hub, self._open_engine, self._told = open_hub, open_engine, told
        self._selectors: dict[str, tuple[Selector, Upstream]] = {}

    async def aclose(self) -> None:
        for _, hub in self._selectors.values():
            await hub.aclose()

    async def plan(self, rule: Rule) -> Report:
        """What `run` would do, and what that would cost; changes nothing."""
        report, started = Report(rule, None), time.monotonic()
        _, hub = self._asked(rule)
        before, items = hub.requests, list[Item]()
        try:
            items = await self._judge(rule)
        except HubsyncError as error:  # other mirrors may do better
            report.end_early(error)
        report.requests = hub.requests - before
        await self._bring_in(rule, items, report, self._puller, dry_run=True)
        report.elapsed_s = time.monotonic() - started
        return report

    async def run(self, rule: Rule, trigger: str) -> Report:
        """Carry *rule* out once, as one row of the history.

        What fails with one repo does not stop the others.  A full disk does, and
        a hub that does not answer any more.

        Raises:
            MirrorBusyError: somebody else is at it.
        """
        runs = self._catalog.runs
        with leased(self._catalog, f"run of the mirror {rule.name}") as lease:
            run = await asyncio.to_thread(runs.begin, rule.name, trigger, lease)
            report, started = Report(rule, run), time.monotonic()
            state, said = RunState.CANCELLED, None
            try:
                await self._carry_out(rule, report)
                state = report.state
            except HubsyncError as error:
                report.error = error
                state = report.state
            except Exception as error:
                state, said = RunState.FAILED, f"{type(error).__name__}: {error}"
                raise
            finally:
                report.elapsed_s = time.monotonic() - started
                said = str(report.error) if report.error else said
                runs.note(run, [_row(one) for one in report.outcomes if _is_told(one)])
                runs.end(run, state, report.counters, said)
        return report

    async def _carry_out(self, rule: Rule, report: Report) -> None:
        _, hub = self._asked(rule)
        before = hub.requests
        try:
            items = await self._judge(rule)
        finally:
            report.requests += hub.requests - before
        async with self._open_engine() as engine:
            puller = replace(self._puller, open_engine=lambda: nullcontext(engine))
            await self._bring_in(rule, items, report, puller, dry_run=False)

    async def _judge(self, rule: Rule) -> list[Item]:
        selector, hub = self._asked(rule)
        chosen = await selector.expand(rule)
        mirrored = await asyncio.to_thread(self._catalog.runs.mirrored, rule.name)
        return await Freshness(rule, hub, mirrored).judge(chosen)

    def _asked(self, rule: Rule) -> tuple[Selector, Upstream]:
        if rule.upstream not in self._selectors:
            hub = self._open_hub(rule.upstream)
            self._selectors[rule.upstream] = Selector(hub), hub
        return self._selectors[rule.upstream]

    async def _bring_in(
        self,
        rule: Rule,
        items: Sequence[Item],
        report: Report,
        puller: Puller,
        *,
        dry_run: bool,
    ) -> None:
        todo = [one for one in items if one.verdict is Verdict.CHANGED]
        for one in items:
            if one.verdict is not Verdict.CHANGED:
                self._note(report, Outcome(one, one.verdict, one.error))
        left, silences = iter(todo), 0

        async def work() -> None:
            nonlocal silences
            for item in left:
                if report.error is not None:
                    return
                hubs: list[Hub] = []
                counted = replace(puller, open_hub=_noting(puller.open_hub, hubs))
                outcome = await self._pull(rule, item, counted, dry_run=dry_run)
                if outcome.result is not None:
                    report.requests += outcome.result.requests
                else:
                    report.requests += sum(hub.requests for hub in hubs)
                self._note(report, outcome)
                error = outcome.error
                silences = silences + 1 if is_silence(error) else 0
                if isinstance(error, NoRoomError) or silences >= SILENCES_MAX:
                    report.end_early(error)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(todo))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the others were told to end by it
        report.outcomes.sort(key=lambda one: (one.item.repo, one.item.revision))

    def _note(self, report: Report, outcome: Outcome) -> None:
        report.outcomes.append(outcome)
        self._told(report.rule, outcome)

    async def _pull(
        self, rule: Rule, item: Item, puller: Puller, *, dry_run: bool
    ) -> Outcome:
        request = PullRequest(
            item.repo,
            item.revision,
            rule.selection,
            dry_run=dry_run,
            admit_size=_bound(rule, item.repo),
        )
        try:
            result = await puller.pull(request)
        except TooLargeError as error:
            refused = replace(item, why=str(error))
            return Outcome(refused, Verdict.REFUSED)
        except HubsyncError as error:
            return Outcome(item, Verdict.FAILED, error)
        if not dry_run:
            await asyncio.to_thread(self._remember, rule, item, result)
        return Outcome(item, Verdict.CHANGED, result=result)

    def _remember(self, rule: Rule, item: Item, result: PullResult) -> None:
        runs = self._catalog.runs
        if item.before is not None and item.before.repo != result.repo:
            runs.drop_mirrored(rule.name, [(item.before.repo, item.revision)])
        held = MirrorRepo(
            mirror=rule.name,
            repo=result.repo,
            revision=item.revision,
            hub_id=item.hub_id,
            commit=result.commit.oid,
            selection=rule.key,
            since=datetime.now(UTC),
        )
        runs.keep_mirrored([held])


def _noting(open_hub: Callable[[str], Hub], hubs: list[Hub]) -> Callable[[str], Hub]:
    """The same, and *hubs* has what was opened: what failed has cost requests, too."""

    def opened(upstream: str) -> Hub:
        hub = open_hub(upstream)
        hubs.append(hub)
        return hub

    return opened


def _bound(rule: Rule, repo: RepoId) -> Callable[[Totals], None]:
    def admit(totals: Totals) -> None:
        most = rule.selected_bytes_max
        if most is not None and totals.selected_bytes > most:
            raise TooLargeError(
                f"max_repo_size is {format_size(most)}, and of {repo} "
                f"{format_size(totals.selected_bytes)} are selected"
            )

    return admit


def _is_told(one: Outcome) -> bool:
    return one.verdict is not Verdict.UNCHANGED


def _row(one: Outcome) -> RunRepoRow:
    item, result = one.item, one.result
    error = one.error
    return RunRepoRow(
        repo=item.repo,
        revision=item.revision,
        outcome=RunOutcome(one.verdict.value),
        commit=result.commit.oid if result else item.commit,
        files_fetched=result.files_fetched if result else 0,
        bytes_fetched=result.bytes_fetched if result else 0,
        bytes_reused=result.bytes_reused if result else 0,
        requests=result.requests if result else 0,
        error=str(error) if error else (item.why if _is_kept(one) else None),
        exit_code=int(error.exit_code) if error else None,
    )


def _is_kept(one: Outcome) -> bool:
    return one.verdict in (Verdict.GONE, Verdict.REFUSED)
