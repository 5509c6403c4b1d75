"""``hubsync log``."""

from collections import defaultdict

import click

from hubsync.cli.common import Common, common_options, find_held, type_option
from hubsync.cli.exits import exit_status
from hubsync.cli.output import iso, print_json, print_table
from hubsync.model.errors import ExitCode

EPILOG = """\b
EXAMPLES
  hubsync log Qwen/Qwen3-0.6B
  hubsync log Qwen/Qwen3-0.6B --refs    where each ref pointed, and when

""" + exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND)


@click.command("log", epilog=EPILOG)
@click.argument("repo", metavar="REPO")
@type_option
@click.option("--refs", "ref_moves", is_flag=True, help="Moves of refs instead.")
@common_options
def command(common: Common, repo: str, repo_type: str | None, ref_moves: bool) -> None:
    """Recorded versions of REPO, newest first.

    They stay when upstream moves a branch elsewhere, renames or deletes the
    repo; only `forget` drops them.
    """
    with common.open(read_only=True) as app:
        row, _ = find_held(app, repo, repo_type)
        if ref_moves:
            moves = app.catalog.ref_log(row)
            records: list[dict[str, object]] = [
                {
                    "ref": move.name.full,
                    "old": move.old,
                    "new": move.new,
                    "at": iso(move.at),
                }
                for move in moves
            ]
        else:
            refs = defaultdict(list)
            for ref in app.catalog.refs(row):
                refs[ref.commit].append(ref.name.short)
            records = [
                {
                    "commit": one.commit.oid,
                    "title": one.commit.title,
                    "author": ", ".join(one.commit.authors) or None,
                    "committed_at": iso(one.commit.committed_at),
                    "recorded_at": iso(one.recorded_at),
                    "refs": refs[one.commit.oid],
                    "state": app.catalog.state(one).state.value,
                }
                for one in app.catalog.snapshots(row)
            ]
    if common.as_json:
        for record in records:
            print_json(record)
        return
    if ref_moves:
        headers = ["AT", "REF", "FROM", "TO"]
        cells = [[r["at"], r["ref"], r["old"], r["new"]] for r in records]
    else:
        headers = ["COMMIT", "COMMITTED", "RECORDED", "STATE", "REFS", "TITLE"]
        cells = [
            [
                str(r["commit"])[:10],
                r["committed_at"],
                r["recorded_at"],
                r["state"],
                ",".join(r["refs"]) if isinstance(r["refs"], list) else "",
                r["title"],
            ]
            for r in records
        ]
    print_table(headers, [[str(cell or "-") for cell in row] for row in cells])
