"""Settings as lines of TOML, which the configuration takes as they are."""

import json
from collections.abc import Iterator, Mapping
from typing import TypeGuard

from hubsync.model.units import format_duration


def toml_lines(
    settings: Mapping[str, object], origins: Mapping[str, str]
) -> Iterator[str]:
    """One a key, by its dotted name, with where it came from.

    Lists of tables stand at the end, each table below a header of its own: what
    follows a header belongs to it.  *settings* are as `Settings.model_dump`.
    """
    tables: list[tuple[str, Mapping[str, object]]] = []
    for key, value in flat(settings):
        if _is_tables(value):
            tables += [(key, table) for table in value]
        else:
            yield f"{_line(key, value)}    # {_origin(key, origins)}"
    for key, table in tables:
        yield f"[[{key}]]    # {_origin(key, origins)}"
        yield from (_line(*one) for one in flat(table))


def flat(tree: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Every value that is no table, by its dotted key."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _is_tables(value: object) -> TypeGuard[list[dict[str, object]]]:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) for one in value)
    )


def _origin(key: str, origins: Mapping[str, str]) -> str:
    return origins.get(key, "default")


def _line(key: str, value: object) -> str:
    # TOML has no word for what is not set: it is left out.
    return f"# {key} is unset" if value is None else f"{key} = {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):  # each of ours is a time in seconds
        return f'"{format_duration(value)}"'
    if isinstance(value, int):
        return str(value)
    # As in JSON, but for one character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
