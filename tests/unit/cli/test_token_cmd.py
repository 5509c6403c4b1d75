"""Tokens by the command line: shown once, listed without, revoked by name."""

from datetime import UTC, datetime, timedelta

import pytest

from hubsync.model.errors import ExitCode
from hubsync.model.token import is_token
from tests.unit.cli.harness import Cli


def test_a_token_is_printed_alone_on_stdout_and_kept_nowhere(cli: Cli) -> None:
    done = cli.good("token", "add", "ci")
    token = done.out.removesuffix("\n")
    assert is_token(token)
    assert token not in done.err
    kept = [one for one in cli.root.rglob("*") if one.is_file()]
    assert kept
    assert not any(token[3:].encode() in one.read_bytes() for one in kept)
    assert token not in cli.good("token", "list").out
    assert token not in cli.good("token", "list", "--json").out


def test_s35_a_fresh_store_has_no_token(cli: Cli, held: tuple[Cli, str, str]) -> None:
    """S35: nothing is shipped that opens anything."""
    assert cli.good("token", "list", "--json").out == ""


def test_what_a_token_may_do_is_listed(cli: Cli) -> None:
    words = ["--repo", "acme/*", "--repo", "datasets/acme/*", "--expires", "90d"]
    words += ["--rate", "50MB/s", "--requests", "600"]
    made = cli.good("token", "add", "team", *words, "--json").object()
    cli.good("token", "add", "all", "--expires", "2099-01-01")
    everybody, team = cli.good("token", "list", "--json").objects()
    assert everybody["repos"] == ["*"]
    assert everybody["expires_at"] == "2099-01-01T00:00:00Z"
    assert not everybody["expired"]
    assert is_token(str(made.pop("token")))
    assert {key: team[key] for key in made} == made
    assert team["repos"] == ["acme/*", "datasets/acme/*"]
    assert team["rate_bytes_per_s"] == 50_000_000
    assert team["requests_per_minute"] == 600
    in_90_days = datetime.now(UTC) + timedelta(days=90)
    expires = datetime.fromisoformat(str(team["expires_at"]))
    assert abs(expires - in_90_days) < timedelta(minutes=5)
    shown = cli.good("token", "list").out
    assert "acme/*,datasets/acme/*" in shown
    assert "600/min" in shown
    assert cli.good("token", "list", "--quiet").out == "all\nteam\n"


def test_a_revoked_token_is_gone_and_its_name_free(cli: Cli) -> None:
    cli.good("token", "add", "ci")
    taken = cli("token", "add", "ci")
    assert taken.code == ExitCode.USAGE
    assert "hubsync token revoke ci" in taken.err
    cli.good("token", "revoke", "ci")
    assert cli.good("token", "list").out == ""
    assert cli("token", "revoke", "ci").code == ExitCode.NOT_FOUND
    cli.good("token", "add", "ci")


@pytest.mark.parametrize(
    "words",
    [
        ["a b"],
        ["-", "--repo", "x"],
        ["ci", "--repo", ""],
        ["ci", "--repo", "acme/*", "--repo", "acme//x y"],
        ["ci", "--repo", "models/acme/*"],
        ["ci", "--expires", "2020-01-01"],
        ["ci", "--expires", "0"],
        ["ci", "--expires", "90"],
        ["ci", "--expires", "99999999999w"],
        ["ci", "--expires", "soon"],
        ["ci", "--rate", "fast"],
        ["ci", "--rate", "0"],
        ["ci", "--requests", "0"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_makes_no_token(cli: Cli, words: list[str]) -> None:
    done = cli("token", "add", *words)
    assert done.code == ExitCode.USAGE
    assert done.out == ""
    assert not cli.root.exists()


def test_a_rate_is_called_a_rate(cli: Cli) -> None:
    said = cli("token", "add", "ci", "--rate", "fast").err
    assert "not a rate: 'fast'" in said
    assert "50MB/s" in said


def test_who_makes_a_token_that_nobody_asks_for_is_told(cli: Cli) -> None:
    assert 'auth = "tokens"' in cli.good("token", "add", "ci").err
    asking = Cli(cli.tmp, cli.root, {"HUBSYNC_SERVE__AUTH": "tokens"})
    assert "warning" not in asking.good("token", "add", "ci2").err
