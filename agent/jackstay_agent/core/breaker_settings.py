"""What an operator may set on a circuit breaker, with each default beside its reason (DESIGN §5 Breaker).

Frozen and checked at birth: a breaker never has to doubt its own numbers. Knows nothing of states.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from jackstay_protocols.errors import ValidationError

from .bounds import LONGEST_S, check_choice, check_number, check_whole

_COUNT_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """Any enabled rule trips. Times in seconds, rates as shares in (0, 1].

    Rules are judged after *every* recorded result, successes included (as resilience4j does; gobreaker and Polly judge
    on failures only): with rates and a minimum of calls, the call that completes the minimum may trip although it
    succeeded. A call is slow if it took strictly longer than ``slow_call_s``.
    """

    failure_threshold: int | None = 5  # consecutive failures; None switches the rule off
    failure_rate: float | None = None  # share of failures in the window; off by default
    slow_rate: float | None = None  # share of slow calls in the window; off by default
    slow_call_s: float = 60.0  # resilience4j's default
    window: str = "count"  # "count": the last window_size calls; "time": the last window_size seconds
    window_size: int = 100
    min_calls: int = 20  # rates say nothing below this many calls in the window
    half_open_permits: int = 1  # one probe is enough to learn whether a venue is back
    half_open_rule: str = "first_failure"  # or "rates": all probes are awaited, then the rates decide
    probe_lease_s: float = 60.0  # a probe that never returns gives its place back after this
    open_s: float = 30.0  # flat by default (CONTRACT recovery_timeout)
    open_growth: float = 1.0  # each open in a row lasts this factor longer
    open_cap_s: float = 3600.0  # growth ends here; the spread below is kept at the cap
    open_spread: float = 0.0  # up to this share is added, drawn by the caller's chance

    def __post_init__(self) -> None:
        own = "BreakerSettings"
        if self.failure_threshold is not None:
            check_whole(own, "failure_threshold", self.failure_threshold, 1, _COUNT_MAX)
        for name in ("failure_rate", "slow_rate"):
            if getattr(self, name) is not None:
                check_number(own, name, getattr(self, name), 0.0, 1.0, above_low=True)
        check_number(own, "slow_call_s", self.slow_call_s, 0.0, LONGEST_S, above_low=True)
        check_choice(own, "window", self.window, ("count", "time"))
        check_whole(own, "window_size", self.window_size, 1, 100_000 if self.window == "count" else 86_400)
        check_whole(own, "min_calls", self.min_calls, 1, _COUNT_MAX)
        check_whole(own, "half_open_permits", self.half_open_permits, 1, 1000)
        check_choice(own, "half_open_rule", self.half_open_rule, ("first_failure", "rates"))
        check_number(own, "probe_lease_s", self.probe_lease_s, 0.0, LONGEST_S, above_low=True)
        check_number(own, "open_s", self.open_s, 0.0, LONGEST_S)
        check_number(own, "open_growth", self.open_growth, 1.0, 100.0)
        check_number(own, "open_cap_s", self.open_cap_s, 0.0, LONGEST_S)
        check_number(own, "open_spread", self.open_spread, 0.0, 10.0)
        self._check_together()

    def _check_together(self) -> None:
        rates = self.failure_rate is not None or self.slow_rate is not None
        if rates and self.window == "count" and self.min_calls > self.window_size:
            raise ValidationError(
                f"BreakerSettings.min_calls is {self.min_calls} over a window of {self.window_size} calls; the rate"
                " rules could never speak: lower min_calls or widen window_size"
            )
        if self.half_open_rule == "rates" and not rates:
            raise ValidationError(
                "BreakerSettings.half_open_rule is 'rates' but neither failure_rate nor slow_rate is set: set one, or"
                " use 'first_failure'"
            )
        if self.open_s > self.open_cap_s:
            raise ValidationError(
                f"BreakerSettings.open_s is {self.open_s:g}, above open_cap_s {self.open_cap_s:g}: raise the cap"
            )

    def why_trip(self, consecutive: int, calls: int, failed: int, slow: int) -> str:
        """Why a closed breaker with these totals must open, or an empty word."""
        if self.failure_threshold is not None and consecutive >= self.failure_threshold:
            return f"{consecutive} consecutive failures"
        return self._rate_over(calls, failed, slow) if calls >= self.min_calls else ""

    def why_probes_fail(self, done: int, failed: int, slow: int) -> str:
        """Why a half-open breaker with these probes must open again, or an empty word (so far)."""
        if self.half_open_rule == "first_failure":
            return "a probe failed" if failed else ""
        return self._rate_over(done, failed, slow) if done == self.half_open_permits else ""

    def _rate_over(self, calls: int, failed: int, slow: int) -> str:
        if self.failure_rate is not None and failed / calls >= self.failure_rate:
            return f"{failed} of {calls} calls failed"
        if self.slow_rate is not None and slow / calls >= self.slow_rate:
            return f"{slow} of {calls} calls were slow"
        return ""

    def open_duration_s(self, opens_in_a_row: int, jitter: float = 0.0) -> float:
        """How long the n-th open in a row lasts: grown, capped, then spread *upward* by the chance in [0, 1)."""
        try:
            grown_s = self.open_s * self.open_growth ** (opens_in_a_row - 1)
        except OverflowError:
            grown_s = self.open_cap_s
        return capped_s(grown_s, self.open_cap_s) * (1.0 + self.open_spread * jitter)


def capped_s(duration_s: float, cap_s: float) -> float:
    """A duration between nothing and the cap, whatever a formula brought out; a NaN is the cap, the careful side."""
    return max(0.0, min(duration_s, cap_s)) if isfinite(duration_s) else cap_s
