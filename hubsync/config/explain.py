"""A refused setting, said so that it can be mended."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hubsync.config.schema import Settings, UpstreamSettings
from hubsync.model.errors import UsageError


def explain(
    error: ValidationError, file: Path | None, text: str, origins: Mapping[str, str]
) -> UsageError:
    """One `UsageError` for everything pydantic found."""
    lines = [_line(found, file, text, origins) for found in error.errors()]
    return UsageError(
        "configuration refused:\n  " + "\n  ".join(lines),
        hint="Every key is explained by: hubsync config init --stdout",
    )


def _line(found: Any, file: Path | None, text: str, origins: Mapping[str, str]) -> str:
    keys = [str(key) for key in found["loc"]]
    dotted = ".".join(keys)
    # The place in a list has no origin and no line of its own.
    named = [key for key in keys if not key.isdigit()]
    where = origins.get(".".join(named)) or _origin_below(dotted, origins)
    if where == str(file) or not where:
        number = line_of(text, named)
        where = f"{file}:{number}" if file and number else str(file or "configuration")
    if found["type"] == "extra_forbidden":
        return f"{where}: unknown key {dotted}{_nearest(keys)}"
    said = re.sub(r"^Value error, ", "", found["msg"])
    return f"{where}: {dotted} = {found['input']!r}: {said}"


def _origin_below(dotted: str, origins: Mapping[str, str]) -> str:
    """Where a table came from that may not be there: from what was set in it."""
    below = (one for key, one in origins.items() if key.startswith(f"{dotted}."))
    return next(below, "")


def _nearest(keys: list[str]) -> str:
    known: list[str] = []
    model: type[BaseModel] | None = Settings
    for key in keys[:-1]:
        if model is Settings and key == "upstreams":
            model = UpstreamSettings
        elif model is not UpstreamSettings and model is not None:
            inner = (
                model.model_fields[key].annotation
                if key in model.model_fields
                else None
            )
            model = (
                inner
                if isinstance(inner, type) and issubclass(inner, BaseModel)
                else None
            )
    if model is not None:
        known = list(model.model_fields)
    close = difflib.get_close_matches(keys[-1], known, n=1)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (known here: {', '.join(known)})" if known else ""


def line_of(text: str, keys: list[str]) -> int | None:
    """The line of a key in TOML *text*, 1-based, found by its table header."""
    table: list[str] = []
    best: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if header := re.fullmatch(r"\[\[?([^\]]+)\]\]?\s*(?:#.*)?", stripped):
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            if table == keys[: len(table)]:
                best = number
        elif match := re.match(r"([\w.\"'-]+)\s*=", stripped):
            path = table + [part.strip("\"'") for part in match[1].split(".")]
            if path == keys:
                return number
    return best
