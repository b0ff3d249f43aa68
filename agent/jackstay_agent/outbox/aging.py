"""Since when is something over, when the wall clock was wrong at times?

A row says on the wall clock when it ended, and a wall clock steps: an outcome written down while it was an hour behind
looks an hour old once it is right again, and would leave with its idempotency key still in use. What is kept is kept
in doubt, so instants are compared with the lowest that the wall clock stood over the boot-time clock in that time.

Refuses to know what is kept. After a reboot only the wall clock is left to ask. A boot-time clock that does not count
a suspend makes things look younger, never older.
"""

from __future__ import annotations

from jackstay_agent.core.ttl import Stamp


class LowestLead:
    """How far the wall clock was ahead of the boot-time clock, at the least, in the last ``keep_s`` to twice that."""

    __slots__ = ("_before", "_keep_s", "_lead", "_turn_at")

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._before = self._lead = float("inf")
        self._turn_at = float("-inf")

    def see(self, now: Stamp, lead_s: float | None = None) -> None:
        """Look at the clocks; or at an instant of the past with the lead it had, of a process of the same boot."""
        if now.boot_s >= self._turn_at:
            self._before, self._lead = self._lead, float("inf")
            self._turn_at = now.boot_s + self._keep_s
        self._lead = min(self._lead, now.wall_s - now.boot_s if lead_s is None else lead_s)

    def over_before(self, now: Stamp) -> float:
        """What ended before this instant of the wall clock ended certainly more than ``keep_s`` ago."""
        self.see(now)
        return now.boot_s + min(self._before, self._lead) - self._keep_s
