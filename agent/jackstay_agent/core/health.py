"""How well a connection does: latency, loss, quality (DESIGN §5 Connections, Health).

    loss     = missed probes / probes, over the last `PROBES_KEPT`; a probe is a ping, a health request, or real traffic
    latency  = EWMA with weight `EWMA_WEIGHT`; p50 and p99 over the same window
    quality  = (1 - loss) * latency factor * freshness, 0 to 1; 0 when not connected
               latency factor = 1 up to `GOOD_LATENCY_S`, then GOOD_LATENCY_S / latency
               freshness      = 1 up to two heartbeat intervals without a sign of life, then falling to 0 at six

Pure: times are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

PROBES_KEPT = 100
EWMA_WEIGHT = 0.2
GOOD_LATENCY_S = 0.1  # beyond it a trading round trip is felt; venues in another region are slower and still fine
FRESH_INTERVALS = 2.0
STALE_INTERVALS = 6.0


@dataclass(slots=True)
class Health:
    """The record of one connection, over its reconnects."""

    interval_s: float
    latency_s: float = 0.0
    heard_at: float | None = None
    _answered: deque[bool] = field(default_factory=lambda: deque(maxlen=PROBES_KEPT))
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=PROBES_KEPT))

    def answered(self, now: float, latency_s: float) -> None:
        """A probe, or real traffic, was answered after ``latency_s``."""
        self.heard(now)
        self._answered.append(True)
        self._latencies.append(latency_s)
        if len(self._latencies) == 1:
            self.latency_s = latency_s
        else:
            self.latency_s += EWMA_WEIGHT * (latency_s - self.latency_s)

    def missed(self) -> None:
        """A probe was not answered in time."""
        self._answered.append(False)

    def heard(self, now: float) -> None:
        """Any sign of life."""
        self.heard_at = now if self.heard_at is None else max(now, self.heard_at)

    @property
    def loss(self) -> float:
        """0 to 1; 0 before the first probe."""
        return self._answered.count(False) / len(self._answered) if self._answered else 0.0

    def percentile_s(self, share: float) -> float:
        """The latency below which ``share`` of the window lies; 0 without one."""
        ordered = sorted(self._latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0

    def freshness(self, now: float) -> float:
        if self.heard_at is None:
            return 0.0
        if self.interval_s <= 0:
            return 1.0
        intervals = (now - self.heard_at) / self.interval_s
        span = STALE_INTERVALS - FRESH_INTERVALS
        return min(1.0, max(0.0, 1.0 - (intervals - FRESH_INTERVALS) / span))

    def quality(self, now: float, *, connected: bool) -> float:
        """0 to 1, by the formula above."""
        if not connected:
            return 0.0
        factor = 1.0 if self.latency_s <= GOOD_LATENCY_S else GOOD_LATENCY_S / self.latency_s
        return (1.0 - self.loss) * factor * self.freshness(now)
