"""``python -m benchmarks``."""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import pulling, serving
from benchmarks.content import SMALL_FILES, publish
from benchmarks.measure import BenchmarkError, Comparison
from hubsync.model.errors import HubsyncError

Compare = Callable[..., tuple[list[Comparison], list[str]]]
GROUPS: dict[str, Compare] = {"pull": pulling.compare, "serve": serving.compare}
SPARE = 3  # room needed, as a multiple of the large file's size


def main() -> int:
    args = _arguments()
    # SIGTERM as Ctrl-C: servers end and folders go on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    try:
        with tempfile.TemporaryDirectory(prefix="hubsync-bench-", dir=args.dir) as name:
            return _measure(args, Path(name))
    except (BenchmarkError, HubsyncError) as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="hubsync beside other tools: ratios, measured in alternation.",
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="pull, serve")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--size-mib", type=int, default=512, metavar="M")
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=140.0,
        metavar="S",
        help="begin no round after this (each group has at least one)",
    )
    parser.add_argument("--dir", type=Path, help="where the temporary folder goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers as JSON")
    args = parser.parse_args()
    if unknown := sorted(set(args.groups) - set(GROUPS)):
        parser.error(f"no group {unknown[0]!r}: {', '.join(GROUPS)}")
    if args.rounds < 1 or args.size_mib < 1:
        parser.error("--rounds and --size-mib start at 1")
    return args


def _measure(args: argparse.Namespace, work: Path) -> int:
    started = time.monotonic()
    free = shutil.disk_usage(work).free
    if free < SPARE * args.size_mib * 2**20:
        raise BenchmarkError(
            f"{work.parent} has too little room for --size-mib {args.size_mib}"
        )
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" {platform.system()} {platform.release()}; 1 file of {args.size_mib} MiB"
        f" random bytes and {SMALL_FILES} of 4 kB, in {work.parent}, over loopback",
        flush=True,
    )
    if (load := os.getloadavg()[0]) > (os.cpu_count() or 1) / 2:
        print(f"The machine is busy (load {load:.1f}): take the ratios with care.")
    content = publish(work, args.size_mib)
    shutil.rmtree(work / "source")
    results: dict[str, list[Comparison]] = {}
    remarks: dict[str, list[str]] = {}
    chosen = [name for name in GROUPS if name in (args.groups or GROUPS)]
    for left, name in zip(range(len(chosen), 0, -1), chosen, strict=True):
        now = time.monotonic()
        # pull takes longer: two thirds of the time when both are asked for
        share = 1.0 if left == 1 else 2 / 3
        until = now + (started + args.max_seconds - now) * share
        results[name], remarks[name] = GROUPS[name](
            content, work, count=args.rounds, until=until
        )
        _print(name, results[name], remarks[name])
    print(f"\ntook {time.monotonic() - started:.0f} s")
    if args.json:
        _write_json(args, results, remarks)
    return 0


def _print(name: str, found: Sequence[Comparison], notes: Sequence[str]) -> None:
    head = ("", "against", "ratio", "min-max", "hubsync", "other", "rounds")
    rows = [head]
    for one in found:
        ratios = one.ratios
        rows.append(
            (
                one.what,
                one.against,
                f"{statistics.median(ratios):.2f}",
                f"{min(ratios):.2f}-{max(ratios):.2f}",
                _value(one.ours, one.unit),
                _value(one.theirs, one.unit),
                str(len(one.pairs)),
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    print(f"\n{name}: above 1, hubsync is better (faster, smaller)")
    for row in rows:
        left = "  ".join(
            text.ljust(width) if at < 2 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        print(f"  {left.rstrip()}")
    for note in notes:
        print("  - " + note.replace("\n", "\n    "))
    sys.stdout.flush()


def _value(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}" if unit == "s" else f"{value:.0f} {unit}"


def _write_json(
    args: argparse.Namespace,
    results: dict[str, list[Comparison]],
    remarks: dict[str, list[str]],
) -> None:
    answer = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "size_mib": args.size_mib,
        "groups": {
            name: {
                "comparisons": [one.as_json() for one in found],
                "notes": remarks[name],
            }
            for name, found in results.items()
        },
    }
    args.json.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
