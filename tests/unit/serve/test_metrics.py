"""Counting, over several processes, and what Prometheus is told."""

from multiprocessing import get_context
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hubsync.serve.metrics import (
    CONNECTIONS,
    DURATION,
    IN_FLIGHT,
    REQUESTS,
    RESTARTS,
    SENT,
    Boards,
    Metrics,
    make_boards,
)
from tests.unit.serve.mirror import Live, Mirror, serving


def count(boards: Boards, own: int, times: int) -> None:
    metrics = Metrics(boards, own)
    for _ in range(times):
        metrics.began()
        metrics.ended("GET", "resolve", 206, 0.003, 1000)


def test_processes_are_added_up() -> None:
    boards = make_boards(3)
    context = get_context("spawn")
    processes = [
        context.Process(target=count, args=(boards, own, 100 * (own + 1)))
        for own in range(2)
    ]
    for one in processes:
        one.start()
    for one in processes:
        one.join()
    metrics = Metrics(boards, 2)
    metrics.add(RESTARTS)
    assert dict(metrics.numbers(REQUESTS)) == {("GET", "resolve", "206"): [300]}
    assert dict(metrics.numbers(SENT)) == {("resolve",): [300_000]}
    assert dict(metrics.numbers(IN_FLIGHT)) == {(): [0]}
    assert dict(metrics.numbers(RESTARTS)) == {(): [1]}
    assert set(metrics.processes()) == {"0", "1", "parent"}


def test_a_worker_started_again_goes_on_with_its_counters() -> None:
    boards = make_boards(2)
    first = Metrics(boards, 0)
    first.began()
    first.ended("GET", "info", 200, 0.1, 5)
    first.began()  # and dies here
    first.connections(7)
    again = Metrics(boards, 0)
    assert dict(again.numbers(REQUESTS)) == {("GET", "info", "200"): [1]}
    assert dict(again.numbers(IN_FLIGHT)) == {(): [0]}
    assert dict(again.numbers(CONNECTIONS)) == {(): [0]}


def test_clients_make_no_labels() -> None:
    metrics = Metrics()
    for name in ("BREW", "x" * 1000):
        metrics.began()
        metrics.ended(name, name, 418, 0.1, 1)
    assert dict(metrics.numbers(REQUESTS)) == {("other", "other", "other"): [2]}


def test_a_histogram_has_each_once() -> None:
    metrics = Metrics()
    for elapsed_s in (0.0, 0.001, 0.0011, 4.0, 1000.0):
        metrics.began()
        metrics.ended("GET", "raw", 200, elapsed_s, 0)
    numbers = dict(metrics.numbers(DURATION))[("raw",)]
    assert sum(numbers[:-1]) == 5
    assert (numbers[0], numbers[1], numbers[-2]) == (2, 1, 1)
    assert numbers[-1] == pytest.approx(1004.0021)


def numbers(live: Live) -> dict[str, float]:
    """Each sample by name and labels."""
    answer = live.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_what_prometheus_reads(mirror: Mirror) -> None:
    with serving(mirror) as live:
        size = len(live.get("/acme/handmade/resolve/main/model.bin").body)
        live.get("/acme/handmade/resolve/main/model.bin", Range="bytes=0-99")
        live.ask("/acme/handmade/resolve/main/model.bin", "HEAD")
        live.get("/api/models/acme/nothing")
        live.get("/api/models")
        live.get("/nothing-of-ours")
        found = numbers(live)
    assert found["hubsync_http_requests_total GET resolve 200"] == 1
    assert found["hubsync_http_requests_total GET resolve 206"] == 1
    assert found["hubsync_http_requests_total HEAD resolve 200"] == 1
    assert found["hubsync_http_requests_total GET info 404"] == 1
    assert found["hubsync_http_requests_total GET list 200"] == 1
    assert found["hubsync_http_requests_total GET other 404"] == 1
    assert found["hubsync_http_response_bytes_total resolve"] == size + 100
    assert found["hubsync_http_request_duration_seconds_count resolve"] == 3
    assert found["hubsync_http_requests_in_flight"] == 1
    assert found["hubsync_http_connections"] >= 1
    assert found["hubsync_repos"] == len(mirror.catalog.repos())
    held = list(mirror.catalog.all_held())
    assert found["hubsync_blobs"] == len(held)
    assert found["hubsync_blobs_bytes"] == sum(one.size_bytes for one in held)
    assert found["hubsync_store_free_bytes"] > 0
    assert found["process_resident_memory_bytes 0"] > 0


def test_openmetrics_for_who_asks_for_it(mirror: Mirror) -> None:
    with serving(mirror) as live:
        answer = live.get("/metrics", Accept="application/openmetrics-text")
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.body.endswith(b"# EOF\n")
        assert live.ask("/metrics", "HEAD").status == 200
        assert live.ask("/metrics", "POST").status == 403


def test_ready_while_catalog_and_store_are(own_mirror: Mirror) -> None:
    blobs = own_mirror.blobs.root.blobs
    with serving(own_mirror) as live:
        assert live.get("/readyz").json() == {"status": "ready"}
        aside = Path(f"{blobs}.aside")
        blobs.rename(aside)
        answer = live.get("/readyz")
        assert answer.status == 503
        assert "folder cannot be read" in answer.json()["reason"]
        assert live.get("/healthz").status == 200  # we live, and say why we cannot
        aside.rename(blobs)
        assert live.get("/readyz").status == 200
        assert live.ask("/readyz", "POST").status == 403
