"""What was measured, as text for people and as JSON."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import Comparison, Figure, Section

_LEFT = 2  # columns that are text
_COMPARED = ("", "against", "ratio", "min-max", "hubsync", "other", "rounds", "asked")
_FIGURES = ("", "", "median", "min-max", "rounds", "asked")


def machine() -> str:
    load = os.getloadavg()[0]
    cores = os.cpu_count() or 1
    text = (
        f"Python {platform.python_version()}, {cores} cores, "
        f"{platform.system()} {platform.release()}, over loopback"
    )
    if load > cores / 2:
        text += f"\nThe machine is busy (load {load:.1f}): take the ratios with care."
    return text


def show(section: Section, *, with_verdict: bool) -> None:
    """Print it; *with_verdict*: and whether what is asked was reached."""
    missed = "  NOT MET" if with_verdict else ""
    print(f"\n{section.title}")
    if section.comparisons:
        _table(_COMPARED, [_comparison(one, missed) for one in section.comparisons])
    if section.figures:
        _table(_FIGURES, [_figure(one, missed) for one in section.figures])
    for note in section.notes:
        print("  - " + note.replace("\n", "\n    "))
    sys.stdout.flush()


def _comparison(one: Comparison, missed: str) -> tuple[str, ...]:
    return (
        one.what,
        one.against,
        f"{one.ratio:.2f}x",
        f"{min(one.ratios):.2f}-{max(one.ratios):.2f}",
        _value(one.ours, one.unit),
        _value(one.theirs, one.unit),
        str(len(one.pairs)),
        "" if one.asked is None else f">= {one.asked:g}x{'' if one.is_met else missed}",
    )


def _figure(one: Figure, missed: str) -> tuple[str, ...]:
    return (
        one.what,
        "",
        _value(one.median, one.unit),
        f"{_number(min(one.values))}-{_number(max(one.values))}",
        str(len(one.values)),
        ""
        if one.at_most is None
        else f"<= {one.at_most:g}{'' if one.is_met else missed}",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        cells = [
            text.ljust(width) if at < _LEFT else text.rjust(width)
            for at, (text, width) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        print("  " + "  ".join((*cells, row[-1])).rstrip())


def _value(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def write_json(file: Path, groups: Mapping[str, Sequence[Section]]) -> None:
    answer = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "groups": {
            name: [one.as_json() for one in sections]
            for name, sections in groups.items()
        },
    }
    file.write_text(json.dumps(answer, indent=2) + "\n")
