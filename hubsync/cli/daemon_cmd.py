"""``hubsync daemon``."""

import asyncio
import logging
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.mirror_report import outcome_lines, run_lines
from hubsync.config.rules import rule_of, rules_of, timing_of
from hubsync.config.schema import Settings
from hubsync.daemon.scheduled import Scheduled
from hubsync.model.errors import ExitCode, UsageError
from hubsync.ports.blobs import StoreBusyError
from hubsync.ports.progress import SilentProgress
from hubsync.sync.mirror import Outcome
from hubsync.sync.rules import Rule
from hubsync.wiring import App

LOCK_WAIT_S = 300.0  # somebody checks or rebuilds the store: the mirror waits for it
LOCK_AGAIN_S = 0.5

EPILOG = """\b
EXAMPLES
  hubsync daemon                      every mirror at its schedule
  hubsync daemon --config /etc/hubsync/config.toml

\b
SIGNALS
  SIGTERM   end within seconds; what was fetched is kept and resumed
  SIGHUP    read the configuration again; a broken one is refused

""" + exit_status(ExitCode.USAGE, ExitCode.BUSY, ExitCode.INTERRUPTED)

log = logging.getLogger("hubsync.daemon")


@click.command("daemon", epilog=EPILOG)
@common_options
def command(common: Common) -> int:
    """Carry mirrors out at their schedules, until SIGTERM.

    What was due while no daemon ran is done at the start, once, if that is less
    than a day ago.  `hubsync mirrors` says when each is due.
    """
    level = logging.WARNING if common.quiet else logging.INFO
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logging.getLogger("hubsync").setLevel(level)
    with common.open(create=True) as app:
        return asyncio.run(_Daemon(common, app).run())


class _Daemon:
    """One store, and the configuration as it was read last."""

    def __init__(self, common: Common, app: App) -> None:
        self._common, self._app = common, app

    async def run(self) -> int:
        from hubsync.daemon.service import Service  # noqa: PLC0415 - slow to import

        at_once = self._app.settings.daemon.mirrors_at_once
        service = Service(self._load, self._carry_out, self._last, at_once=at_once)
        stop, told = asyncio.Event(), ExitCode.DONE
        loop = asyncio.get_running_loop()

        def end(code: ExitCode) -> None:
            nonlocal told
            told = code
            stop.set()

        loop.add_signal_handler(signal.SIGTERM, end, ExitCode.DONE)
        loop.add_signal_handler(signal.SIGINT, end, ExitCode.INTERRUPTED)
        loop.add_signal_handler(signal.SIGHUP, service.reload)
        await service.run(stop)
        log.info("ended")
        return told

    def _load(self) -> list[Scheduled]:
        settings = self._common.settings()
        self._require_same_store(settings)
        found = [
            Scheduled(rule_of(one, settings.default_upstream), timing_of(one))
            for one in settings.mirrors
        ]
        if not any(one.timing for one in found):
            raise UsageError(
                "no mirror has a schedule",
                hint='Give a [[mirrors]] table schedule = "0 2 * * *" or every = "6h".',
            )
        names = ", ".join(one.rule.name for one in found if one.timing)
        log.info("mirrors with a schedule: %s", names)
        self._app = replace(self._app, settings=settings)  # nothing refuses it now
        return found

    def _require_same_store(self, settings: Settings) -> None:
        now, before = settings, self._app.settings
        if (now.store, now.catalog, now.daemon) != (
            before.store,
            before.catalog,
            before.daemon,
        ):
            raise UsageError(
                "[store], [catalog] and [daemon] are read at the start only",
                hint="Start the daemon again to change them.",
            )

    def _last(self, name: str) -> datetime | None:
        run = self._app.catalog.runs.last(name)
        return run.started_at if run else None

    async def _carry_out(self, rule: Rule) -> None:
        log.info("%s begins", rule.name)
        # Its list_file is read anew.
        (rule,) = rules_of(self._app.settings, [rule.name])
        runner = self._app.mirror_runner(SilentProgress(), _tell)
        with ExitStack() as stack:
            await self._lock(stack)
            try:
                report = await runner.run(rule, "schedule")
            finally:
                await runner.aclose()
        for line in run_lines(report):
            log.info("%s", line)

    async def _lock(self, stack: ExitStack) -> None:
        """Asked for again and again: a thread that waits cannot be told to end."""
        over = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                stack.enter_context(self._app.root.lock_reading())
            except StoreBusyError:
                if time.monotonic() > over:
                    raise
                await asyncio.sleep(LOCK_AGAIN_S)
            else:
                return


def _tell(rule: Rule, outcome: Outcome) -> None:
    level = logging.INFO if outcome.error is None else logging.ERROR
    for line in outcome_lines(rule, outcome):
        log.log(level, "%s", line)
