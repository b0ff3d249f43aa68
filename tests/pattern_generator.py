"""Errors with labels: what was really put in, so that what is found can be judged. Seeded, in virtual time.

A stream is drawn second by second: noise of any rate, load with the hours of the day, bursts, slow ramps, cascades in
which a true root pulls others after it. Nothing here knows how anything is found.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jackstay_agent.analytics_settings import AnalyticsSettings
from jackstay_agent.core.findings import Finding
from jackstay_agent.pattern_analytics import ErrorPatternAnalytics

BEGIN_S = 1_800_000_000.0  # at midnight UTC it is not; the hour does not matter
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def poisson(rng: random.Random, mean: float) -> int:
    """Knuth's for small means, rounded normal for large ones."""
    if mean <= 0:
        return 0
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count


@dataclass
class Heard:
    what: str
    at: float
    finding: Finding
    evidence: dict[str, Any]


@dataclass
class Bench:
    """One analytics under virtual time. ``rate``: kind -> errors per second at a second since the beginning."""

    seed: int
    settings: AnalyticsSettings = field(default_factory=AnalyticsSettings)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.now = BEGIN_S
        self.heard: list[Heard] = []

        class Settings:
            analytics = self.settings

        self.analytics = ErrorPatternAnalytics(
            Settings(),
            clock=lambda: self.now,
            on_finding=lambda what, f: self.heard.append(Heard(what, self.now, f, dict(f.evidence))),
        )

    def run(
        self,
        seconds: float,
        rates: dict[tuple[str, str], Callable[[float], float]],
        *,
        traffic: dict[str, Callable[[float], float]] | None = None,
        step_s: int = 1,
    ) -> None:
        """Draw and feed until then; ``step_s`` lumps seconds together where time resolution does not matter."""
        begin = self.now
        at = 0.0
        while at < seconds:
            for component, rate in (traffic or {}).items():
                count = poisson(self.rng, rate(at) * step_s)
                if count:
                    self.analytics.add_traffic(component, count, at=begin + at)
            for (component, error_type), rate in rates.items():
                count = poisson(self.rng, rate(at) * step_s)
                self.now = begin + at
                for each in range(count):
                    inside = at + step_s * each / count
                    self.analytics.add_error_event(
                        {"component": component, "error_type": error_type, "timestamp": begin + inside}
                    )
            at += step_s
            self.now = begin + at
            self.analytics.advance(self.now)

    def found(self, *kinds: str) -> list[Heard]:
        return [each for each in self.heard if each.what == "found" and each.finding.kind in kinds]


def constant(per_minute: float) -> Callable[[float], float]:
    return lambda _at: per_minute / MINUTE


def daily(per_minute: float, share: float = 0.8, phase_h: float = 0.0) -> Callable[[float], float]:
    """A level that swings with the hours of a day."""
    return lambda at: per_minute / MINUTE * (1 + share * math.sin(2 * math.pi * (at / HOUR - phase_h) / 24))


def pulse(base_per_min: float, at_s: float, length_s: float, per_second: float) -> Callable[[float], float]:
    return lambda at: base_per_min / MINUTE + (per_second if at_s <= at < at_s + length_s else 0.0)


def ramp(base_per_min: float, begins_s: float, per_min_per_hour: float) -> Callable[[float], float]:
    return lambda at: (base_per_min + max(0.0, at - begins_s) / HOUR * per_min_per_hour) / MINUTE
