"""The one table of what follows from a cause."""

import pytest

from jackstay_agent.core.verdict import EFFECTS, BreakerMark, Cause, GateScope, of_a_read, unknown_of, verdict
from jackstay_protocols.errors import Outcome


def test_every_cause_has_its_effect():
    """The table is complete."""
    assert set(EFFECTS) == set(Cause)


@pytest.mark.parametrize("cause", [c for c in Cause if EFFECTS[c].outcome is Outcome.REJECTED])
def test_business_rejects_are_no_failures(cause):
    """The venue understood and said no: it works, and no breaker hears a failure."""
    effect = EFFECTS[cause]
    assert (effect.breaker, effect.retryable, effect.gate) == (BreakerMark.SUCCESS, False, None)


def test_only_limits_close_gates():
    """Nothing but a venue's "not now" gates anything."""
    gating = {c for c in Cause if EFFECTS[c].gate is not None}
    assert gating == {Cause.RATE_LIMITED, Cause.ORDER_RATE, Cause.BANNED, Cause.WAF}
    assert [c for c in Cause if EFFECTS[c].ban] == [Cause.BANNED]


def test_a_verdict_carries_the_causes_effect_and_the_venues_words():
    """Scope and name may be finer than the cause's own."""
    v = verdict(Cause.RATE_LIMITED, code="10006", detail="x", retry_after_s=2.0, gate=GateScope.ENDPOINT, named="slow")
    assert (v.outcome, v.cause, v.code, v.detail) == (Outcome.FAILED, "slow", "10006", "x")
    assert (v.retry_after_s, v.gate, v.scenario, v.retryable) == (2.0, GateScope.ENDPOINT, "api_rate_limit", True)
    assert verdict(Cause.RATE_LIMITED).gate is GateScope.IP


def test_a_read_is_never_unknown():
    """What is unknown of an order has simply failed for a question; the rest stays."""
    assert of_a_read(verdict(Cause.NO_ANSWER)).outcome is Outcome.FAILED
    assert of_a_read(verdict(Cause.AUTH)) == verdict(Cause.AUTH)


def test_an_answer_in_doubt_leaves_the_outcome_unknown():
    """Loud, never retried, without a scenario; the rest of the exchange is as it was."""
    v = unknown_of(verdict(Cause.RATE_LIMITED, code="10006", retry_after_s=2.0), Cause.NOT_JSON, "a page")
    assert (v.outcome, v.cause, v.detail, v.code) == (Outcome.UNKNOWN, Cause.NOT_JSON, "a page", "10006")
    assert (v.retryable, v.scenario, v.severity) == (False, None, EFFECTS[Cause.NO_ANSWER].severity)
