"""One file, and what can happen to it on the way: a row a fault."""

import asyncio
import hashlib
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from yarl import URL

from hubsync.model.digest import Digest, GitOid
from hubsync.model.snapshot import TreeEntry
from hubsync.ports.blobs import BlobCorruptError
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    HubAnswerError,
    NotAllowedError,
    Source,
    UnavailableError,
)
from hubsync.transfer.engine import Fetch
from hubsync.transfer.http import RedirectError, _target
from hubsync.transfer.verdicts import ContradictoryUpstreamError
from tests.testhub import Fault, HubRepo, Lfs, TestHub
from tests.unit.hubs.scripted import Scripted, http_answer
from tests.unit.transfer.fetching import QUICK, Fetching, fetch_of

WEIGHTS = os.urandom(100_000)
PLAIN = os.urandom(30_000)
HALF = 50_000


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("org/files")
    repo.commit({"w.bin": Lfs(WEIGHTS), "plain.txt": PLAIN, "e f/é#?.bin": Lfs(b"x")})
    return repo


@pytest.fixture
def item(hub: TestHub, repo: HubRepo) -> Fetch:
    return fetch_of(hub, repo, "w.bin")


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path / "store")


def ranges(hub: TestHub, role: str = "cdn") -> list[str | None]:
    return [one.headers.get("Range") for one in hub.log.matching(role=role)]


def fetch_from(endpoint: str, data: bytes, path: str = "f") -> Fetch:
    entry = TreeEntry(path, len(data), GitOid("0" * 40), Digest.of(data))
    return Fetch("test:org/x", entry, lambda _: Source(f"{endpoint}/{path}"))


class TestBrokenBodies:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault("truncate", role="cdn", at=HALF),
            Fault("no_length", role="cdn", at=HALF),
            Fault("stall", role="cdn", at=HALF),
        ],
        ids=lambda fault: fault.kind,
    )
    def test_a_body_that_ends_early_is_gone_on_with(
        self, hub: TestHub, item: Fetch, fetching: Fetching, fault: Fault
    ) -> None:
        hub.faults.add(fault)
        report = fetching.run([item], read_timeout_s=0.5)
        assert fetching.read(WEIGHTS) == WEIGHTS
        first, second = ranges(hub)
        assert first is None
        assert second
        assert second.endswith("-99999")
        resumed_at = int(second[6:-6])
        assert 0 < resumed_at <= HALF
        assert report.bytes_fetched == len(WEIGHTS), "no byte twice"
        assert report.retries == 1

    def test_the_next_run_goes_on_too(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        broken = Fault("truncate", role="cdn", at=HALF)
        dead = Fault("status", role="cdn", status=503, times=-1)
        hub.faults.add(broken)
        hub.faults.add(dead)
        with pytest.raises(UnavailableError, match="answered 503") as caught:
            fetching.run([item])
        assert "w.bin of test:org/files" in str(caught.value)
        assert caught.value.hint
        kept = fetching.partial(item)
        assert kept > 0
        hub.faults.clear()
        hub.log.clear()
        report = fetching.run([item])
        assert ranges(hub) == [f"bytes={kept}-99999"]
        assert report.bytes_fetched == len(WEIGHTS) - kept
        assert fetching.read(WEIGHTS) == WEIGHTS

    def test_a_length_that_is_too_short_is_not_begun_with(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("shorter", role="cdn", at=10))
        report = fetching.run([item])
        assert any("bytes of 100000" in note for note in fetching.watcher.notes)
        assert report.bytes_fetched == len(WEIGHTS)
        assert ranges(hub) == [None, None]

    def test_a_body_that_is_too_long_is_cut_and_fetched_again(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("longer", role="cdn", at=100))
        report = fetching.run([item])
        assert fetching.read(WEIGHTS) == WEIGHTS
        assert report.retries == 1

    def test_s22_a_body_without_end_is_cut(self, fetching: Fetching) -> None:
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        answer = head + b"x" * 3_000_000
        with Scripted(lambda path, headers: answer) as server:
            item = fetch_from(server.endpoint, b"y" * 10_000)
            with pytest.raises(BlobCorruptError):
                fetching.run([item])
            assert len(server.asked) == 2
        assert fetching.partial(item) == 0

    def test_progress_that_is_slow_but_sure_is_never_given_up(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        """Retries are counted since the last byte of progress."""
        hub.faults.add(Fault("truncate", role="cdn", times=12, at=8192))
        report = fetching.run([item], retries_max=1)
        assert report.retries == 12
        assert fetching.read(WEIGHTS) == WEIGHTS

    def test_a_body_that_trickles_is_dropped(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("slow", role="cdn", rate=2_000))
        report = fetching.run([item], rate_window_s=0.3, rate_min_bytes_per_s=20_000)
        assert report.retries == 1
        assert any("too slow" in note for note in fetching.watcher.notes)
        assert fetching.read(WEIGHTS) == WEIGHTS

    def test_a_large_body_passes_in_small_blocks(
        self, hub: TestHub, fetching: Fetching
    ) -> None:
        data = os.urandom(5_000_000)
        repo = hub.create_repo("org/large")
        repo.commit({"l.bin": Lfs(data)})
        fetching.run([fetch_of(hub, repo, "l.bin")], block_bytes=10_000)
        assert hashlib.sha256(fetching.read(data)).digest() == (
            hashlib.sha256(data).digest()
        )


class TestWrongBytes:
    @pytest.mark.parametrize("path", ["w.bin", "plain.txt"])
    def test_once_is_an_accident(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching, path: str
    ) -> None:
        hub.faults.add(Fault("flip", match="xet-bridge|resolve-cache", at=7))
        report = fetching.run([fetch_of(hub, repo, path)])
        data = {"w.bin": WEIGHTS, "plain.txt": PLAIN}[path]
        assert fetching.read(data) == data
        assert report.bytes_fetched == 2 * len(data)
        assert any("fetching it once more" in note for note in fetching.watcher.notes)

    @pytest.mark.parametrize("path", ["w.bin", "plain.txt"])
    def test_twice_is_upstreams_fault(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching, path: str
    ) -> None:
        fault = Fault("flip", match="xet-bridge|resolve-cache", at=7, times=-1)
        hub.faults.add(fault)
        item = fetch_of(hub, repo, path)
        with pytest.raises(BlobCorruptError, match="upstream's bytes") as caught:
            fetching.run([item])
        assert path in str(caught.value)
        assert "test:org/files" in str(caught.value)
        assert caught.value.hint
        assert not caught.value.retryable
        assert list(fetching.local.digests()) == []
        assert fetching.recorded == []
        assert fetching.partial(item) == 0, "nothing to go on from"

    def test_a_partial_that_went_bad_is_fetched_anew(
        self, item: Fetch, fetching: Fetching
    ) -> None:
        ingest = fetching.local.begin(item.want)
        ingest.write(b"\0" * HALF)  # type: ignore[union-attr]
        ingest.abort()  # type: ignore[union-attr]
        fetching.run([item])
        assert fetching.read(WEIGHTS) == WEIGHTS

    @pytest.mark.parametrize("path", ["w.bin", "plain.txt"])
    def test_a_web_page_does_not_get_into_the_partial(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching, path: str
    ) -> None:
        hub.faults.add(Fault("html", match="xet-bridge|resolve-cache"))
        report = fetching.run([fetch_of(hub, repo, path)])
        assert any("web page" in note for note in fetching.watcher.notes)
        assert report.bytes_fetched in (len(WEIGHTS), len(PLAIN))
        assert list((fetching.local.root.path / "quarantine").iterdir()) == []

    def test_a_web_page_for_ever_is_named(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("html", times=-1))
        with pytest.raises(UnavailableError, match="web page"):
            fetching.run([item])

    def test_a_file_that_is_a_web_page_is_a_file(self, fetching: Fetching) -> None:
        page = b"<html>a file of the repo</html>"
        answer = http_answer("200 OK", page, "Content-Type: text/html")
        with Scripted(lambda path, headers: answer) as server:
            fetching.run([fetch_from(server.endpoint, page)])
        assert fetching.read(page) == page

    def test_s23_encoded_bytes_are_not_the_files_bytes(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("gzip", role="cdn"))
        report = fetching.run([item])
        assert report.retries == 1
        assert fetching.read(WEIGHTS) == WEIGHTS


class TestRanges:
    def cut(self, hub: TestHub, times: int = 1) -> None:
        hub.faults.add(Fault("truncate", role="cdn", at=HALF, times=times))

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("ignore_range", role="cdn", after=1),
            Fault("wrong_range", role="cdn", after=1),
            Fault("status", role="cdn", after=1, status=416),
        ],
        ids=["ignored", "another range", "416"],
    )
    def test_a_range_that_is_not_given_restarts_the_file(
        self, hub: TestHub, item: Fetch, fetching: Fetching, fault: Fault
    ) -> None:
        # The order counts one request; the cut takes the first, this the second.
        self.cut(hub)
        fault.after = 0
        hub.faults.add(fault)
        fetching.run([item])
        assert fetching.read(WEIGHTS) == WEIGHTS
        first, second, third = ranges(hub)
        assert first is None
        assert second
        assert third is None

    def test_a_hub_that_ignores_ranges_and_always_breaks_is_given_up(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        commit = item.source.url
        assert commit
        data = WEIGHTS
        cut = http_answer("200 OK", data[:HALF], f"Content-Length: {len(data)}")
        with Scripted(lambda path, headers: cut) as server:
            with pytest.raises(UnavailableError, match="asked 6 times"):
                fetching.run([fetch_from(server.endpoint, data)])
            assert len(server.asked) <= 2 * (QUICK.retries_max + 1)

    def test_a_part_that_was_not_asked_for_is_refused(self, fetching: Fetching) -> None:
        data = b"0123456789"
        part = http_answer(
            "206 Partial Content", data[5:], "Content-Range: bytes 5-9/10"
        )
        answers = [part, http_answer("200 OK", data)]
        with Scripted(lambda path, headers: answers.pop(0)) as server:
            fetching.run([fetch_from(server.endpoint, data)])
        assert fetching.read(data) == data

    def test_a_hub_that_names_another_file_when_asked_anew_is_not_asked_on(
        self, fetching: Fetching
    ) -> None:
        """After an answer that cannot be, what the hub itself says is read again."""
        data, other = b"0123456789", Digest.of(b"another").hex
        part = http_answer(
            "206 Partial Content", data[5:], "Content-Range: bytes 5-9/10"
        )
        named = iter([Digest.of(data).hex, other])

        def answer(path: str, headers: dict[str, str]) -> bytes:
            if path == "/signed":
                return part if len(server.asked) == 2 else http_answer("200 OK", data)
            said = f'X-Linked-Etag: "{next(named)}"'
            return http_answer("302 Found", b"", "Location: /signed", said)

        with Scripted(answer) as server:
            with pytest.raises(ContradictoryUpstreamError, match=other) as caught:
                fetching.run([fetch_from(server.endpoint, data)])
            assert [path for path, _ in server.asked] == ["/f", "/signed"] * 2
        assert caught.value.exit_code == 6
        assert caught.value.hint

    def test_a_restart_measures_progress_from_the_start(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        """What had come before it would take more cuts than retries to reach."""
        self.cut(hub)  # at half of it
        hub.faults.add(Fault("ignore_range", role="cdn"))
        hub.faults.add(Fault("truncate", role="cdn", at=9_000, times=5))
        fetching.run([item], retries_max=3)
        assert fetching.read(WEIGHTS) == WEIGHTS

    def test_a_shorter_part_than_asked_for_is_fine(self, fetching: Fetching) -> None:
        data = b"0123456789"

        def answer(path: str, headers: dict[str, str]) -> bytes:
            if "range" not in headers:
                return http_answer("200 OK", data[:2], "Content-Length: 10")
            at = int(headers["range"][6:].partition("-")[0])
            field = f"Content-Range: bytes {at}-{at + 1}/10"
            return http_answer("206 Partial Content", data[at : at + 2], field)

        with Scripted(answer) as server:
            fetching.run([fetch_from(server.endpoint, data)])
        assert fetching.read(data) == data


class TestSignedAddresses:
    def test_the_query_arrives_byte_for_byte(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        """The test hub's signature is over the very bytes it sent."""
        report = fetching.run([fetch_of(hub, repo, "e f/é#?.bin")])
        assert report.retries == 0

    def test_one_that_expires_midway_is_renewed(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("truncate", role="cdn", at=HALF))
        hub.faults.add(Fault("expire", role="cdn"))
        report = fetching.run([item])
        assert fetching.read(WEIGHTS) == WEIGHTS
        assert report.bytes_fetched == len(WEIGHTS)
        first, refused, renewed = ranges(hub)
        assert first is None
        assert refused == renewed != first
        assert len(hub.hub_requests("/resolve/")) == 2, "only for a new address"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
    def test_renewing_has_an_end(
        self, hub: TestHub, item: Fetch, fetching: Fetching, status: int
    ) -> None:
        hub.faults.add(Fault("status", role="cdn", status=status, times=-1))
        with pytest.raises(UnavailableError, match=f"answered {status}") as caught:
            fetching.run([item])
        assert hub.cdn_endpoint.removeprefix("http://") in str(caught.value)
        assert len(ranges(hub)) == QUICK.retries_max + 1


class TestRefusals:
    def test_a_file_the_hub_has_lost(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        item = fetch_of(hub, repo, "w.bin")
        lost = {"X-Error-Code": "EntryNotFound"}
        hub.faults.add(Fault("status", status=404, headers=lost, times=-1))
        with pytest.raises(FileNotFoundOnHubError, match=r"w\.bin of test:org/files"):
            fetching.run([item])
        assert len(hub.requests) == 1

    @pytest.mark.parametrize("status", [401, 403])
    def test_no_access(
        self, hub: TestHub, item: Fetch, fetching: Fetching, status: int
    ) -> None:
        said = {"X-Error-Message": "Please log in."}
        hub.faults.add(Fault("status", status=status, headers=said, times=-1))
        with pytest.raises(NotAllowedError, match=r"w\.bin.*Please log in") as caught:
            fetching.run([item])
        assert caught.value.hint
        assert len(hub.requests) == 1

    @pytest.mark.parametrize("status", [304, 400, 405, 418])
    def test_what_no_hub_answers(
        self, hub: TestHub, item: Fetch, fetching: Fetching, status: int
    ) -> None:
        hub.faults.add(Fault("status", role="hub", status=status, times=-1))
        with pytest.raises(HubAnswerError, match=f"answered {status}") as caught:
            fetching.run([item])
        assert caught.value.hint


class TestTrouble:
    @pytest.mark.parametrize("role", ["hub", "cdn"])
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_passing_trouble_is_sat_out(
        self, hub: TestHub, item: Fetch, fetching: Fetching, status: int, role: str
    ) -> None:
        headers = {"RateLimit": ""}
        fault = Fault("status", status=status, times=3, headers=headers)
        fault.role = role  # type: ignore[assignment]
        hub.faults.add(fault)
        report = fetching.run([item])
        assert report.retries == 3
        assert fetching.read(WEIGHTS) == WEIGHTS

    def test_connections_that_are_reset_are_made_again(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        # aiohttp asks once more by itself: the hub may have closed an idle connection.
        hub.faults.add(Fault("reset", times=4))
        assert fetching.run([item]).retries == 2
        assert fetching.read(WEIGHTS) == WEIGHTS

    def test_lasting_trouble_is_reported(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        hub.faults.add(Fault("status", status=500, times=-1))
        with pytest.raises(UnavailableError, match="answered 500") as caught:
            fetching.run([item], retries_max=2)
        assert "w.bin of test:org/files" in str(caught.value)
        assert caught.value.hint
        assert len(hub.requests) == 3

    def test_a_hub_that_is_gone(self, fetching: Fetching) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            endpoint = f"http://127.0.0.1:{gone.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="cannot connect"):
            fetching.run([fetch_from(endpoint, b"x")])

    def test_a_host_that_does_not_exist(self, fetching: Fetching) -> None:
        with pytest.raises(UnavailableError, match=r"hub\.invalid"):
            fetching.run([fetch_from("http://hub.invalid", b"x")], retries_max=1)

    def test_an_answer_that_never_begins(self, fetching: Fetching) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(UnavailableError, match="no answer"):
                fetching.run(
                    [fetch_from(endpoint, b"x")], retries_max=1, read_timeout_s=0.1
                )

    def test_what_the_hub_wants_is_waited_and_not_more(
        self, hub: TestHub, item: Fetch, fetching: Fetching
    ) -> None:
        day = {"RateLimit": '"resolvers";r=0;t=86399'}
        hub.faults.add(Fault("status", status=429, headers=day, times=-1))
        with pytest.raises(UnavailableError, match="has to wait 86400 s"):
            fetching.run([item])
        assert len(hub.requests) == 1

    def test_nonsense_is_no_answer(self, fetching: Fetching) -> None:
        with Scripted(lambda path, headers: b"\x16\x03\x01 what?\r\n\r\n") as server:
            with pytest.raises(UnavailableError, match="no answer"):
                fetching.run([fetch_from(server.endpoint, b"x")], retries_max=1)
            assert len(server.asked) == 2


class TestRedirects:
    def test_a_loop_ends(self, hub: TestHub, item: Fetch, fetching: Fetching) -> None:
        path = URL(item.source.url).raw_path
        hub.faults.add(Fault("redirect", times=-1, location=path))
        with pytest.raises(RedirectError, match="round in circles") as caught:
            fetching.run([item])
        assert caught.value.hint
        assert len(hub.requests) == QUICK.redirects_max + 1

    @pytest.mark.parametrize(
        "location",
        ["", "file:///etc/passwd", "ftp://h/x", "http://[", "//h:x/", "é"],
    )
    def test_a_redirect_to_nowhere_is_not_followed(
        self, hub: TestHub, item: Fetch, fetching: Fetching, location: str
    ) -> None:
        hub.faults.add(Fault("redirect", location=location))
        with pytest.raises(RedirectError, match="redirects to nowhere"):
            fetching.run([item])

    def test_https_is_not_left(self) -> None:
        with pytest.raises(RedirectError, match="from https to http"):
            _target(URL("https://hub.test/x"), "http://cdn.test/x")
        assert str(_target(URL("http://h/x"), "https://c/y")) == "https://c/y"
        assert str(_target(URL("https://h/a/b"), "../c?d=%2F")) == "https://h/c?d=%2F"

    def test_the_token_does_not_come_back_from_elsewhere_with_us(
        self, hub: TestHub, repo: HubRepo, fetching: Fetching
    ) -> None:
        """Another port is elsewhere; a redirect back home is home again."""
        token = hub.add_token("hf_secret")
        item = fetch_of(hub, repo, "plain.txt", token)
        away = Fault("redirect", match="/resolve/", location=f"{hub.cdn_endpoint}/x")
        back = Fault(
            "redirect",
            role="cdn",
            location=item.source.url.replace("/resolve/", "/raw/"),
        )
        hub.faults.add(away)
        hub.faults.add(back)
        fetching.run([item])
        sent = [one.headers.get("Authorization") for one in hub.requests]
        assert sent == ["Bearer hf_secret", None, "Bearer hf_secret"]

    def test_s17_no_cookie_is_kept(self, fetching: Fetching) -> None:
        data = b"0123456789"
        answers = [
            http_answer("503 Busy", b"", "Set-Cookie: id=1; Path=/"),
            http_answer("200 OK", data),
        ]
        with Scripted(lambda path, headers: answers.pop(0)) as server:
            fetching.run([fetch_from(server.endpoint, data)])
            assert [headers.get("cookie") for _, headers in server.asked] == [None] * 2


def test_a_wrong_certificate_is_not_asked_again(
    tmp_path: Path, fetching: Fetching
) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 1"
    command = ["openssl", *made.split(), "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    asked = 0

    def serve(server: socket.socket) -> None:
        nonlocal asked
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            asked += 1
            with peer:
                try:
                    context.wrap_socket(peer, server_side=True).close()
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        endpoint = f"https://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="cannot prove who it is") as caught:
            fetching.run([fetch_from(endpoint, b"x")])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert asked == 1
    assert caught.value.hint
    assert "SSL_CERT_FILE" in caught.value.hint


def test_a_disk_that_fails_is_not_taken_for_the_network(
    hub: TestHub, item: Fetch, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(Exception, match="Input/output error"):
        asyncio.run(fetching.fetch([item]))
    assert len(hub.requests) == 2
