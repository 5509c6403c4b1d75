"""Fails the system calls of one operation one by one, and looks after each.

Its own process, because a fork must not meet other threads:

    python -m tests.crash.syscall_driver FOLDER OPERATION SHARE CALLS BUG

SHARE is ``1/2``: every second fault, from the first on.  CALLS is a pattern for
the name of a call, its path and the fault, like ``^fsync .*/partial/`` or
``error=EIO$``.  Prints one JSON object.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubsync.selftest.checks import Violation, check, nothing_is_left
from hubsync.selftest.ledger import Ledger
from hubsync.selftest.process import Worker
from hubsync.selftest.roles import OpenStore, finisher
from tests.crash.operations import NAME, Bench, opener
from tests.crash.planted import with_bug
from tests.crash.trace import (
    Call,
    Fault,
    MayNotTraceError,
    faults,
    is_explained,
    read_trace,
    traced,
)
from tests.crash.trace_rules import nothing_after_an_error, synced_before_said

VIOLATIONS_MAX = 10


@dataclass
class Enumeration:
    """All the ways in which one operation is interrupted."""

    bench: Bench
    open_store: OpenStore  # perhaps with a bug: what the operation runs on
    runs: int = 0
    killed: int = 0
    failed: int = 0
    found: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.bench.folder / "trace"

    def run(self, share: int, shares: int, only: str) -> None:
        calls = self._once(None)
        every = [
            one
            for one in faults(calls, str(self.bench.run))
            if re.search(only, f"{one.call} {one.path} {one.what}")
        ]
        for fault in every[share::shares]:
            self._once(fault)
            if len(self.found) >= VIOLATIONS_MAX:
                return

    def _once(self, fault: Fault | None, *, again: bool = True) -> Sequence[Call]:
        ledger = self.bench.lay_out()
        code = self._operate(ledger, fault)
        calls = read_trace(self.log)
        if again and any(_missed(calls, fault)):
            # Calls are counted, and on a busy machine now and then one is not made
            # that was made in the run before.
            return self._once(fault, again=False)
        self.runs += 1
        self.killed += code == -signal.SIGKILL
        self.failed += code > 0
        if fault is None:
            assert code == 0, ledger.failures
        violations = [
            *_unexplained(ledger),
            *_missed(calls, fault),
            *nothing_after_an_error(calls, str(self.bench.run)),
            *synced_before_said(calls, str(self.bench.run)),
        ]
        ledger.failures.clear()
        # Not with the bug: whoever comes next has none.
        honest = opener(self.bench.run / "store")
        violations += check(honest, ledger).violations
        if not violations:
            violations += self._recover(ledger, honest)
        self.found += [f"{fault or 'no fault'}: {one}" for one in violations]
        return calls

    def _operate(self, ledger: Ledger, fault: Fault | None) -> int:
        """Run it under *fault*; how it ended."""
        reading, writing = os.pipe()
        worker = Worker.start(NAME, self.bench.work(self.open_store, reading))
        try:
            with traced(worker.pid, self.log, fault):
                os.write(writing, b"!")
                code = worker.wait()
        except BaseException:
            worker.kill()
            raise
        finally:
            os.close(reading)
            os.close(writing)
        for message in worker.hear():
            ledger.note(NAME, message)
        ledger.note_death(NAME)
        worker.close()
        return code

    def _recover(self, ledger: Ledger, honest: OpenStore) -> Iterator[Violation]:
        """The next command goes on with what is there, and clears up."""
        worker = Worker.start("last", finisher(honest, self.bench.contents))
        code = worker.wait()
        for message in worker.hear():
            ledger.note("last", message)
        worker.close()
        if code:
            yield Violation("I7", f"the next command fails: {ledger.failures}")
        yield from check(honest, ledger).violations
        with honest() as app:
            yield from nothing_is_left(app, self.bench.contents)


def _unexplained(ledger: Ledger) -> Iterator[Violation]:
    for failure in ledger.failures:
        if not is_explained(failure):
            yield Violation("F3", f"an error without a sentence: {failure}")


def _missed(calls: Sequence[Call], fault: Fault | None) -> Iterator[Violation]:
    """A fault that hit nothing would be a test of nothing."""
    if fault and "error" in fault.what and not any(one.injected for one in calls):
        yield Violation("none", "the operation did not come to that call")


def main() -> None:
    folder, operation, share, only, bug = sys.argv[1:6]
    bench = Bench(Path(folder), operation)
    honest = opener(bench.run / "store")
    work = Enumeration(bench, with_bug(honest, bug))
    first, _, shares = share.partition("/")
    said: dict[str, object] = {}
    try:
        work.run(int(first) - 1, int(shares), only)
    except MayNotTraceError as error:
        said["why_not"] = str(error)
    said |= {"runs": work.runs, "killed": work.killed, "failed": work.failed}
    sys.stdout.write(json.dumps({**said, "found": work.found}) + "\n")


if __name__ == "__main__":
    main()
