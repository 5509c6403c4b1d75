"""Rows of the fault matrix that the way from a hub concerns, each by its number.

A file of 3 MB is some twelve ranged parts here, over four connections.
"""

import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hubsync.model.errors import HubsyncError
from hubsync.ports.blobs import BlobCorruptError
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    HubAnswerError,
    HubError,
    UnavailableError,
)
from tests.pulling import Talk
from tests.testhub import Fault, HubRepo, Lfs, Seen, TestHub, Virtual
from tests.testhub.faults import Variant
from tests.upstream.faulting import (
    FILE,
    MIB,
    NOTES,
    PART_BYTES,
    QuickMirror,
    asked_the_hub,
    assert_nothing_visible,
    assert_sound,
    parts,
    quick_mirror,
    spans,
    tiny_repo,
    whole,
)

SIZE = FILE.size
SLACK_BYTES = 64 * 1024  # in flight when a connection breaks


@pytest.fixture
def mirror(tmp_path: Path, hub: TestHub) -> QuickMirror:
    return quick_mirror(tmp_path / "mirror", hub)


@pytest.fixture
def one_lane(tmp_path: Path, hub: TestHub) -> QuickMirror:
    """One part after the other."""
    one = {"HUBSYNC_TRANSFER__CONNECTIONS_PER_FILE": "1"}
    return quick_mirror(tmp_path / "mirror", hub, **one)


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    return tiny_repo(hub)


def test_without_a_fault_each_byte_is_sent_once_over_several_connections(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert len(parts(hub)) >= 4, "the file is asked for in parts"
    assert hub.lfs_bytes_sent == SIZE
    assert asked_the_hub(hub) == 1, "the address is found once for all parts"
    covered = sorted(spans(hub))
    assert [start for start, _ in covered[1:]] == [stop for _, stop in covered[:-1]]


def test_connections_are_as_many_as_allowed_and_no_more(
    hub: TestHub, tmp_path: Path
) -> None:
    repo = hub.create_repo("acme/several")
    repo.commit({f"{n}.bin": Lfs(Virtual(SIZE, seed=n)) for n in range(4)})
    few = {
        "HUBSYNC_TRANSFER__MAX_CONNECTIONS": "5",
        "HUBSYNC_TRANSFER__CONNECTIONS_PER_FILE": "2",
    }
    hub.pace.rate_bytes_per_s = 2 * MIB
    quick_mirror(tmp_path / "few", hub, **few).pull("acme/several")
    assert 4 <= _at_once(parts(hub)) <= 5
    by_file: dict[str, list[Seen]] = {}
    for one in parts(hub):
        by_file.setdefault(one.path.partition("?")[0], []).append(one)
    assert [_at_once(seen) for seen in by_file.values()] == [2] * 4


def _at_once(seen: list[Seen]) -> int:
    """The most requests that were being answered in one moment."""
    # The end of one and the beginning of the next are no two connections.
    ends = [(one.ended or 0.0, -1) for one in seen]
    moments = sorted([*((one.at, 1) for one in seen), *ends])
    return max(itertools.accumulate(change for _, change in moments))


def test_f22_a_terminated_pull_ends_soon_and_keeps_what_it_has(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    half_way = threading.Event()

    def count(seen: Seen) -> None:
        if len(parts(hub)) >= 16:
            half_way.set()

    hub.hooks.append(count)
    hub.faults.add(Fault("stall", role="cdn", after=14, times=-1))
    pulling = subprocess.Popen(
        [sys.executable, "-m", "hubsync", "pull", "acme/tiny", "-q"],
        env=mirror.environment(HUBSYNC_TRANSFER__READ_TIMEOUT="60s"),
    )
    assert half_way.wait(30)
    pulling.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    pulling.wait(30)
    assert time.monotonic() - begun < 10
    assert_nothing_visible(mirror)
    hub.faults.clear()
    hub.log.clear()
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert hub.lfs_bytes_sent <= SIZE - MIB // 2, "what had come is not sent again"


def test_a_dry_run_knows_what_an_interrupted_pull_has_left(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("status", role="cdn", after=9, times=-1, status=503))
    with pytest.raises(HubError):
        mirror.pull("acme/tiny")
    hub.faults.clear()
    left = mirror.json("pull", "acme/tiny", "--dry-run")
    assert left["bytes_to_resume"] > 0
    assert " came before" in mirror.run("pull", "acme/tiny", "--dry-run").stdout
    assert mirror.pull("acme/tiny").bytes_fetched == left["bytes_to_fetch"]


@pytest.mark.parametrize("bucket", ["resolvers", "api"])
def test_f25_no_request_is_sent_inside_a_closed_window(
    mirror: QuickMirror, hub: TestHub, bucket: str
) -> None:
    repo = hub.create_repo("acme/many")
    repo.commit({f"{n}.bin": Lfs(b"%d" % n * 3000) for n in range(30)})
    hub.page_size = 5
    window = hub.limits.windows[bucket]
    window.quota, window.window_s = {"resolvers": 14, "api": 4}[bucket], 2
    talk = Talk()
    mirror.pull("acme/many", talk=talk)
    # Those that were on their way when the window closed are nobody's fault.
    late = [one for one in hub.requests if (one.closed_for_s or 0) > 0.3]
    assert late == []
    assert len(mirror.blobs()) == 30


def test_f25_a_retry_after_is_obeyed_by_all_parts(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.pace.rate_bytes_per_s = MIB // 2  # or all would be over before it
    limited = {"Retry-After": "1"}
    hub.faults.add(Fault("status", role="cdn", after=1, status=429, headers=limited))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    refused = next(one for one in parts(hub) if one.status == 429)
    early = [one for one in parts(hub) if 0.2 < one.at - refused.at < 0.9]
    assert early == [], "one connection was told, all are to wait"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_f26_a_burst_of_refusals_costs_a_few_requests_more(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, status: int
) -> None:
    hub.faults.add(Fault("status", role="cdn", after=1, times=3, status=status))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert len(parts(hub)) <= 60


@pytest.mark.parametrize("status", [429, 503])
def test_f26_a_host_that_only_refuses_is_left_alone_soon(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, status: int
) -> None:
    hub.faults.add(Fault("status", role="cdn", times=-1, status=status))
    with pytest.raises(UnavailableError):
        mirror.pull("acme/tiny")
    assert len(parts(hub)) <= 30, "no storm"
    assert_nothing_visible(mirror)


def test_f27_a_cut_body_is_resumed_at_the_byte(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    # Slowly enough that nothing is in flight when the connection breaks.
    hub.pace.rate_bytes_per_s = 4 * MIB
    hub.faults.add(Fault("truncate", role="cdn", at=60_000, times=3))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert hub.lfs_bytes_sent <= SIZE + 3 * SLACK_BYTES


def test_f27_a_body_that_is_cut_over_and_over_still_arrives(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.pace.rate_bytes_per_s = 8 * MIB
    hub.faults.add(Fault("truncate", role="cdn", at=150_000, times=-1))
    mirror.pull("acme/tiny")
    assert whole(mirror), "each try brought more: that is no failure"


def test_f28_a_body_without_a_length_that_ends_early_is_not_taken_for_whole(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("no_length", role="cdn", at=70_000, times=3))
    hub.faults.add(Fault("no_length", match="resolve-cache.*notes", at=70))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert whole(mirror, NOTES)


@pytest.mark.parametrize("kind", ["longer", "shorter"])
@pytest.mark.parametrize("part", ["first", "later"])
def test_f29_a_part_of_another_length_than_asked_is_not_believed(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, kind: str, part: str
) -> None:
    hub.faults.add(Fault(kind, role="cdn", at=17, part=part))  # type: ignore[arg-type]
    mirror.pull("acme/tiny")
    assert whole(mirror)


@pytest.mark.parametrize("kind", ["longer", "shorter"])
def test_f29_a_length_that_is_always_wrong_is_exit_6_after_one_refetch(
    one_lane: QuickMirror, repo: HubRepo, hub: TestHub, kind: str
) -> None:
    hub.faults.add(Fault(kind, role="cdn", at=17, part="later", times=-1))  # type: ignore[arg-type]
    assert_refused_after_one_refetch(one_lane, hub)
    assert_nothing_visible(one_lane)
    hub.faults.clear()
    one_lane.pull("acme/tiny")
    assert whole(one_lane)


def test_f29_a_body_without_end_is_left_at_its_size(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("longer", match="resolve-cache.*notes", at=80 * MIB, times=-1))
    with pytest.raises(HubsyncError):
        mirror.pull("acme/tiny")
    sent = sum(one.sent for one in hub.log.matching("resolve-cache.*notes"))
    assert sent < 80 * MIB
    assert not whole(mirror, NOTES)
    assert_nothing_visible(mirror)
    assert_sound(mirror)


@pytest.mark.parametrize("kind", ["flip", "shifted"])
def test_f30_right_size_and_wrong_bytes_are_fetched_once_more(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, kind: str
) -> None:
    where = "first" if kind == "flip" else "later"
    hub.faults.add(Fault(kind, role="cdn", part=where, at=1000))  # type: ignore[arg-type]
    talk = Talk()
    mirror.pull("acme/tiny", talk=talk)
    assert whole(mirror)
    assert any("once more" in note for note in talk.notes)
    assert asked_the_hub(hub) == 2, "by another way, if the hub has one"
    assert hub.lfs_bytes_sent == 2 * SIZE


def test_f30_wrong_bytes_twice_are_exit_6_and_in_quarantine(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("flip", role="cdn", at=2_000_000, times=-1))
    # Only one of the parts holds that byte: the others must not use it up.
    done = mirror.run("pull", "acme/tiny")
    assert done.returncode == 6, done.stderr
    assert "w.bin of" in done.stderr or "w.bin" in done.stderr
    assert hub.lfs_bytes_sent == 2 * SIZE, "one refetch, no more"
    assert_nothing_visible(mirror)
    assert_sound(mirror)
    aside = [one.stat().st_size for one in (mirror.root / "quarantine").iterdir()]
    assert aside.count(SIZE) == 2
    hub.faults.clear()
    mirror.pull("acme/tiny")
    assert whole(mirror)


def test_f30_a_plain_file_is_held_to_its_git_id(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("flip", match="resolve-cache.*notes", at=3, times=-1))
    with pytest.raises(BlobCorruptError):
        mirror.pull("acme/tiny")
    assert not whole(mirror, NOTES)
    assert_nothing_visible(mirror)


@pytest.mark.parametrize("after", [1, 5])
def test_f31_parts_under_another_etag_are_not_mixed(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, after: int
) -> None:
    hub.faults.add(Fault("etag_changes", role="cdn", after=after, times=-1))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert asked_the_hub(hub) >= 2, "the way is asked for anew"
    assert hub.lfs_bytes_sent <= 2 * SIZE + PART_BYTES


def test_f31_an_etag_that_never_stays_is_exit_6_and_the_old_version_stays(
    one_lane: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    first = one_lane.pull("acme/tiny").commit.oid
    repo.commit({"w.bin": Lfs(Virtual(SIZE, seed=2))})
    for number in range(500):
        hub.faults.add(Fault("etag_changes", role="cdn", etag=f'"{number}"'))
    hub.log.clear()
    assert_refused_after_one_refetch(one_lane, hub)
    assert one_lane.json("show", "acme/tiny")["commit"] == first
    assert whole(one_lane)


def test_f31_an_etag_stays_good_when_the_address_expires(
    one_lane: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    """The next address leads to the same host: it is to have the same file."""
    hub.url_requests_max = 3
    hub.faults.add(Fault("etag_changes", role="cdn", after=3, times=-1))
    talk = Talk()
    one_lane.pull("acme/tiny", talk=talk)
    assert whole(one_lane)
    assert sum("another file there now" in note for note in talk.notes) == 1
    assert hub.lfs_bytes_sent > SIZE, "what came under the other ETag is not kept"


def test_f32_a_range_that_is_ignored_starts_the_file_over_in_one_stream(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("ignore_range", role="cdn", times=-1))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    completed = [one for one in parts(hub) if one.sent == SIZE]
    assert len(completed) <= 4
    assert hub.lfs_bytes_sent <= 4 * SIZE


def test_f32_a_range_that_is_ignored_on_later_parts_only_does_no_harm(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("ignore_range", role="cdn", part="later", times=2))
    mirror.pull("acme/tiny")
    assert whole(mirror)


def test_f32_a_server_that_knows_no_ranges_still_gives_the_file_after_a_cut(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("ignore_range", role="cdn", part="later", times=-1))
    hub.faults.add(Fault("truncate", role="cdn", at=100_000))
    mirror.pull("acme/tiny")
    assert whole(mirror)


@pytest.mark.parametrize("part", ["first", "later"])
def test_f32_a_416_that_passes_does_no_harm(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, part: str
) -> None:
    hub.faults.add(Fault("unsatisfiable", role="cdn", part=part))  # type: ignore[arg-type]
    mirror.pull("acme/tiny")
    assert whole(mirror)


def test_f32_a_416_for_ever_is_an_error(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("unsatisfiable", role="cdn", times=-1))
    with pytest.raises(HubsyncError):
        mirror.pull("acme/tiny")
    assert len(parts(hub)) < 40
    assert_nothing_visible(mirror)


def test_f32_a_partial_that_is_whole_already_costs_no_byte(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny", include=("*.json",))
    partial = mirror.root / "partial" / f"sha256-{FILE.sha256}"
    assert not partial.exists()
    partial.write_bytes(FILE.content())
    hub.log.clear()
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert parts(hub) == []


VARIANTS: list[Variant] = [
    "",
    "early",
    "other_end",
    "other_total",
    "backwards",
    "missing",
    "nonsense",
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_f33_a_part_with_the_wrong_content_range_is_refused(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, variant: Variant
) -> None:
    hub.faults.add(Fault("wrong_range", role="cdn", after=2, variant=variant))
    mirror.pull("acme/tiny")
    assert whole(mirror)


@pytest.mark.parametrize("variant", ["", "other_total", "missing"])
def test_f33_content_ranges_that_are_always_wrong_are_exit_6_after_one_refetch(
    one_lane: QuickMirror, repo: HubRepo, hub: TestHub, variant: Variant
) -> None:
    hub.faults.add(
        Fault("wrong_range", role="cdn", part="later", times=-1, variant=variant)
    )
    assert_refused_after_one_refetch(one_lane, hub)
    assert_nothing_visible(one_lane)
    hub.faults.clear()
    one_lane.pull("acme/tiny")
    assert whole(one_lane)


def assert_refused_after_one_refetch(mirror: QuickMirror, hub: TestHub) -> None:
    """The first part is good each time, the second is not believed."""
    done = mirror.run("pull", "acme/tiny")
    assert done.returncode == 6, done.stderr
    assert "w.bin" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(parts(hub)) == 4, "two for each of the two fetches"
    assert asked_the_hub(hub) == 2, "the second time by a way that was asked for anew"
    aside = list((mirror.root / "quarantine").iterdir())
    assert aside, "what came is kept for a look"
    assert not (mirror.root / "partial" / aside[0].name.partition(".")[0]).exists()
    assert whole(mirror, NOTES), "the others have come"
    assert_sound(mirror)


def test_f34_an_address_good_for_few_requests_is_signed_anew(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.url_requests_max = 3
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert hub.lfs_bytes_sent == SIZE, "each byte once, whatever address it came from"
    assert asked_the_hub(hub) <= 2 + len(parts(hub)) // 2


def test_f34_an_address_good_for_few_bytes_is_signed_anew(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.url_bytes_max = 700_000
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert hub.lfs_bytes_sent == SIZE
    assert 2 <= asked_the_hub(hub) <= 12


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_f34_a_refusal_of_the_cdn_is_an_expired_address(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, status: int
) -> None:
    hub.faults.add(Fault("status", role="cdn", after=2, status=status))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert asked_the_hub(hub) == 2


def test_f34_addresses_that_are_never_good_are_asked_for_a_few_times(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("expire", role="cdn", times=-1))
    with pytest.raises(UnavailableError):
        mirror.pull("acme/tiny")
    assert asked_the_hub(hub) <= 10
    assert len(parts(hub)) <= 20
    assert_nothing_visible(mirror)


def test_f35_nine_hops_before_the_cdn_are_followed(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("hops", match="w.bin", role="hub", at=9, times=-1))
    mirror.pull("acme/tiny")
    assert whole(mirror)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("hops", match="w.bin", role="hub", at=11, times=-1),
        Fault("redirect", match="w.bin", role="hub", location="?again", times=-1),
        Fault("redirect", role="cdn", location="/again", times=-1),
        Fault("redirect", match="w.bin", role="hub", times=-1),
        *(
            Fault("redirect", match="w.bin", role="hub", location=where, times=-1)
            for where in (
                "http://",
                "http://[::1",
                "http://a b/",
                "http://127.0.0.1:99999/",
                "gopher://127.0.0.1/w.bin",
                "file:///etc/passwd",
                "FILE:/etc/passwd",
                "data:,w",
            )
        ),
    ],
    ids=lambda fault: f"{fault.role}-{fault.at}-{fault.location}",
)
def test_f35_redirects_to_nowhere_fail_fast_and_are_named(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, fault: Fault
) -> None:
    hub.faults.add(Fault(**{name: getattr(fault, name) for name in _FIELDS}))
    with pytest.raises(HubAnswerError, match=r"redirect|circles"):
        mirror.pull("acme/tiny")
    assert len(hub.log.matching("w.bin|again")) <= 12, "asked once, not over and over"
    assert_nothing_visible(mirror)


_FIELDS = tuple(Fault.__dataclass_fields__)


def test_f35_neither_token_nor_cookie_nor_header_of_ours_goes_to_another_origin(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, tmp_path: Path
) -> None:
    hub.sets_cookies = True
    repo.gated = "auto"
    token = hub.add_token("hf_canary", approved={"acme/tiny"})
    mirror = quick_mirror(
        tmp_path / "with-token",
        hub,
        HUBSYNC_UPSTREAMS__HUGGINGFACE__ENDPOINT=hub.endpoint,
        HUBSYNC_UPSTREAMS__HUGGINGFACE__TOKEN_ENV="THE_TOKEN",
        THE_TOKEN=token,
    )
    done = mirror.run("pull", "acme/tiny", "--debug")
    assert done.returncode == 0, done.stderr
    assert "hf_canary" not in done.stdout + done.stderr
    plain = {"Host", "Range", "Accept", "Accept-Encoding", "User-Agent", "If-Range"}
    for one in hub.requests:
        assert one.notes == []
        assert "Cookie" not in one.headers
        if one.role == "cdn":
            assert set(one.headers) <= plain
    assert any("hf_canary" in str(one.headers) for one in hub.hub_requests("w.bin"))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drip", role="cdn", after=1, at=100, every_s=0.3),
        Fault("stall", role="cdn", after=1, at=100),
        Fault("silence", role="cdn", after=1),
    ],
    ids=lambda fault: fault.kind,
)
def test_f36_one_slow_connection_is_dropped_and_keeps_no_other_waiting(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, fault: Fault
) -> None:
    hub.faults.add(Fault(**{name: getattr(fault, name) for name in _FIELDS}))
    begun = time.monotonic()
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert time.monotonic() - begun < 10
    waited = max(one.at for one in parts(hub)) - min(one.at for one in parts(hub))
    assert waited < 5, "it was dropped by a watchdog, not by its end"
    assert hub.lfs_bytes_sent <= SIZE + 200


@pytest.mark.parametrize(
    "location", ["http://nowhere.invalid/x", "http://127.0.0.1:9/x"]
)
def test_f37_a_host_that_is_not_there_once_is_asked_for_anew(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, location: str
) -> None:
    hub.faults.add(Fault("redirect", match="w.bin", role="hub", location=location))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert asked_the_hub(hub) == 2


@pytest.mark.parametrize(
    "location", ["http://nowhere.invalid/x", "http://127.0.0.1:9/x"]
)
def test_f37_a_host_that_is_never_there_is_named(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, location: str
) -> None:
    hub.faults.add(
        Fault("redirect", match="w.bin", role="hub", location=location, times=-1)
    )
    host = re.sub("^http://|/x$", "", location)
    with pytest.raises(UnavailableError, match=re.escape(host)):
        mirror.pull("acme/tiny")
    assert asked_the_hub(hub) <= 8
    assert_nothing_visible(mirror)


def test_f36_silence_of_all_hosts_ends_the_pull(
    repo: HubRepo, hub: TestHub, tmp_path: Path
) -> None:
    patience = {
        "HUBSYNC_TRANSFER__READ_TIMEOUT": "60s",
        "HUBSYNC_TRANSFER__STALL_TIMEOUT": "1s",
    }
    mirror = quick_mirror(tmp_path / "patient", hub, **patience)
    hub.faults.add(Fault("silence", role="cdn", times=-1))
    with pytest.raises(UnavailableError, match="no byte"):
        mirror.pull("acme/tiny")
    assert_nothing_visible(mirror)


def test_f37_connections_that_are_reset_are_made_anew(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.faults.add(Fault("reset", role="cdn", after=1, times=3))
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert hub.lfs_bytes_sent == SIZE


def test_f37_a_host_that_speaks_no_tls_is_not_asked_over_and_over(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    where = hub.cdn_endpoint.replace("http://", "https://") + "/x"
    hub.faults.add(
        Fault("redirect", match="w.bin", role="hub", location=where, times=-1)
    )
    with pytest.raises(HubError):
        mirror.pull("acme/tiny")
    assert asked_the_hub(hub) <= 8
    assert_nothing_visible(mirror)


def test_f38_a_commit_that_arrives_during_the_pull_is_left_for_the_next(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    first = repo.resolve("main")
    moved: list[str] = []

    def move(seen: Seen) -> None:
        if "/tree/" in seen.path and not moved:
            moved.append(repo.commit({"w.bin": Lfs(Virtual(SIZE, seed=3))}))

    hub.hooks.append(move)
    assert mirror.pull("acme/tiny").commit.oid == first
    assert whole(mirror)
    assert mirror.pull("acme/tiny").commit.oid == moved[0]
    assert whole(mirror, Virtual(SIZE, seed=3).content())


def test_f39_rewritten_history_leaves_both_versions(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    first = mirror.pull("acme/tiny").commit.oid
    other = repo.commit({"w.bin": Lfs(Virtual(400_000, seed=4))}, branch="rewritten")
    repo.force_push("main", other)
    assert mirror.pull("acme/tiny").commit.oid == other
    assert mirror.json("show", "acme/tiny")["commit"] == other
    shown = mirror.json("show", f"acme/tiny@{first}")
    assert (shown["commit"], shown["state"]) == (first, "complete")


@pytest.mark.parametrize("how", ["deleted", "gated", "private", "disabled"])
def test_f40_what_upstream_takes_away_stays_here(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub, how: str
) -> None:
    first = mirror.pull("acme/tiny").commit.oid
    if how != "deleted":
        repo.commit({"w.bin": Lfs(Virtual(SIZE, seed=5))})
    if how == "deleted":
        repo.delete()
    elif how == "gated":
        repo.gated = "manual"
    elif how == "private":
        repo.private = True
    else:
        repo.disabled = True
    hub.log.clear()
    done = mirror.run("pull", "acme/tiny")
    assert done.returncode in (3, 4), done.stderr
    assert len(hub.requests) <= 12, "no storm"
    assert mirror.json("show", "acme/tiny")["commit"] == first
    assert whole(mirror)
    assert mirror.run("pull", "acme/tiny", "--offline").returncode == 0


def test_f41_a_renamed_repo_is_one_repo_stored_once(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    mirror.pull("acme/tiny")
    before = set(mirror.blobs())
    repo.rename("acme/renamed")
    hub.log.clear()
    mirror.pull("acme/tiny")
    assert set(mirror.blobs()) == before
    assert parts(hub) == []
    for name in ("acme--tiny", "acme--renamed"):
        assert (mirror.root / f"hub/models--{name}/refs/main").exists()


def test_f42_a_missing_lfs_object_holds_back_the_revision_and_keeps_the_rest(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    lost = Virtual(500_000, seed=6)
    repo.commit({"lost.bin": Lfs(lost)})
    hub.world.lfs.remove(lost.sha256)
    with pytest.raises(FileNotFoundOnHubError, match=r"lost\.bin"):
        mirror.pull("acme/tiny")
    assert_nothing_visible(mirror)
    hub.world.lfs.put(Lfs(lost))
    hub.log.clear()
    mirror.pull("acme/tiny")
    assert whole(mirror)
    assert whole(mirror, lost.content())
    assert hub.lfs_bytes_sent <= SIZE + lost.size


def test_f43_a_tree_page_that_is_cut_is_not_taken_for_the_end_of_the_tree(
    mirror: QuickMirror, hub: TestHub
) -> None:
    hub.page_size = 50
    repo = hub.create_repo("acme/deep")
    deep = "/".join(f"d{n}" for n in range(60))
    repo.commit({f"{deep}/{n}.txt": b"%d" % n for n in range(200)})
    hub.faults.add(Fault("truncate", match="cursor=", at=500, after=1, times=-1))
    with pytest.raises(HubError):
        mirror.pull("acme/deep")
    assert_nothing_visible(mirror, "acme/deep")
    hub.faults.clear()
    assert mirror.pull("acme/deep").totals.fetch_bytes == sum(
        len(b"%d" % n) for n in range(200)
    )
    assert mirror.json("show", "acme/deep")["state"] == "complete"


def test_f44_empty_files_are_no_error(mirror: QuickMirror, hub: TestHub) -> None:
    repo = hub.create_repo("acme/empty")
    repo.commit({"empty.txt": b"", "empty.bin": Lfs(b""), "sub/.gitkeep": b""})
    path = mirror.pull("acme/empty").path
    assert path
    sizes = [one.stat().st_size for one in path.rglob("*") if one.is_file()]
    assert sizes == [0, 0, 0]


def test_f44_an_empty_repo_and_a_branch_that_is_not_there_are_said_clearly(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.create_repo("acme/nothing")
    for what in ("acme/nothing", "acme/tiny@nope"):
        done = mirror.run("pull", what)
        assert done.returncode in (0, 3), done.stderr
        assert "Traceback" not in done.stderr


def test_f45_names_equal_but_for_case_or_normalisation_are_all_stored(
    mirror: QuickMirror, hub: TestHub, tmp_path: Path
) -> None:
    names = ["README.md", "readme.md", "caf\u00e9.txt", "cafe\u0301.txt"]
    repo = hub.create_repo("acme/alike")
    repo.commit({name: name.encode() for name in names})
    path = mirror.pull("acme/alike").path
    assert path
    for name in names:
        assert (path / name).read_bytes() == name.encode()
    done = mirror.run("checkout", "acme/alike", str(tmp_path / "out"))
    said = done.stderr.lower()
    assert done.returncode != 0
    assert "readme.md" in said or "caf" in said


def test_f46_two_pulls_of_one_repo_at_once_fetch_each_byte_once(
    mirror: QuickMirror, repo: HubRepo, hub: TestHub
) -> None:
    hub.pace.rate_bytes_per_s = MIB
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "hubsync", "pull", "acme/tiny", "-q"],
            env=mirror.environment(),
        )
        for _ in range(2)
    ]
    assert [one.wait(60) for one in both] == [0, 0]
    assert whole(mirror)
    assert hub.lfs_bytes_sent == SIZE
