"""Where a hub's metadata may send us, and what goes along."""

from pathlib import Path

import pytest

from hubsync.hubs.hf_transport import HfTransport
from hubsync.ports.hub import HubAnswerError
from tests.unit.hubs.asking import QUICK
from tests.unit.hubs.scripted import Scripted, http_answer

FAR = "http://93.184.216.34"  # never connected to


def transport(endpoint: str) -> HfTransport:
    return HfTransport(endpoint, token="hf_canary", options=QUICK)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "[::1]", "2130706433", "0177.0.0.1", "127.1"),
        *("0x7f000001", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"),
        *("100.64.0.1", "192.0.0.192", "[64:ff9b::7f00:1]", "[fd00:ec2::254]"),
        *("08.8.8.8", "010.8.8.8"),
    ],
)
def test_s12_a_hub_on_the_internet_does_not_send_us_into_our_own_network(
    host: str,
) -> None:
    with pytest.raises(HubAnswerError, match="must not be followed") as caught:
        transport(FAR)._target(f"{FAR}/api/models/a/b", f"http://{host}/api")
    assert caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "10.0.0.7", "[::1]", "localhost"])
def test_a_hub_in_our_own_network_does(host: str) -> None:
    home = "http://127.0.0.1:8090"
    target = transport(home)._target(f"{home}/api", f"http://{host}/api")
    assert target == f"http://{host}/api"


@pytest.mark.parametrize(
    "location", ["/api/x", "http://93.184.216.34:8080/x", "https://8.8.8.8/x"]
)
def test_the_internet_is_open_to_all(location: str) -> None:
    assert transport(FAR)._target(f"{FAR}/api", location)


@pytest.mark.parametrize(
    "location",
    [
        *("file:///etc/passwd", "FILE:/etc/passwd", "file:/x", "ftp://8.8.8.8/"),
        *("http://[::1", "http://8.8.8.8:99999/", "data:,x"),
    ],
)
def test_s14_only_http_is_followed(location: str) -> None:
    with pytest.raises(HubAnswerError, match="must not be followed"):
        transport(FAR)._target(f"{FAR}/api", location)


def test_s19_https_is_not_left() -> None:
    far = FAR.replace("http", "https")
    with pytest.raises(HubAnswerError, match="must not be followed"):
        transport(far)._target(f"{far}/api", f"{FAR}/api")


def test_s17_another_origin_learns_no_more_than_who_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Scripted(lambda path, headers: http_answer("200 OK", b"{}")) as other:
        there = other.endpoint.replace("127.0.0.1", "localhost")
        away = http_answer("307 Away", b"", f"Location: {there}/api/x")
        with Scripted(lambda path, headers: away) as hub:
            assert transport(hub.endpoint).get(f"{hub.endpoint}/api/x").body == b"{}"
            assert hub.asked[0][1]["authorization"] == "Bearer hf_canary"
        [(_, headers)] = other.asked
    usual = {"host", "connection", "accept", "accept-encoding", "user-agent"}
    # huggingface_hub numbers its requests so; chance, and nothing of ours.
    assert set(headers) - {"x-amzn-trace-id"} <= usual
