"""Sizes, rates and durations as people write them."""

import re
from decimal import Decimal

from hubsync.model.errors import UsageError

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_DURATION_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")

MIB = 2**20


class InvalidUnitError(UsageError):
    """A size, rate or duration that cannot be read."""


def parse_size(text: str | int) -> int:
    """Bytes of ``64MiB``, ``1.5GB``, ``1024``.

    Raises:
        InvalidUnitError: with what is allowed.
    """
    found = _NUMBER_UNIT.fullmatch(str(text))
    if not found or found[2].lower() not in _SIZE_UNITS:
        raise InvalidUnitError(
            f"not a size: {text!r}", hint="Write 500MB, 64MiB, 20GiB or plain bytes."
        )
    number = float(found[1]) if "." in found[1] else int(found[1])
    return int(number * _SIZE_UNITS[found[2].lower()])


def parse_rate(text: str | int) -> int:
    """Bytes per second of ``50MB/s`` or ``50MB``; a bare number is bytes.

    Raises:
        InvalidUnitError: with what is allowed.
    """
    try:
        return parse_size(str(text).removesuffix("/s"))
    except InvalidUnitError:
        raise InvalidUnitError(
            f"not a rate: {text!r}",
            hint="Write 50MB/s, 10MiB/s or plain bytes a second.",
        ) from None


def parse_duration(text: str | float) -> float:
    """Seconds of ``30s``, ``10m``, ``6h``, ``14d``, ``1w``; and ``0``.

    A bare number is refused: of seconds, minutes, hours and days people mean each,
    depending on what it is for.

    Raises:
        InvalidUnitError: with what is allowed.
    """
    found = _NUMBER_UNIT.fullmatch(str(text))
    if not found or (found[2] and found[2].lower() not in _DURATION_UNITS):
        raise InvalidUnitError(
            f"not a duration: {text!r}", hint="Write 30s, 10m, 6h, 14d or 1w."
        )
    number, unit = float(found[1]), found[2].lower()
    if not unit and number:
        said = ", ".join(f"{found[1]}{one}" for one in _DURATION_UNITS)
        raise InvalidUnitError(
            f"not a duration, for it has no unit: {text!r}",
            hint=f"Write one of {said} (seconds, minutes, hours, days, weeks).",
        )
    return number * _DURATION_UNITS.get(unit, 1.0)


def format_duration(seconds: float) -> str:
    """``10m``: what `parse_duration` reads as so many seconds, in the largest unit."""
    fitting = [unit for unit, size in _DURATION_UNITS.items() if not seconds % size]
    if not seconds or not fitting:
        # Not 1e-05, which nobody writes.
        return f"{Decimal(repr(seconds)).normalize():f}s"
    return f"{seconds / _DURATION_UNITS[fitting[-1]]:.0f}{fitting[-1]}"


def format_size(size_bytes: float) -> str:
    """``90.9 MB``, as file managers and the Hub count (powers of 1000)."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.95:  # noqa: PLR2004 - rounds to 1000.0
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"
