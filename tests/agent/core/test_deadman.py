"""The venue's dead-man switch: renewed in time, told in time, armed with care."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.deadman import (
    Advice,
    Step,
    Switch,
    SwitchState,
    cost_share,
    refuse_arming,
)
from jackstay_protocols.errors import ValidationError


def armed(window_s: float = 60.0, at: float = 0.0) -> Switch:
    switch = Switch()
    switch.arm(window_s, at)
    return switch


def test_it_is_off_until_somebody_arms_it() -> None:
    """A new switch advises nothing and knows no instant."""
    switch = Switch()
    assert switch.state(0.0) is SwitchState.OFF
    assert switch.advise(1e6, fresh=True).step is Step.NOTHING
    assert switch.next_at() is None


def test_it_is_renewed_at_a_third_of_its_window() -> None:
    """Not earlier, and a try that was lost is repeated before the window is over."""
    switch = armed()
    assert switch.next_at() == 20.0
    assert switch.advise(19.9, fresh=True).step is Step.NOTHING
    assert switch.advise(20.0, fresh=True).step is Step.RENEW
    switch.tried(20.0)
    assert switch.advise(24.9, fresh=True).step is Step.NOTHING
    assert switch.advise(25.0, fresh=True).step is Step.RENEW
    switch.renewed(25.0)
    assert switch.fires_at == 85.0
    assert switch.advise(44.9, fresh=True).step is Step.NOTHING


def test_a_bot_that_is_not_well_is_not_covered_and_the_end_is_told_once() -> None:
    """The switch is left to fire, with its instant said; renewed again when the bot is back."""
    switch = armed()
    told = switch.advise(21.0, fresh=False, why_not_fresh="the bot is stalled")
    assert told == Advice(Step.TELL_WILL_FIRE, 60.0, "the bot is stalled")
    assert switch.advise(22.0, fresh=False).step is Step.NOTHING
    assert switch.advise(30.0, fresh=True).step is Step.RENEW


def test_a_gate_that_outlasts_the_window_is_told_at_once() -> None:
    """180 s of gate, 60 s of window: at least 30 s of warning; a shorter gate is only waited for."""
    switch = armed()
    told = switch.advise(29.0, fresh=True, gate_until=209.0)
    assert told.step is Step.TELL_WILL_FIRE
    assert told.at == 60.0
    assert told.at - 29.0 >= 30.0
    short = armed()
    assert short.advise(29.0, fresh=True, gate_until=40.0).step is Step.NOTHING
    assert short.advise(40.0, fresh=True, gate_until=40.0).step is Step.RENEW


def test_a_switch_that_lapsed_is_not_armed_again_by_itself() -> None:
    """After firing, re-arming is a person's word."""
    switch = armed()
    told = switch.advise(60.0, fresh=True)
    assert told.step is Step.TELL_LAPSED
    assert switch.state(60.0) is SwitchState.LAPSED
    assert switch.advise(61.0, fresh=True).step is Step.NOTHING
    switch.disarm()
    assert switch.state(61.0) is SwitchState.OFF


def test_it_is_adopted_by_the_next_agent() -> None:
    """A restart within the window goes on with what is left of it; one after it finds it lapsed."""
    kept = armed(60.0, 100.0).snapshot(110.0)
    switch = Switch()
    switch.restore(kept, 5.0, elapsed_s=20.0)
    assert switch.state(5.0) is SwitchState.ARMED
    assert switch.fires_at == pytest.approx(35.0)
    assert switch.advise(5.0, fresh=True).step is Step.RENEW
    late = Switch()
    late.restore(kept, 5.0, elapsed_s=51.0)
    assert late.state(5.0) is SwitchState.LAPSED
    off = Switch()
    off.restore(Switch().snapshot(0.0), 5.0, elapsed_s=1.0)
    assert off.state(5.0) is SwitchState.OFF


@pytest.mark.parametrize("kept", [{}, {"armed": True, "window_s": "x", "left_s": 1}, {"armed": True, "window_s": None}])
def test_a_damaged_journal_is_an_error(kept: dict[str, object]) -> None:
    """Never taken for an armed or an absent switch."""
    with pytest.raises(ValidationError, match="cannot be read"):
        Switch().restore(kept, 0.0, elapsed_s=0.0)


def test_what_it_costs_is_a_share_of_the_budget() -> None:
    """Binance USDⓈ-M: weight 10, 2400 a minute; a window of a minute is cheap, one of a second is not."""
    assert cost_share(10, 60, 2400, 60) == pytest.approx(0.0125)
    assert cost_share(10, 1, 2400, 60) == pytest.approx(0.75)
    assert cost_share(10, 60, 2400, 60, switches=20) == pytest.approx(0.25)
    for wrong in ((10, 0, 2400, 60), (10, 60, 0, 60), (10, 60, 2400, float("nan"))):
        with pytest.raises(ValidationError):
            cost_share(*wrong)


def refusal(**changed: object) -> str | None:
    usual: dict[str, object] = {
        "kills_conditional": "no",
        "protective": 0,
        "accept_losing_stops": False,
        "account_wide": False,
        "exclusive": False,
        "share": 0.01,
    }
    return refuse_arming(**(usual | changed))  # type: ignore[arg-type]


def test_arming_is_refused_where_it_would_hurt() -> None:
    """Stops that would die, a shared account, a tenth of the budget; each with what to do."""
    assert refusal() is None
    assert "accept-losing-stops" in str(refusal(kills_conditional="yes", protective=3))
    assert "unverified" in str(refusal(kills_conditional="unverified", protective=1))
    assert refusal(kills_conditional="unverified", protective=0) is None
    assert refusal(kills_conditional="yes", protective=3, accept_losing_stops=True) is None
    assert refusal(kills_conditional="no", protective=3) is None
    assert "exclusive" in str(refusal(account_wide=True))
    assert refusal(account_wide=True, exclusive=True) is None
    assert "rate budget" in str(refusal(share=0.11))
    assert refusal(share=0.10) is None


@given(
    window_s=st.floats(1.0, 600.0),
    ticks=st.lists(st.tuples(st.floats(0.05, 0.5), st.booleans()), min_size=1, max_size=400),
)
def test_with_a_venue_that_answers_half_of_the_time_it_never_lapses_while_the_bot_is_well(
    window_s: float, ticks: list[tuple[float, bool]]
) -> None:
    """Renewals that get lost are repeated; a window ends only after several losses in a row."""
    switch, now, lost = armed(window_s), 0.0, 0
    for step_share, arrives in ticks:
        now += step_share * window_s / 12
        if switch.advise(now, fresh=True).step is not Step.RENEW:
            continue
        switch.tried(now)
        lost = 0 if arrives else lost + 1
        if arrives:
            switch.renewed(now)
        if lost < 6:
            assert switch.state(now) is SwitchState.ARMED
