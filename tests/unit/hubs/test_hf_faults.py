"""What the hub, the network and whoever is in between can do to a question."""

import asyncio
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from hubsync.hubs.hf_transport import HfTransport, _decoded, same_origin
from hubsync.hubs.options import HubOptions
from hubsync.model.errors import OfflineError, UsageError
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    GatedError,
    HubAnswerError,
    HubError,
    NotAllowedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnavailableError,
)
from tests.testhub import Fault, HubRepo, Lfs, TestHub
from tests.unit.hubs.asking import QUICK, Asking, repo_of
from tests.unit.hubs.scripted import Scripted, http_answer


@pytest.fixture
def tiny(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("org/tiny")
    repo.commit({"config.json": b"{}\n", "b.bin": Lfs(b"weights")}, "First")
    return repo


@pytest.fixture
def asking(hub: TestHub) -> Asking:
    return Asking(hub.endpoint)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; without waiting."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


class TestRefusals:
    """Each refusal is our own error, with a sentence and what to do."""

    def test_missing_or_private_and_nobody_logged_in(self, asking: Asking) -> None:
        for heads in (None, {"0" * 40}):
            with pytest.raises(RepoNotFoundError, match="or it is private") as caught:
                asking.resolve("org/none", heads=heads)
            assert caught.value.hint
            assert "log in" in caught.value.hint

    def test_missing_for_somebody_with_a_token(self, hub: TestHub) -> None:
        asking = Asking(hub.endpoint, hub.add_token("hf_x"))
        with pytest.raises(RepoNotFoundError, match="this token may not see it"):
            asking.resolve("org/none")

    def test_private_with_a_token_that_may(self, hub: TestHub) -> None:
        hub.create_repo("org/own", private=True).commit({"x": b"1"})
        token = hub.add_token("hf_x", can_read={"org/own"})
        assert Asking(hub.endpoint, token).resolve("org/own").info

    def test_a_token_the_hub_does_not_know(self, hub: TestHub) -> None:
        with pytest.raises(NotAllowedError, match="refuses the token") as caught:
            Asking(hub.endpoint, "hf_old").resolve("org/none")
        assert "hf_old" not in str(caught.value) + str(caught.value.hint)

    def test_a_401_without_words_is_about_the_token_if_there_is_one(
        self, hub: TestHub, tiny: HubRepo
    ) -> None:
        hub.faults.add(Fault("status", status=401, times=2))
        with pytest.raises(NotAllowedError, match="refuses the token"):
            Asking(hub.endpoint, hub.add_token("hf_x")).resolve("org/tiny")
        with pytest.raises(RepoNotFoundError):
            Asking(hub.endpoint).resolve("org/tiny")

    @pytest.mark.parametrize("token", [None, "hf_x"])
    def test_gated(self, hub: TestHub, tiny: HubRepo, token: str | None) -> None:
        tiny.gated = "manual"
        hub.add_token("hf_x")
        for heads in (None, {"0" * 40}):
            found = Asking(hub.endpoint, token).resolve("org/tiny", heads=heads)
            assert found.commit.oid == tiny.resolve("main")
            assert isinstance(found.refusal, GatedError)
            assert "gated" in str(found.refusal)
            assert found.refusal.hint
            assert f"{hub.endpoint}/org/tiny" in found.refusal.hint

    def test_gated_and_approved(self, hub: TestHub, tiny: HubRepo) -> None:
        tiny.gated = "auto"
        token = hub.add_token("hf_x", approved={"org/tiny"})
        found = Asking(hub.endpoint, token).resolve("org/tiny")
        assert found.commit.title == "First"
        assert found.refusal is None

    def test_disabled(self, asking: Asking, tiny: HubRepo) -> None:
        tiny.disabled = True
        with pytest.raises(NotAllowedError, match="disabled"):
            asking.resolve("org/tiny")

    def test_no_such_revision(self, asking: Asking, tiny: HubRepo) -> None:
        for revision in ("v9", "refs/pr/9", "0" * 40):
            for heads in (None, {"1" * 40}):
                with pytest.raises(RevisionNotFoundError, match=revision):
                    asking.resolve("org/tiny", revision, heads=heads)

    @pytest.mark.parametrize(
        ("status", "headers", "error"),
        [
            (400, {}, HubError),
            (403, {"X-Error-Message": "no"}, NotAllowedError),
            (404, {}, RepoNotFoundError),
            (404, {"X-Error-Code": "RepoNotFound"}, RepoNotFoundError),
            (404, {"X-Error-Code": "EntryNotFound"}, FileNotFoundOnHubError),
            (418, {}, HubError),
        ],
    )
    @pytest.mark.parametrize(
        "body", ["", "[]", '"x"', '{"error":["a"]}', '{"errors":1}', "<html>", "\udcff"]
    )
    def test_whatever_the_body_is(
        self,
        status: int,
        headers: dict[str, str],
        error: type[HubError],
        body: str,
    ) -> None:
        fields = [f"{name}: {value}" for name, value in headers.items()]
        data = body.encode("utf-8", "surrogateescape")
        answer = http_answer(f"{status} No", data, *fields)
        with Scripted(lambda path, headers: answer) as server:
            with pytest.raises(error) as caught:
                Asking(server.endpoint, token=False).resolve("org/x")
            assert type(caught.value) is error
            assert caught.value.hint
            assert len(server.asked) == 1, "a refusal is not asked for again"


class TestTrouble:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault("status", status=500, times=2),
            Fault("status", status=503, times=3, body="<html>busy</html>"),
            Fault("status", status=504, times=4),
            Fault("reset", times=4),
        ],
        ids=["500", "503", "504", "reset"],
    )
    def test_passing_trouble_is_sat_out(
        self, hub: TestHub, asking: Asking, tiny: HubRepo, fault: Fault
    ) -> None:
        hub.faults.add(fault)
        assert asking.resolve("org/tiny").commit.title == "First"
        assert any("trying again" in note for note in asking.talk.notes)

    def test_lasting_trouble_is_reported_after_few_requests(
        self, hub: TestHub, asking: Asking, waits: list[float]
    ) -> None:
        hub.faults.add(Fault("status", status=502, times=-1))
        with pytest.raises(UnavailableError, match="answered 502") as caught:
            asking.resolve("org/tiny")
        assert caught.value.hint
        assert len(hub.requests) == 1 + QUICK.retries_max
        assert len(waits) == QUICK.retries_max

    def test_a_dead_hub_is_reported_within_ten_seconds(
        self, waits: list[float]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            endpoint = f"http://127.0.0.1:{gone.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="does not answer"):
            Asking(endpoint, options=HubOptions()).resolve("org/tiny")
        assert 2 < sum(waits) < 10

    def test_an_unknown_host_is_unavailable(self, waits: list[float]) -> None:
        with pytest.raises(UnavailableError, match=r"hub\.invalid"):
            Asking("http://hub.invalid").resolve("org/tiny")

    def test_silence_is_not_waited_for_for_ever(self) -> None:
        options = HubOptions(read_timeout_s=0.1, retries_max=1, backoff_base_s=0.001)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(UnavailableError, match="asked 2 times"):
                Asking(endpoint, options=options).resolve("org/tiny")

    def test_an_answer_that_trickles_is_not_waited_for_for_ever(self) -> None:
        stop = threading.Event()

        def trickle(peer: socket.socket) -> None:
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.02):
                    try:
                        peer.sendall(b" ")
                    except OSError:
                        return

        options = HubOptions(answer_timeout_s=0.2, retries_max=0)
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=lambda: trickle(server.accept()[0]))
            thread.start()
            endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
            with pytest.raises(UnavailableError, match="too long"):
                Asking(endpoint, options=options).resolve("org/tiny")
            stop.set()
            thread.join(10)

    def test_ctrl_c_does_not_wait_for_the_hub(self) -> None:
        async def interrupted(asking: Asking) -> socket.socket:
            question = asyncio.create_task(
                asking.hub.resolve(repo_of("org/tiny"), None, None)
            )
            peer, _ = await asyncio.to_thread(server.accept)
            question.cancel()
            with pytest.raises(asyncio.CancelledError):
                await question
            return peer

        with socket.create_server(("127.0.0.1", 0)) as server:
            endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
            started = time.monotonic()
            peer = asyncio.run(interrupted(Asking(endpoint)))
            with peer:
                assert time.monotonic() - started < QUICK.read_timeout_s

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (http_answer("200 OK", b"<html>", "Content-Type: text/html"), "text/html"),
            (http_answer("200 OK", b'{"sha": NaN}'), "JSON"),
            (http_answer("200 OK", b"[" * 100_000), "JSON"),
            (http_answer("200 OK", b"\xff\xfe"), "JSON"),
            (http_answer("200 OK", b""), "JSON"),
        ],
        ids=["html", "NaN", "deep", "no text", "empty"],
    )
    def test_s24_what_is_no_json_is_no_hub(self, answer: bytes, message: str) -> None:
        with Scripted(lambda path, headers: answer) as server:
            with pytest.raises(HubAnswerError, match=message) as caught:
                Asking(server.endpoint).resolve("org/x")
            assert caught.value.hint
            assert "address of a hub" in caught.value.hint
            assert len(server.asked) == 1

    def test_s23_gzip_is_understood_and_bombs_are_not(self) -> None:
        answers = [
            http_answer("200 OK", gzip.compress(body), "Content-Encoding: gzip")
            for body in (b"[]", b" " * 50_000_000)
        ]
        options = HubOptions(answer_bytes_max=1_000_000)
        with Scripted(lambda path, headers: answers.pop(0)) as server:
            asking = Asking(server.endpoint, options=options)
            assert asking.tree("org/x", "0" * 40) == []
            assert server.asked[0][1]["accept-encoding"] == "gzip"
            with pytest.raises(HubAnswerError, match="more than 1000000 bytes"):
                asking.tree("org/x", "0" * 40)

    def test_s23_a_bomb_is_unpacked_no_further_than_the_ceiling(self) -> None:
        packed = bytearray(gzip.compress(b" " * 1_000_000))
        assert len(_decoded(packed, "gzip", 1000)) == 1001

    def test_s24_a_huge_answer_is_cut_off(self) -> None:
        answer = http_answer("200 OK", b" " * 10_000_000)
        with Scripted(lambda path, headers: answer) as server:
            options = HubOptions(answer_bytes_max=1000)
            with pytest.raises(HubAnswerError, match="more than 1000 bytes"):
                Asking(server.endpoint, options=options).resolve("org/x")

    def test_a_body_that_ends_early_is_asked_for_again(self) -> None:
        answers = [
            http_answer("200 OK", b"[", "Content-Length: 2"),
            http_answer("200 OK", b"[]"),
        ]
        with Scripted(lambda path, headers: answers.pop(0)) as server:
            assert Asking(server.endpoint).tree("org/x", "0" * 40) == []


class TestRateLimits:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"RateLimit": '"api";r=0;t=55'}, 56.0),
            ({"RateLimit": '"api";r=0;t=0', "Retry-After": "9"}, 1.0),
            ({"RateLimit": '"api";r=7;t=55', "Retry-After": "9"}, 9.0),
            ({"Retry-After": "9"}, 9.0),
            ({"Retry-After": "tomorrow"}, None),
            ({}, None),
        ],
    )
    def test_what_the_hub_says_is_waited(
        self,
        hub: TestHub,
        asking: Asking,
        tiny: HubRepo,
        waits: list[float],
        headers: dict[str, str],
        expected: float | None,
    ) -> None:
        for name in ("RateLimit", "Retry-After"):
            headers.setdefault(name, "")
        hub.faults.add(Fault("status", status=429, headers=headers))
        asking.resolve("org/tiny")
        (waited,) = waits
        assert waited == expected or (expected is None and waited < 0.01)
        assert any("limits the rate" in note for note in asking.talk.notes)

    def test_a_window_that_never_ends_is_given_up(
        self, hub: TestHub, asking: Asking, tiny: HubRepo, waits: list[float]
    ) -> None:
        empty = {"RateLimit": '"api";r=0;t=300'}
        hub.faults.add(Fault("status", status=429, headers=empty, times=-1))
        with pytest.raises(UnavailableError, match="limits the rate") as caught:
            asking.resolve("org/tiny")
        assert caught.value.hint
        assert waits == [301.0] * QUICK.rate_limits_max

    def test_an_absurd_wait_is_not_waited(
        self, hub: TestHub, asking: Asking, tiny: HubRepo, waits: list[float]
    ) -> None:
        day = {"Retry-After": "86400", "RateLimit": ""}
        hub.faults.add(Fault("status", status=429, headers=day, times=-1))
        with pytest.raises(UnavailableError, match="86400 s"):
            asking.resolve("org/tiny")
        assert waits == []

    def test_a_busy_hub_that_names_a_time_is_left_alone_for_it(
        self, hub: TestHub, asking: Asking, tiny: HubRepo, waits: list[float]
    ) -> None:
        later = {"Retry-After": "7", "RateLimit": ""}
        hub.faults.add(Fault("status", status=503, headers=later))
        asking.resolve("org/tiny")
        assert waits == [7.0]


class TestRedirects:
    def test_the_token_stays_at_home(self, hub: TestHub) -> None:
        """Not to another port of the same host, and not back with a page."""
        away = f"{hub.cdn_endpoint}/stolen"
        hub.faults.add(Fault("redirect", role="hub", location=away))
        with pytest.raises(HubError):
            Asking(hub.endpoint, hub.add_token("hf_secret")).resolve("org/x")
        ours, theirs = hub.requests
        assert ours.headers["Authorization"] == "Bearer hf_secret"
        assert "Authorization" not in theirs.headers
        assert theirs.notes == []

    def test_a_loop_ends(self, hub: TestHub, asking: Asking) -> None:
        hub.faults.add(Fault("redirect", times=-1, location="/api/models/org/x"))
        with pytest.raises(HubAnswerError, match="round in circles"):
            asking.resolve("org/x")
        assert len(hub.requests) == asking.requests == 1 + QUICK.redirects_max

    @pytest.mark.parametrize(
        "location", ["file:///etc/passwd", "ftp://x/", "http://[", "javascript:1"]
    )
    def test_other_schemes_are_not_followed(
        self, hub: TestHub, asking: Asking, location: str
    ) -> None:
        hub.faults.add(Fault("redirect", location=location))
        with pytest.raises(HubAnswerError, match="must not be followed"):
            asking.resolve("org/x")

    @pytest.mark.parametrize("link", ["http://[", "http://x:port/", "data:,"])
    def test_pages_at_no_address_are_not_asked_for(
        self, hub: TestHub, asking: Asking, link: str
    ) -> None:
        page = {"Link": f'<{link}>; rel="next"'}
        hub.faults.add(Fault("status", status=200, body="[]", headers=page))
        with pytest.raises(HubAnswerError, match="another host"):
            asking.tree("org/x", "0" * 40)

    def test_https_is_not_left(self) -> None:
        transport = HfTransport("https://hub.test", token=False, options=QUICK)
        with pytest.raises(HubAnswerError):
            transport._target("https://hub.test/api", "http://hub.test/api")
        assert transport._target("http://h/a", "https://h/b") == "https://h/b"

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("http://a/x", "http://a:80/y", True),
            ("https://a/x", "https://a:443/y", True),
            ("http://a", "https://a", False),
            ("http://a:1", "http://a:2", False),
            ("http://a", "http://a.b", False),
            ("http://A", "http://a", True),
        ],
    )
    def test_origins(self, one: str, other: str, same: bool) -> None:
        assert same_origin(one, other) is same


class TestEnvironment:
    def test_offline_mode_of_the_library_is_respected(
        self, asking: Asking, hub: TestHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(OfflineError, match="HF_HUB_OFFLINE") as caught:
            asking.resolve("org/tiny")
        assert caught.value.hint
        assert hub.requests == []

    def test_the_stored_login_is_used_unless_refused(
        self, hub: TestHub, tiny: HubRepo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", hub.add_token("hf_stored"))
        for token, sent in (
            (None, "Bearer hf_stored"),
            ("hf_mine", "Bearer hf_mine"),
            (False, None),
        ):
            hub.add_token("hf_mine")
            hub.log.clear()
            Asking(hub.endpoint, token).resolve("org/tiny")
            for one in hub.requests:
                assert one.headers.get("Authorization") == sent

    def test_nobody_but_the_endpoint_is_asked(
        self,
        hub: TestHub,
        tiny: HubRepo,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        registry = "huggingface_hub.utils._detect_agent._registry"
        monkeypatch.setattr(registry, None)  # not read in this process yet
        monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "none"))
        Asking(hub.endpoint).resolve("org/tiny")
        assert hub.hub_requests("agent") == []
        assert hub.requests[0].headers["User-Agent"].startswith("hubsync/")

    def test_a_login_that_is_asked_for_must_be_there(self, hub: TestHub) -> None:
        with pytest.raises(UsageError, match="no stored token"):
            Asking(hub.endpoint, token=True).resolve("org/tiny")

    @pytest.mark.parametrize("token", ["hf_x\nHost: evil", "hf_ü"])
    def test_a_token_that_cannot_be_one_is_refused(self, token: str) -> None:
        with pytest.raises(UsageError) as caught:
            Asking("http://hub.test", token)
        assert token not in str(caught.value)

    def test_an_address_that_is_none_is_named(self) -> None:
        with pytest.raises(UsageError, match="not the address"):
            Asking("http://hub.test:port").resolve("org/tiny")


def test_a_wrong_certificate_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def connect(*_: object, **__: object) -> Callable[[], None]:
        raise ssl.SSLCertVerificationError(1, "self-signed certificate")

    monkeypatch.setattr(socket, "create_connection", connect)
    asking = Asking("https://hub.test")
    with pytest.raises(UnavailableError, match="cannot prove who it is") as caught:
        asking.resolve("org/tiny")
    assert asking.requests == 1
    assert caught.value.hint
    assert "SSL_CERT_FILE" in caught.value.hint
