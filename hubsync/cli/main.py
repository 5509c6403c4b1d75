"""The ``hubsync`` command: its subcommands by name, its errors as exit codes."""

import errno
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise

import click

from hubsync import __version__
from hubsync.cli.exits import EXIT_STATUS
from hubsync.cli.output import emit, in_events, say, talking
from hubsync.cli.streams import OutputError, set_up_streams
from hubsync.cli.usage import refusal
from hubsync.model.errors import ExitCode, HubsyncError

# Command -> (module, one line).  The modules are imported when their command is
# called: `hubsync --help` must not wait for SQLAlchemy or aiohttp.
CYCLES_AFTER = 50_000  # new objects
COMMANDS = {
    "pull": ("pull_cmd", "Bring repos into the store."),
    "add": ("add_cmd", "Record a local folder as a repo of the mirror."),
    "sync": ("sync_cmd", "Carry out the configured mirrors once."),
    "daemon": ("daemon_cmd", "Carry mirrors out at their schedules."),
    "plan": ("plan_cmd", "What sync would do, why, and what it would cost."),
    "mirrors": ("mirrors_cmd", "The configured mirrors, and how their last run went."),
    "list": ("list_cmd", "What is held."),
    "show": ("show_cmd", "One snapshot: its refs, state and files."),
    "log": ("log_cmd", "Recorded versions of a repo, newest first."),
    "runs": ("runs_cmd", "What mirrors did, newest run first."),
    "diff": ("diff_cmd", "Files that differ between two recorded versions."),
    "checkout": ("checkout_cmd", "Write a snapshot's files into a folder."),
    "verify": ("verify_cmd", "Read held files again and compare their digests."),
    "forget": ("forget_cmd", "Drop a recorded snapshot, or a whole repo."),
    "gc": ("gc_cmd", "Delete blobs that no recorded snapshot needs."),
    "serve": ("serve_cmd", "Answer Hugging Face clients over HTTP."),
    "token": ("token_cmd", "Tokens of those who may read: add, list, revoke."),
    "db": ("db_cmd", "The catalog: upgrade, check, rebuild from the store."),
    "config": ("config_cmd", "The configuration: init, check, show."),
    "selftest": ("selftest_cmd", "Whether this file system keeps a store safe."),
    "demo": ("demo_cmd", "The whole way on loopback with a real small model."),
}


EPILOG = f"""\b
EXAMPLES
  hubsync pull org/model    into the store, every byte verified
  hubsync serve             for huggingface_hub, transformers, datasets, hf
  hubsync list              what is held

{EXIT_STATUS}"""


class LazyCommands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"hubsync.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                click.echo(err=True)  # after the ^C that the terminal shows
            # click would write that line to programs, too.
            raise click.Abort from None

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="hubsync")
def cli() -> None:
    """Mirror models, datasets and spaces; keep every version; serve them."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    set_up_streams()
    # To look through all that is imported for cycles, again and again while more is
    # imported, takes a tenth of the start.
    gc.set_threshold(CYCLES_AFTER)
    # Who stops a service or a container says SIGTERM and means Ctrl-C.  Not by way
    # of SIGINT: whoever was started in the background ignores that.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = run(sys.argv[1:] if argv is None else list(argv))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # whoever read us has seen enough: `| head`
    except (OutputError, OSError) as error:  # a full disk below `> file`
        code = code or _explain(error)
    sys.stderr.flush()
    # Nothing is left to be done: files are closed, and taking the interpreter
    # apart would take longer than many a command.
    os._exit(code)


def run(argv: Sequence[str]) -> int:
    """Run the command line; its exit status."""
    with talking(in_events=_wants_events(argv)):
        return _run(argv)


def _run(argv: Sequence[str]) -> int:  # noqa: PLR0911 - one for each way to end
    try:
        result = cli.main(args=list(argv), prog_name="hubsync", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        return _refuse(error)
    except SystemExit:
        return ExitCode.DONE  # click's answer to a closed pipe: `| head`
    except (click.Abort, KeyboardInterrupt):
        text = "interrupted; what was fetched is kept and resumed"
        return _end(text, None, ExitCode.INTERRUPTED, prefix="")
    except (HubsyncError, OSError) as error:
        if _wants_traceback(argv):
            traceback.print_exc()
        return _explain(error)
    except Exception as error:  # noqa: BLE001 - the outer edge: a bug of ours
        if _wants_traceback(argv):
            traceback.print_exc()
        return _end(
            f"an unexpected {type(error).__name__}: {error}",
            "this is a bug; please report it with what --debug prints",
            ExitCode.FAILED,
        )
    return result if isinstance(result, int) else ExitCode.DONE


def _refuse(error: click.ClickException) -> int:
    if not isinstance(error, click.exceptions.NoArgsIsHelpError):
        return _end(*refusal(error, COMMANDS), ExitCode.USAGE)
    if in_events():
        return _end("no command", "See: hubsync --help", ExitCode.USAGE)
    error.show()
    return ExitCode.USAGE


def _wants_events(argv: Sequence[str]) -> bool:
    """Asked here as well: a command line that is refused has no options yet."""
    return "--progress=json" in argv or ("--progress", "json") in pairwise(argv)


def _wants_traceback(argv: Sequence[str]) -> bool:
    return "--debug" in argv or bool(os.environ.get("HUBSYNC_DEBUG"))


def _explain(error: HubsyncError | OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return ExitCode.DONE  # whoever read us has seen enough: `| head`
    if isinstance(error, OSError):
        return _explain_os_error(error)
    prefix = "" if error.exit_code is ExitCode.INTERRUPTED else "error: "
    return _end(str(error), error.hint, error.exit_code, prefix=prefix)


def _explain_os_error(error: OSError) -> int:
    where = f" ({error.filename})" if error.filename else ""
    text = f"{error.strerror or error}{where}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some room; what was fetched is kept and resumed"
        return _end(text, hint, ExitCode.NO_ROOM)
    hint = "run again with --debug to see where this came from"
    return _end(text, hint, ExitCode.FAILED)


def _end(message: str, hint: str | None, code: int, *, prefix: str = "error: ") -> int:
    """Say why it ends, to a person or to a program; the exit status."""
    if in_events():
        emit("error", message=message, hint=hint, exit_code=code)
        return code
    say(f"hubsync: {prefix}{message}")
    if hint:
        say(f"hubsync: hint: {hint}")
    return code
