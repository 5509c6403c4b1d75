"""Each fault does what it says, as often as it says, and is recorded."""

import gzip
import http.client
import re

import pytest

from tests.selfcheck.asking import Reply, ask
from tests.testhub import Fault, HubRepo, Lfs, TestHub

WEIGHTS = bytes(range(256)) * 64
CDN = "/xet-bridge"


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/tiny")
    repo.commit({"config.json": b"{}\n", "model.bin": Lfs(WEIGHTS)})
    return repo


@pytest.fixture
def url(hub: TestHub, repo: HubRepo) -> str:
    return ask(f"{hub.endpoint}/acme/tiny/resolve/main/model.bin").location


def info(hub: TestHub) -> Reply:
    return ask(f"{hub.endpoint}/api/models/acme/tiny")


def test_a_status_happens_so_many_times(hub: TestHub, repo: HubRepo) -> None:
    page = "<html><h1>502</h1></html>"
    headers = {"Content-Type": "text/html"}
    hub.faults.add(
        Fault("status", "/api/", status=502, headers=headers, body=page, times=2)
    )
    replies = [info(hub) for _ in range(3)]

    assert [reply.status for reply in replies] == [502, 502, 200]
    assert replies[0].body == page.encode()
    assert replies[0].headers["Content-Type"].startswith("text/html")


def test_a_fault_lets_the_first_requests_pass(hub: TestHub, repo: HubRepo) -> None:
    hub.faults.add(Fault("status", "/api/", status=503, after=1))
    assert [info(hub).status for _ in range(3)] == [200, 503, 200]


def test_a_fault_stays_until_it_is_cleared(hub: TestHub, repo: HubRepo) -> None:
    hub.faults.add(Fault("status", "/api/", status=503, times=-1))
    assert [info(hub).status for _ in range(4)] == [503] * 4
    hub.faults.clear()
    assert info(hub).status == 200


def test_a_fault_hits_only_its_path_its_port_and_its_method(
    hub: TestHub, url: str
) -> None:
    hub.faults.add(Fault("status", "nothing-like-it"))
    hub.faults.add(Fault("status", role="hub"))
    hub.faults.add(Fault("status", CDN, method="HEAD"))

    assert ask(url).status == 200
    assert ask(url, method="HEAD").status == 500
    assert info(hub).status == 500


def test_html_comes_as_200(hub: TestHub, repo: HubRepo) -> None:
    hub.faults.add(Fault("html", "/api/"))
    reply = info(hub)

    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/html")


def test_a_redirect_leads_to_its_location(hub: TestHub, repo: HubRepo) -> None:
    hub.faults.add(Fault("redirect", "/api/", location="/api/models/acme/tiny"))
    reply = info(hub)
    assert (reply.status, reply.location) == (302, "/api/models/acme/tiny")


def test_a_reset_ends_the_connection_without_an_answer(
    hub: TestHub, repo: HubRepo
) -> None:
    hub.faults.add(Fault("reset", "/api/"))
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        info(hub)


def test_truncate_announces_all_and_sends_a_part(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("truncate", CDN, at=1000))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(url)

    assert caught.value.partial == WEIGHTS[:1000]
    assert caught.value.expected == len(WEIGHTS) - 1000
    assert hub.lfs_bytes_sent == 1000
    assert ask(url).body == WEIGHTS


def test_truncate_counts_from_the_start_of_the_range(url: str, hub: TestHub) -> None:
    hub.faults.add(Fault("truncate", CDN, at=10))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(url, headers={"Range": "bytes=500-"})
    assert caught.value.partial == WEIGHTS[500:510]


def test_flip_changes_one_byte_of_the_file(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("flip", CDN, at=300, times=2))
    whole = ask(url).body
    ranged = ask(url, headers={"Range": "bytes=256-511"}).body

    wrong = [n for n, byte in enumerate(whole) if byte != WEIGHTS[n]]
    assert (wrong, len(whole)) == ([300], len(WEIGHTS))
    assert ranged == whole[256:512]
    assert ask(url).body == WEIGHTS


def test_longer_and_shorter_bodies_fit_their_length(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("longer", CDN, at=5))
    hub.faults.add(Fault("shorter", CDN, at=5))
    longer, shorter = ask(url), ask(url)

    assert len(longer.body) == len(WEIGHTS) + 5
    assert longer.headers["Content-Length"] == str(len(WEIGHTS) + 5)
    assert shorter.body == WEIGHTS[:-5]
    assert shorter.headers["Content-Length"] == str(len(WEIGHTS) - 5)


def test_an_ignored_range_gives_everything(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("ignore_range", CDN))
    reply = ask(url, headers={"Range": "bytes=100-199"})
    assert (reply.status, reply.body) == (200, WEIGHTS)


def test_a_wrong_range_is_off_by_one(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("wrong_range", CDN))
    reply = ask(url, headers={"Range": "bytes=100-199"})

    assert reply.status == 206
    assert reply.headers["Content-Range"] == f"bytes 101-199/{len(WEIGHTS)}"


def test_slow_sends_everything(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("slow", CDN, rate=len(WEIGHTS) * 4))
    assert ask(url).body == WEIGHTS


def test_a_stalled_body_ends_in_a_timeout(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("stall", CDN, at=100))
    with pytest.raises(TimeoutError):
        ask(url, timeout_s=0.5)

    assert hub.lfs_bytes_sent == 100
    assert ask(url).body == WEIGHTS


def test_expire_refuses_a_url_that_is_good(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("expire"))
    assert [ask(url).status for _ in range(2)] == [403, 200]


def test_gzip_says_so_but_is_not(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("gzip", CDN))
    reply = ask(url)

    assert reply.headers["Content-Encoding"] == "gzip"
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(reply.body)


def test_a_tree_can_be_given_hostile_entries(hub: TestHub, repo: HubRepo) -> None:
    hostile = [
        {"type": "file", "oid": "no hex", "size": -1, "path": "../x"},
        {"type": "file", "oid": 7, "size": "big", "path": None},
    ]
    repo.tree_override = lambda entries: [*entries, *hostile]
    shown = ask(f"{hub.endpoint}/api/models/acme/tiny/tree/main").json()

    assert shown[-2:] == hostile
    assert len(shown) == 4


def test_a_hook_can_move_a_branch_before_the_answer(
    hub: TestHub, repo: HubRepo
) -> None:
    moved: list[str] = []

    def move(seen: object) -> None:
        if not moved:
            moved.append(repo.commit({"new.txt": b"1"}))

    hub.hooks.append(move)
    assert info(hub).json()["sha"] == moved[0]


def test_every_request_is_recorded_raw(hub: TestHub, repo: HubRepo) -> None:
    ask(f"{hub.endpoint}/api/models/acme/tiny/tree/refs%2Fpr%2F1?x=%7E&y=a%2Fb")
    seen = hub.requests[-1]

    assert seen.path == "/api/models/acme/tiny/tree/refs%2Fpr%2F1?x=%7E&y=a%2Fb"
    assert (seen.role, seen.method, seen.status) == ("hub", "GET", 404)
    assert seen.bucket == "api"


def test_no_length_looks_complete_when_it_is_not(hub: TestHub, url: str) -> None:
    hub.faults.add(Fault("no_length", CDN, at=1000))
    reply = ask(url)

    assert "Content-Length" not in reply.headers
    assert "Transfer-Encoding" not in reply.headers
    assert reply.body == WEIGHTS[:1000]


def test_a_body_fault_waits_for_the_answer_that_has_a_body(
    hub: TestHub, repo: HubRepo
) -> None:
    hub.faults.add(Fault("truncate", re.escape("config.json"), at=1))
    hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/config.json")
    with pytest.raises(http.client.IncompleteRead):
        ask(hub.endpoint + hop.location)


def test_a_tree_page_can_be_cut(hub: TestHub, repo: HubRepo) -> None:
    hub.faults.add(Fault("truncate", "/tree/", at=10))
    with pytest.raises(http.client.IncompleteRead):
        ask(f"{hub.endpoint}/api/models/acme/tiny/tree/main")
