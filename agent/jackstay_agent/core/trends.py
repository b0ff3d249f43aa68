"""Which way does it go, how surely, and when will it cross? Trends and predictions over one row of bins.

A trend is believed by ranks (Mann-Kendall) and described by a robust slope (Theil-Sen): neither minds outliers. The
crossing of a threshold is predicted by a line that may have begun anywhere in the window, with an interval that counts
every beginning the values allow; so it is wide where the values say little, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .trend_stats import normal_tail, rank_trend, student_quantile

BINS = 30
CHANGE_MIN = 0.5  # over the window, of its middle level
KNOT_BINS_MIN = 8  # a line through fewer is a guess
KNOT_TOLERANCE = 4.0
SEASON_Z = 3.0
CORRELATION_MIN = 0.3


class Trend(NamedTuple):
    """``direction`` rising or falling; ``strength`` 0 to 1: rank correlation; slope and level per bin; p two-sided."""

    direction: str
    strength: float
    slope: float
    level: float
    p: float


class Crossing(NamedTuple):
    """When the line reaches the threshold, in bins after the last one, with the edges of the interval."""

    bins: float
    low: float
    high: float


def trend_of(values: Sequence[float], alpha: float) -> Trend | None:
    """None: nothing that chance would not make, or too small to matter."""
    if abs(_line_correlation(values)) < CORRELATION_MIN:
        return None  # spares nearly all rows the pairs; ranks that agree so surely never correlate less
    z, slope, level = rank_trend(values)
    p = 2.0 * normal_tail(abs(z))
    n = len(values)
    mean = sum(values) / n if n else 0.0
    if p >= alpha or slope == 0.0 or abs(slope) * n < CHANGE_MIN * max(abs(level), abs(mean), 1e-12):
        return None
    kendall = abs(z) * math.sqrt(2.0 * (2 * n + 5) / (9.0 * n * (n - 1)))
    return Trend("rising" if slope > 0 else "falling", min(1.0, kendall), slope, level, p)


def _line_correlation(values: Sequence[float]) -> float:
    """Pearson's, with the bins' places."""
    n = len(values)
    middle, mean = (n - 1) / 2.0, sum(values) / n
    sxy = sum((x - middle) * y for x, y in enumerate(values))
    syy = sum(y * y for y in values) - n * mean * mean
    return sxy / math.sqrt(syy * n * (n * n - 1) / 12.0) if syy > 0 else 0.0


def is_seasonal(values: Sequence[float], yesterday: Sequence[float]) -> bool:
    """The same hours went the same way a day ago: what is left of the trend beside yesterday's could be chance."""
    if not any(yesterday):
        return False
    z, _slope, _level = rank_trend([now - before for now, before in zip(values, yesterday, strict=True)])
    return abs(z) < SEASON_Z


def crossing_of(values: Sequence[float], threshold: float, *, counts: bool) -> Crossing | None:
    """When a rising line reaches ``threshold``; None where no line rises towards it, or it is there already.

    ``counts``: the values are counts, which scatter with their level; gauges scatter the same everywhere.
    """
    n = len(values)
    weights = _weights(values) if counts else [1.0] * n
    fits = [_fit(values, weights, knot) for knot in range(n - KNOT_BINS_MIN + 1)]
    if not fits:
        return None
    best = min(fits, key=lambda fit: fit.error)
    if best.slope <= 0 or best.base + best.slope * (n - 1 - best.knot) >= threshold:
        return None
    plausible = best.error * (1.0 + KNOT_TOLERANCE / (n - 3))
    at = _reach(best, threshold, n, 0.0)
    edges = [
        _reach(fit, threshold, n, sign)
        for fit in fits
        if fit.error <= plausible and fit.slope > 0
        for sign in (-1.0, 1.0)
    ]
    return Crossing(at, max(0.0, min(edges)), max(edges))


class _Line(NamedTuple):
    knot: int
    base: float
    slope: float
    error: float
    base_var: float
    slope_var: float
    covariance: float


def _weights(values: Sequence[float]) -> list[float]:
    """One over the level around each value."""
    n = len(values)
    levels = []
    for at in range(n):
        near = values[max(0, at - 3) : at + 4]
        levels.append(sum(near) / len(near) + 0.5)
    return [1.0 / level for level in levels]


def _fit(values: Sequence[float], weights: Sequence[float], knot: int) -> _Line:
    """Weighted least squares of a level that begins to rise at ``knot``; at least two bins lie behind it."""
    sw = sx = sy = sxx = sxy = 0.0
    for at, (y, w) in enumerate(zip(values, weights, strict=True)):
        x = max(0, at - knot)
        sw += w
        sx += w * x
        sy += w * y
        sxx += w * x * x
        sxy += w * x * y
    det = sw * sxx - sx * sx
    slope = (sw * sxy - sx * sy) / det
    base = (sy - slope * sx) / sw
    error = sum(
        w * (y - base - slope * max(0, at - knot)) ** 2 for at, (y, w) in enumerate(zip(values, weights, strict=True))
    )
    scale = error / (len(values) - 3)
    return _Line(knot, base, slope, error, scale * sxx / det, scale * sw / det, -scale * sx / det)


def _reach(line: _Line, threshold: float, n: int, sign: float) -> float:
    """Bins after the last one at which the line, or the edge of its 90 % interval, reaches the threshold."""
    x = (threshold - line.base) / line.slope
    variance = line.base_var + x * x * line.slope_var + 2.0 * x * line.covariance
    half = student_quantile(n - 3) * math.sqrt(max(0.0, variance)) / line.slope
    return x + sign * half - (n - 1 - line.knot)
