"""Repeated errors are louder."""

from jackstay_agent.core.escalation import Escalator, Step, Told
from jackstay_protocols.errors import ErrorSeverity

LOW, MEDIUM, CRITICAL = ErrorSeverity.LOW, ErrorSeverity.MEDIUM, ErrorSeverity.CRITICAL


def make(**more):
    return Escalator({LOW: (3, 10.0), MEDIUM: (2, 10.0)}, **more)


def test_n_within_t_are_one_step_up_told_once():
    """The third within ten seconds is louder, and so are those behind it, without telling again."""
    e = make()
    steps = [e.seen("k", LOW, t) for t in (0.0, 1.0, 2.0, 3.0)]
    assert [s.severity for s in steps] == [LOW, LOW, MEDIUM, MEDIUM]
    assert [s.told for s in steps] == [Told.NOTHING, Told.NOTHING, Told.ESCALATED, Told.NOTHING]
    assert steps[2].repeats == 3


def test_spread_out_errors_are_not_louder():
    """Three in twenty seconds are no burst."""
    e = make()
    assert [e.seen("k", LOW, t).severity for t in (0.0, 6.0, 12.0, 18.0)] == [LOW] * 4


def test_it_decays_after_silence_and_says_so_once():
    """Ten quiet seconds end it; the next burst is told again."""
    e = make()
    for t in (0.0, 1.0, 2.0):
        e.seen("k", LOW, t)
    assert e.seen("k", LOW, 12.0) == Step(LOW, Told.CALMED, 1)
    assert e.seen("k", LOW, 13.0).told is Told.NOTHING
    assert e.seen("k", LOW, 14.0).told is Told.ESCALATED


def test_kinds_do_not_add_up():
    """Two of one and two of another are no three."""
    e = make()
    assert [e.seen(k, LOW, 0.0).severity for k in "abab"] == [LOW] * 4


def test_critical_and_unconfigured_severities_stay():
    """There is nothing above critical; without a policy nothing escalates."""
    e = make()
    assert [e.seen("k", CRITICAL, 0.0).severity for _ in range(5)] == [CRITICAL] * 5
    assert [e.seen("k", ErrorSeverity.HIGH, 0.0).told for _ in range(5)] == [Told.NOTHING] * 5


def test_kinds_are_bounded():
    """The longest unseen kind is forgotten."""
    e = make(keys_max=1)
    e.seen("a", MEDIUM, 0.0)
    e.seen("b", MEDIUM, 0.0)
    assert e.seen("a", MEDIUM, 0.0).severity is MEDIUM
