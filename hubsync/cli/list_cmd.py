"""``hubsync list``."""

from collections import defaultdict

import click

from hubsync.catalog.rows import SnapshotStateRow
from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import iso, print_json, print_table
from hubsync.model.errors import ExitCode
from hubsync.model.units import format_size

EPILOG = """\b
EXAMPLES
  hubsync list
  hubsync list 'Qwen/*'
  hubsync list 'datasets/*' --json

\b
STATE
  complete   every file is held
  pointers   every plain file is held, some LFS contents are not
  partial    some plain file is not held
  N damaged  N files were held and went bad: hubsync verify --all --repair

""" + exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND)


@click.command("list", epilog=EPILOG)
@click.argument("pattern", required=False)
@common_options
def command(common: Common, pattern: str | None) -> None:
    """Recorded snapshots, of repos whose name matches PATTERN (a glob)."""
    rows: list[list[str]] = []
    with common.open(read_only=True) as app:
        for row in app.catalog.repos(pattern=pattern):
            refs = defaultdict(list)
            for ref in app.catalog.refs(row):
                refs[ref.commit].append(ref.name.short)
            for snapshot in app.catalog.snapshots(row):
                oid = snapshot.commit.oid
                state = app.catalog.state(snapshot)
                if common.as_json:
                    print_json(
                        {
                            "upstream": row.repo.upstream,
                            "repo_type": row.repo.repo_type.value,
                            "repo": row.repo.name,
                            "commit": oid,
                            "refs": refs[oid],
                            "state": state.state.value,
                            "files": state.files,
                            "bytes": state.bytes,
                            "files_held": state.files_held,
                            "bytes_held": state.bytes_held,
                            "files_damaged": state.damaged,
                            "recorded_at": iso(snapshot.recorded_at),
                            "last_synced_at": iso(row.last_synced_at),
                        }
                    )
                    continue
                rows.append(
                    [
                        str(row.repo),
                        ",".join(refs[oid]) or "-",
                        oid[:10],
                        state_text(state),
                        f"{state.files_held}/{state.files}",
                        format_size(state.bytes_held),
                        iso(snapshot.recorded_at) or "",
                    ]
                )
    if common.as_json:
        return
    if common.quiet:
        for cells in rows:
            click.echo(f"{cells[0]}@{cells[2]}")
        return
    headers = ["REPO", "REFS", "COMMIT", "STATE", "FILES", "HELD", "RECORDED"]
    print_table(headers, rows)


def state_text(state: SnapshotStateRow) -> str:
    """The state, and how much of it is nobody's wish."""
    damaged = f", {state.damaged} damaged" if state.damaged else ""
    return f"{state.state.value}{damaged}"
