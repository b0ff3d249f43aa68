"""jackstay_agent.core.speed: what of a machine is called slow, and what is said about it."""

from __future__ import annotations

import pytest

from jackstay_agent.core.speed import MEASURES, SYNC, SYNC_MS_MAX, judge


@pytest.mark.parametrize("measure", [each for each in MEASURES if each.limit is not None], ids=lambda each: each.name)
def test_past_its_limit_a_figure_is_slow_and_says_what_to_do(measure) -> None:  # type: ignore[no-untyped-def]
    """At the limit it is not; twice as much patience takes twice as much."""
    (fine,) = judge({measure.name: measure.limit}, synced=False)
    (slow,) = judge({measure.name: measure.limit * 1.5}, synced=False)
    (patient,) = judge({measure.name: measure.limit * 1.5}, synced=False, tolerance=2.0)
    assert (fine.slow, fine.mend) == (False, "")
    assert slow.slow
    assert slow.mend == measure.mend != ""
    assert (patient.slow, patient.limit) == (False, measure.limit * 2)


def test_the_disk_is_judged_only_where_an_order_waits_for_it() -> None:
    """Without durability = 'disk' a slow sync is told and called nothing."""
    (told,) = judge({SYNC: 2 * SYNC_MS_MAX}, synced=False)
    (slow,) = judge({SYNC: 2 * SYNC_MS_MAX}, synced=True)
    assert (told.limit, told.slow, told.mend) == (None, False, "")
    assert slow.slow
    assert "durability" in slow.mend


def test_rows_come_in_the_tables_order_and_only_where_measured() -> None:
    """Whatever order the values were taken in."""
    wanted = [MEASURES[0].name, MEASURES[3].name]
    assert [each.name for each in judge(dict.fromkeys(reversed(wanted), 0.0), synced=True)] == wanted
