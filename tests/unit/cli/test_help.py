"""Every command explains itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from hubsync.cli.exits import MEANING
from hubsync.cli.main import COMMANDS
from hubsync.model.errors import ExitCode
from tests.unit.cli.harness import COMMAND, PROJECT, Cli

WORDS = [
    *([name] for name in COMMANDS),
    *(["config", "init"], ["config", "check"], ["config", "show"]),
    *(["db", "upgrade"], ["db", "check"]),
    *(["token", "add"], ["token", "list"], ["token", "revoke"]),
]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_every_help_text_has_examples_and_exit_status(
    cli: Cli, words: list[str]
) -> None:
    done = cli.good(*words, "--help")
    assert "EXIT STATUS" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.err == ""


@pytest.mark.parametrize("words", [[], *WORDS], ids=" ".join)
def test_h_is_short_for_help(cli: Cli, words: list[str]) -> None:
    assert cli.good(*words, "-h").out == cli.good(*words, "--help").out


def test_the_first_help_names_every_command_and_every_exit_status(cli: Cli) -> None:
    out = cli.good("--help").out
    for name, (_, line) in COMMANDS.items():
        assert f"  {name} " in out
        assert line in out
    for code in ExitCode:
        assert f"{code.value:>5}  {MEANING[code]}" in out


def test_serve_tells_how_it_ends_with_a_damaged_catalog(
    held: tuple[Cli, str, str],
) -> None:
    cli, _, _ = held
    (cli.root / "catalog.db").write_bytes(b"no database" * 1000)
    done = cli("serve", "--port", "0")
    assert done.code == ExitCode.INTEGRITY
    assert MEANING[ExitCode.INTEGRITY] in cli.good("serve", "--help").out


def test_the_command_that_pip_installs_is_this_one(cli: Cli) -> None:
    script = Path(sys.executable).parent / "hubsync"
    if not script.exists():
        pytest.skip("hubsync is not installed here")
    done = subprocess.run([script, "--version"], capture_output=True, check=True)
    assert done.stdout.decode() == cli.good("--version").out


def test_help_starts_without_the_heavy_libraries() -> None:
    program = (
        "import sys\n"
        "from hubsync.cli.main import run\n"
        "assert run(['--help']) == 0\n"
        "heavy = {'sqlalchemy', 'alembic', 'aiohttp', 'huggingface_hub', 'pydantic',\n"
        "         'pathspec', 'asyncio', 'tqdm', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        cwd=PROJECT,
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "words", [["list"], ["gc", "--dry-run"], ["pull", "--offline", "local:acme/model"]]
)
def test_a_command_that_asks_no_hub_starts_without_what_asks_one(
    held: tuple[Cli, str, str], words: list[str]
) -> None:
    cli, _, _ = held
    program = (
        "import sys\n"
        "from hubsync.cli.main import run\n"
        f"assert run({words!r}) == 0\n"
        "heavy = {'alembic', 'aiohttp', 'huggingface_hub', 'tqdm', 'yaml',\n"
        "         'hubsync.hubs.huggingface', 'hubsync.transfer.engine'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        cwd=PROJECT,
        env=cli.env,
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["pull"],
        ["pull", "--nonsense", "a/b"],
        ["add", "."],
        ["pull", "--type", "film", "a/b"],
        ["serve", "--port", "70000"],
        ["--nonsense"],
        ["verify"],
        ["verify", "a/b", "--all"],
        ["pull", "a/b", "c/d", "--checkout", "x"],
        ["gc", "extra"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_ends_with_2_and_talks_on_stderr(
    cli: Cli, words: list[str]
) -> None:
    done = cli(*words)
    assert done.code == ExitCode.USAGE
    assert done.out == ""
    assert "Error" in done.err or "error" in done.err
    assert not cli.root.exists()


def test_a_command_alone_shows_its_help_and_does_nothing(cli: Cli) -> None:
    done = subprocess.run(
        COMMAND, capture_output=True, check=False, text=True, env=cli.env, cwd=cli.tmp
    )
    assert done.returncode in (0, 2)
    assert "Commands:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
