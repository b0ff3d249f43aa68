"""The circuit breaker: should this call be tried at all? (journey step 4, and step 10 for what came of it)

Decides from results alone; ``now`` (seconds of any monotonic clock) and chance are arguments. Refuses to know what is
called, who waits and what a failure is: the caller says ok, failure or ignored. No locks: the caller owns the order of
calls (the public `CircuitBreaker` adds clock and lock). Refusals are values, because on a hot path an exception costs
more than the decision.

Prior art: gobreaker's generations (a result from before the last transition changes nothing), resilience4j's windows,
released permits and operator modes. Against the traps found elsewhere: probes carry a lease, exactly
``half_open_permits`` are admitted, a cancelled call gives its permit back and counts neither way.

Known limit: permits of the closed state are shared, so settling one twice counts twice; the public permit refuses that.
"""

from __future__ import annotations

from jackstay_protocols.errors import Reason

from .breaker_machine import BreakerMachine
from .breaker_settings import BreakerSettings
from .breaker_state import CLOSED, DISABLED, HALF_OPEN, METRICS, BreakerEvent, BreakerState, Permit, Refusal
from .breaker_window import FAILED, SLOW

__all__ = ["Breaker", "BreakerEvent", "BreakerSettings", "BreakerState", "Permit", "Refusal"]


class Breaker(BreakerMachine):
    """One breaker. All instants are seconds of the caller's monotonic clock."""

    # -- asking -------------------------------------------------------------------------------------------------

    def acquire(self, now: float, *, derisk: bool = False) -> Permit | Refusal:
        """Leave or refusal, at once. The de-risking lane is never refused (DESIGN §3 rule 4)."""
        if self.free is not None:
            return self.free
        until = self.until
        if self._shut and not derisk and (until is None or now < until):
            self._refused += 1
            left_s = None if until is None else until - now
            return Refusal(self.name, self.state, Reason.BREAKER_OPEN, left_s)
        return self._acquire_rarely(now, derisk)

    def _acquire_rarely(self, now: float, derisk: bool) -> Permit | Refusal:
        self.advance(now)
        if self.free is not None:
            return self.free
        if derisk and (self._shut or self.state is HALF_OPEN):
            self._counts["bypassed"] += 1
            return Permit(self._generation, 0.0, True)
        if self.state is not HALF_OPEN:  # disabled or metrics-only
            return Permit(self._generation, 0.0, False)
        permit = self._probes.admit(self._generation, now)
        if permit is not None:
            return permit
        self._refused += 1
        lease_end = self._probes.next_lease_end()
        left_s = None if lease_end is None else lease_end - now
        return Refusal(self.name, HALF_OPEN, Reason.HALF_OPEN_FULL, left_s)

    # -- telling ------------------------------------------------------------------------------------------------

    def success(self, permit: Permit, now: float, duration_s: float = 0.0) -> None:
        """The call worked; a slow success still counts in the slow rate."""
        if permit is self.free:
            self._ok += 1
            self._consecutive = 0
            window = self._window
            if window is not None:
                window.record(now, SLOW if duration_s > self._slow_call_s else 0)
                if window.failed or window.slow:
                    self._judge(now, 0.0)
        else:
            self._settle(permit, now, 0, duration_s, 0.0, None)

    def failure(
        self,
        permit: Permit,
        now: float,
        duration_s: float = 0.0,
        *,
        jitter: float = 0.0,
        open_until: float | None = None,
    ) -> None:
        """The call failed. ``jitter``: the caller's chance in [0, 1); ``open_until`` opens at once to that instant."""
        self._settle(permit, now, FAILED, duration_s, jitter, open_until)

    def ignore(self, permit: Permit, now: float) -> None:
        """Neither: cancelled, a local mistake, a business answer. A probe's place is free again."""
        self._counts["ignored"] += 1
        self._probes.give_back(permit)

    def unused(self, permit: Permit) -> None:
        """Nothing was called with it: the place is free again, and nothing is counted."""
        self._probes.give_back(permit)

    def _settle(
        self, permit: Permit, now: float, failed: int, duration_s: float, jitter: float, open_until: float | None
    ) -> None:
        if self.state is HALF_OPEN:
            self.advance(now)  # a probe past its lease is lost, whether or not somebody asked in between
        lost = self.state is HALF_OPEN and permit not in self._probes  # reclaimed, or settled before
        if permit.bypass or permit.generation != self._generation or lost:
            self._counts["late"] += 0 if permit.bypass else 1
            return
        if self.state is DISABLED:
            return
        if failed:
            self._counts["failed"] += 1
        else:
            self._ok += 1
        if open_until is not None and now < open_until and self.state is not METRICS:
            self.open_until(open_until, now, "told by the answer")
        elif self.state is HALF_OPEN:
            self._probes.settle(permit, failed, duration_s > self._slow_call_s)
            self._judge_probes(now, jitter)
        else:
            self._consecutive = self._consecutive + 1 if failed else 0
            if self._window is not None:
                self._window.record(now, failed | (SLOW if duration_s > self._slow_call_s else 0))
            self._judge(now, jitter)

    def _judge_probes(self, now: float, jitter: float) -> None:
        probes = self._probes
        why = self.settings.why_probes_fail(probes.done, probes.failed, probes.slow)
        if why:
            self._open(now, why, jitter)
        elif probes.done == probes.places:
            self._move(CLOSED, now, "probes succeeded")

    def _judge(self, now: float, jitter: float) -> None:
        window = self._window
        if window is None:
            why = self.settings.why_trip(self._consecutive, 0, 0, 0)
        else:
            why = self.settings.why_trip(self._consecutive, window.calls, window.failed, window.slow)
        if why and self.state is METRICS:
            self._note("would_open", now, METRICS, why)
            self._forget()  # so that the next event needs fresh evidence
        elif why:
            self._open(now, why, jitter)
