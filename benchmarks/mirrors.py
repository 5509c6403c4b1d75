"""A mirror of ten thousand repos: the first night, and all the others.

The hub is the test hub, a Python program beside us on the same cores: what it takes
to answer is part of each time.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import Group, Plan, Size, main
from benchmarks.commands import Run, Runner, hubsync
from benchmarks.measure import Comparison, Figure, Section, rounds
from tests.testhub import TestHub

CHANGED_EVERY = 100  # one of so many moves on between two nights
SAMPLE = 100  # repos that the peer asks for
REQUESTS_MAX = 250
PEAK_MIB_MAX = 300
_PEER = """\
import sys
from huggingface_hub import snapshot_download
for name in sys.argv[2:]:
    snapshot_download(name, cache_dir=sys.argv[1])
"""


def sections(plan: Plan) -> Iterator[Section]:
    """All nights of one mirror, one after the other."""
    count, owners = plan.sizes["mirror_repos"], plan.sizes["mirror_owners"]
    plan.require_room(count * 64 * 1024)
    with TestHub(plan.work / "hub") as hub, Runner() as runner:
        names = [f"org{n % owners:03}/model-{n:05}" for n in range(count)]
        repos = hub.create_repos(
            {name: {"config.json": name.encode()} for name in names}
        )
        config = plan.work / "hubsync.toml"
        globs = ", ".join(f'"org{n:03}/*"' for n in range(owners))
        config.write_text(f'[[mirrors]]\nname = "all"\nrepos = [{globs}]\n')
        night = _Nights(plan, hub, runner, config)
        night.run("first plan", "plan")
        night.run("first sync", "sync")
        sample = names[:: max(1, count // SAMPLE)][:SAMPLE]
        same = Comparison(
            f"{len(sample)} repos that did not change",
            "snapshot_download of each",
            "s",
            "less",
            None,
        )
        for number in rounds(plan.rounds, plan.seconds_max):
            for repo in repos[number % CHANGED_EVERY :: CHANGED_EVERY]:
                repo.commit({"config.json": f"{repo.name} {number}".encode()})
            night.run(f"1 of {CHANGED_EVERY} changed", "sync")
            seconds = night.run("nothing changed", "sync", requests_max=REQUESTS_MAX)
            same.add(seconds * len(sample) / count, night.peer(sample))
        yield Section(
            f"a mirror of {count} repos of {owners} owners",
            [same],
            night.figures(),
            notes=["hubsync's time is that of the whole sweep, by the repo."],
        )


class _Nights:
    """Runs the command as cron does, and writes down what it took."""

    def __init__(self, plan: Plan, hub: TestHub, runner: Runner, config: Path) -> None:
        self._plan, self._hub, self._runner, self._config = plan, hub, runner, config
        self._seconds: dict[str, Figure] = {}
        self._requests: dict[str, Figure] = {}
        self._peak = Figure("peak memory", "MiB", PEAK_MIB_MAX)

    def run(self, what: str, command: str, requests_max: int | None = None) -> float:
        self._hub.log.clear()
        done = self._do(
            hubsync(command, "--quiet", "--config", str(self._config)),
            {"HUBSYNC_ROOT": str(self._plan.work / "store")},
        )
        seconds = self._seconds.setdefault(what, Figure(what, "s"))
        seconds.values.append(done.seconds)
        asked = self._requests.setdefault(
            what, Figure(f"{what}: requests", "", requests_max)
        )
        asked.values.append(len(self._hub.hub_requests()))
        self._peak.values.append(done.rss_bytes / 2**20)
        return done.seconds

    def peer(self, names: list[str]) -> float:
        """Of those repos a second time, when nothing of them is new."""
        with tempfile.TemporaryDirectory(dir=self._plan.work) as cache:
            command = [sys.executable, "-c", _PEER, cache, *names]
            self._do(command, {})
            return self._do(command, {}).seconds

    def _do(self, command: list[str], more: dict[str, str]) -> Run:
        settings = {"HF_ENDPOINT": self._hub.endpoint, **more}
        return self._runner.run(command, settings)

    def figures(self) -> list[Figure]:
        pairs = zip(self._seconds.values(), self._requests.values(), strict=True)
        return [*(one for pair in pairs for one in pair), self._peak]


GROUP = Group(
    "mirrors",
    (),
    {
        "mirror_repos": Size(10_000, 60, "repos of the large mirror"),
        "mirror_owners": Size(100, 3, "owners that they belong to"),
    },
    sections,
)

if __name__ == "__main__":
    sys.exit(main([GROUP]))
