"""``hubsync config``."""

from pathlib import Path

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json
from hubsync.config.dump import flat, toml_lines
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
    values = loaded.settings.model_dump(mode="json", by_alias=True)
    values["catalog"]["url"] = _mask(values["catalog"]["url"])
    if common.as_json:
        print_json(
            {
                key: {"value": value, "from": loaded.origins.get(key, "default")}
                for key, value in flat(values)
            }
        )
        return
    for line in toml_lines(values, loaded.origins):
        click.echo(line)


def _mask(url: str) -> str:
    if "@" not in url:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2].partition('?')[0]}"
