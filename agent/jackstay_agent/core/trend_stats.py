"""The few pieces of statistics the analytics need, exact where counts are small: tails, ranks, robust slopes.

Numerical Recipes' continued fractions for the incomplete beta and gamma functions; Mann-Kendall with the variance of
ties (Gilbert 1987); Theil-Sen's slope. No dependency: an agent carries none of this weight for anything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_TINY = 1e-300
_STEPS = 300


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) of Binomial(n, p). The exact test of two Poisson counts, given their sum (Przyborowski, Wilenski)."""
    if k <= 0 or p >= 1.0:
        return 1.0
    if k > n or p <= 0.0:
        return 0.0
    return _beta_share(k, n - k + 1, p)


def poisson_tail(k: int, mean: float) -> float:
    """P(X >= k) of Poisson(mean)."""
    if k <= 0:
        return 1.0
    if mean <= 0.0:
        return 0.0
    total = term = 1.0 / k
    if mean < k + 1:  # the series of the lower incomplete gamma function
        at = float(k)
        for _ in range(_STEPS * 4):  # pragma: no branch - it converges long before
            at += 1.0
            term *= mean / at
            total += term
            if term < total * 1e-15:
                break
        return min(1.0, total * math.exp(-mean + k * math.log(mean) - math.lgamma(k)))
    b = mean + 1.0 - k
    c, d = 1.0 / _TINY, 1.0 / b
    share = d
    for i in range(1, _STEPS * 4):  # pragma: no branch
        an = -i * (i - k)
        b += 2.0
        d = an * d + b
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = b + an / c
        c = c if abs(c) > _TINY else _TINY
        share *= d * c
        if abs(d * c - 1.0) < 1e-14:
            break
    return max(0.0, 1.0 - share * math.exp(-mean + k * math.log(mean) - math.lgamma(k)))


def _beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, front * _beta_fraction(a, b, x) / a)
    return max(0.0, 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b)


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    share = d
    for m in range(1, _STEPS):  # pragma: no branch
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 + step * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + step / c
            c = c if abs(c) > _TINY else _TINY
            share *= d * c
        if abs(d * c - 1.0) < 1e-14:
            break
    return share


def normal_tail(z: float) -> float:
    """P(Z >= z) of the standard normal distribution."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def student_quantile(df: int, z: float = 1.6449) -> float:
    """About the quantile of Student's t where the normal one is ``z`` (Cornish-Fisher's expansion)."""
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + g1 / df + g2 / df**2


def rank_trend(values: Sequence[float]) -> tuple[float, float, float]:
    """(z of Mann-Kendall, Theil-Sen slope per step, level in the middle). z 0.0 where all values are equal."""
    n = len(values)
    slopes: list[float] = []
    score = 0
    for i in range(n - 1):
        here = values[i]
        for j in range(i + 1, n):
            rise = values[j] - here
            score += (rise > 0) - (rise < 0)
            slopes.append(rise / (j - i))
    ties: dict[float, int] = {}
    for value in values:
        ties[value] = ties.get(value, 0) + 1
    variance = n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties.values() if t > 1)
    if variance <= 0:
        return 0.0, 0.0, float(values[0]) if n else 0.0
    z = (score - (score > 0) + (score < 0)) / math.sqrt(variance / 18.0)
    return z, median(slopes), float(median(values))


def median(values: Sequence[float]) -> float:
    """Without the weight of the `statistics` module, which a bot's imports would carry."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def spread(values: Sequence[float]) -> float:
    """Variance over mean, at least 1: how much more than Poisson a row of counts scatters."""
    n = len(values)
    if n < 2:
        return 1.0
    mean = sum(values) / n
    if mean <= 0:
        return 1.0
    return max(1.0, sum((value - mean) ** 2 for value in values) / (n - 1) / mean)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg: the false discovery rate at which each would be believed."""
    m = len(p_values)
    order = sorted(range(m), key=p_values.__getitem__, reverse=True)
    found, least = [1.0] * m, 1.0
    for place, at in enumerate(order):
        least = min(least, p_values[at] * m / (m - place))
        found[at] = least
    return found
