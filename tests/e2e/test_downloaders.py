"""curl, wget and aria2c: whole files, interrupted ones, and in parts at once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.stand import Client, Served, requests_in, run, sha256

pytestmark = pytest.mark.clients

NAME = "model.safetensors"
TARGET = f"/acme/minilm/resolve/main/{NAME}"
HAVE_BYTES = 30_000_000
CONNECTIONS = 16


@pytest.fixture
def tool(
    request: pytest.FixtureRequest, client: Client, ran: Callable[[str], None]
) -> str:
    """The program named by the test's mark; says which version it is."""
    mark = request.node.get_closest_marker("table_row")
    name = str(mark.args[0])
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    said = run(name, "--version", env=client.env).splitlines()[0]
    ran(next(word for word in said.split() if word[0].isdigit()))
    return name


def _plant_part(served: Served, folder: Path) -> Path:
    """What is left of a download that was cut."""
    part = folder / NAME
    with (served.model / NAME).open("rb") as whole:
        part.write_bytes(whole.read(HAVE_BYTES))
    return part


@pytest.mark.table_row("curl", "`curl -fLOJ` of 90 MB, named by the server")
def test_curl_downloads(
    served: Served, client: Client, tool: str, tmp_path: Path
) -> None:
    run(tool, "-sSfLOJ", f"{served.url}{TARGET}", env=client.env, cwd=tmp_path)
    assert sha256(tmp_path / NAME) == served.digests[NAME]


@pytest.mark.table_row("curl", "`curl -C -` goes on with a part")
def test_curl_goes_on_with_a_part(
    served: Served, client: Client, tool: str, tmp_path: Path
) -> None:
    part = _plant_part(served, tmp_path)
    fetched = run(
        tool,
        *("-sSfL", "-C", "-", "-w", "%{size_download}", "-o", part),
        f"{served.url}{TARGET}",
        env=client.env,
    )
    assert sha256(part) == served.digests[NAME]
    size = (served.model / NAME).stat().st_size
    assert int(fetched) == size - HAVE_BYTES


@pytest.mark.table_row("wget", "`wget -c` goes on with a part, leaves a whole file")
def test_wget_goes_on_with_a_part(
    served: Served, client: Client, tool: str, tmp_path: Path
) -> None:
    part = _plant_part(served, tmp_path)
    log = tmp_path / "access.log"
    with served.store.serving(log) as url:
        for _ in range(2):
            command = ("-nv", "-c", f"{url}{TARGET}")
            run(tool, *command, env=client.env, cwd=tmp_path)
            assert sha256(part) == served.digests[NAME]
    assert [line.split()[0] for line in requests_in(log)] == ["GET", "GET"]


@pytest.mark.table_row("aria2c", "`aria2c -x16 -s16`: 16 connections, one file")
def test_aria2c_downloads_in_parts_at_once(
    served: Served, client: Client, tool: str, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    parts = (f"-x{CONNECTIONS}", f"-s{CONNECTIONS}", "-k1M")
    with served.store.serving(log) as url:
        command = ("--quiet", "--no-conf", *parts, "-d", tmp_path, f"{url}{TARGET}")
        run(tool, *command, env=client.env)
    assert sha256(tmp_path / NAME) == served.digests[NAME]
    assert len(requests_in(log)) >= CONNECTIONS
