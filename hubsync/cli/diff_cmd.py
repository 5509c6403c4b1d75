"""``hubsync diff``."""

import click

from hubsync.cli.common import Common, common_options, find_snapshot, type_option
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json
from hubsync.model.errors import ExitCode
from hubsync.model.snapshot import HeldEntry
from hubsync.model.units import format_size

EPILOG = """\b
EXAMPLES
  hubsync diff Qwen/Qwen3-0.6B 1a2b3c4 main
  hubsync diff org/model v1.0 v1.1 --json

""" + exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND)

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@click.command("diff", epilog=EPILOG)
@click.argument("repo", metavar="REPO")
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@type_option
@common_options
def command(
    common: Common, repo: str, old: str, new: str, repo_type: str | None
) -> None:
    """Files added, removed and changed between two recorded revisions of REPO."""
    with common.open(read_only=True) as app:
        before = _tree(app.catalog.entries(find_snapshot(app, repo, repo_type, old)[1]))
        after = _tree(app.catalog.entries(find_snapshot(app, repo, repo_type, new)[1]))
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if was and now and was.entry.git_oid == now.entry.git_oid:
            continue
        change = "changed" if was and now else "added" if now else "removed"
        record = {
            "path": path,
            "change": change,
            "old_size": was.entry.size_bytes if was else None,
            "new_size": now.entry.size_bytes if now else None,
            "old_digest": _digest(was),
            "new_digest": _digest(now),
        }
        if common.as_json:
            print_json(record)
            continue
        sizes = " -> ".join(
            format_size(one.entry.size_bytes) for one in (was, now) if one
        )
        click.echo(f"{_SIGNS[change]} {path}  ({sizes})")


def _tree(entries: list[HeldEntry]) -> dict[str, HeldEntry]:
    return {one.entry.path: one for one in entries}


def _digest(one: HeldEntry | None) -> str | None:
    if one is None:
        return None
    digest = one.digest or one.entry.lfs
    return str(digest) if digest else f"git:{one.entry.git_oid}"
