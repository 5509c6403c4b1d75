"""A refused setting, said so that it can be mended."""

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hubsync.config.mirrors import MirrorSettings
from hubsync.config.schema import Settings, UpstreamSettings
from hubsync.model.errors import UsageError

TABLES = "mirrors"  # the one list of tables
_OF_MANY: Mapping[str, type[BaseModel]] = {
    "upstreams": UpstreamSettings,
    TABLES: MirrorSettings,
}


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
    # The place in a list of values has no origin and no line of its own.
    named = [
        key
        for place, key in enumerate(keys)
        if not key.isdigit() or keys[:place] == [TABLES]
    ]
    where = origins.get(".".join(named)) or _origin_below(dotted, origins)
    if where == str(file) or not where:
        number = line_of(text, named)
        where = f"{file}:{number}" if file and number else str(file or "configuration")
    if found["type"] == "extra_forbidden":
        return f"{where}: unknown key {dotted}{_nearest(keys)}"
    said = re.sub(r"^Value error, ", "", found["msg"])
    if isinstance(found["input"], (dict, BaseModel)):  # not one value is wrong
        return f"{where}: {dotted}: {said}" if dotted else f"{where}: {said}"
    return f"{where}: {dotted} = {found['input']!r}: {said}"


def _origin_below(dotted: str, origins: Mapping[str, str]) -> str:
    """Where a table came from that may not be there: from what was set in it."""
    below = (one for key, one in origins.items() if key.startswith(f"{dotted}."))
    return next(below, "")


def _nearest(keys: list[str]) -> str:
    known: list[str] = []
    model: type[BaseModel] | None = Settings
    for key in keys[:-1]:
        if model is Settings and key in _OF_MANY:
            model = _OF_MANY[key]
        elif not (key.isdigit() or model is UpstreamSettings) and model is not None:
            model = _section(model, key)
    if model is not None:
        fields = model.model_fields.items()
        known = [field.alias or name for name, field in fields]
    close = difflib.get_close_matches(keys[-1], known, n=1)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (known here: {', '.join(known)})" if known else ""


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The table that *key* is in *model*, perhaps one that may be missing."""
    field = model.model_fields.get(key)
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    tables = (one for one in kinds if isinstance(one, type))
    return next((one for one in tables if issubclass(one, BaseModel)), None)


def line_of(text: str, keys: list[str]) -> int | None:
    """The line of a key in TOML *text*, 1-based, found by its table header.

    Of a list of tables, *keys* say which: ``mirrors``, ``0``, ``name``.
    """
    table: list[str] = []
    seen: Counter[str] = Counter()
    best: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if header := re.fullmatch(r"(\[\[?)([^\]]+)\]\]?\s*(?:#.*)?", stripped):
            table = [part.strip().strip("\"'") for part in header[2].split(".")]
            if header[1] == "[[":
                seen[table[0]] += 1
            if seen[table[0]]:
                table.insert(1, str(seen[table[0]] - 1))
            if table == keys[: len(table)]:
                best = number
        elif match := re.match(r"([\w.\"'-]+)\s*=", stripped):
            path = table + [part.strip("\"'") for part in match[1].split(".")]
            if path == keys or (path == keys[: len(path)] and path != table):
                return number  # the key itself, or the one line of its inline table
    return best
