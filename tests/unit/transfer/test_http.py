"""One GET: where it goes, what goes along, and what is said when nothing comes.

A hub on the internet is played by a proxy on loopback: it alone is asked for
``far.test``, and what it redirects to is looked at as it would be anywhere.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver
from yarl import URL

from hubsync.model.errors import HubsyncError, UsageError
from hubsync.ports.hub import HubAnswerError, Source, UnavailableError
from hubsync.ports.limiter import Budget
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.guard import EgressError
from hubsync.transfer.http import Courier, RedirectError, Session, _target
from tests.unit.hubs.scripted import Scripted, http_answer
from tests.unit.transfer.fetching import QUICK
from tests.unit.transfer.resolving import ScriptedResolver

TOKEN = {"Authorization": "Bearer hf_canary", "X-Api-Key": "canary"}
RANGE = {"Range": "bytes=3-8"}
LOOPBACK = ["127.0.0.1"]


def answers(*given: bytes) -> Callable[[str, dict[str, str]], bytes]:
    """These, one after the other; the last one for ever."""
    left = list(given)
    return lambda path, headers: left.pop(0) if len(left) > 1 else left[0]


def to(location: str, status: str = "302 Found") -> bytes:
    return http_answer(status, b"Found.", f"Location: {location}")


FILE = http_answer("200 OK", b"the file")


@contextmanager
def serving(*given: Callable[[str, dict[str, str]], bytes]) -> Iterator[list[Scripted]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Scripted(one)) for one in given]


def port(server: Scripted) -> str:
    return server.endpoint.rpartition(":")[2]


def ask(
    url: str,
    *,
    resolver: AbstractResolver | None = None,
    headers: Mapping[str, str] = TOKEN,
    times: int = 1,
    budget: Budget | None = None,
    **options: float,
) -> bytes:
    """The body of the final answer to the last of *times* GETs."""
    obeyed = replace(QUICK, **options)  # type: ignore[arg-type]

    async def story() -> bytes:
        session = Session(obeyed, resolver)
        body = b""
        try:
            courier = Courier(session, obeyed, budget)
            for _ in range(times):
                reply = await courier.get(Source(url, headers), RANGE)
                async with reply.response:
                    body = await reply.response.read()
        finally:
            await session.close()
        return body

    return asyncio.run(story())


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class TestWhatGoesAlong:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_s17_credentials_go_to_the_configured_origin_and_ranges_everywhere(
        self, host: str
    ) -> None:
        with serving(answers(FILE)) as [cdn]:
            elsewhere = f"http://{host}:{port(cdn)}/signed?a=%2F"
            with serving(answers(to("/next"), to(elsewhere))) as [hub]:
                assert ask(f"{hub.endpoint}/f") == b"the file"
        for _, headers in hub.asked:
            assert headers["authorization"] == "Bearer hf_canary"
            assert headers["x-api-key"] == "canary"
        [(path, headers)] = cdn.asked
        assert path == "/signed?a=%2F", "byte for byte"
        assert not {"authorization", "x-api-key", "cookie", "referer"} & set(headers)
        for _, headers in [*hub.asked, *cdn.asked]:
            assert headers["range"] == RANGE["Range"]
            assert headers["accept-encoding"] == "identity"

    def test_s17_the_same_host_under_another_name_is_another_origin(self) -> None:
        resolver = ScriptedResolver(hub_test=[LOOPBACK], cdn_test=[LOOPBACK])
        with serving(answers(FILE)) as [server]:
            there = f"http://cdn.test:{port(server)}/f"
            server._answer = answers(to(there), FILE)
            ask(f"http://hub.test:{port(server)}/f", resolver=resolver)
        first, second = server.asked
        assert "authorization" in first[1]
        assert "authorization" not in second[1]

    def test_capitals_do_not_make_another_origin(self) -> None:
        resolver = ScriptedResolver(hub_test=[LOOPBACK])
        with serving(answers(FILE)) as [server]:
            server._answer = answers(to(f"HTTP://HUB.test:{port(server)}/g"), FILE)
            ask(f"http://hub.test:{port(server)}/f", resolver=resolver)
        assert ["authorization" in headers for _, headers in server.asked] == [True] * 2

    def test_what_the_user_keeps_in_netrc_goes_nowhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login me password canary\n")
        monkeypatch.setenv("NETRC", str(netrc))
        with (
            serving(answers(FILE)) as [cdn],
            serving(answers(to(f"{cdn.endpoint}/f"))) as [hub],
        ):
            ask(f"{hub.endpoint}/f")
        assert hub.asked[0][1]["authorization"] == "Bearer hf_canary"
        assert "authorization" not in cdn.asked[0][1]

    def test_s17_a_redirect_cannot_make_us_log_in_somewhere(self) -> None:
        with serving(answers(FILE)) as [cdn]:
            there = cdn.endpoint.replace("http://", "http://me:secret@")
            with (
                serving(answers(to(f"{there}/f"))) as [hub],
                pytest.raises(RedirectError, match="log in") as caught,
            ):
                ask(f"{hub.endpoint}/f")
        assert "secret" not in str(caught.value)
        assert cdn.asked == []

    @pytest.mark.parametrize("status", ["401 Unauthorized", "407 Proxy", "403 No"])
    @pytest.mark.parametrize("scheme", ["Bearer", "Basic", "Negotiate"])
    def test_s18_where_to_log_in_is_not_followed(
        self, status: str, scheme: str
    ) -> None:
        """Registries' clients ask the realm for a token, and show it what they have."""
        with serving(answers(FILE)) as [elsewhere]:
            realm = f'{scheme} realm="{elsewhere.endpoint}/token",service="x"'
            names = ("WWW-Authenticate", "Proxy-Authenticate", "Location", "Link")
            refused = http_answer(status, b"", *(f"{one}: {realm}" for one in names))
            with serving(answers(refused, FILE)) as [hub]:
                assert ask(f"{hub.endpoint}/f") == b""
        assert elsewhere.asked == []
        assert len(hub.asked) == 1

    def test_the_last_address_can_be_asked_directly(self) -> None:
        async def story(url: str) -> None:
            session = Session(QUICK)
            try:
                courier = Courier(session, QUICK)
                first = await courier.get(Source(url, TOKEN), {})
                first.response.close()
                second = await courier.get(Source(url, TOKEN), {}, first.url)
                second.response.close()
                assert (first.hops, second.hops, courier.requests) == (2, 1, 3)
                assert not second.from_hub
            finally:
                await session.close()

        with (
            serving(answers(FILE)) as [cdn],
            serving(answers(to(f"{cdn.endpoint}/f"))) as [hub],
        ):
            asyncio.run(story(f"{hub.endpoint}/f"))
        assert (len(hub.asked), len(cdn.asked)) == (1, 2)
        assert "authorization" not in cdn.asked[1][1]


class TestAnUpstreamNearUs:
    def test_its_redirects_may_lead_near_us_whatever_the_name(self) -> None:
        resolver = ScriptedResolver(hub_office=[LOOPBACK], cdn_office=[LOOPBACK])
        with serving(answers(FILE)) as [server]:
            there = f"http://cdn.office:{port(server)}/f"
            with serving(answers(to(there))) as [hub]:
                url = f"http://hub.office:{port(hub)}/f"
                assert ask(url, resolver=resolver) == b"the file"

    def test_many_parts_do_not_look_names_up_many_times(self) -> None:
        resolver = ScriptedResolver(hub_office=[LOOPBACK], cdn_office=[LOOPBACK])
        with serving(answers(FILE)) as [server]:
            there = f"http://cdn.office:{port(server)}/f"
            with serving(lambda path, headers: to(there)) as [hub]:
                url = f"http://hub.office:{port(hub)}/f"
                ask(url, resolver=resolver, times=128)
        assert len(server.asked) == 128
        assert resolver.asked["hub.office"] <= 2
        assert resolver.asked["cdn.office"] == 1

    @pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "127.1"])
    def test_a_number_that_not_everybody_reads_alike_is_refused_as_such(
        self, host: str
    ) -> None:
        with serving(answers(FILE)) as [cdn]:
            there = f"http://{host}:{port(cdn)}/f"
            with (
                serving(answers(to(there))) as [hub],
                pytest.raises(HubAnswerError, match=host),
            ):
                ask(f"{hub.endpoint}/f")
        assert cdn.asked == []


FAR = "http://far.test/f"


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """The internet, as a proxy shows it; ``*.office`` is asked directly."""
    with Scripted(answers(FILE)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.endpoint)
        direct = "localhost,127.0.0.1,::1,2130706433,0177.0.0.1,0x7f000001,127.1"
        monkeypatch.setenv("no_proxy", f"{direct},.office,.test.direct")
        yield proxy


class TestAnUpstreamOnTheInternet:
    def test_a_proxy_near_us_is_fine(self, far: Scripted) -> None:
        far._answer = answers(to("http://cdn.test/x"), FILE)
        assert ask(FAR) == b"the file"
        assert [path for path, _ in far.asked] == [FAR, "http://cdn.test/x"]
        assert ["authorization" in headers for _, headers in far.asked] == [True, False]

    @pytest.mark.parametrize(
        "host",
        [
            *("127.0.0.1", "localhost", "[::1]", "2130706433", "0177.0.0.1"),
            *("0x7f000001", "127.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
            *("10.0.0.1", "169.254.169.254", "192.168.0.1", "[fe80::1%25lo]"),
            *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "100.64.0.1", "0.0.0.0"),
            *("inner.office", "mapped.office"),
        ],
    )
    def test_s12_its_redirects_do_not_lead_near_us(
        self, far: Scripted, host: str
    ) -> None:
        resolver = ScriptedResolver(
            localhost=[["127.0.0.1", "::1"]],
            inner_office=[["10.0.0.5"]],
            mapped_office=[["::ffff:127.0.0.1"]],
        )
        with serving(answers(FILE)) as [neighbour]:
            far._answer = answers(to(f"http://{host}:{port(neighbour)}/f"), FILE)
            with pytest.raises(EgressError) as caught:
                ask(FAR, resolver=resolver)
            assert neighbour.asked == []
        assert len(far.asked) == 1, "nor is the proxy asked for it"
        assert host.strip("[]").partition("%")[0] in str(caught.value)
        assert caught.value.hint

    def test_s12_the_second_hop_is_looked_at_like_the_first(
        self, far: Scripted
    ) -> None:
        far._answer = answers(
            to("http://cdn.test/"), to("http://169.254.169.254/latest/meta-data/")
        )
        with pytest.raises(EgressError, match=r"169\.254\.169\.254"):
            ask(FAR)
        assert len(far.asked) == 2

    def test_s13_a_name_that_changes_after_the_check_is_not_connected_to(self) -> None:
        """Rebinding: public when looked at, loopback when connected to."""
        with serving(answers(FILE)) as [neighbour]:
            resolver = ScriptedResolver(rebind_test=[["93.184.216.34"], LOOPBACK])
            with pytest.raises(EgressError, match=r"rebind\.test \(127\.0\.0\.1\)"):
                ask(f"http://rebind.test:{port(neighbour)}/f", resolver=resolver)
            assert neighbour.asked == []

    def test_one_near_us_opens_no_door_for_it(self, far: Scripted) -> None:
        """Both in one run: a connection opened for the one is not there for both."""
        resolver = ScriptedResolver(hub_office=[LOOPBACK])

        async def story(near: str) -> None:
            session = Session(QUICK, resolver)
            try:
                courier = Courier(session, QUICK)
                reply = await courier.get(Source(near), {})
                await reply.response.read()
                with pytest.raises(EgressError):
                    await courier.get(Source(FAR), {})
            finally:
                await session.close()

        with serving(answers(FILE)) as [neighbour]:
            near = f"http://hub.office:{port(neighbour)}/f"
            far._answer = answers(to(near))
            asyncio.run(story(near))
            assert len(neighbour.asked) == 1

    def test_a_name_that_only_the_proxy_knows_is_not_looked_up(
        self, far: Scripted
    ) -> None:
        resolver = ScriptedResolver()
        ask(FAR, resolver=resolver, times=3)
        assert not resolver.asked

    def test_a_proxy_by_name_may_be_near_and_a_redirect_to_its_host_may_not(
        self, far: Scripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolver = ScriptedResolver(proxy_office=[LOOPBACK])
        monkeypatch.setenv("http_proxy", f"http://proxy.office:{port(far)}")
        assert ask(FAR, resolver=resolver) == b"the file"
        with serving(answers(FILE)) as [neighbour]:
            far._answer = answers(to(f"http://proxy.office:{port(neighbour)}/f"))
            with pytest.raises(EgressError, match=r"proxy\.office"):
                ask(FAR, resolver=resolver)
            assert neighbour.asked == []

    def test_a_proxy_is_told_the_password_in_its_address_and_the_hub_is_not(
        self, far: Scripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy = far.endpoint.replace("http://", "http://me:word@")
        monkeypatch.setenv("http_proxy", proxy)
        ask(FAR)
        [(_, headers)] = far.asked
        assert headers["proxy-authorization"].startswith("Basic ")
        assert headers["authorization"] == "Bearer hf_canary"

    @pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://[", "proxy:1"])
    def test_a_proxy_that_is_none_is_said_at_once(
        self, monkeypatch: pytest.MonkeyPatch, proxy: str
    ) -> None:
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(UsageError, match="http_proxy"):
            ask(FAR)


class TestRedirects:
    @pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
    def test_all_kinds_are_followed(self, status: str) -> None:
        with serving(answers(to("/g", status), FILE)) as [hub]:
            assert ask(f"{hub.endpoint}/f") == b"the file"

    def test_ten_are_enough(self) -> None:
        with serving(answers(*[to("/g")] * 10, FILE)) as [hub]:
            assert ask(f"{hub.endpoint}/f") == b"the file"

    def test_eleven_are_too_many(self) -> None:
        with serving(answers(*[to("/g")] * 11, FILE)) as [hub]:
            with pytest.raises(RedirectError, match="round in circles"):
                ask(f"{hub.endpoint}/f")
            assert len(hub.asked) == 11

    @pytest.mark.parametrize(
        "location",
        [
            *("file:///etc/passwd", "FILE:/etc/passwd", "file:/x", "ftp://h/x"),
            *("gopher://h/", "data:,x", "javascript:x", "httpx://h/", "http+unix://h/"),
            *("https:x", "http://[", "http://h:x/", "http://h:99999/", ""),
            *("http://%31%32%37.0.0.1/", "http://h\\@evil/", "http://a b/"),
        ],
    )
    def test_s14_only_http_and_only_to_a_host(self, location: str) -> None:
        with (
            serving(answers(to(location), FILE)) as [hub],
            pytest.raises(RedirectError, match="to nowhere"),
        ):
            ask(f"{hub.endpoint}/f")

    @pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".test"])
    def test_what_cannot_be_a_name_is_no_traceback(self, host: str) -> None:
        with (
            serving(answers(to(f"http://{host}/"))) as [hub],
            pytest.raises(RetryLaterError, match="cannot be resolved"),
        ):
            ask(f"{hub.endpoint}/f")


class TestSilence:
    def test_a_name_nobody_knows(self) -> None:
        with pytest.raises(RetryLaterError, match="name cannot be resolved"):
            ask("http://nowhere.test/f", resolver=ScriptedResolver())

    def test_a_name_nobody_knows_behind_a_redirect(self) -> None:
        with (
            serving(answers(to("http://nowhere.test/f"))) as [hub],
            pytest.raises(RetryLaterError, match=r"nowhere\.test cannot be resolved"),
        ):
            ask(f"{hub.endpoint}/f", resolver=ScriptedResolver())

    def test_a_closed_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            url = f"http://127.0.0.1:{gone.getsockname()[1]}/f"
        with pytest.raises(RetryLaterError, match="cannot connect"):
            ask(url)

    def test_a_host_that_takes_no_connection(self) -> None:
        """Its queue is full, so that the kernel drops what else comes."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = full.getsockname()
            with ExitStack() as stack:
                for _ in range(4):
                    waiting = stack.enter_context(socket.socket())
                    waiting.setblocking(False)
                    waiting.connect_ex(address)
                with pytest.raises(RetryLaterError, match="cannot connect in time"):
                    ask(f"http://127.0.0.1:{address[1]}/f", connect_timeout_s=0.2)

    def test_a_host_that_says_nothing(self) -> None:
        with (
            serving_raw(lambda peer: peer.recv(10_000) and peer.recv(1)) as address,
            pytest.raises(RetryLaterError, match="no answer in time"),
        ):
            ask(f"http://{address}/f", read_timeout_s=0.2)

    def test_a_host_that_hangs_up(self) -> None:
        with (
            serving_raw(lambda peer: peer.recv(10_000)) as address,
            pytest.raises(
                RetryLaterError, match="no answer: the connection was closed"
            ),
        ):
            ask(f"http://{address}/f")

    def test_a_handshake_that_is_cut_is_worth_another_try(self) -> None:
        with (
            serving_raw(lambda peer: peer.recv(10_000)) as address,
            pytest.raises(RetryLaterError),
        ):
            ask(f"https://{address}/f")

    def test_a_host_that_speaks_no_tls_is_not_asked_again(self) -> None:
        def speak(peer: socket.socket) -> None:
            peer.recv(10_000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with (
            serving_raw(speak) as address,
            pytest.raises(UnavailableError, match="no encrypted connection") as caught,
        ):
            ask(f"https://{address}/f")
        assert caught.value.hint


@contextmanager
def serving_raw(speak: Callable[[socket.socket], object]) -> Iterator[str]:
    """Host and port of a server that treats each connection so, then closes it."""

    def serve(server: socket.socket) -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                try:
                    speak(peer)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


class TestOneHostForAll:
    @pytest.mark.parametrize("status", ["500 E", "503 B", "408 T", "425 E"])
    def test_a_host_in_trouble_sees_few_requests_of_many_files(
        self, status: str
    ) -> None:
        async def story(url: str) -> list[BaseException | None]:
            session = Session(QUICK)
            courier, slots = Courier(session, QUICK), asyncio.Semaphore(8)

            async def file(number: int) -> None:
                async with slots:
                    while True:
                        reply = await courier.get(Source(f"{url}/{number}"), {})
                        reply.response.close()

            ends = await asyncio.gather(
                *(file(number) for number in range(100)), return_exceptions=True
            )
            await session.close()
            return ends

        with serving(answers(http_answer(status, b""))) as [hub]:
            ends = asyncio.run(story(hub.endpoint))
            assert len(hub.asked) <= 8 + 4 + QUICK.retries_max
        assert {type(end) for end in ends} == {UnavailableError}
        assert f"it answered {status[:3]}" in str(ends[0])

    @pytest.mark.parametrize("status", ["404 N", "403 F", "429 T", "416 R", "200 OK"])
    def test_what_is_the_requests_fault_opens_no_breaker(self, status: str) -> None:
        with serving(answers(http_answer(status, b"", "Retry-After: 0"))) as [hub]:
            ask(f"{hub.endpoint}/f", times=20)
            assert len(hub.asked) == 20

    def test_every_hop_is_counted_against_the_budget_of_its_host(self) -> None:
        budget = Ledger()
        with serving(answers(FILE)) as [cdn]:
            cache = "/api/resolve-cache/models/x"
            with serving(answers(to(cache), to(f"{cdn.endpoint}/x"))) as [hub]:
                ask(f"{hub.endpoint}/f", budget=budget)
                home = f"127.0.0.1:{port(hub)}"
            there = f"127.0.0.1:{port(cdn)}"
        assert budget.answers == [
            (home, "files", 302),
            (home, "resolve-cache", 302),
            (there, "files", 200),
        ]
        asked = list(dict.fromkeys(budget.asked))
        assert asked == [(host, kind) for host, kind, _ in budget.answers]

    def test_a_budget_that_is_used_up_keeps_the_request_from_being_sent(self) -> None:
        with serving(answers(FILE)) as [hub]:
            with pytest.raises(HubsyncError, match="used up"):
                ask(f"{hub.endpoint}/f", budget=Ledger(left=0))
            assert hub.asked == []


class Ledger:
    """A `Budget` that writes down what it is asked and told."""

    quiet_until = 0.0

    def __init__(self, left: int = 100) -> None:
        self.left = left
        self.asked: list[tuple[str, str]] = []
        self.answers: list[tuple[str, str, int]] = []

    async def passed(self, host: str, kind: str) -> None:
        if not self.left:
            raise UnavailableError("used up")
        self.asked.append((host, kind))

    def answered(
        self, host: str, kind: str, status: int, headers: Mapping[str, str]
    ) -> None:
        assert "content-length" in headers, "names in lower case"
        self.answers.append((host, kind, status))


class TestTargets:
    """What needs certificates to be shown with servers."""

    @pytest.mark.parametrize("there", ["http://cdn.test/x", "HTTP://hub.test/x"])
    def test_s19_https_is_not_left(self, there: str) -> None:
        with pytest.raises(RedirectError, match="from https to http"):
            _target(URL("https://hub.test/x"), there)

    def test_it_may_be_entered_and_kept(self) -> None:
        assert str(_target(URL("http://h/x"), "https://c/y")) == "https://c/y"
        assert str(_target(URL("https://h/a/b"), "//c/y")) == "https://c/y"
        assert str(_target(URL("https://h/a/b"), "../c?d=%2F")) == "https://h/c?d=%2F"
