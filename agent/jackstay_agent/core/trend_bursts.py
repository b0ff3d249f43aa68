"""Is this more than usual? Counts against their own baseline, by the exact test of two Poisson rates.

A *burst* is ten seconds against the half hour before, *elevated* five minutes against the six hours before. Where the
traffic is known, requests are the exposure instead of seconds, so that a busy hour is no finding. Counts that scatter
more than Poisson are discounted by as much (quasi-Poisson), and significance alone is not enough: it has to be a
multiple of the usual. ``alpha`` comes from the caller, who knows how many tests a day there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .trend_buckets import COARSE_S, FINE_S, SECONDS, Series
from .trend_stats import binomial_tail, poisson_tail, spread

BASE_BINS, BASE_BINS_MIN = 180, 30
LEVEL_BINS, LEVEL_BASE_BINS, LEVEL_BASE_MIN = 5, 360, 60
BURST_COUNT_MIN, BURST_RATIO_MIN = 5, 3.0
LEVEL_COUNT_MIN, LEVEL_RATIO_MIN = 15, 2.0
RECENT_SKIPPED = 3  # bins right before the burst: it may have begun there


class Excess(NamedTuple):
    """``errors`` where ``usual`` were expected; ``p``: how likely that is by chance."""

    errors: int
    usual: float
    p: float
    began_at: float


def compared(count: float, base: Sequence[float], share: float, ratio_min: float) -> tuple[float, float]:
    """(expected count, p) of a window whose exposure is ``share`` of all exposure, against the base's counts; p 1.0
    where it is no such multiple of the expected.
    """
    total = sum(base)
    expected = total * share / (1.0 - share)
    if count < ratio_min * max(expected, 1.0):
        return expected, 1.0
    scatter = spread(base)
    k, n = int(count / scatter), int((count + total) / scatter)
    return expected, binomial_tail(k, n, share)


def _share(traffic: Series | None, name: str, window: int, base: int, skipped: int, until: int) -> float:
    """The window's part of the exposure: of the requests, where they are known, else of the time."""
    if traffic is not None:
        ring = getattr(traffic, name)
        here = sum(ring.last(window, until))
        before = sum(ring.last(base, until - window - skipped))
        if here + before > 0:
            return min(0.999, max(here, 1.0) / (max(here, 1.0) + before)) if before else window / (window + base)
    return window / (window + base)


def burst(series: Series, traffic: Series | None, until: int, watched_bins: int, alpha: float) -> Excess | None:
    """Of the fine bin before ``until``."""
    (count,) = series.fine.last(1, until)
    bins = min(BASE_BINS, watched_bins - 1 - RECENT_SKIPPED)
    if count < BURST_COUNT_MIN or bins < BASE_BINS_MIN:
        return None
    base = series.fine.last(bins, until - 1 - RECENT_SKIPPED)
    expected, p = compared(count, base, _share(traffic, "fine", 1, bins, RECENT_SKIPPED, until), BURST_RATIO_MIN)
    if p >= alpha:
        return None
    return Excess(int(count), expected, p, _began(series, until, expected))


def elevated(series: Series, traffic: Series | None, until: int, watched_bins: int, alpha: float) -> Excess | None:
    """Of the five minutes before coarse bin ``until``."""
    minutes = series.coarse.last(LEVEL_BINS, until)
    count = sum(minutes)
    bins = min(LEVEL_BASE_BINS, watched_bins - 2 * LEVEL_BINS)
    if count < LEVEL_COUNT_MIN or bins < LEVEL_BASE_MIN:
        return None
    ring = series.coarse.last(bins, until - 2 * LEVEL_BINS)
    base = [sum(ring[at : at + LEVEL_BINS]) for at in range(len(ring) % LEVEL_BINS, len(ring), LEVEL_BINS)]
    expected, p = compared(count, base, _share(traffic, "coarse", LEVEL_BINS, bins, LEVEL_BINS, until), LEVEL_RATIO_MIN)
    usual = LEVEL_RATIO_MIN * expected / LEVEL_BINS
    if p >= alpha or sum(minute > usual for minute in minutes) < LEVEL_BINS - 1:
        return None  # chance, or a burst that is over
    return Excess(int(count), expected, p, float((until - LEVEL_BINS) * COARSE_S))


def _began(series: Series, until: int, expected: float) -> float:
    """The first second that stands out, in the burst's bin or the one before."""
    end = until * FINE_S
    per_second = expected / FINE_S
    seconds = series.seconds.last(2 * FINE_S, end)
    first = end - 2 * FINE_S
    for at, count in enumerate(seconds):
        if count and poisson_tail(int(count), per_second) < 1e-3 and any(seconds[at + 1 : at + 4]):
            return float(first + at)
    return float(next((first + at for at, count in enumerate(seconds) if count and at >= FINE_S), first + FINE_S))


assert SECONDS >= 2 * FINE_S
