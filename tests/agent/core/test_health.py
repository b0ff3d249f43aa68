"""jackstay_agent.core.health: latency, loss, quality."""

from __future__ import annotations

import pytest

from jackstay_agent.core.health import GOOD_LATENCY_S, PROBES_KEPT, Health


def test_a_new_record_knows_nothing_and_claims_nothing() -> None:
    """No probe: no loss, no percentile, no freshness, no quality."""
    health = Health(10)
    assert (health.loss, health.percentile_s(0.5), health.freshness(0), health.quality(0, connected=True)) == (
        0,
        0,
        0,
        0,
    )


def test_latency_is_smoothed_and_ranked() -> None:
    """The first answer sets the average, later ones move it by a fifth; percentiles come from the window."""
    health = Health(10)
    health.answered(1, 0.1)
    assert health.latency_s == 0.1
    health.answered(2, 0.2)
    assert health.latency_s == pytest.approx(0.12)
    assert health.percentile_s(0.0) == 0.1
    assert health.percentile_s(0.99) == 0.2


def test_loss_is_counted_over_a_bounded_window() -> None:
    """Old probes fall out of the window."""
    health = Health(10)
    health.missed()
    assert health.loss == 1.0
    for second in range(PROBES_KEPT):
        health.answered(second, 0.01)
    assert health.loss == 0.0


def test_freshness_falls_from_two_to_six_intervals_of_silence() -> None:
    """Quality follows; a disconnected line has none; without a rhythm nothing goes stale."""
    health = Health(10)
    health.answered(100, GOOD_LATENCY_S)
    health.heard(50)  # older news changes nothing
    assert health.freshness(120) == 1.0
    assert health.freshness(140) == pytest.approx(0.5)
    assert health.freshness(161) == 0.0
    assert health.quality(100, connected=True) == 1.0
    assert health.quality(100, connected=False) == 0.0
    eternal = Health(0)
    eternal.heard(1)
    assert eternal.freshness(1e9) == 1.0


def test_a_slow_line_is_worth_less() -> None:
    """Beyond the good latency quality falls in proportion."""
    health = Health(10)
    health.answered(0, GOOD_LATENCY_S * 4)
    assert health.quality(0, connected=True) == pytest.approx(0.25)
