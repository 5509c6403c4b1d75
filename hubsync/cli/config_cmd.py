"""``hubsync config``."""

from pathlib import Path
from typing import Any

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json
from hubsync.config.load import example_text, load
from hubsync.model.errors import ExitCode, UsageError

EPILOG = exit_status(ExitCode.USAGE)


@click.group("config", epilog=EPILOG)
def command() -> None:
    """The configuration: none is needed for pull and serve."""


@command.command("init", epilog=EPILOG)
@click.argument(
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("hubsync.toml"),
    required=False,
)
@click.option("--stdout", is_flag=True, help="Print it instead.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def init(file: Path, stdout: bool, force: bool) -> None:
    """Write the commented example to FILE (./hubsync.toml)."""
    if stdout:
        click.echo(example_text(), nl=False)
        return
    if file.exists() and not force:
        raise UsageError(f"{file} exists", hint="Name another file, or say --force.")
    file.write_text(example_text(), "utf-8")
    click.echo(str(file))


@command.command("check", epilog=EPILOG)
@common_options
def check(common: Common) -> None:
    """Read the configuration and say what is wrong with it, line by line."""
    loaded = load(common.config, root=common.root)
    if not common.quiet:
        click.echo(f"{loaded.file or 'no file, defaults'}: good")


@command.command("show", epilog=EPILOG)
@common_options
def show(common: Common) -> None:
    """The configuration in force, and where each value came from."""
    loaded = load(common.config, root=common.root)
    values = dict(_flat(loaded.settings.model_dump(mode="json")))
    if common.as_json:
        print_json(
            {
                key: {
                    "value": _mask(key, value),
                    "from": loaded.origins.get(key, "default"),
                }
                for key, value in values.items()
            }
        )
        return
    for key, value in values.items():
        shown = "unset" if value is None else _mask(key, value)
        click.echo(f"{key} = {shown}    # {loaded.origins.get(key, 'default')}")


def _mask(key: str, value: object) -> object:
    if key == "catalog.url" and "@" in str(value):
        scheme, _, rest = str(value).partition("://")
        return f"{scheme}://***@{rest.rpartition('@')[2].partition('?')[0]}"
    return value


def _flat(tree: dict[str, Any], above: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _flat(value, f"{above}{key}.")
        else:
            found.append((f"{above}{key}", value))
    return found
