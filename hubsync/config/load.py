"""Finding, reading and merging the configuration."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hubsync.config.explain import explain
from hubsync.config.schema import Settings
from hubsync.model.errors import UsageError

ENV_PREFIX = "HUBSYNC_"
_NOT_KEYS = frozenset({"HUBSYNC_CONFIG", "HUBSYNC_ROOT"})


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
        if not named.is_file():
            raise UsageError(f"no configuration file at {named}")
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
        if not name.startswith(ENV_PREFIX) or name in _NOT_KEYS or "__" not in name:
            continue
        keys = name[len(ENV_PREFIX) :].lower().split("__")
        _set(raw, keys, value)
        origins[".".join(keys)] = f"environment {name}"


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
