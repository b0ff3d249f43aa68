"""When the agent turns work away: by the worst of three measures, lowest lanes first, and not flapping."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.overload import CALM_SHARE, MEASURES, RAISED_AT, SHED, Overload, OverloadSettings
from jackstay_protocols.errors import Lane, ValidationError

LIMITS = OverloadSettings(memory_mb_max=100, lag_s_max=1.0, in_flight_max=1000, calm_s=5.0)


def measured(**changes: float) -> dict[str, float]:
    return {"memory": 10.0, "lag": 0.0, "in_flight": 0.0} | changes


def test_lower_lanes_go_first_and_derisking_never() -> None:
    """Each level sheds what the one before shed and one lane more; cancels are in none of them."""
    for lower, higher in zip(SHED, SHED[1:], strict=False):
        assert lower < higher
    assert [sorted(each) for each in SHED] == [[], ["other"], ["other", "query"], ["order", "other", "query"]]
    assert all(Lane.DERISK not in each for each in SHED)


@pytest.mark.parametrize(("measure", "limit"), [("memory", 100.0), ("lag", 1.0), ("in_flight", 1000.0)])
def test_the_worst_measure_decides(measure: str, limit: float) -> None:
    """Any one of them at six, eight and ten tenths of its limit raises the level, at once and as far as it must."""
    for level, share in enumerate(RAISED_AT):
        overload = Overload(LIMITS)
        assert overload.judge(0.0, measured(**{measure: limit * share})) == (level if share else 0)
        assert overload.why == (measure if level else "")


def test_it_comes_down_a_step_at_a_time_after_a_calm() -> None:
    """Well below what raised it for `calm_s`, one level less; then the next calm begins."""
    overload = Overload(LIMITS)
    assert overload.judge(0.0, measured(lag=1.2)) == 3
    levels = [overload.judge(float(at), measured()) for at in range(1, 20)]
    assert levels == [3] * 5 + [2] * 5 + [1] * 5 + [0] * 4


def test_near_its_threshold_it_stays_as_it_is() -> None:
    """Between the calm and the next level nothing moves, for ever; a calm that is interrupted begins again."""
    overload = Overload(LIMITS)
    overload.judge(0.0, measured(memory=85.0))
    between = 80.0 * CALM_SHARE + 1
    assert {overload.judge(at / 4, measured(memory=between)) for at in range(1, 400)} == {2}
    for at in (100.0, 104.0):
        assert overload.judge(at, measured()) == 2
    assert overload.judge(104.5, measured(memory=between)) == 2
    assert [overload.judge(at, measured()) for at in (105.0, 109.9, 110.0)] == [2, 2, 1]


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 3), st.integers(0, 5000)), max_size=60))
def test_it_is_never_lower_than_the_pressure_asks(looks: list[tuple[float, float, int]]) -> None:
    """Whatever came before: what is measured now is shed for now, and the shares are those of the limits."""
    overload = Overload(LIMITS)
    for at, (memory, lag, in_flight) in enumerate(looks):
        level = overload.judge(at / 4, {"memory": memory, "lag": lag, "in_flight": float(in_flight)})
        pressure = max(overload.pressures[name] for name in MEASURES)
        assert pressure == max(memory / 100, lag, in_flight / 1000)
        assert 0 <= level < len(SHED)
        assert level >= max(each for each, share in enumerate(RAISED_AT) if pressure >= share)


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [("memory_mb_max", 10.0), ("lag_s_max", 0.0), ("in_flight_max", 5), ("calm_s", 0.0), ("calm_s", 1e9)],
)
def test_senseless_limits_are_refused(setting: str, wrong: Any) -> None:
    """The message names the setting and its range."""
    with pytest.raises(ValidationError, match=setting):
        OverloadSettings(**{setting: wrong})
