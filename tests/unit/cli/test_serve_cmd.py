"""What `hubsync serve` says as it starts."""

import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tests.unit.cli.harness import COMMAND, Cli

WAIT_S = 30.0


def said_by(cli: Cli, *words: str) -> list[str]:
    """What a server says until it listens."""
    with served(cli, *words) as server:
        return heard(server)


def served(cli: Cli, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=cli.tmp,
        env=cli.env,
    )


def heard(server: "subprocess.Popen[str]") -> list[str]:
    """All that *server* has said; it is told to end, once it listens."""
    assert server.stderr
    lines = []
    for line in server.stderr:
        lines.append(line.strip())
        if line.startswith("serving "):
            server.terminate()
    return lines


def told(lines: list[str]) -> str:
    (line,) = [one for one in lines if one.startswith("clients: export HF_ENDPOINT=")]
    return line.partition("=")[2]


def test_over_tls_clients_are_told_a_name_that_the_certificate_has(cli: Cli) -> None:
    lines = said_by(cli, "--host", "0.0.0.0", "--tls-self-signed")
    parts = urlsplit(told(lines))
    assert (parts.scheme, parts.hostname) == ("https", socket.gethostname().lower())
    assert parts.port
    assert any("set serve.base_url" in one for one in lines)
    context = ssl.create_default_context(cafile=str(cli.root / "tls" / "cert.pem"))
    with served(cli, "--host", "0.0.0.0", "--tls-self-signed") as server:
        assert server.stderr
        line = next(one for one in server.stderr if "HF_ENDPOINT" in one)
        parts = urlsplit(line.strip().partition("=")[2])
        address = ("127.0.0.1", parts.port or 0)
        with (
            socket.create_connection(address, timeout=WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname),
        ):
            pass
        server.terminate()


def test_a_name_that_is_configured_is_told_as_it_is(cli: Cli) -> None:
    named = Cli(cli.tmp, cli.root, {"HUBSYNC_SERVE__BASE_URL": "https://m.example:81"})
    lines = said_by(named, "--host", "0.0.0.0", "--tls-self-signed")
    assert told(lines) == "https://m.example:81"
    assert not any("serve.base_url" in one for one in lines)


def test_a_store_is_called_made_once_it_is(cli: Cli) -> None:
    assert any("made an empty one" in one for one in said_by(cli))
    assert not any("made an empty one" in one for one in said_by(cli))


def test_a_store_that_cannot_be_made_is_not_called_made(cli: Cli) -> None:
    cli.root.mkdir()
    (cli.root / "mine.txt").touch()
    for root in (cli.root, Path("/proc/nothing")):
        done = cli("serve", "--port", "0", "--root", root)
        assert done.code in (1, 2)
        assert "made" not in done.err
