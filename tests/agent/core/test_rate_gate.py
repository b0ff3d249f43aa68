"""Gates and ramps."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core import rate_gate
from jackstay_agent.core.rate_gate import Gates, Ramp, RampSettings
from jackstay_agent.core.verdict import GateScope
from jackstay_protocols.errors import ValidationError

IP, KEY = (GateScope.IP, "203.0.113.7"), (GateScope.KEY, "main")
PLACE, COUNT = (GateScope.ENDPOINT, "POST /order"), (GateScope.ORDER_COUNT, "main")


@pytest.mark.parametrize(
    "fields",
    [{"ramp_s": -1}, {"ban_ramp_s": math.nan}, {"start_per_s": 0}, {"end_per_s": 1.0}, {"end_per_s": math.inf}],
    ids=str,
)
def test_bad_ramps_are_refused(fields):
    """A ramp rises, and its numbers are numbers."""
    with pytest.raises(ValidationError, match="RampSettings"):
        RampSettings(**fields)


def test_a_gate_stands_until_its_instant_and_is_never_shortened():
    """A shorter word changes the reason only; a longer one lengthens; a ban stays a ban."""
    g = Gates(RampSettings())
    assert g.idle
    g.close(IP, 60.0, 0.0, "429", False)
    g.close(IP, 30.0, 1.0, "again", True)
    assert (g.closed[IP].until, g.closed[IP].ban, g.closed[IP].why) == (60.0, True, "again")
    g.close(IP, 90.0, 2.0, "more", False)
    assert (g.closed[IP].until, g.closed[IP].ban) == (90.0, True)
    assert g.advance(89.9) == []
    assert g.advance(90.0) == [IP]
    with pytest.raises(ValidationError, match="gate ip"):
        g.close(IP, math.nan, 0.0, "?", False)
    assert g.close(IP, 1e15, 100.0, "for ever", False).until == 100.0 + 30 * 86_400


def test_only_what_is_asked_for_is_gated():
    """The longest of one's own gates counts; an order count never gates de-risking."""
    g = Gates(RampSettings())
    g.close(COUNT, 50.0, 0.0, "orders", False)
    g.close(PLACE, 20.0, 0.0, "place", False)
    assert g.gate_over((IP, KEY), False) is None
    assert g.gate_over((PLACE, COUNT), False).why == "orders"
    assert g.gate_over((COUNT, PLACE), False).why == "orders"
    assert g.gate_over((IP, COUNT), True) is None
    assert g.gate_over((PLACE,), True).why == "place"


def test_a_whole_ip_returns_on_a_ramp_as_long_as_its_gate():
    """At most ramp_s (ban_ramp_s for bans); endpoints and order counts return at once."""
    g = Gates(RampSettings(ramp_s=30.0, ban_ramp_s=120.0))
    g.close(IP, 10.0, 0.0, "429", False)
    g.close(KEY, 1000.0, 0.0, "ban", True)
    g.close(PLACE, 10.0, 0.0, "429", False)
    g.advance(10.0)
    assert g.ramping() == {IP: 20.0}
    g.advance(1000.0)
    assert g.ramping() == {KEY: 1120.0}
    g.advance(1120.0)
    assert g.idle
    g.close(IP, 10.0, 0.0, "429", False)
    g.advance(5000.0)
    assert g.idle, "a ramp that is over before anybody looked is none"


def test_a_new_gate_ends_the_ramp_of_the_old_one():
    """Gated during the return: stand still again."""
    g = Gates(RampSettings())
    g.close(IP, 10.0, 0.0, "429", False)
    g.advance(10.0)
    g.close(IP, 20.0, 11.0, "429", False)
    assert g.ramping() == {}


def test_an_operator_releases_a_gate_onto_its_ramp():
    """The gate opens at once, the return is slow all the same."""
    g = Gates(RampSettings())
    assert g.release(IP, 0.0) is False
    g.close(IP, 100.0, 0.0, "429", False)
    assert g.release(IP, 20.0) is True
    assert (g.closed, g.ramping()) == ({}, {IP: 40.0})


def test_a_restored_ramp_steps_back_behind_a_gate():
    """A gate of the same scope stands before it; nothing is left of one that is over."""
    g = Gates(RampSettings())
    g.close(IP, 100.0, 0.0, "429", False)
    g.restore_ramp(IP, 0.0, 10.0)
    g.restore_ramp(KEY, 0.0, 0.0)
    assert g.ramping() == {}
    g.restore_ramp(KEY, 0.0, 10.0)
    assert g.ramping() == {KEY: 10.0}
    g.advance(10.0)
    assert g.ramping() == {}


def test_the_ramp_lets_one_through_then_ever_more():
    """The n-th request waits for the curve; a request given back is no request; other keys do not wait."""
    g = Gates(RampSettings(ramp_s=10.0, start_per_s=1.0, end_per_s=9.0))
    g.close(IP, 100.0, 0.0, "429", False)
    g.advance(100.0)
    assert g.ramp_next_at((IP, PLACE), 100.0) == 100.0
    g.ramp_take((IP, PLACE))
    first = g.ramp_next_at((IP,), 100.0)
    assert 100.5 < first < 101.0
    g.ramp_give_back((IP, PLACE))
    assert g.ramp_next_at((IP,), 100.0) == 100.0
    assert g.ramp_next_at((KEY,), 100.0) == 100.0


@given(st.floats(0.5, 20), st.floats(0, 30), st.floats(1, 60))
def test_a_ramp_never_exceeds_its_curve(start, more, length):
    """As many as the area under the curve plus one, at no time more."""
    settings = RampSettings(start_per_s=start, end_per_s=start + more)
    ramp, now, sent = Ramp(0.0, length, settings), 0.0, 0
    while sent < 200:
        now = ramp.next_at(now)
        if now >= ramp.ends_at:
            break
        ramp.take()
        sent += 1
        assert sent <= 1.0 + start * now + more * now * now / (2 * length) + 1e-6


def test_gates_are_bounded(monkeypatch):
    """Past the bound the one that would open first goes."""
    monkeypatch.setattr(rate_gate, "GATES_MAX", 2)
    g = Gates(RampSettings())
    for n, until in enumerate((50.0, 20.0, 90.0)):
        g.close((GateScope.ENDPOINT, str(n)), until, 0.0, "x", False)
    assert sorted(gate.until for gate in g.closed.values()) == [50.0, 90.0]
