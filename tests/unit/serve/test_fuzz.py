"""Whatever is asked of whatever route: an answer in time, no 500, no traceback.

The same cases each time, but for the nightly run (`tests/conftest.py`).
"""

import hashlib
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubsync.model.digest import Digest
from tests.unit.serve import conftest, test_listing, test_parquet, test_registry
from tests.unit.serve.fuzzing import FORMS, Asked, check, fill_in, hear, request_of
from tests.unit.serve.mirror import WAIT_S, File, Live, Mirror, serving
from tests.unit.serve.tenants import bearer, give

LIFE_S = 1.0  # a connection that says nothing is closed about then
SHA = hashlib.sha256(conftest.SAFETENSORS).hexdigest()
TOKEN = "/api/models/acme/tiny-bert/xet-read-token/main"
FUZZ = settings(
    deadline=None,
    max_examples=18,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Complaints(logging.Handler):
    """What anybody has logged that somebody should look at."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # A file that the disk has lost is told of, and that is right.
        if record.exc_info or record.levelno >= logging.CRITICAL:
            self.said.append(f"{record.getMessage()} {record.exc_info}")


@dataclass(frozen=True, repr=False)
class Fuzzed:
    live: Live
    known: dict[str, str]
    complaints: Complaints
    is_closed: bool

    def ask(self, asked: Asked) -> None:
        asked = fill_in(asked, self.known)
        if self.is_closed and "Authorization" not in dict(asked.headers):
            shown = ("Authorization", f"Bearer {self.known['token']}")
            asked = replace(asked, headers=(*asked.headers, shown))
        is_head = asked.method == b"HEAD"
        wire = asked.wire(self.known)
        heard = hear(self.live, wire, is_head=is_head)
        check(heard, wire, is_head=is_head)
        self.is_well(wire)

    def is_well(self, wire: object) -> None:
        assert not self.complaints.said, (wire, self.complaints.said)
        self.live.log.clear()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path_factory.mktemp("mirror"))
    for module in (conftest, test_listing, test_parquet, test_registry):
        module.fill(mirror)
    mirror.publish("acme/lost", {"f.bin": File(b"lost", lfs=True)}, commit="lost")
    mirror.blobs.path(Digest.of(b"lost")).unlink()
    yield mirror
    mirror.close()


@pytest.fixture(scope="module", params=["open", "tokens"])
def fuzzed(full: Mirror, request: pytest.FixtureRequest) -> Iterator[Fuzzed]:
    token = give(full, "fuzz", "acme/*", "datasets/acme/*")
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    options = {
        "xet": "always",
        "stall_s": 0.05,
        "idle_s": LIFE_S,
        "auth": request.param,
    }
    try:
        with serving(full, **options) as live:
            grant = live.ask(TOKEN, headers=bearer(token)).json()["accessToken"]
            known = {"token": token, "grant": grant, "hash": SHA}
            yield Fuzzed(live, known, complaints, request.param == "tokens")
            assert live.get("/healthz").status == 200
    finally:
        logging.getLogger().removeHandler(complaints)
        full.catalog.revoke_token("fuzz")


@pytest.mark.parametrize("form", FORMS)
@FUZZ
@given(st.randoms(use_true_random=True))
def test_no_request_breaks_the_server(
    fuzzed: Fuzzed, form: str, random: Random
) -> None:
    fuzzed.ask(request_of(form, random))


# What no client's library sends

PATHS = b"POST /api/models/acme/tiny-bert/paths-info/main HTTP/1.1\r\nHost: x\r\n"
WIRES = [
    b"GET /api/models/acme/tiny-bert HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n",
    b"GET /acme/tiny-bert/resolve/main/config.json HTTP/1.1\r\nHost: x\r\n\r\n",
    PATHS + b"Content-Length: 11\r\n\r\npaths=a&b=c",
    PATHS + b"Transfer-Encoding: chunked\r\n\r\n7\r\npaths=a\r\n0\r\n\r\n",
    b"HEAD /v2/acme/tiny-GGUF/manifests/latest HTTP/1.0\r\n\r\n",
]
BITS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n ", b"\r\n\r\n", b"\xff",
    b"\x80", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"HTTP/1.1",
    b"Expect: x\r\n", b"0\r\n\r\n", b"-1", b"GET / HTTP/1.1\r\n", b"A" * 9000, b"%00",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"X: y\r\n" * 200, b"HTTP/2.0",
    b"\x16\3\1",
]  # fmt: skip


def bent(random: Random) -> bytes:
    """One of `WIRES` with bytes taken out, put in, and doubled."""
    wire = random.choice(WIRES)
    for _ in range(random.choice([1, 1, 2, 3, 6])):
        at = random.randrange(len(wire) + 1)
        until = at + random.choice([0, 0, 1, 2, 9])
        more = random.choice([*BITS, random.randbytes(3), wire[at : at + 20], b""])
        wire = wire[:at] + more + wire[until:]
    return wire


def talk_until_closed(live: Live, wire: bytes) -> bytes:
    """All that is said; a connection that says nothing ends after `LIFE_S`."""
    with socket.create_connection(live.address, timeout=WAIT_S) as connection:
        said = b""
        try:
            connection.sendall(wire)
            while block := connection.recv(65536):
                said += block
        except ConnectionResetError:
            pass  # closed with something of ours unread
        return said


@settings(max_examples=3)
@given(st.randoms(use_true_random=True))
def test_no_bytes_break_the_server(fuzzed: Fuzzed, random: Random) -> None:
    """Hundreds at once: many are no whole request, and are waited for."""
    wires = [bent(random) for _ in range(150)]
    with ThreadPoolExecutor(len(wires)) as threads:
        for wire, said in zip(
            wires,
            threads.map(lambda wire: talk_until_closed(fuzzed.live, wire), wires),
            strict=True,
        ):
            heads = [one for one in said.split(b"\r\n") if one.startswith(b"HTTP/")]
            assert not any(one.split(b" ")[1:2] >= [b"5"] for one in heads), wire
            assert b"Traceback" not in said, wire
    fuzzed.is_well(wires)
