"""Would it help, and may we: two questions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.backoff import Backoff
from jackstay_agent.core.retry import (
    DEFAULT_POLICIES,
    NoRetry,
    RetryAt,
    RetryBudget,
    RetryPolicy,
    RetrySettings,
    RetryState,
    Would,
    may_retry,
    would_retry,
)
from jackstay_agent.core.verdict import Cause, of_a_read, verdict
from jackstay_protocols.errors import Reason, ValidationError

STILL = RetryPolicy(Backoff("constant", base_s=1.0, jitter="none"), attempts_max=3, total_s=30.0)


@pytest.mark.parametrize("fields", [{"attempts_max": 0}, {"attempts_max": 101}, {"total_s": 0}, {"total_s": math.nan}])
def test_bad_policies_are_refused(fields):
    """Attempts and total time are bounded."""
    with pytest.raises(ValidationError, match="RetryPolicy"):
        RetryPolicy(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"policies": 5},
        {"policies": {"network": "often"}},
        {"budget_share": 1.5},
        {"budget_share": math.nan},
        {"budget_min": -1},
        {"budget_window_s": 0},
    ],
    ids=str,
)
def test_bad_settings_are_refused(fields):
    """What is no table of policies, or no sane budget, is no setting."""
    with pytest.raises(ValidationError, match="RetrySettings"):
        RetrySettings(**fields)


def test_policies_are_found_by_name_with_a_default():
    """Shipped names, the user's own, and the default for the rest, also when the user left none."""
    own = RetryPolicy(attempts_max=9)
    s = RetrySettings(policies={"network": own})
    assert s.policy("network") is own
    assert s.policy("nobody") is DEFAULT_POLICIES["default"]
    assert s.policy("database") is DEFAULT_POLICIES["database"], "setting one policy does not unset the others"
    assert RetrySettings(policies={"default": own}).policy("nobody") is own
    assert RetrySettings().policy("database").backoff.curve == "linear"
    assert RetrySettings().policy("network").backoff.curve == "exponential"


@pytest.mark.parametrize(
    ("cause", "idempotent", "expected"),
    [
        (Cause.OK, True, Would.DONE),
        (Cause.NO_ANSWER, False, Would.ASK),
        (Cause.NO_ANSWER, True, Would.YES),
        (Cause.REDIRECT, True, Would.FINAL),
        (Cause.INSUFFICIENT_FUNDS, True, Would.FINAL),
        (Cause.NOT_SENT, False, Would.YES),
        (Cause.OVERLOAD, False, Would.YES),
        (Cause.RATE_LIMITED, False, Would.YES),
        (Cause.BANNED, True, Would.FINAL),
    ],
)
def test_only_what_is_useful_and_safe_would_be_retried(cause, idempotent, expected):
    """Possibly sent and not idempotent: never, ask instead. Refused: final. Provably never executed: yes."""
    assert would_retry(verdict(cause), idempotent=idempotent) is expected


def test_a_lost_read_would_be_retried():
    """A question without an answer may be asked again."""
    assert would_retry(of_a_read(verdict(Cause.NO_ANSWER)), idempotent=False) is Would.YES


def attempt(state, now, **more):
    return may_retry(state, STILL, more.pop("budget", RetryBudget()), now, chance=0.5, **more)


def test_attempts_are_bounded():
    """Three attempts are two retries."""
    state = RetryState.begin(STILL, 0.0)
    for n in (2, 3):
        answer = attempt(state, 0.0)
        assert isinstance(answer, RetryAt)
        assert (answer.at, answer.state.attempts, answer.state.previous_s) == (1.0, n, 1.0)
        state = answer.state
    answer = attempt(state, 0.0, retry_after_s=9.0)
    assert answer == NoRetry(Reason.RETRIES_EXHAUSTED, "3 attempts made", 9.0)


def test_the_deadline_contains_all_waits():
    """Nobody sleeps past his deadline; the policy's total and the caller's deadline both count."""
    assert RetryState.begin(STILL, 5.0).deadline_at == 35.0
    assert RetryState.begin(STILL, 5.0, 10.0).deadline_at == 10.0
    assert RetryState.begin(STILL, 5.0, 100.0).deadline_at == 35.0
    state = RetryState.begin(STILL, 0.0, 2.0)
    assert isinstance(attempt(state, 0.9), RetryAt)
    late = attempt(state, 1.0)
    assert (late.reason, late.retry_after_s) == (Reason.EXPIRED, 1.0)
    assert attempt(state, 0.5, attempt_s=0.6).reason is Reason.EXPIRED


def test_the_server_word_is_never_cut_to_fit():
    """A Retry-After past the deadline is no retry, not an early one; within it, it is obeyed."""
    state = RetryState.begin(STILL, 0.0, 20.0)
    assert attempt(state, 0.0, retry_after_s=10.0).at > 10.0
    assert attempt(state, 0.0, retry_after_s=20.0).reason is Reason.EXPIRED


def test_the_budget_allows_three_and_then_a_fifth_of_the_traffic():
    """A quiet bot has three retries per window, a busy one 20 %."""
    budget = RetryBudget()
    assert [budget.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.take(10.5) for _ in range(4)] == [True, True, True, False]
    for _ in range(50):
        budget.called(11.0)
    assert sum(budget.take(11.0) for _ in range(20)) == 7
    refused = attempt(RetryState.begin(STILL, 11.0), 11.0, budget=budget)
    assert refused.reason is Reason.RETRY_BUDGET


@given(st.lists(st.tuples(st.floats(0, 15), st.booleans()), max_size=80))
def test_the_budget_equals_a_naive_count(steps):
    """Whatever the order, retries stay within the share of the buckets that count."""
    budget, now, seen = RetryBudget(), 1000.0, []
    for gap, is_call in steps:
        now += gap
        epoch = int(now // 1.0)
        calls = sum(1 for e, call in seen if call and epoch - e < 10)
        retries = sum(1 for e, call in seen if not call and epoch - e < 10)
        if is_call:
            budget.called(now)
            seen.append((epoch, True))
        else:
            allowed = retries < max(3, int(0.2 * calls))
            assert budget.take(now) == allowed
            if allowed:
                seen.append((epoch, False))


def test_a_clock_that_seems_to_go_back_empties_nothing():
    """A caller a moment behind shares the newest bucket."""
    budget = RetryBudget()
    for now in (50.0, 49.0, 50.0):
        assert budget.take(now)
    assert not budget.take(48.0)


def test_concurrent_calls_share_nothing_but_the_budget():
    """Two calls' states are values of their own."""
    one, two = RetryState.begin(STILL, 0.0), RetryState.begin(STILL, 0.0)
    moved = attempt(one, 0.0).state
    assert (one.attempts, two.attempts, moved.attempts) == (1, 1, 2)
