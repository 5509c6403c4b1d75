"""Options that every command has, and what they make of themselves."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.config.load import load
from hubsync.config.schema import Settings
from hubsync.model.errors import NotHeldError, UsageError
from hubsync.model.repo import RepoArg, RepoId, RepoType, parse_repo
from hubsync.model.revision import DEFAULT_BRANCH, canonical
from hubsync.wiring import App, open_app


@dataclass(frozen=True, slots=True)
class Common:
    """The options that every command has."""

    config: Path | None
    root: Path | None
    as_json: bool
    quiet: bool
    no_progress: bool

    @property
    def bars(self) -> bool:
        """Whether progress bars make sense: a person watches, nobody said no."""
        return not (self.quiet or self.no_progress) and sys.stderr.isatty()

    def settings(self) -> Settings:
        """The configuration, read now."""
        return load(self.config, root=self.root).settings

    @contextmanager
    def open(
        self,
        *,
        create: bool = False,
        read_only: bool = False,
        or_read_only: bool = False,
        rebuild: bool = False,
        frees_room: bool = False,
    ) -> Iterator[App]:
        """The store that the options and the configuration name."""
        with open_app(
            self.settings(),
            create=create,
            read_only=read_only,
            or_read_only=or_read_only,
            rebuild=rebuild,
            frees_room=frees_room,
        ) as app:
            yield app


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the common options, as its first argument."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="Configuration file. [env: HUBSYNC_CONFIG]",
    )
    @click.option(
        "--root",
        envvar="HUBSYNC_ROOT",
        type=click.Path(path_type=Path, file_okay=False),
        help="Store to use. [env: HUBSYNC_ROOT]",
    )
    @click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="Only the result.")
    @click.option("--no-progress", is_flag=True, help="No progress bars.")
    @click.option("--debug", is_flag=True, help="Tracebacks for errors.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        config: Path | None,
        root: Path | None,
        as_json: bool,
        quiet: bool,
        no_progress: bool,
        **kwargs: Any,
    ) -> Any:
        kwargs.pop("debug")  # read by main(), which prints the errors
        common = Common(config, root, as_json, quiet, no_progress)
        return command(common, *args, **kwargs)

    return wrapped


def type_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--type``."""
    option = click.option(
        "--type",
        "repo_type",
        type=click.Choice([kind.value for kind in RepoType]),
        help="What REPO is, when its name does not say.",
    )
    return option(command)


def understand(settings: Settings, text: str, repo_type: str | None) -> RepoArg:
    """REPO as typed, with the configured upstreams in mind."""
    endpoints = {
        name: upstream.endpoint for name, upstream in settings.upstreams.items()
    }
    kind = RepoType(repo_type) if repo_type else None
    return parse_repo(text, repo_type=kind, upstreams=endpoints)


def find_held(app: App, text: str, repo_type: str | None) -> tuple[RepoRow, RepoArg]:
    """The recorded repo that REPO names; without an upstream, as it is served.

    Raises:
        NotHeldError: none is recorded.
    """
    arg = understand(app.settings, text, repo_type)
    order = (arg.upstream,) if arg.upstream else app.upstream_order
    for upstream in order:
        row = app.catalog.find_repo(RepoId(upstream, arg.repo_type, arg.name))
        if row is not None:
            return row, arg
    if not arg.upstream:  # an upstream that is not configured any more
        rows = app.catalog.find_by_name(arg.repo_type, arg.name)
        if rows:
            return rows[0], arg
    raise NotHeldError(
        f"{text} is not held in {app.settings.store.root}",
        hint="See what is held: hubsync list. Bring it in: hubsync pull "
        f"{arg.repo_type.url_prefix}{arg.name}",
    )


def require_one(app: App, text: str, repo_type: str | None) -> None:
    """Raise if REPO names no upstream and is held from several.

    Raises:
        UsageError: with how to name each.
    """
    arg = understand(app.settings, text, repo_type)
    rows = app.catalog.find_by_name(arg.repo_type, arg.name)
    if arg.upstream is None and len(rows) > 1:
        prefix = arg.repo_type.url_prefix
        names = [f"{row.repo.upstream}:{prefix}{row.repo.name}" for row in rows]
        raise UsageError(
            f"{text} is held from {len(rows)} upstreams",
            hint=f"Say which one is meant: {' or '.join(names)}",
        )


def find_snapshot(
    app: App, text: str, repo_type: str | None, revision: str | None = None
) -> tuple[RepoRow, SnapshotRow]:
    """The recorded repo and snapshot that REPO[@REV] names.

    Raises:
        NotHeldError: either is not recorded.
    """
    row, arg = find_held(app, text, repo_type)
    asked = revision or arg.revision
    asked = canonical(asked) if asked else None
    snapshot = app.catalog.resolve(row, asked or DEFAULT_BRANCH)
    if snapshot is None and asked is None:
        snapshot = app.catalog.resolve(row, "HEAD")
    if snapshot is None:
        raise NotHeldError(
            f"{row.repo} has no recorded revision {asked or DEFAULT_BRANCH!r}",
            hint=f"See its recorded versions: hubsync log {row.repo}",
        )
    return row, snapshot
