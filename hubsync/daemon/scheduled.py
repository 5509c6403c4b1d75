"""A mirror, and when it is due."""

from dataclasses import dataclass

from hubsync.daemon.timing import Timing
from hubsync.sync.rules import Rule


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A rule and its times; None: only when somebody says so."""

    rule: Rule
    timing: Timing | None
