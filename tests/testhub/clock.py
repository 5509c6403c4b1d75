"""Time on the wire, and the clock a test can wind forward."""

import time
from datetime import UTC, datetime

EPOCH = "2026-01-01T00:00:00.000Z"


def wire_time(timestamp: int) -> str:
    """``YYYY-MM-DDTHH:MM:SS.mmmZ``, exactly as the hub writes it."""
    moment = datetime.fromtimestamp(timestamp, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def parse_wire_time(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


class Clock:
    """Real time plus what a test added: windows end and URLs expire at once."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds
