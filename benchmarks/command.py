"""The command line that ``python -m benchmarks`` and each group share."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.measure import BenchmarkError, NotInstalledError, Section
from hubsync.model.errors import HubsyncError

ROUNDS = 5
SECONDS_MAX = 300.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much of something is measured."""

    usual: int
    quick: int  # only to see whether it runs at all
    help: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    work: Path  # an empty folder
    rounds: int
    seconds_max: float  # of one section: no round begins after it
    is_quick: bool
    only: frozenset[str]
    sizes: Mapping[str, int]

    def wants(self, part: str) -> bool:
        return not self.only or part in self.only

    def require_room(self, size_bytes: int) -> None:
        """Raise before anything is written that would not fit."""
        if shutil.disk_usage(self.work).free < size_bytes:
            raise BenchmarkError(
                f"{self.work.parent} needs {size_bytes / 2**30:.1f} GiB of room: "
                "see --dir and the sizes"
            )


@dataclass(frozen=True, slots=True)
class Group:
    """Sections that need the same preparations."""

    name: str
    parts: Sequence[str]
    sizes: Mapping[str, Size]  # by option
    sections: Callable[[Plan], Iterator[Section]]


def main(groups: Sequence[Group]) -> int:
    """Measure what the command line asks for."""
    args = _arguments(groups)
    # SIGTERM as Ctrl-C: servers end and folders go on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    print(report.machine(), flush=True)
    found: dict[str, list[Section]] = {}
    is_complete = True
    try:
        for group in groups:
            if args.groups and group.name not in args.groups:
                continue
            if args.only and not set(args.only) & set(group.parts):
                continue
            try:
                found[group.name] = _measure(group, args)
            except NotInstalledError as error:
                is_complete = len(groups) > 1  # by its own name it was meant
                print(f"\n{group.name}: not measured: {error}", flush=True)
    except (BenchmarkError, HubsyncError) as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    if args.json:
        report.write_json(args.json, found)
    return 0 if is_complete else 1


def _measure(group: Group, args: argparse.Namespace) -> list[Section]:
    began, sections = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="hubsync-bench-", dir=args.dir) as name:
        for section in group.sections(_plan(group, args, Path(name))):
            report.show(section, with_verdict=not args.quick)
            sections.append(section)
    print(f"\n{group.name} took {time.monotonic() - began:.0f} s", flush=True)
    return sections


def _plan(group: Group, args: argparse.Namespace, work: Path) -> Plan:
    sizes = {}
    for name, size in group.sizes.items():
        given: int | None = getattr(args, name)
        usual = size.quick if args.quick else size.usual
        sizes[name] = usual if given is None else given
    return Plan(
        work,
        args.rounds or (1 if args.quick else ROUNDS),
        args.max_seconds,
        args.quick,
        frozenset(args.only),
        sizes,
    )


def _arguments(groups: Sequence[Group]) -> argparse.Namespace:
    one = groups[0].name if len(groups) == 1 else None
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{one}" if one else "python -m benchmarks",
        description="hubsync beside other tools: ratios, measured in alternation.",
    )
    names = [group.name for group in groups]
    parts = [part for group in groups for part in group.parts]
    if one:
        parser.set_defaults(groups=[])
    else:
        # No choices=: argparse 3.11 would refuse that none is given.
        parser.add_argument(
            "groups", nargs="*", metavar="GROUP", help=", ".join(names) + " (all)"
        )
    parser.add_argument("--quick", action="store_true", help="does it run at all?")
    parser.add_argument(
        "--only", action="append", default=[], choices=parts, help="this part alone"
    )
    parser.add_argument("--rounds", type=_positive, metavar="N", help=f"({ROUNDS})")
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=SECONDS_MAX,
        metavar="S",
        help="begin no round of a section after this (%(default)g)",
    )
    parser.add_argument("--dir", type=Path, help="where the temporary folder goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers as JSON")
    for group in groups:
        for name, size in group.sizes.items():
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=_positive,
                metavar="N",
                help=f"{size.help} ({size.usual})",
            )
    args = parser.parse_args()
    if unknown := sorted(set(args.groups) - set(names)):
        parser.error(f"no group {unknown[0]!r}: {', '.join(names)}")
    return args


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("starts at 1")
    return number
