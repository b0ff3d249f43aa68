"""What may leave for an upstream: nothing before it proved itself, cancels first, then the backlog, paced."""

from __future__ import annotations

import pytest

from jackstay_agent.core.flush import AT_ONCE_FLUSHING, AT_ONCE_STEADY, PROOF_PAUSE_MAX_S, Line, Phase

PACE_S = 0.05


@pytest.fixture
def line() -> Line:
    return Line(PACE_S)


def proven(line: Line, now: float = 0.0, backlog_to: int = 100) -> Line:
    line.proving()
    line.proved(now, backlog_to)
    return line


def test_nothing_leaves_before_the_proof(line: Line) -> None:
    """Unproven and while the question is under way: neither orders nor cancels; the proof is due at once."""
    assert line.proof_due(0.0)
    assert not line.may_leave(0.0, derisk=True)
    line.proving()
    assert not line.proof_due(9.0)
    assert not line.may_leave(9.0, derisk=False)


def test_orders_follow_paced_and_after_the_cancels(line: Line) -> None:
    """All cancels at once; an order waits until they are answered, then one per pace."""
    proven(line, 10.0)
    assert line.may_leave(10.0, derisk=True)
    line.left(10.0, 1, derisk=True)
    assert line.may_leave(10.0, derisk=True)
    assert not line.may_leave(10.0, derisk=False)
    line.landed(derisk=True)
    assert line.may_leave(10.0, derisk=False)
    line.left(10.0, 2, derisk=False)
    assert not line.may_leave(10.0 + PACE_S - 0.001, derisk=False)
    assert line.may_leave(10.0 + PACE_S, derisk=False)


def test_a_late_look_catches_nothing_up(line: Line) -> None:
    """After a pause of the pump the pace goes on from now; what was missed is no credit."""
    proven(line, 0.0)
    line.left(5.0, 1, derisk=False)
    assert not line.may_leave(5.0, derisk=False)


def test_few_are_under_way_at_once(line: Line) -> None:
    """A venue that takes and does not answer has a few orders in doubt, not the whole queue."""
    proven(line)
    for n in range(AT_ONCE_FLUSHING):
        assert line.may_leave(float(n), derisk=False)
        line.left(float(n), n, derisk=False)
    assert not line.may_leave(1e6, derisk=False)
    assert line.may_leave(1e6, derisk=True)
    assert line.emptied()
    for n in range(AT_ONCE_STEADY - AT_ONCE_FLUSHING):
        assert line.may_leave(0.0, derisk=False)
        line.left(0.0, n, derisk=False)
    assert not line.may_leave(0.0, derisk=False)


def test_the_line_is_steady_once_the_backlog_is_through(line: Line) -> None:
    """Told once: when nothing waits, or when one leaves that is younger than the return."""
    proven(line, backlog_to=7)
    assert not line.left(0.0, 7, derisk=False)
    assert not line.left(0.0, 9, derisk=True)
    assert line.left(0.0, 8, derisk=False)
    assert line.phase is Phase.STEADY
    assert line.may_leave(0.0, derisk=False)
    assert not line.left(0.0, 9, derisk=False)
    assert not line.emptied()


def test_a_missing_answer_ends_the_proof(line: Line) -> None:
    """Back to unproven, told once; the next proof comes after a pause that doubles up to its bound."""
    proven(line)
    assert line.failed(100.0, chance=1.0)
    assert not line.proof_due(100.2)
    assert line.proof_due(100.25)
    assert not line.failed(100.0, chance=0.0)
    assert not line.proof_due(100.24)
    for _ in range(40):
        line.failed(200.0, chance=1.0)
    assert not line.proof_due(200.0 + PROOF_PAUSE_MAX_S - 0.01)
    assert line.proof_due(200.0 + PROOF_PAUSE_MAX_S)
    proven(line)
    line.failed(300.0, chance=1.0)
    assert line.proof_due(300.25)


def test_a_proof_of_what_is_proven_changes_nothing(line: Line) -> None:
    """A late answer of an earlier question does not begin a second flush."""
    proven(line)
    line.emptied()
    line.proved(1.0, 5)
    assert line.phase is Phase.STEADY


def test_lost_connections_are_proven_anew_at_once(line: Line) -> None:
    """Nothing was risked, so nothing is waited for; and what was unproven stays so, untold."""
    assert not line.lost()
    proven(line)
    assert line.lost()
    assert line.proof_due(0.0)


def test_a_refusal_holds_its_own_kind_only(line: Line) -> None:
    """A gate of orders does not hold cancels, and the later of two instants counts."""
    proven(line)
    line.refused(5.0, derisk=False)
    line.refused(3.0, derisk=False)
    assert not line.may_leave(4.9, derisk=False)
    assert line.may_leave(4.9, derisk=True)
    line.refused(9.0, derisk=True)
    assert not line.may_leave(8.9, derisk=True)
    assert line.may_leave(5.0, derisk=False)
