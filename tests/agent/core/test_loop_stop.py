"""The stop of identical rejects (DESIGN §3 rule 9)."""

import math

import pytest

from jackstay_agent.core.breaker import Breaker, BreakerState
from jackstay_agent.core.classify import classify_answer
from jackstay_agent.core.loop_stop import LoopSettings, LoopStop, LoopStopped
from jackstay_agent.core.verdict import BreakerMark
from jackstay_protocols.errors import ValidationError

SCOPE = "binance/main/BTCUSDT"
ORDER = ("BTCUSDT", "BUY", "LIMIT", "1.0", "50000")


def looped(times=10, **settings):
    stop = LoopStop(LoopSettings(**settings))
    for _ in range(times):
        assert stop.refusal(0.0, SCOPE, ORDER) is None
        stop.rejected(0.0, SCOPE, ORDER, "insufficient_funds")
    return stop


@pytest.mark.parametrize("fields", [{"rejects_max": 0}, {"stop_s": math.nan}, {"keys_max": 0}])
def test_bad_settings_are_refused(fields):
    """Counts and times have bounds."""
    with pytest.raises(ValidationError, match="LoopSettings"):
        LoopSettings(**fields)


def test_the_eleventh_equal_reject_is_stopped():
    """Ten pass, the eleventh is refused and says why and for how long; one event tells it."""
    stop = looped()
    assert stop.refusal(10.0, SCOPE, ORDER) == LoopStopped(10, "insufficient_funds", 50.0)
    assert [(e.kind, e.count) for e in stop.drain_events()] == [("stopped", 10)]
    assert stop.stopped(10.0) == [(SCOPE, ORDER, LoopStopped(10, "insufficient_funds", 50.0))]


def test_a_thousand_different_orders_with_insufficient_balance_open_no_breaker_and_stop_nothing():
    """Business rejects are no failures; only the equal one is stopped, the others still go."""
    stop, breaker = LoopStop(), Breaker()
    body = b'{"code":-2010,"msg":"Account has insufficient balance for requested action."}'
    for n in range(1000):
        v = classify_answer(400, [], body, table="binance", is_order=True)
        permit = breaker.acquire(0.0)
        (breaker.success if v.breaker is BreakerMark.SUCCESS else breaker.failure)(permit, 0.0)
        assert stop.refusal(0.0, SCOPE, (*ORDER[:3], str(n))) is None
        stop.rejected(0.0, SCOPE, (*ORDER[:3], str(n)), v.cause)
    assert breaker.state is BreakerState.CLOSED
    for _ in range(10):
        assert stop.refusal(0.0, SCOPE, ORDER) is None
        stop.rejected(0.0, SCOPE, ORDER, "insufficient_funds")
    assert stop.refusal(0.0, SCOPE, ORDER) is not None
    assert stop.refusal(0.0, SCOPE, (*ORDER[:4], "50001")) is None


def test_another_reason_begins_anew():
    """Nine of one kind and one of another are no loop."""
    stop = looped(9)
    stop.rejected(0.0, SCOPE, ORDER, "invalid_order")
    assert stop.refusal(0.0, SCOPE, ORDER) is None


def test_it_ends_by_time_with_one_probe():
    """After the time one goes; refused alike, the stop stands again, and no second event is told."""
    stop = looped()
    stop.drain_events()
    assert stop.refusal(60.0, SCOPE, ORDER) is None
    assert stop.refusal(60.1, SCOPE, ORDER) is not None
    assert stop.rejected(61.0, SCOPE, ORDER, "insufficient_funds") is False
    assert stop.refusal(120.5, SCOPE, ORDER) is not None
    assert stop.drain_events() == []


def test_it_ends_by_a_success_in_its_scope_only():
    """Something worked for this symbol: all its counts are forgotten; another symbol's success changes nothing."""
    stop = looped()
    stop.succeeded(1.0, "binance/main/ETHUSDT")
    assert stop.refusal(1.0, SCOPE, ORDER) is not None
    stop.succeeded(1.0, SCOPE)
    assert stop.refusal(1.0, SCOPE, ORDER) is None
    stop.succeeded(1.0, SCOPE)


def test_it_is_idle_until_something_was_refused_and_after_all_is_forgotten():
    """So that an order's key need not be made."""
    stop = LoopStop()
    assert stop.idle
    stop.rejected(0.0, "a", "k", "no money")
    stop.rejected(0.0, "b", "k", "no money")
    stop.succeeded(1.0, "a")
    assert not stop.idle
    stop.succeeded(1.0, "b")
    assert stop.idle


def test_an_operator_releases_one_key_or_a_scope():
    """It says how many stops it lifted; the rest stays."""
    stop = looped()
    for _ in range(10):
        stop.rejected(0.0, SCOPE, "other", "x")
    stop.rejected(0.0, SCOPE, "third", "x")
    assert stop.release(1.0, SCOPE, ORDER) == 1
    assert stop.refusal(1.0, SCOPE, ORDER) is None
    assert stop.refusal(1.0, SCOPE, "other") is not None
    assert stop.release(1.0, SCOPE) == 1
    assert [e.kind for e in stop.drain_events()] == ["stopped", "stopped", "released", "released"]
    assert stop.stopped(1.0) == []


def test_cancels_stop_only_on_evidence_that_the_order_is_terminal():
    """A hundred rejected cancels go on; with evidence the next is the last."""
    stop = LoopStop()
    for _ in range(100):
        stop.rejected(0.0, SCOPE, ("cancel", "id-1"), "order_not_found", stoppable=False)
        assert stop.refusal(0.0, SCOPE, ("cancel", "id-1")) is None
    assert stop.rejected(0.0, SCOPE, ("cancel", "id-1"), "order_not_found") is True
    assert stop.refusal(0.0, SCOPE, ("cancel", "id-1")) is not None
    assert stop.refusal(0.0, SCOPE, ("cancel", "id-2")) is None


def test_keys_are_bounded_and_the_longest_untouched_is_forgotten():
    """A bot with ever new orders costs no more memory."""
    stop = looped(9, keys_max=2)
    stop.rejected(0.0, SCOPE, "b", "x")
    stop.rejected(0.0, SCOPE, ORDER, "insufficient_funds")
    stop.rejected(0.0, SCOPE, "c", "x")
    assert stop.refusal(0.0, SCOPE, ORDER) is not None
    stop.rejected(0.0, SCOPE, "d", "x")
    stop.rejected(0.0, SCOPE, "e", "x")
    assert stop.refusal(0.0, SCOPE, ORDER) is None
