"""``hubsync show``."""

import click

from hubsync.catalog.rows import RepoRow, SnapshotRow, SnapshotStateRow
from hubsync.cli.common import Common, common_options, find_snapshot, type_option
from hubsync.cli.exits import exit_status
from hubsync.cli.list_cmd import state_text
from hubsync.cli.output import iso, print_json, print_table, printable
from hubsync.model.errors import ExitCode
from hubsync.model.snapshot import HeldEntry
from hubsync.model.units import format_size

EPILOG = """\b
EXAMPLES
  hubsync show Qwen/Qwen3-0.6B
  hubsync show datasets/rajpurkar/squad@refs/convert/parquet --json

""" + exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND)


@click.command("show", epilog=EPILOG)
@click.argument("repo", metavar="REPO[@REV]")
@type_option
@common_options
def command(common: Common, repo: str, repo_type: str | None) -> None:
    """One recorded snapshot: its refs, its state, and every file.

    A file is "held", or a "pointer" (an LFS file whose contents were not
    fetched), or "absent" (a plain file that was not selected), or "damaged" (it
    was held: fetch it again with `hubsync verify REPO --repair`).
    """
    with common.open(read_only=True) as app:
        row, snapshot = find_snapshot(app, repo, repo_type)
        entries = app.catalog.entries(snapshot)
        state = app.catalog.state(snapshot)
        oid = snapshot.commit.oid
        refs = [one.name.short for one in app.catalog.refs(row) if one.commit == oid]
    if common.as_json:
        print_json(_json(row, snapshot, state, refs, entries))
        return
    if not common.quiet:
        _print_head(row, snapshot, state, refs)
    print_table(
        ["SIZE", "KIND", "STATE", "DIGEST", "PATH"],
        [
            [
                format_size(one.entry.size_bytes),
                "lfs" if one.entry.is_lfs else "plain",
                file_state(one),
                _digest(one)[:19],
                one.entry.path,
            ]
            for one in entries
        ],
    )


def file_state(one: HeldEntry) -> str:
    if one.held:
        return "held"
    if one.damaged:
        return "damaged"
    return "pointer" if one.entry.is_lfs else "absent"


def _digest(one: HeldEntry) -> str:
    digest = one.digest or one.entry.lfs
    return str(digest) if digest else f"git:{one.entry.git_oid}"


def _print_head(
    row: RepoRow, snapshot: SnapshotRow, state: SnapshotStateRow, refs: list[str]
) -> None:
    commit = snapshot.commit
    click.echo(f"{row.repo}")
    click.echo(printable(f"commit    {commit.oid}  {commit.title}".rstrip()))
    when = iso(commit.committed_at) or "at an unknown time"
    authors = printable(", ".join(commit.authors))
    click.echo(f"by        {authors or 'unknown'}, {when}")
    click.echo(f"refs      {', '.join(refs) or 'none any more'}")
    click.echo(
        f"state     {state_text(state)}: {state.files_held} of {state.files} files, "
        f"{format_size(state.bytes_held)} of {format_size(state.bytes)}"
    )
    click.echo(f"recorded  {iso(snapshot.recorded_at)}")
    if row.aliases:
        click.echo(f"formerly  {', '.join(row.aliases)}")
    click.echo("")


def _json(
    row: RepoRow,
    snapshot: SnapshotRow,
    state: SnapshotStateRow,
    refs: list[str],
    entries: list[HeldEntry],
) -> dict[str, object]:
    commit = snapshot.commit
    return {
        "upstream": row.repo.upstream,
        "repo_type": row.repo.repo_type.value,
        "repo": row.repo.name,
        "hub_id": row.hub_id,
        "aliases": list(row.aliases),
        "commit": commit.oid,
        "title": commit.title,
        "author": ", ".join(commit.authors) or None,
        "committed_at": iso(commit.committed_at),
        "recorded_at": iso(snapshot.recorded_at),
        "refs": refs,
        "state": state.state.value,
        "bytes": state.bytes,
        "bytes_held": state.bytes_held,
        "pointers": state.pointers,
        "files_damaged": state.damaged,
        "files": [
            {
                "path": one.entry.path,
                "size": one.entry.size_bytes,
                "digest": str(one.digest or one.entry.lfs or "") or None,
                "git_oid": one.entry.git_oid.hex,
                "lfs": one.entry.is_lfs,
                "state": file_state(one),
            }
            for one in entries
        ],
    }
