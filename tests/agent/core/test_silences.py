"""The history of silences that arming stands on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.protection import Preset
from jackstay_agent.core.silences import ROWS_MAX, WINDOW_S, Silence, Silences
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.types import OrderClass

NOW = 1_800_000_000.0
ENTRY, EXIT, STOP = OrderClass.ENTRY, OrderClass.EXIT, OrderClass.PROTECTIVE


def silence(length_s: float, began: float = NOW - 100.0, lease_s: float = 3.0, **counts: int) -> Silence:
    return Silence(began, length_s, lease_s, {OrderClass(name): count for name, count in counts.items()})


def test_it_says_what_a_setting_would_have_done() -> None:
    """Only silences beyond the setting count, and only with orders that the preset would have cancelled."""
    past = Silences()
    past.ended(silence(5.0, entry=2, exit=1, protective=3))
    past.ended(silence(20.0, exit=4))
    past.ended(silence(60.0, protective=1))
    assert [found.cancelled for found in past.would_have(NOW, 4.0, Preset.DIRECTIONAL)] == [{ENTRY: 2}]
    assert [found.cancelled for found in past.would_have(NOW, 4.0, Preset.MARKET_MAKER)] == [
        {EXIT: 4},
        {ENTRY: 2, EXIT: 1},
    ]
    assert past.would_have(NOW, 20.0, Preset.MARKET_MAKER) == []
    assert past.would_have(NOW, 4.0, Preset.HEDGED) == []
    assert past.would_have(NOW, 4.0, Preset.OBSERVE) == []
    assert past.would_have(NOW, None, Preset.DIRECTIONAL) == []  # twice the lease is 6 s
    longest = past.longest(NOW)
    assert longest is not None
    assert longest.length_s == 60.0


def test_a_setting_never_cuts_into_a_lease() -> None:
    """A bot that announced 60 s of silence is not stalled within them, whatever was armed."""
    past = Silences()
    past.ended(silence(59.0, lease_s=60.0, entry=1))
    assert past.would_have(NOW, 4.0, Preset.DIRECTIONAL) == []


def test_only_a_day_counts() -> None:
    """Older silences are no evidence any more."""
    past = Silences()
    past.ended(silence(50.0, began=NOW - WINDOW_S - 60.0, entry=1))
    past.ended(silence(0.1, entry=1))
    assert past.longest(NOW) is None
    assert past.seen == 1


def test_it_survives_a_restart() -> None:
    """What was kept is kept; a damaged file is an error and changes nothing."""
    past, later = Silences(), Silences()
    past.ended(silence(5.0, entry=2))
    later.restore(past.snapshot(NOW))
    assert later.would_have(NOW, 4.0, Preset.DIRECTIONAL) == past.would_have(NOW, 4.0, Preset.DIRECTIONAL)
    for damaged in ([[1.0, 2.0]], [[1.0, 2.0, 3.0, {"nonsense": 1}]], [[1.0, 2.0, 3.0, None]], [7]):
        with pytest.raises(ValidationError, match="damaged"):
            later.restore(damaged)
    assert later.longest(NOW) is not None


def test_many_short_silences_are_trimmed_to_the_longest() -> None:
    """Twice the bound of them, and the shortest are gone."""
    past = Silences()
    for number in range(2 * ROWS_MAX + 1):
        past.ended(silence(2.0 + number / 1000, entry=1))
    assert past.longest(NOW) is not None
    assert len(past.snapshot(NOW)) <= ROWS_MAX


def test_it_knows_how_long_it_has_watched() -> None:
    """The shortest silences count too; hours that are over fall out; an older agent's file has none."""
    past, later, older = Silences(), Silences(), Silences()
    assert past.watched_s(NOW) == 0.0
    for number in range(100):
        past.ended(silence(0.25, began=NOW - number, entry=1))
    assert past.watched_s(NOW) == 25.0
    later.restore(past.snapshot(NOW), past.snapshot_watched())
    older.restore(past.snapshot(NOW))
    assert (later.watched_s(NOW), older.watched_s(NOW)) == (25.0, 0.0)
    with pytest.raises(ValidationError, match="damaged"):
        later.restore([], {"now": 1.0})
    assert later.watched_s(NOW) == 25.0
    assert later.watched_s(NOW + 2 * WINDOW_S) == 0.0
    for hour in range(48):
        later.ended(silence(3600.0, began=NOW + hour * 3600.0))
    assert later.watched_s(NOW + 48 * 3600.0) == WINDOW_S
    assert len(later.snapshot_watched()) <= 26


@given(st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=50), st.integers(1, 40))
def test_the_longest_are_kept_within_the_bound(lengths: list[float], times: int) -> None:
    """Memory is bounded and the longest silence is never the one that is forgotten."""
    past = Silences()
    for _ in range(times):
        for length in lengths:
            past.ended(silence(length, entry=1))
    found = past.longest(NOW)
    assert found is not None
    assert found.length_s == max(lengths)
    assert len(past.snapshot(NOW)) <= ROWS_MAX
