"""What ends how: exit codes are what scripts lean on."""

import subprocess
from pathlib import Path

import pytest

from hubsync.model.errors import ExitCode
from tests.unit.cli.harness import COMMAND, FILES, PROJECT, Cli, read, write

BAD_REPOS = ["a/b/c", "../etc", "nowhere:a/b", "https://example.org/a/b", "a/b@", ""]


@pytest.mark.parametrize("repo", BAD_REPOS)
@pytest.mark.parametrize("command", ["show", "log", "forget", "pull"])
def test_a_repo_that_cannot_be_understood_ends_with_2(
    held: tuple[Cli, str, str], command: str, repo: str
) -> None:
    cli, _, _ = held
    done = cli(command, repo)
    assert done.code == ExitCode.USAGE
    assert done.out == ""
    assert "hint:" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["show", "acme/other"],
        ["log", "acme/other"],
        ["forget", "acme/other"],
        ["verify", "acme/other"],
        ["diff", "acme/other", "a", "b"],
        ["checkout", "acme/other", "out"],
        ["show", "datasets/acme/model"],
        ["show", "acme/model@v9"],
        ["show", "huggingface:acme/model"],
        ["forget", "acme/model@v9"],
        ["diff", "acme/model", "main", "v9"],
        ["checkout", "acme/model@v9", "out"],
    ],
    ids=" ".join,
)
def test_what_is_not_held_ends_with_3(
    held: tuple[Cli, str, str], words: list[str]
) -> None:
    cli, _, _ = held
    done = cli(*words)
    assert done.code == ExitCode.NOT_FOUND
    assert done.out == ""
    assert "hint:" in done.err
    assert not (cli.tmp / "out").exists()


@pytest.mark.parametrize(
    "words",
    [["list"], ["show", "a/b"], ["gc"], ["verify", "--all"], ["forget", "a/b"]],
    ids=" ".join,
)
def test_a_store_that_is_not_there_ends_with_3_and_is_not_made(
    cli: Cli, words: list[str]
) -> None:
    assert cli(*words).code == ExitCode.NOT_FOUND
    assert not cli.root.exists()


def test_a_started_interpreter_ends_as_a_forked_one_does(
    held: tuple[Cli, str, str],
) -> None:
    cli, _, _ = held
    for words in (["list", "--json"], ["show", "a/b"], ["show", "a/b/c"]):
        assert cli.started(*words) == cli(*words)


def test_offline_and_not_held_ends_with_10(cli: Cli) -> None:
    done = cli("pull", "--offline", "acme/model")
    assert done.code == ExitCode.OFFLINE
    assert done.out == ""
    assert "acme/model" in done.err


def test_offline_and_held_from_elsewhere_says_under_which_name(
    held: tuple[Cli, str, str],
) -> None:
    cli, _, _ = held
    done = cli("pull", "--offline", "acme/model")
    assert done.code == ExitCode.OFFLINE
    assert "hint: It is held as local:acme/model" in done.err
    cli.good("pull", "--offline", "local:acme/model")
    assert "local:" not in cli("pull", "--offline", "acme/model@v9").err


def test_an_upstream_that_cannot_be_reached_ends_with_5(cli: Cli) -> None:
    done = cli("pull", "acme/model")
    assert done.code == ExitCode.UNAVAILABLE
    assert done.out == ""


def test_what_was_added_here_has_no_upstream_to_pull_from(
    held: tuple[Cli, str, str],
) -> None:
    cli, _, _ = held
    done = cli("pull", "local:acme/model")
    assert done.code == ExitCode.USAGE
    assert "hubsync add" in done.err


def test_a_folder_that_is_something_else_is_not_made_a_store(cli: Cli) -> None:
    write(cli.root, {"precious.txt": b"mine"})
    done = cli("add", write(cli.tmp / "folder", FILES), "acme/model")
    assert done.code == ExitCode.USAGE
    assert read(cli.root) == {"precious.txt": b"mine"}


def test_a_store_of_a_newer_layout_is_left_alone(held: tuple[Cli, str, str]) -> None:
    cli, _, _ = held
    (cli.root / "VERSION").write_text("99\n")
    done = cli("list")
    assert done.code == ExitCode.USAGE
    assert "newer" in done.err


def test_a_root_that_is_a_file_is_refused(cli: Cli) -> None:
    cli.root.write_bytes(b"x")
    done = cli("add", write(cli.tmp / "folder", FILES), "acme/model")
    assert done.code in (ExitCode.USAGE, ExitCode.FAILED)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["add", "missing", "acme/model"], 2),
        (["add", "folder", "huggingface:acme/model"], 2),
        (["add", "folder", "acme/model@v1"], 2),
        (["add", "folder", "acme/model", "--branch", "a..b"], 2),
        (["add", "folder", "datasets/acme/m", "--type", "model"], 2),
    ],
)
def test_an_add_that_cannot_be_meant_ends_with_2(
    cli: Cli, words: list[str], code: int
) -> None:
    write(cli.tmp / "folder", FILES)
    assert cli(*words).code == code


def test_a_bad_configuration_ends_with_2_and_names_the_line(cli: Cli) -> None:
    (cli.tmp / "hubsync.toml").write_text("[serve]\nprot = 1\n")
    done = cli("list")
    assert done.code == ExitCode.USAGE
    assert "hubsync.toml:2" in done.err
    assert "did you mean port?" in done.err


@pytest.mark.parametrize(
    "words", [["list"], ["show", "acme/model"], ["log", "acme/model"]]
)
def test_a_pipe_that_is_closed_early_is_no_error(
    held: tuple[Cli, str, str], words: list[str]
) -> None:
    cli, _, _ = held
    with subprocess.Popen(
        [*COMMAND, *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli.env,
        cwd=PROJECT,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(60), err) == (0, b"")


def test_a_pipe_into_head_is_quiet_however_much_there_is_to_say(cli: Cli) -> None:
    many = {f"folder/file-{i:05}.txt": b"%d" % (i % 5) for i in range(1500)}
    cli.good("add", write(cli.tmp / "many", many), "acme/many")
    shell = f"{' '.join(COMMAND)} show acme/many | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell],
        capture_output=True,
        check=False,
        env=cli.env,
        cwd=PROJECT,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


def test_config_init_writes_a_file_that_is_good_and_overwrites_none(cli: Cli) -> None:
    path = Path(cli.good("config", "init").out.strip())
    assert (cli.tmp / path).is_file()
    assert cli.good("config", "check").out.strip().endswith("good")
    assert cli("config", "init").code == ExitCode.USAGE
    cli.good("config", "init", "--force")


def test_config_show_masks_the_password_of_the_catalog(cli: Cli) -> None:
    url = "postgresql+psycopg://ann:s3cret@db.example/hubsync"
    shown = Cli(cli.tmp, cli.root, {"HUBSYNC_CATALOG__URL": url})
    for words in (["config", "show"], ["config", "show", "--json"]):
        out = shown.good(*words).out
        assert "s3cret" not in out
        assert "db.example" in out


def test_config_show_prints_what_the_configuration_takes(cli: Cli) -> None:
    shown = cli.good("config", "show").out
    assert 'transfer.read_timeout = "30s"    # default\n' in shown
    (cli.tmp / "hubsync.toml").write_text(shown, "utf-8")
    assert cli.good("config", "check").out == "hubsync.toml: good\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["add", "nodir", "acme/model"], "hubsync add ./my-model acme/my-model"),
        (["list", "--config", "none.toml"], "--config, or write one: hubsync config"),
        (["serve", "--tls-cert", "none.pem"], "or have a certificate made with"),
        (["serve", "--tls-cert", "a.json"], "Name the certificate with --tls-cert"),
        (["serve", "--tls-cert", "a.pem", "--tls-self-signed"], "Leave out"),
        (["serve", "--unix-socket", "a.json"], "Remove it, or choose another place"),
    ],
)
def test_what_is_refused_says_what_to_do(cli: Cli, words: list[str], hint: str) -> None:
    (cli.tmp / "a.json").write_text("{}")
    done = cli(*words)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("hubsync: hint: ")
    assert hint in last


def test_upgrading_where_there_is_nothing_makes_a_whole_store(cli: Cli) -> None:
    assert cli("list").code == ExitCode.NOT_FOUND
    cli.good("db", "upgrade")
    assert cli.good("db", "check").out.startswith("schema")
    assert cli.good("list").out == ""


def test_verify_says_what_to_leave_out_or_to_name(cli: Cli) -> None:
    both = cli("verify", "--all", "acme/model")
    assert both.code == ExitCode.USAGE
    assert "leave out REPO" in both.err
    neither = cli("verify")
    assert neither.code == ExitCode.USAGE
    assert "name at least one REPO, or say --all" in neither.err


def test_a_grace_without_a_unit_is_refused(cli: Cli) -> None:
    done = cli("gc", "--grace", "5")
    assert done.code == ExitCode.USAGE
    assert "5h, 5d" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pull"], "missing argument 'REPO...'"),
        (["pull", "a/b", "--bogus"], "no such option '--bogus'"),
        (["puul"], "no such command 'puul' (did you mean pull?)"),
        (["show", "a", "b"], "got unexpected extra argument (b)"),
        (["pull", "--include"], "option '--include' requires an argument"),
        (["pull", "a/b", "c/d", "--checkout", "x"], "--checkout takes one REPO"),
        (["db", "nothing"], "no such command 'nothing'"),
    ],
)
def test_a_command_line_that_is_refused_is_an_error_like_any_other(
    cli: Cli, words: list[str], said: str
) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    error, hint = done.err.splitlines()
    assert error.startswith(f"hubsync: error: {said}")
    assert hint.startswith("hubsync: hint: ")
    assert "--help" in hint
