"""``serve.auth = "proxy"``, and which connections are trusted."""

import http.client
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import make_mocked_request

from hubsync.model.errors import UsageError
from hubsync.serve.access import Access
from hubsync.serve.options import ServeOptions
from hubsync.serve.trust import is_here, is_trusted, parse_networks
from tests.unit.serve import tenants
from tests.unit.serve.mirror import Mirror, serving
from tests.unit.serve.tenants import bearer, give, status

FILE = "/acme/tiny-bert/resolve/main/config.json"
HERE = ("127.0.0.1", "::1")


def test_a_trusted_proxy_says_who_it_is(mirror: Mirror) -> None:
    with serving(mirror, auth="proxy", trusted_proxies=HERE) as live:
        assert live.get(FILE, X_Forwarded_User="alice").status == 200
        who = live.get("/api/whoami-v2", X_Forwarded_User="alice").json()
        assert who["name"] == "alice"
        for missing in (live.get(FILE), live.get(FILE, X_Forwarded_User=" ")):
            assert (missing.status, missing.code) == (401, "RepoNotFound")


def test_what_a_proxy_guards_is_said_to_be_private(mirror: Mirror) -> None:
    with serving(mirror, auth="proxy", trusted_proxies=HERE) as live:
        for target in ("/api/models/acme/tiny-bert", "/api/models"):
            found = live.get(target, X_Forwarded_User="alice").json()
            items = found if isinstance(found, list) else [found]
            assert {one["private"] for one in items} == {True}


def test_whoever_else_says_so_is_not_believed(mirror: Mirror) -> None:
    with serving(mirror, auth="proxy", trusted_proxies=("192.0.2.7",)) as live:
        assert live.get(FILE, X_Forwarded_User="alice").status == 401
        forged = {"X_Forwarded_User": "alice", "X_Forwarded_For": "192.0.2.7"}
        assert live.get(FILE, **forged).status == 401


def test_the_name_of_the_header_is_configured(mirror: Mirror) -> None:
    header = "Remote-User"
    with serving(
        mirror, auth="proxy", trusted_proxies=HERE, auth_header=header
    ) as live:
        assert live.get(FILE, Remote_User="alice").status == 200
        assert live.get(FILE, X_Forwarded_User="alice").status == 401


def test_two_names_are_none(mirror: Mirror) -> None:
    """One of them was the client's; the proxy has only added its own."""
    with serving(mirror, auth="proxy", trusted_proxies=HERE) as live:
        connection = http.client.HTTPConnection(*live.address, timeout=20)
        connection.putrequest("GET", FILE)
        for name in ("alice", "root"):
            connection.putheader("X-Forwarded-User", name)
        connection.endheaders()
        assert connection.getresponse().status == 401
        connection.close()


def test_without_a_trusted_proxy_it_does_not_start(mirror: Mirror) -> None:
    with pytest.raises(UsageError, match="believes only a proxy that is named"):
        Access.of(mirror.library(), ServeOptions(auth="proxy"))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="trusted_proxies"):
        parse_networks(["10.0.0.1", text])


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (("10.1.2.3", 5), True),
        (("10.2.2.3", 5), False),
        (("192.0.2.7", 5), True),
        (("192.0.2.8", 5), False),
        (("::ffff:10.1.2.3", 5, 0, 0), True),
        (("::ffff:10.2.2.3", 5, 0, 0), False),
        (("fd00::1", 5, 0, 0), True),
        (("fe80::1%eth0", 5, 0, 2), False),
        ("", True),  # a unix socket
    ],
)
def test_trust_is_in_the_connections_other_end(peer: object, trusted: bool) -> None:
    networks = parse_networks(["10.1.0.0/16", "192.0.2.7", "fd00::/8"])
    transport = SimpleNamespace(
        get_extra_info=lambda key, default=None: peer if key == "peername" else default
    )
    forged = {"X-Forwarded-For": "10.1.2.3", "Forwarded": "for=10.1.2.3"}
    request = make_mocked_request("GET", "/", headers=forged, transport=transport)
    assert is_trusted(request, networks) is trusted


def test_who_was_gone_before_the_connection_was_accepted_is_not_trusted() -> None:
    """Its address is not known then; nor is that of who comes by a unix socket."""
    transport = SimpleNamespace(get_extra_info=lambda *_: None)
    request = make_mocked_request("GET", "/", transport=transport)
    with pytest.raises(ConnectionResetError):
        is_trusted(request, parse_networks([]))


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("mirror.example", False),
    ],
)
def test_hosts_that_only_this_machine_reaches(host: str, here: bool) -> None:
    assert is_here(host) is here


def test_metrics_are_for_this_machine_and_for_who_shows_a_token(
    tmp_path: Path,
) -> None:
    mirror = tenants.made(tmp_path / "m")
    token = give(mirror, "probe", "nothing/*")
    with serving(mirror, auth="tokens") as live:
        assert status(live, "/metrics") == 200
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            for_another = {name: "for=192.0.2.1"}
            assert live.ask("/metrics", headers=for_another).status == 401
            shown = {**for_another, **bearer(token)}
            assert live.ask("/metrics", headers=shown).status == 200
    mirror.close()
