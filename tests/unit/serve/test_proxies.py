"""Whom to believe about who asks."""

from typing import Any

import pytest

from hubsync.model.errors import ExitCode, UsageError
from hubsync.serve.options import ServeOptions
from hubsync.serve.proxies import Proxies
from tests.unit.serve.mirror import WAIT_S, Live, Mirror, serving

PAGE = "/api/models/acme/tiny-bert/tree/main?limit=1"


def logged(live: Live, target: str) -> dict[str, object]:
    """The line of the request for *target*: it comes after the body has left."""

    def found() -> list[dict[str, object]]:
        events = [getattr(one.msg, "fields", {}) for one in live.log]
        return [one for one in events if one.get("target") == target]

    with live.logged:
        assert live.logged.wait_for(found, WAIT_S), live.log
        return found()[0]


def test_a_trusted_proxy_says_how_the_client_found_it(mirror: Mirror) -> None:
    with serving(mirror, trusted_proxies=("127.0.0.0/8", "10.0.0.0/8")) as live:
        answer = live.get(
            PAGE,
            X_Forwarded_For="6.6.6.6, 192.0.2.7, 10.1.2.3",
            X_Forwarded_Proto="https",
            X_Forwarded_Host="mirror.example",
            X_Request_Id="abc-123",
        )
        assert answer.headers["link"].startswith(f"<https://mirror.example{PAGE[:20]}")
        assert answer.headers["x-request-id"] == "abc-123"
        # 10.1.2.3 is one of ours; what 192.0.2.7 says of others is its own word.
        assert logged(live, PAGE)["client"] == "192.0.2.7"
        assert logged(live, PAGE)["request_id"] == "abc-123"


def test_what_anybody_else_says_is_not_believed(mirror: Mirror) -> None:
    """S25."""
    with serving(mirror, trusted_proxies=("192.0.2.1",)) as live:
        answer = live.get(
            PAGE,
            X_Forwarded_For="192.0.2.7",
            X_Forwarded_Proto="https",
            X_Forwarded_Host="evil.example",
            X_Request_Id="chosen",
        )
        assert answer.headers["link"].startswith(f"<{live.url}/")
        assert answer.headers["x-request-id"] != "chosen"
        assert logged(live, PAGE)["client"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "proto", "request_id"),
    [
        ("a/?x=", "gopher", "a b"),
        ("a@b", "https://", "x" * 129),
        ("<script>", "", '"'),
        ("a b", "HTTPS x", "\u00e9"),
    ],
)
def test_a_trusted_proxy_that_passes_on_nonsense(
    mirror: Mirror, host: str, proto: str, request_id: str
) -> None:
    """S28: the proxy may hand through what its client said."""
    with serving(mirror, trusted_proxies=("127.0.0.1",)) as live:
        answer = live.ask(
            PAGE,
            headers={
                "X-Forwarded-Host": host,
                "X-Forwarded-Proto": proto,
                "X-Forwarded-For": "unknown, <x>",
                "X-Request-Id": request_id,
            },
        )
        assert answer.headers["link"].startswith(f"<{live.url}/")
        assert len(answer.headers["x-request-id"]) == 32
        assert logged(live, PAGE)["client"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("", "10.0.0.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("192.0.2.7, nonsense, 10.9.9.9", "10.9.9.9"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        (", ,", "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy_of_ours(
    said: str, client: str
) -> None:
    proxies = Proxies(ServeOptions(trusted_proxies=("10.0.0.0/8",)))
    assert proxies._client("10.0.0.1", said) == client


@pytest.mark.parametrize(
    "peer", ["::ffff:10.0.0.1", "10.0.0.1", "fd00::1", "fd00::1%lo"]
)
def test_networks_of_both_kinds(peer: str) -> None:
    assert Proxies(ServeOptions(trusted_proxies=("10.0.0.0/8", "fd00::/8"))).trusts(
        peer
    )
    assert not Proxies(ServeOptions(trusted_proxies=("192.0.2.0/24",))).trusts(peer)


@pytest.mark.parametrize("text", ["", "nginx", "10.0.0.0/33", "*", "1.2.3"])
def test_a_network_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"serve\.trusted_proxies") as caught:
        Proxies(ServeOptions(trusted_proxies=(text,)))
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_proxys_clients_are_limited_one_by_one(mirror: Mirror) -> None:
    """They share the proxy's connections, which are not limited by address."""
    options: dict[str, Any] = {
        "trusted_proxies": ("127.0.0.1",),
        "connections_per_client_max": 1,
    }
    with serving(mirror, **options) as live:
        for number in range(3):
            client = f"192.0.2.{number}"
            assert live.get("/healthz", X_Forwarded_For=client).status == 200
    proxied = serving(
        mirror, trusted_proxies=("127.0.0.1",), connections_per_client_max=0
    )
    with proxied as live:
        refused = live.get("/healthz", X_Forwarded_For="192.0.2.7")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert refused.headers["x-request-id"]


def test_secrets_in_an_address_are_not_logged(mirror: Mirror) -> None:
    """S20."""
    with serving(mirror) as live:
        live.get("/api/models?token=geheim&limit=1", User_Agent="curl/1 Bearer geheim")
        live.wait_for("request answered")
        lines = [one.getMessage() for one in live.log]
        assert any("limit=1" in line and "curl/1" in line for line in lines)
        assert not any("geheim" in line for line in lines)


def test_the_log_says_what_was_sent(mirror: Mirror) -> None:
    with serving(mirror) as live:
        for target in ("/healthz", "/acme/handmade/resolve/main/model.bin"):
            answer = live.get(target)
            line = logged(live, target)
            assert line["sent_bytes"] == len(answer.body)
            assert line["request_id"] == answer.headers["x-request-id"]
