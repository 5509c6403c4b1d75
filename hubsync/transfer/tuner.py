"""How many connections a large file gets: more only while more helps.  Pure."""

from dataclasses import dataclass

LANES_FIRST = 8
SAMPLE_S = 0.15
_WORTH = 0.5  # of what the new connections would bring if nothing else were scarce


@dataclass(slots=True)
class Tuner:
    """Tells the number of lanes, sample by sample.

    Where each connection is slowed down on its own (a CDN's limit, a long way),
    half as many again bring half as much again.  Where the line, the disk or
    this machine is the limit they bring nothing, and are taken back.
    """

    lanes_max: int
    lanes: int = 0
    _before: tuple[int, float] | None = None  # lanes and rate, before the last step
    _settled: bool = False

    def __post_init__(self) -> None:
        self.lanes = min(LANES_FIRST, self.lanes_max)

    @property
    def settled(self) -> bool:
        """Whether no more samples are wanted."""
        return self._settled or (self._before is None and self.lanes >= self.lanes_max)

    def sample(self, rate_bytes_per_s: float) -> int:
        """The number of lanes to have, after a while with the present ones."""
        if self._settled:
            return self.lanes
        if self._before is not None:
            lanes, rate = self._before
            hoped = rate * self.lanes / lanes
            if rate_bytes_per_s < rate + _WORTH * (hoped - rate):
                self.lanes, self._settled = lanes, True
                return self.lanes
        if self.lanes >= self.lanes_max:
            self._settled = True
            return self.lanes
        self._before = (self.lanes, rate_bytes_per_s)
        self.lanes = min(self.lanes + max(self.lanes // 2, 1), self.lanes_max)
        return self.lanes
