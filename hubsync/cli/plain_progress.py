"""Progress in a log: a line now and then, and nothing that moves."""

from hubsync.cli.output import say
from hubsync.cli.tally import format_seconds
from hubsync.cli.watch import Watch
from hubsync.model.units import format_size

EVERY_S = 10.0
SELDOM_S = 60.0  # some CI systems end a job that is silent for minutes
_LINES_PER_AGE = 30


class PlainProgress(Watch):
    """One line of text every ten seconds, and every minute when it takes hours."""

    every_s = EVERY_S

    def note(self, message: str) -> None:
        say(f"hubsync: {message}")

    def show(self, now_s: float) -> None:
        age = (now_s - self.began_at) / _LINES_PER_AGE
        self.every_s = min(max(EVERY_S, age), SELDOM_S)
        tally, rate = self.tally, self.tally.rate(now_s)
        percent = 100 * tally.arrived // max(tally.size_bytes, 1)
        text = (
            f"{self.label}: {percent} %, {format_size(tally.arrived)} of "
            f"{format_size(tally.size_bytes)}, {tally.files_done}/{tally.files} files"
        )
        if rate is not None:
            text += f", {format_size(rate)}/s"
        eta = tally.eta_s(rate)
        if eta is not None:
            text += f", {format_seconds(eta)} to go"
        say(text)
