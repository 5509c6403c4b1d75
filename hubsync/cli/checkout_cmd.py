"""``hubsync checkout``."""

from pathlib import Path

import click

from hubsync.cli.common import Common, common_options, find_snapshot, type_option
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json, say
from hubsync.model.errors import ExitCode
from hubsync.model.units import format_size

EPILOG = """\b
EXAMPLES
  hubsync checkout Qwen/Qwen3-0.6B ./qwen
  hubsync checkout org/model@v1.0 ./model --link
  hubsync checkout org/model ./model --skip-smudge

""" + exit_status(
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.INTEGRITY,
    ExitCode.NO_ROOM,
)


@click.command("checkout", epilog=EPILOG)
@click.argument("repo", metavar="REPO[@REV]")
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False)
)
@type_option
@click.option(
    "--skip-smudge",
    is_flag=True,
    help="git-lfs pointer files in place of LFS contents.",
)
@click.option(
    "--link",
    is_flag=True,
    help="Share bytes with the store (reflink, else read-only hard link).",
)
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
@common_options
def command(
    common: Common,
    *,
    repo: str,
    folder: Path,
    repo_type: str | None,
    skip_smudge: bool,
    link: bool,
    force: bool,
) -> None:
    """Write a recorded snapshot's files into DIR, checking every byte."""
    with common.open(read_only=True) as app:
        row, snapshot = find_snapshot(app, repo, repo_type)
        report = app.write_folder(
            folder,
            app.catalog.entries(snapshot),
            skip_smudge=skip_smudge,
            link=link,
            force=force,
        )
    if common.as_json:
        print_json(
            {
                "upstream": row.repo.upstream,
                "repo_type": row.repo.repo_type.value,
                "repo": row.repo.name,
                "commit": snapshot.commit.oid,
                "path": str(folder),
                "files": report.files,
                "bytes": report.bytes,
                "pointers": report.pointers,
                "warnings": list(report.warnings),
            }
        )
        return
    for warning in report.warnings:
        say(f"hubsync: warning: {warning}")
    if not common.quiet:
        pointers = f", {report.pointers} of them pointers" if report.pointers else ""
        say(
            f"{row.repo}@{snapshot.commit.oid[:10]}: {report.files} files"
            f"{pointers}, {format_size(report.bytes)}"
        )
    click.echo(str(folder))
