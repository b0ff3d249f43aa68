"""Shall this call be tried again? (journey step 11)

Two questions, kept apart as Envoy keeps them: `would_retry` looks at what happened (is it useful, and is it *safe*?),
`may_retry` at limits (attempts, the whole call's deadline, the budget shared by all calls). An unknown outcome of an
order is never retried here: it is asked about (DESIGN §3 rule 1). An open breaker's refusal is final for the loop.

State of one call lives in its own frozen `RetryState`; the budget is the only thing calls share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from jackstay_protocols.errors import Outcome, Reason, ValidationError

from .backoff import Backoff, obey_server_s
from .bounds import LONGEST_S, check_number, check_whole
from .verdict import Verdict


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How one kind of error is retried; the first try counts as an attempt."""

    backoff: Backoff = field(default_factory=Backoff)
    attempts_max: int = 4
    total_s: float = 30.0  # all attempts and all waits together

    def __post_init__(self) -> None:
        check_whole("RetryPolicy", "attempts_max", self.attempts_max, 1, 100)
        check_number("RetryPolicy", "total_s", self.total_s, 0.0, LONGEST_S, above_low=True)


#: CONTRACT Configuration: network errors, API rate limits, database errors; anything else gets "default".
DEFAULT_POLICIES: Mapping[str, RetryPolicy] = MappingProxyType(
    {
        "network": RetryPolicy(Backoff("exponential", base_s=0.2, cap_s=10.0)),
        # The server says when; the curve is only for servers that do not.
        "api_rate_limit": RetryPolicy(Backoff("exponential", base_s=1.0, cap_s=60.0, jitter="quarter"), 5, 120.0),
        "database": RetryPolicy(Backoff("linear", base_s=0.5, cap_s=5.0, jitter="quarter"), 5, 30.0),
        # Questions the agent asks again on a bot's behalf, inside the bot's own deadline.
        "reads": RetryPolicy(Backoff("exponential", base_s=0.05, cap_s=1.0), 3, 30.0),
        "default": RetryPolicy(Backoff("exponential", base_s=0.5, cap_s=10.0), 3, 30.0),
    }
)


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """The retry part of the configuration: policies by error type (user's own names allowed) and the shared budget."""

    policies: Mapping[str, RetryPolicy] = field(default_factory=lambda: dict(DEFAULT_POLICIES))
    budget_share: float = 0.2  # retries over all recent traffic (Envoy's default)
    budget_min: int = 3  # retries that are always allowed per window, or a quiet bot could never retry
    budget_window_s: float = 10.0

    def __post_init__(self) -> None:
        if not isinstance(self.policies, Mapping) or not all(
            isinstance(p, RetryPolicy) for p in self.policies.values()
        ):
            raise ValidationError("RetrySettings.policies is no table of retry policies: give a RetryPolicy per name")
        check_number("RetrySettings", "budget_share", self.budget_share, 0.0, 1.0)
        check_whole("RetrySettings", "budget_min", self.budget_min, 0, 10_000)
        check_number("RetrySettings", "budget_window_s", self.budget_window_s, 0.1, 3600.0)

    def policy(self, error_type: str) -> RetryPolicy:
        """The policy of that name (the user's, else the shipped one), else the default one."""
        found = self.policies.get(error_type) or DEFAULT_POLICIES.get(error_type)
        return found or self.policies.get("default") or DEFAULT_POLICIES["default"]


class Would(StrEnum):
    YES = "yes"
    DONE = "done"  # it worked
    FINAL = "final"  # trying again would change nothing
    ASK = "ask"  # outcome unknown and not safe to repeat: ask the venue


def would_retry(verdict: Verdict, *, idempotent: bool) -> Would:
    """Is another try useful and safe? ``idempotent``: twice does no more than once (reads, cancel by id)."""
    if verdict.outcome is Outcome.OK:
        return Would.DONE
    if verdict.outcome is Outcome.UNKNOWN and not idempotent:
        return Would.ASK
    if verdict.outcome is Outcome.REJECTED or not verdict.retryable:
        return Would.FINAL
    return Would.YES


class RetryBudget:
    """Retries may be at most a share of recent calls, but always ``minimum``; shared by all calls of a venue.

    Ten buckets over the window; O(1) per call. One noisy endpoint cannot turn an outage into a storm.
    """

    __slots__ = ("_calls", "_epoch", "_minimum", "_retries", "_share", "_step_s")

    def __init__(self, settings: RetrySettings | None = None) -> None:
        s = settings or RetrySettings()
        self._share, self._minimum, self._step_s = s.budget_share, s.budget_min, s.budget_window_s / 10
        self._calls, self._retries = [0] * 10, [0] * 10
        self._epoch = 0

    def _bucket(self, now: float) -> int:
        epoch = max(int(now // self._step_s), self._epoch)
        for number in range(self._epoch + 1, self._epoch + 1 + min(10, epoch - self._epoch)):
            self._calls[number % 10] = self._retries[number % 10] = 0
        if epoch - self._epoch > 10:
            self._calls, self._retries = [0] * 10, [0] * 10
        self._epoch = epoch
        return epoch % 10

    def called(self, now: float) -> None:
        """A first attempt was made."""
        self._calls[self._bucket(now)] += 1

    def take(self, now: float) -> bool:
        """Spend one retry if there is one."""
        bucket = self._bucket(now)
        if sum(self._retries) >= max(self._minimum, int(self._share * sum(self._calls))):
            return False
        self._retries[bucket] += 1
        return True


@dataclass(frozen=True, slots=True)
class RetryState:
    """One call so far: attempts made, the last wait, and the instant after which nothing may start or end."""

    deadline_at: float
    attempts: int = 1
    previous_s: float | None = None

    @classmethod
    def begin(cls, policy: RetryPolicy, now: float, deadline_at: float | None = None) -> RetryState:
        """The whole call ends at the caller's deadline or after the policy's total, whichever comes first."""
        ends_at = now + policy.total_s
        return cls(ends_at if deadline_at is None else min(ends_at, deadline_at))


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again at this instant, not before, with this state."""

    at: float
    state: RetryState


@dataclass(frozen=True, slots=True)
class NoRetry:
    """The limit that ended the call; ``retry_after_s`` is when the caller itself might come back."""

    reason: Reason
    detail: str
    retry_after_s: float | None = None


def may_retry(
    state: RetryState,
    policy: RetryPolicy,
    budget: RetryBudget,
    now: float,
    *,
    chance: float,
    retry_after_s: float | None = None,
    attempt_s: float = 0.0,
) -> RetryAt | NoRetry:
    """When the next attempt may start, or which limit forbids it. ``attempt_s``: what an attempt itself will need.

    The wait is never cut short to fit the deadline: an attempt before the server's instant is worse than none.
    """
    if state.attempts >= policy.attempts_max:
        return NoRetry(Reason.RETRIES_EXHAUSTED, f"{state.attempts} attempts made", retry_after_s)
    delay_s = policy.backoff.delay_s(state.attempts, chance, state.previous_s)
    wait_s = obey_server_s(delay_s, retry_after_s, chance)
    if now + wait_s + attempt_s >= state.deadline_at:
        return NoRetry(Reason.EXPIRED, "the wait would outlast the deadline", wait_s)
    if not budget.take(now):
        return NoRetry(Reason.RETRY_BUDGET, "retries are a too large share of recent traffic", wait_s)
    return RetryAt(now + wait_s, replace(state, attempts=state.attempts + 1, previous_s=delay_s))
