"""Faults that only a client of many ranges meets."""

import http.client
import time

import pytest

from tests.selfcheck.asking import Reply, ask
from tests.testhub import Fault, Lfs, TestHub, Virtual

FILE = Virtual(600_000)
DATA = FILE.content()


@pytest.fixture
def url(hub: TestHub) -> str:
    hub.create_repo("acme/tiny").commit({"model.bin": Lfs(FILE)})
    return signed(hub)


def signed(hub: TestHub) -> str:
    return ask(f"{hub.endpoint}/acme/tiny/resolve/main/model.bin").location


def part(url: str, first: int, last: int) -> Reply:
    return ask(url, headers={"Range": f"bytes={first}-{last}"})


def test_an_etag_changes_from_the_nth_request_on(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("etag_changes", role="cdn", after=2, times=-1))
    tags = [part(url, 0, 9).headers["ETag"] for _ in range(4)]
    assert tags[0] == tags[1]
    assert tags[2:] == ['"another"'] * 2


@pytest.mark.parametrize(
    ("variant", "shown"),
    [
        ("", "bytes 101-199/600000"),
        ("early", "bytes 99-199/600000"),
        ("other_end", "bytes 100-200/600000"),
        ("other_total", "bytes 100-199/600001"),
        ("backwards", "bytes 199-100/600000"),
        ("missing", None),
        ("nonsense", "bytes a-b/c"),
    ],
)
def test_a_wrong_range_lies_in_the_header_alone(
    hub: TestHub, url: str, variant: str, shown: str | None
) -> None:
    hub.faults.add(Fault("wrong_range", role="cdn", variant=variant))  # type: ignore[arg-type]
    reply = part(url, 100, 199)
    assert (reply.status, reply.body) == (206, DATA[100:200])
    assert reply.headers["Content-Range"] == shown


def test_a_range_may_be_ignored_on_later_parts_only(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("ignore_range", role="cdn", part="later", times=-1))
    assert part(url, 0, 99).status == 206
    later = part(url, 100, 199)
    assert (later.status, later.body) == (200, DATA)


def test_a_fault_may_be_for_the_first_part(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("status", role="cdn", part="first", status=500))
    assert part(url, 10, 99).status == 206
    assert part(url, 0, 9).status == 500


def test_bytes_from_elsewhere_look_right(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("shifted", role="cdn", at=50))
    reply = part(url, 100, 199)
    assert reply.headers["Content-Range"] == "bytes 100-199/600000"
    assert reply.body == DATA[50:150]


def test_a_part_may_be_longer_or_shorter_than_it_says(hub: TestHub, url: str) -> None:
    hub.faults.add(
        Fault("longer", role="cdn", at=3), Fault("shorter", role="cdn", at=3)
    )
    assert part(url, 100, 199).body == DATA[100:200] + b"xxx"
    assert part(url, 100, 199).body == DATA[100:197]


def test_a_good_range_may_be_called_unsatisfiable(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("unsatisfiable", role="cdn"))
    reply = part(url, 100, 199)
    assert reply.status == 416
    assert reply.headers["Content-Range"] == "bytes */600000"


def test_a_body_may_drip(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("drip", role="cdn", at=100, every_s=0.1))
    begun = time.monotonic()
    assert part(url, 0, 103).body == DATA[:104]
    assert 0.3 < time.monotonic() - begun < 5


def test_a_connection_has_a_rate_and_a_delay(hub: TestHub, url: str) -> None:
    hub.pace.rate_bytes_per_s, hub.pace.latency_s = 2_000_000, 0.1
    begun = time.monotonic()
    assert ask(url).body == DATA
    assert 0.3 <= time.monotonic() - begun < 5


def test_a_server_may_take_a_request_and_say_nothing(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("silence", role="cdn"))
    with pytest.raises(TimeoutError):
        ask(url, timeout_s=0.3)
    assert ask(url).body == DATA


def test_an_address_is_good_for_so_many_requests(hub: TestHub, url: str) -> None:
    hub.url_requests_max = 2
    assert [part(url, 0, 9).status for _ in range(3)] == [206, 206, 403]
    assert part(signed(hub), 0, 9).status == 206


def test_an_address_is_good_for_so_many_bytes(hub: TestHub, url: str) -> None:
    hub.url_bytes_max = 150
    statuses = [part(url, n * 100, n * 100 + 99).status for n in range(3)]
    assert statuses == [206, 206, 403]


def test_two_addresses_for_one_file_are_never_the_same(hub: TestHub, url: str) -> None:
    assert signed(hub) != signed(hub)


def test_hops_end_at_the_file(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("hops", "/resolve/", role="hub", at=3, times=-1))
    target, hops = f"{hub.endpoint}/acme/tiny/resolve/main/model.bin", 0
    while (reply := ask(target)).status == 307:
        target, hops = hub.endpoint + reply.location, hops + 1
    assert (hops, reply.status) == (3, 302)
    assert "xet-bridge" in reply.location


def test_a_redirect_may_come_without_an_address(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("redirect", role="cdn", status=301))
    reply = ask(url)
    assert (reply.status, reply.headers["Location"]) == (301, None)


def test_cookies_are_set_by_both_and_noted_when_they_come_back(
    hub: TestHub, url: str
) -> None:
    hub.sets_cookies = True
    api = f"{hub.endpoint}/api/models/acme/tiny"
    cookies = [ask(one).headers["Set-Cookie"] for one in (url, api)]
    assert cookies == ["cdn=1; Path=/", "session=1; Path=/"]
    ask(api, headers={"Cookie": "session=1"})
    ask(url, headers={"Cookie": "cdn=1"})
    assert [bool(one.notes) for one in hub.requests[-2:]] == [True, True]


def test_a_cut_is_where_it_was_ordered_in_large_files_too(
    hub: TestHub, url: str
) -> None:
    hub.faults.add(Fault("truncate", role="cdn", at=400_000))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(url)
    assert caught.value.partial == DATA[:400_000]
