"""A picture in the format that was asked for, Prometheus text or OpenMetrics. Only this file loads prometheus-client.

It uses the library's encoders alone: its global registry brings collectors nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from .picture import Picture, Rows
from .table import COUNTER, HISTOGRAM, INFO, METRICS
from .table import Metric as Described
from .tally import BOUNDS_S, Histogram

END = b"# EOF\n"  # of OpenMetrics; the older format has none


class Pages:
    """``look`` takes the picture of one scrape: all of it at one moment."""

    def __init__(self, look: Callable[[], Picture]) -> None:
        self._look = look

    def scrape(self, accept: str) -> tuple[str, Iterator[bytes]]:
        """(content type, the page in slices) for what the scraper accepts. A slice is a metric: a whole page at once
        would hold the loop up for milliseconds.
        """
        encode, content_type = choose_encoder(accept)
        return content_type, self._slices(encode, self._look().rows)

    def _slices(self, encode: Callable[..., bytes], rows: dict[str, Rows]) -> Iterator[bytes]:
        last = END if encode(_One(None)).endswith(END) else b""
        for name, metric in METRICS.items():
            if found := rows.get(name):
                yield encode(_One(_family(name, metric, found))).removesuffix(last)
        yield last


class _One:
    """A registry of one metric, as an encoder wants it."""

    def __init__(self, metric: Metric | None) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return () if self._metric is None else (self._metric,)


def _family(name: str, metric: Described, rows: Rows) -> Metric:
    if metric.kind == HISTOGRAM:
        return _histogram(name, metric.help, metric.labels, rows)
    if metric.kind == INFO:
        info = InfoMetricFamily(name, metric.help)
        info.add_metric([], dict(zip(metric.labels, rows[0][0], strict=True)))
        return info
    family_of = CounterMetricFamily if metric.kind == COUNTER else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = family_of(name, metric.help, labels=metric.labels)
    for labels, value in rows:
        assert not isinstance(value, Histogram)
        family.add_metric(labels, value)
    return family


def _histogram(
    name: str, about: str, names: tuple[str, ...], rows: list[tuple[tuple[str, ...], float | Histogram]]
) -> Metric:
    family = HistogramMetricFamily(name, about, labels=names)
    for labels, value in rows:
        assert isinstance(value, Histogram)
        buckets, seen = [], 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), value.counts, strict=True):
            seen += count
            buckets.append((bound, float(seen)))
        family.add_metric(labels, buckets, sum_value=value.sum_s)
    return family
