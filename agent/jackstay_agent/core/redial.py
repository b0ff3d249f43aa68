"""When to dial again after a connection was lost or a dial failed (DESIGN §5 Connections; exchanges.md 17, 18).

Full jitter over an exponential ceiling, kept at the cap; the first redial after a loss is immediate; the ceiling falls
back only after a connection stayed up for ``healthy_s``, so a venue that accepts and drops at once is not hammered; a
server's own Retry-After wins. An attempt budget per window bounds what no backoff bounds: many sockets losing the same
venue together.

Pure: `now` and the draw `chance` (0 <= chance < 1) are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_DOUBLINGS_MAX = 32  # beyond it any ceiling is at its cap


@dataclass(frozen=True, slots=True)
class RedialRules:
    """Seconds."""

    min_s: float = 0.25
    max_s: float = 30.0
    healthy_s: float = 10.0


@dataclass(slots=True)
class Redial:
    """One connection's history of failures."""

    rules: RedialRules
    failures: int = 0

    def failed(self, chance: float, *, retry_after_s: float | None = None) -> float:
        """A dial failed: seconds until the next one."""
        self.failures += 1
        return self._delay(chance, retry_after_s)

    def lost(self, up_s: float, chance: float, *, retry_after_s: float | None = None) -> float:
        """A connection that was up for ``up_s`` ended: seconds until the next dial.

        0 after a healthy one, and once after one that was lost young: only the next tells a hiccup from a venue that
        accepts and drops.
        """
        if up_s >= self.rules.healthy_s:
            self.failures = 0
            if retry_after_s is None:
                return 0.0
        self.failures += 1
        if self.failures == 1 and retry_after_s is None:
            return 0.0
        return self._delay(chance, retry_after_s)

    def _delay(self, chance: float, retry_after_s: float | None) -> float:
        ceiling_s = min(self.rules.max_s, self.rules.min_s * float(1 << min(self.failures - 1, _DOUBLINGS_MAX)))
        jitter_s = ceiling_s * chance
        if retry_after_s is None:
            return jitter_s
        return max(retry_after_s, 0.0) + jitter_s


@dataclass(slots=True)
class DialBudget:
    """At most ``attempts_max`` dials in any ``window_s`` seconds; 0 attempts: no limit."""

    attempts_max: int
    window_s: float
    _taken: deque[float] = field(default_factory=deque)

    def per_s(self) -> float:
        """Attempts a second in the long run; 0: no limit."""
        return self.attempts_max / self.window_s if self.attempts_max > 0 else 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until an attempt is allowed; 0 means now."""
        if self.attempts_max <= 0:
            return 0.0
        while self._taken and now - self._taken[0] >= self.window_s:
            self._taken.popleft()
        if len(self._taken) < self.attempts_max:
            return 0.0
        return self._taken[0] + self.window_s - now

    def take(self, now: float) -> None:
        if self.attempts_max > 0:
            self._taken.append(now)


@dataclass(slots=True)
class Pace:
    """At most ``per_s`` messages a second, evenly spaced; 0: no limit."""

    per_s: float
    _free_at: float = 0.0

    def wait_s(self, now: float) -> float:
        if self.per_s <= 0:
            return 0.0
        return max(0.0, self._free_at - now)

    def take(self, now: float) -> None:
        if self.per_s > 0:
            self._free_at = max(self._free_at, now) + 1.0 / self.per_s
