"""What click refuses, said as every other error of ours."""

import difflib
from collections.abc import Iterable

import click


def refusal(error: click.ClickException, commands: Iterable[str]) -> tuple[str, str]:
    """The sentence, and what to do about it."""
    text = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    text += _nearest(text, commands)
    if context is None:
        return _lowered(text), "See: hubsync --help"
    usage = " ".join(context.command.collect_usage_pieces(context))
    path = context.command_path
    return _lowered(text), f"{path} {usage}; see: {path} --help"


def _nearest(text: str, commands: Iterable[str]) -> str:
    _, is_command, name = text.partition("No such command ")
    close = difflib.get_close_matches(name.strip("'"), commands, n=1)
    return f" (did you mean {close[0]}?)" if is_command and close else ""


def _lowered(text: str) -> str:
    """As our own begin; an option or a name in capitals stays as it is."""
    first, second = text[:1], text[1:2]
    return first.lower() + text[1:] if not second.isupper() else text
