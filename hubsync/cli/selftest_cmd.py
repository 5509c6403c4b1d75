"""``hubsync selftest``."""

import functools
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click
from tqdm import tqdm

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json, print_table, say
from hubsync.config.schema import Settings, StoreSettings
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.selftest.crash import CrashPlan, CrashReport, crash
from hubsync.selftest.filesystem import FileSystem, place_beside, probe
from hubsync.selftest.scratch import clean_up, scratch_folder
from hubsync.wiring import open_app

EPILOG = exit_status(
    ExitCode.FAILED, ExitCode.USAGE, ExitCode.INTEGRITY, ExitCode.NO_ROOM
)
SEEDS = 1 << 31


@click.group("selftest", epilog=EPILOG)
def command() -> None:
    """Try out what a store promises, where you keep yours."""


@command.command("crash", epilog=EPILOG)
@click.option(
    "--kills",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    metavar="N",
    help="How many processes to kill.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where.  Default: the file system that the store is on.",
)
@click.option("--seed", type=int, help="Repeat the choices of an earlier run.")
@common_options
def crash_command(
    common: Common, kills: int, folder: Path | None, seed: int | None
) -> int:
    """Kill processes in mid-work, and see that nothing they said is lost.

    In a scratch store, which is removed at the end, several processes publish
    versions, forget old ones and delete what nobody needs; again and again one is
    killed (kill -9) at a random moment, the others are held, and everything is
    read and compared.  The real store is not touched, nothing is sent, and no
    special rights are needed.

    What this cannot show is a power cut: see docs/operations.md.
    """
    seed = random.randrange(SEEDS) if seed is None else seed  # noqa: S311 - no secret
    place = folder or place_beside(common.settings().store.root)
    for said in clean_up(place):
        say(f"hubsync: {said}")
    file_system, report = _run(common, place, CrashPlan(kills, seed))
    if common.as_json:
        print_json(_as_json(place, file_system, report))
    else:
        _print(common, place, file_system, report)
    return ExitCode.INTEGRITY if report.violations else ExitCode.DONE


class StoppedError(HubsyncError):
    """A selftest was interrupted."""

    exit_code = ExitCode.INTERRUPTED


def _run(
    common: Common, place: Path, plan: CrashPlan
) -> tuple[FileSystem, CrashReport]:
    done = 0
    try:
        with scratch_folder(place) as scratch:
            (scratch / "probe").mkdir()
            file_system = probe(scratch / "probe")
            # Nothing of the user's configuration: its catalog may be on a server.
            store = StoreSettings(root=scratch / "store", reserve=0)
            settings = Settings(store=store)
            open_store = functools.partial(open_app, settings, create=True)
            with _bar(common, plan.kills) as show, _interrupts() as interrupt:

                def progress(kills: int) -> None:
                    nonlocal done
                    done = kills
                    show(kills)
                    interrupt()

                return file_system, crash(open_store, plan, progress)
    except KeyboardInterrupt:
        raise StoppedError(
            f"interrupted after {done} of {plan.kills} kills; nothing wrong was found "
            f"until then (seed {plan.seed}), and the scratch store is gone"
        ) from None


@contextmanager
def _interrupts() -> Iterator[Callable[[], None]]:
    """What raises a Ctrl-C that has come, between two kills; a second acts at once.

    Raised wherever Python is just then, it may be in a library's clean-up, which
    swallows it.
    """
    interrupted = False

    def note(_number: int, _frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)

    def interrupt() -> None:
        if interrupted:
            raise KeyboardInterrupt

    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(common: Common, kills: int) -> Iterator[Callable[[int], None]]:
    # tqdm's thread, which redraws a bar that stands still, must not meet our forks.
    tqdm.monitor_interval = 0
    bar: tqdm[NoReturn]
    with tqdm(
        total=kills, desc="kill -9", unit="kill", disable=not common.bars, leave=False
    ) as bar:

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        yield progress


def _as_json(
    place: Path, file_system: FileSystem, report: CrashReport
) -> dict[str, object]:
    mount = file_system.mount
    return {
        "dir": str(place),
        "file_system": {
            "type": mount.type,
            "source": mount.source,
            "mounted_on": mount.point,
            "options": mount.options,
            **_abilities(file_system),
        },
        "warnings": list(file_system.warnings()),
        "seed": report.seed,
        "kills": report.kills,
        "checks": report.checks,
        "versions_acknowledged": report.versions,
        "files_acknowledged": report.files,
        "blobs_collected": report.collected,
        "open_max_s": round(report.open_max_s, 4),
        "elapsed_s": round(report.elapsed_s, 3),
        "violations": [
            {"invariant": one.invariant, "what": one.what} for one in report.violations
        ],
    }


def _abilities(file_system: FileSystem) -> dict[str, bool]:
    return {
        "hard_links": file_system.hard_links,
        "symlinks": file_system.symlinks,
        "reflinks": file_system.reflinks,
        "holes": file_system.holes,
        "folder_fsync": file_system.folder_fsync,
        "locks": file_system.locks,
        "case_sensitive": file_system.case_sensitive,
        "one_device": file_system.one_device,
    }


def _print(
    common: Common, place: Path, file_system: FileSystem, report: CrashReport
) -> None:
    if not common.quiet:
        mount = file_system.mount
        click.echo(f"{place}: {mount.type}, {mount.source} on {mount.point}")
        print_table(
            ("WHAT", "HERE"),
            [
                (name.replace("_", " "), "yes" if can else "no")
                for name, can in _abilities(file_system).items()
            ],
        )
        for warning in file_system.warnings():
            say(f"warning: {warning}")
        click.echo(
            f"{report.kills} kills in {report.elapsed_s:.1f} s, "
            f"{report.checks} checks; {report.files} files in {report.versions} "
            f"versions acknowledged, {report.collected} blobs deleted by gc "
            f"(seed {report.seed})"
        )
    for one in report.violations:
        click.echo(str(one))
    said = "nothing that was acknowledged was lost, and nothing half was visible"
    if report.violations:
        said = "do not keep a store here before this is understood"
    click.echo(f"{len(report.violations)} violations: {said}")
