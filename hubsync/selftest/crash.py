"""kill -9 at random moments, again and again, and a look after each."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from hubsync.ports.blobs import NoRoomError
from hubsync.selftest.checks import Checked, Violation, check, nothing_is_left
from hubsync.selftest.contents import Content, make_contents
from hubsync.selftest.ledger import Ledger
from hubsync.selftest.process import Message, Work, Worker, listen
from hubsync.selftest.roles import OpenStore, finisher, sweeper, writer

WRITERS = ("first", "second")
SWEEPER = "sweeper"
ROLES = (*WRITERS, SWEEPER)
LIFE_MAX_S = 0.2
WORDS = (0, 0, 1, 2, 4, 8)  # that the victim has said before that time begins
PATIENCE_S = 2.0  # but it is not waited for longer
LIFE_SHAPE = 1.5  # more of them short: most is done in the first milliseconds
VIOLATIONS_MAX = 20


@dataclass(frozen=True, slots=True)
class CrashPlan:
    """How often, and whom, in which order of chance."""

    kills: int
    seed: int
    victims: Sequence[str] = ROLES


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What came of it.  The first look that finds something is the last."""

    seed: int
    kills: int
    checks: int
    versions: int  # acknowledged
    files: int  # acknowledged
    collected: int  # blobs that gc deleted
    violations: tuple[Violation, ...]
    open_max_s: float
    elapsed_s: float


def crash(
    open_store: OpenStore, plan: CrashPlan, progress: Callable[[int], None]
) -> CrashReport:
    """Carry out *plan* on the empty store that *open_store* makes."""
    loop = _Loop(open_store, plan, progress)
    try:
        loop.run()
    finally:
        loop.kill_all()
    return loop.report()


@dataclass(slots=True)
class _Loop:
    """The one who forks, listens, kills and looks.  It has no thread."""

    open_store: OpenStore
    plan: CrashPlan
    progress: Callable[[int], None]
    ledger: Ledger = field(default_factory=Ledger)
    workers: dict[str, Worker] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)  # said since it started
    kills: int = 0
    checks: int = 0
    open_max_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    contents: Sequence[Content] = ()

    def run(self) -> None:
        with self.open_store():
            pass  # made once, so that the workers find it
        self.progress(0)
        self.contents = make_contents(self.plan.seed)
        chance = Random(f"kills {self.plan.seed}")
        for name in ROLES:
            self._start(name)
        while self.kills < self.plan.kills and not self.violations:
            victim = chance.choice(self.plan.victims)
            self._await_words(victim, chance.choice(WORDS))
            self._listen(LIFE_MAX_S * chance.random() ** LIFE_SHAPE)
            self._kill_and_look(victim)
            self.progress(self.kills)
        self.kill_all()
        if not self.violations:
            self._finish()

    def kill_all(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            self._hear(worker)
            self.ledger.note_death(worker.name)
            worker.close()
        self.workers.clear()

    def report(self) -> CrashReport:
        return CrashReport(
            seed=self.plan.seed,
            kills=self.kills,
            checks=self.checks,
            versions=self.ledger.versions,
            files=self.ledger.files,
            collected=self.ledger.collected,
            violations=tuple(self.violations[:VIOLATIONS_MAX]),
            open_max_s=self.open_max_s,
            elapsed_s=time.monotonic() - self.started,
        )

    def _await_words(self, victim: str, words: int) -> None:
        """Let *victim* come that far, on a slow machine as well as on a fast one."""
        until = time.monotonic() + PATIENCE_S
        while self.words[victim] < words and time.monotonic() < until:
            if not self._listen(PATIENCE_S / 100):
                return  # one has ended by itself

    def _listen(self, seconds: float) -> bool:
        """Take down what is said; False when somebody has nothing more to say."""
        for name, message in listen(list(self.workers.values()), seconds):
            if message is None:
                return False
            self._note(name, message)
        return True

    def _note(self, name: str, message: Message) -> None:
        self.words[name] += 1
        self.ledger.note(name, message)

    def _kill_and_look(self, victim: str) -> None:
        """Kill one, hold the others where they are, look, and let them go on."""
        killed = self.workers.pop(victim)
        killed.kill()
        self.kills += 1
        others = [worker for worker in self.workers.values() if worker.stop()]
        for worker in (killed, *self.workers.values()):
            self._hear(worker)
        killed.close()
        self.ledger.note_death(victim)
        self._take(check(self.open_store, self.ledger))
        for worker in others:
            worker.go_on()
        for name in ROLES:
            if name not in self.workers or self.workers[name] not in others:
                self._start(name)

    def _start(self, name: str) -> None:
        dead = self.workers.pop(name, None)
        if dead is not None:  # it ended by itself, which the ledger says
            dead.close()
            self.ledger.note_death(name)
        self.words[name] = 0
        seed = f"{self.plan.seed} {name} {self.kills}"
        self.workers[name] = Worker.start(name, self._work(name, seed))

    def _work(self, name: str, seed: str) -> Work:
        if name == SWEEPER:
            return sweeper(self.open_store, seed)
        return writer(self.open_store, name, self.contents, seed)

    def _hear(self, worker: Worker) -> None:
        for message in worker.hear():
            self._note(worker.name, message)

    def _take(self, checked: Checked, more: Iterable[Violation] = ()) -> None:
        if self.ledger.full:
            raise NoRoomError(
                f"the disk filled up after {self.kills} kills, which says nothing "
                f"about the file system: {self.ledger.full[0]}",
                hint="Free some room, or name another folder with --dir.",
            )
        self.checks += 1
        self.open_max_s = max(self.open_max_s, checked.open_s)
        self.violations += [*checked.violations, *more]

    def _finish(self) -> None:
        """What was interrupted is gone on with; then nothing may be left."""
        last = Worker.start("last", finisher(self.open_store, self.contents))
        last.wait()
        self._hear(last)
        last.close()
        left: list[Violation] = []
        if not self.ledger.full:
            with self.open_store() as app:
                left += nothing_is_left(app, self.contents)
        self._take(check(self.open_store, self.ledger), left)
