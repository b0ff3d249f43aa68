"""jackstay_agent.core.pool: states, when to dial, when to retire."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from jackstay_agent.core.pool import MOVES, ConnState, DialPlan, PoolSettings, move, retire
from jackstay_protocols.errors import ValidationError

EVENTS = sorted({event for _state, event in MOVES})


@pytest.mark.parametrize(("state", "event"), list(itertools.product(ConnState, EVENTS)))
def test_every_move_of_a_connection_is_legal_or_refused(state: ConnState, event: str) -> None:
    """The table is the whole truth: what is not in it is a bug of the pool, named with state and event."""
    if (state, event) in MOVES:
        assert move(state, event) is MOVES[state, event]
    else:
        with pytest.raises(AssertionError, match=rf"{state}.*{event}"):
            move(state, event)


def test_a_closed_connection_never_comes_back() -> None:
    """CLOSED has no way out."""
    assert not [event for state, event in MOVES if state is ConnState.CLOSED]


@pytest.mark.parametrize(
    "wrong",
    [
        {"connections_min": -1},
        {"connections_min": 5, "connections_max": 4},
        {"connections_max": 0, "connections_min": 0},
        {"connections_max": 5000},
        {"waiters_max": -1},
        {"waiters_max": 1_000_000},
        {"dial_timeout_s": 0},
        {"dial_timeout_s": math.nan},
        {"dial_timeout_s": math.inf},
        {"backoff_min_s": 0},
        {"backoff_min_s": 2, "backoff_max_s": 1},
        {"backoff_max_s": 1e9},
        {"dials_per_window_max": 0},
        {"dial_window_s": 0},
        {"dial_window_s": math.nan},
        {"idle_s": 0},
        {"lifetime_s": -1},
        {"headers_max": 0},
        {"header_bytes_max": 1},
        {"body_bytes_max": 0},
    ],
    ids=str,
)
def test_absurd_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Zero, negative, NaN, infinite and huge values are named."""
    with pytest.raises(ValidationError, match=next(iter(wrong))[:6]):
        PoolSettings(**wrong)


def plan(**settings: Any) -> DialPlan:
    return DialPlan(PoolSettings(**({"backoff_min_s": 0.1, "backoff_max_s": 8.0} | settings)))


def test_one_dial_per_waiter_within_the_bound() -> None:
    """Those being dialled count; the maximum counts everything."""
    made = plan(connections_min=0, connections_max=4)
    assert made.wanted(live=0, connecting=0, waiting=0) == 0
    assert made.wanted(live=0, connecting=1, waiting=3) == 2
    assert made.wanted(live=2, connecting=1, waiting=9) == 1
    assert made.wanted(live=4, connecting=0, waiting=9) == 0


def test_the_minimum_is_kept_once_the_endpoint_was_used() -> None:
    """Nothing is dialled ahead to a place that was never up and that nobody asks for."""
    made = plan(connections_min=3, connections_max=8)
    assert made.wanted(live=0, connecting=0, waiting=0) == 0
    assert made.wanted(live=0, connecting=0, waiting=1) == 3
    made.succeeded()
    assert made.wanted(live=1, connecting=0, waiting=0) == 2
    assert made.wanted(live=3, connecting=0, waiting=0) == 0


def test_backoff_grows_with_jitter_and_the_first_redial_is_immediate() -> None:
    """Full jitter under a doubling cap; never longer than half of the outage so far, nor the maximum."""
    made = plan()
    assert made.failed(100.0, 0.0) == 0.0, "the first redial may come at once"
    assert made.failed(100.0, 1.0) == pytest.approx(0.4)
    assert made.failed(110.0, 1.0) == pytest.approx(0.8)
    assert made.wait_s(110.0) == pytest.approx(0.8)
    assert made.wait_s(111.0) == 0.0
    for _ in range(40):
        pause_s = made.failed(200.0, 1.0)
    assert pause_s == 8.0
    assert made.failed(200.0, 0.0) == pytest.approx(0.05), "jitter never makes a hammer of it"
    assert made.failures == 44


def test_success_alone_does_not_forget_failures_but_health_does() -> None:
    """A flapping endpoint keeps its backoff; an answered request ends it."""
    made = plan()
    for _ in range(5):
        made.failed(10.0, 0.5)
    made.succeeded()
    assert made.ever_up
    assert made.wait_s(10.0) == 0.0
    assert made.failures == 5
    made.healthy()
    assert made.failures == 0
    assert made.failed(20.0, 0.0) == 0.0


def test_the_dial_budget_holds_over_its_window() -> None:
    """At most so many dials per window, however many wait (a reconnect storm ends in a ban)."""
    made = plan(dials_per_window_max=3, dial_window_s=10.0)
    for second in range(3):
        assert made.wait_s(float(second)) == 0.0
        made.started(float(second))
    assert made.wait_s(3.0) == pytest.approx(7.0)
    assert made.wait_s(10.0) == 0.0, "the first has left the window"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"now": 3600.0}, True),  # its life is over
        ({"now": 31.0}, True),  # idle and not needed
        ({"now": 29.0}, False),
        ({"now": 31.0, "keep": True}, False),  # the minimum stays
        ({"now": 9.5, "hint_s": 10.0, "keep": True}, True),  # the server is about to close it
        ({"now": 8.5, "hint_s": 10.0, "keep": True}, False),
        ({"now": 0.1, "hint_s": 0.5}, True),  # a hint shorter than our margin
    ],
)
def test_who_retires(facts: dict[str, Any], expected: bool) -> None:
    """Age, idleness and the server's own word decide."""
    given = {"opened_at": 0.0, "used_at": 0.0, "keep": False, "hint_s": 0.0} | facts
    assert retire(given.pop("now"), settings=PoolSettings(lifetime_s=3600.0, idle_s=30.0), **given) is expected
