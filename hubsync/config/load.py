"""Finding, reading and merging the configuration."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hubsync.config.explain import explain
from hubsync.config.lists import is_list, read_list
from hubsync.config.schema import Settings
from hubsync.model.errors import UsageError

ENV_PREFIX = "HUBSYNC_"
_NOT_KEYS = frozenset({"HUBSYNC_CONFIG", "HUBSYNC_ROOT"})
_KUBERNETES = "tcp://"  # what it sets HUBSYNC_SERVE_PORT to, for a service of that name


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, the file they were read from, and what the file did not say.

    *origins* maps a dotted key to where its value came from; a key that is not
    in it has its default.
    """

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]


def load(
    file: Path | None = None,
    *,
    root: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Loaded:
    """Read the configuration: file, then environment, then *root*.

    Raises:
        UsageError: naming file, line, key, value and what is allowed.
    """
    path = _find(file, environ)
    text = _read(path) if path else ""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    origins = {key: str(path) for key in _dotted(raw)}
    _overlay_environment(raw, origins, environ)
    if root is not None:
        _set(raw, ["store", "root"], str(root))
        origins["store.root"] = "--root or HUBSYNC_ROOT"
    _honour_hf_endpoint(raw, origins, environ)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise explain(error, path, text, origins) from error
    return Loaded(settings, path, origins)


def example_text() -> str:
    """``config.example.toml``, from the wheel or from the checkout."""
    here = Path(__file__).parent
    for path in (here / "config.example.toml", here.parents[1] / "config.example.toml"):
        if path.is_file():
            return path.read_text("utf-8")
    raise UsageError("this installation lacks config.example.toml: install it again")


def _find(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = file or (
        Path(environ["HUBSYNC_CONFIG"]) if environ.get("HUBSYNC_CONFIG") else None
    )
    if named is not None:
        by = "--config" if file else "HUBSYNC_CONFIG"
        if not named.is_file():
            raise UsageError(
                f"no configuration file at {named}",
                hint=f"Name another with {by}, or write one: hubsync config init",
            )
        return named
    home = Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    places = [Path("hubsync.toml"), home / "hubsync/config.toml"]
    places.append(Path("/etc/hubsync/config.toml"))
    return next((place for place in places if place.is_file()), None)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error


def _overlay_environment(
    raw: dict[str, Any], origins: dict[str, str], environ: Mapping[str, str]
) -> None:
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX) or name in _NOT_KEYS:
            continue
        words = name[len(ENV_PREFIX) :].lower()
        if "__" not in words:
            if words in _MISSPELT and not value.startswith(_KUBERNETES):
                raise UsageError(
                    f"environment {name}: not a key",
                    hint=f"Two underscores stand between section and key: set "
                    f"{_MISSPELT[words]}.",
                )
            continue
        keys = words.split("__")
        try:
            _set(raw, keys, read_list(value) if is_list(keys) else value)
        except UsageError as error:
            said = f"environment {name}: {error}"
            raise UsageError(said, hint=error.hint) from error
        origins[".".join(keys)] = f"environment {name}"


def _with_one_underscore() -> Iterator[tuple[str, str]]:
    """``transfer_retries``, and what is meant by it: HUBSYNC_TRANSFER__RETRIES."""
    for section, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(
            field.annotation, BaseModel
        ):
            for key in field.annotation.model_fields:
                yield f"{section}_{key}", f"{ENV_PREFIX}{section}__{key}".upper()


_MISSPELT = dict(_with_one_underscore())


def _honour_hf_endpoint(
    raw: dict[str, Any], origins: dict[str, str], environ: Mapping[str, str]
) -> None:
    endpoint = environ.get("HF_ENDPOINT")
    upstreams = raw.get("upstreams", {})
    if not endpoint or (upstreams and "huggingface" not in upstreams):
        return
    if not upstreams.get("huggingface", {}).get("endpoint"):
        _set(raw, ["upstreams", "huggingface", "endpoint"], endpoint)
        origins["upstreams.huggingface.endpoint"] = "environment HF_ENDPOINT"


def _set(raw: dict[str, Any], keys: list[str], value: object) -> None:
    table = raw
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UsageError(f"{'.'.join(keys)}: {key} is not a table")
    table[keys[-1]] = value


def _dotted(raw: Mapping[str, Any], above: str = "") -> list[str]:
    found: list[str] = []
    for key, value in raw.items():
        dotted = f"{above}{key}"
        found += _dotted(value, f"{dotted}.") if isinstance(value, dict) else [dotted]
    return found
