"""Modes: every cell of the table, and who holds what."""

import math

import pytest

from jackstay_agent.core.modes import ADMITS, HOLDERS_MAX, Mode, Modes
from jackstay_protocols.errors import Lane, ValidationError
from jackstay_protocols.types import OrderClass

E, X, P, H, U = OrderClass.ENTRY, OrderClass.EXIT, OrderClass.PROTECTIVE, OrderClass.HEDGE, OrderClass.UNKNOWN
PASSES = {
    Mode.NORMAL: {E, X, P, H, U},
    Mode.CONSERVATIVE: {X, P, H},
    Mode.MAINTENANCE: set(),
    Mode.CANCEL_ONLY: set(),
    Mode.POST_ONLY: {E, X, P, H, U},
    Mode.HALTED: set(),
}


def held(mode, **more):
    m = Modes()
    m.hold(mode, 0.0, holder="op", why="test", **more)
    return m


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("order_class", OrderClass)
def test_every_cell_of_the_table(mode, order_class):
    """Orders by class; an unknown class counts as an entry; post-only mode wants post-only orders."""
    hold = held(mode).refusal(1.0, Lane.ORDER, order_class, post_only=True)
    assert (hold is None) == (order_class in PASSES[mode])
    assert hold is None or (hold.mode, hold.why) == (mode, "test")
    if mode is Mode.POST_ONLY:
        assert held(mode).refusal(1.0, Lane.ORDER, order_class) is not None
    assert set(ADMITS[mode]) == PASSES[mode]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("lane", [Lane.DERISK, Lane.QUERY, Lane.OTHER])
def test_derisking_and_questions_pass_in_every_mode(mode, lane):
    """No mode blocks a way out or a look."""
    assert held(mode).refusal(1.0, lane, E) is None


def test_each_holder_takes_back_only_its_own():
    """The feed is well again, the operator's halt stays; all held modes must let a request pass."""
    m = held(Mode.HALTED)
    m.hold(Mode.CONSERVATIVE, 1.0, holder="feed", why="stale")
    assert m.mode(2.0) is Mode.HALTED
    assert m.release("feed", 3.0)
    assert not m.release("feed", 3.0)
    assert m.mode(4.0) is Mode.HALTED
    m.hold(Mode.CONSERVATIVE, 5.0, holder="feed", why="stale")
    m.hold(Mode.NORMAL, 6.0, holder="op", why="done")
    assert m.mode(7.0) is Mode.CONSERVATIVE
    assert m.refusal(7.0, Lane.ORDER, X) is None
    m.hold(Mode.POST_ONLY, 8.0, holder="venue", why="status")
    assert m.refusal(8.0, Lane.ORDER, X).holder == "venue"
    assert m.refusal(8.0, Lane.ORDER, X, post_only=True) is None


def test_a_hold_ends_at_its_time():
    """At the instant, not before; the shown mode follows; the end is an event."""
    m = held(Mode.MAINTENANCE, until=10.0)
    assert m.mode(9.999) is Mode.MAINTENANCE
    assert m.refusal(10.0, Lane.ORDER, E) is None
    assert m.mode(10.0) is Mode.NORMAL
    assert [e.kind for e in m.drain_events()] == ["held", "expired"]
    assert held(Mode.HALTED, until=1e15).held(0.0)[0].until == 30 * 86_400
    with pytest.raises(ValidationError, match="mode halted"):
        held(Mode.HALTED, until=math.nan)


def test_holders_are_bounded():
    """A holder may change its word at the bound; one more party may not come."""
    m = Modes()
    for n in range(HOLDERS_MAX):
        m.hold(Mode.HALTED, 0.0, holder=str(n), why="x")
    m.hold(Mode.CONSERVATIVE, 0.0, holder="0", why="x")
    with pytest.raises(ValidationError, match="release one first"):
        m.hold(Mode.HALTED, 0.0, holder="more", why="x")


def test_modes_survive_a_restart():
    """What is left of each hold goes on; what ended meanwhile is gone; damage holds nothing."""
    m = held(Mode.HALTED)
    m.hold(Mode.MAINTENANCE, 0.0, holder="venue", why="window", until=100.0)
    rows = m.snapshot(40.0)
    new = Modes()
    new.restore(rows, 5000.0, elapsed_s=20.0)
    assert [(h.holder, h.mode, h.until) for h in new.held(5000.0)] == [
        ("op", Mode.HALTED, None),
        ("venue", Mode.MAINTENANCE, 5040.0),
    ]
    late = Modes()
    late.restore(rows, 0.0, elapsed_s=60.0)
    assert late.mode(0.0) is Mode.HALTED
    for damage in (None, [["op"]], [["op", "asleep", "", None]], [["op", "halted", "", "soon"]]):
        bad = Modes()
        with pytest.raises(ValidationError, match="mode snapshot is damaged"):
            bad.restore(damage, 0.0)
        assert bad.mode(0.0) is Mode.NORMAL
