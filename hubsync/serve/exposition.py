"""Numbers as Prometheus reads them."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from hubsync import __version__
from hubsync.serve.metrics import BUCKETS_S, FAMILIES, Family, Metrics

_HELD = {
    "repos": ("hubsync_repos", "Repos recorded."),
    "blobs": ("hubsync_blobs", "Blobs held."),
    "bytes": ("hubsync_blobs_bytes", "Bytes of the blobs held."),
    "free_bytes": ("hubsync_store_free_bytes", "Free on the store's disk."),
}


def exposition(
    metrics: Metrics, held: Mapping[str, float], accept: str
) -> tuple[bytes, str]:
    """All numbers in the format that *accept* asks for, and that format's type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(metrics, held))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Numbers(Collector):
    def __init__(self, metrics: Metrics, held: Mapping[str, float]) -> None:
        self._metrics, self._held = metrics, held

    def describe(self) -> list[Metric]:
        return []  # or it would be asked for everything at once

    def collect(self) -> Iterator[Metric]:
        build = InfoMetricFamily("hubsync_build", "Which hubsync this is.")
        build.add_metric([], {"version": __version__})
        yield build
        for family in FAMILIES:
            yield _metric(self._metrics, family)
        for key, value in self._held.items():
            yield GaugeMetricFamily(*_HELD[key], value=value)
        yield from _processes(self._metrics.processes())


def _metric(metrics: Metrics, family: Family) -> Metric:
    labels = [name for name, _ in family.labels]
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.about, labels=labels)
        for values, numbers in metrics.numbers(family):
            below, buckets = 0.0, []
            for bound, count in zip((*BUCKETS_S, "+Inf"), numbers, strict=False):
                below += count
                buckets.append((str(bound), below))
            histogram.add_metric(values, buckets, numbers[-1])
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    found = kind(family.name, family.about, labels=labels)
    for values, (number,) in metrics.numbers(family):
        found.add_metric(values, number)
    return found


def _processes(pids: Mapping[str, int]) -> Iterator[Metric]:
    """The usual ``process_*`` of each of our processes, told apart by a label."""
    found: dict[str, Metric] = {}
    for process, pid in pids.items():
        one = ProcessCollector(pid=lambda pid=pid: pid, registry=None)  # type: ignore[misc]
        for metric in one.collect():
            known = found.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            for sample in metric.samples:
                labels = {**sample.labels, "process": process}
                known.add_sample(sample.name, labels, sample.value)
    yield from found.values()
