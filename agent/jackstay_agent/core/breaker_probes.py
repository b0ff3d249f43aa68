"""The probes of a half-open breaker: who was let through, who came back, whose lease is over.

Exactly ``places`` calls are admitted per half-open period; a place is free again only if its call was ignored
(cancelled) or never came back within its lease. Decides nothing about opening or closing.
"""

from __future__ import annotations

from .breaker_state import Permit


class Probes:
    __slots__ = ("_lease_s", "_out", "done", "failed", "places", "slow")

    def __init__(self, places: int, lease_s: float) -> None:
        self.places = places
        self._lease_s = lease_s
        self._out: dict[Permit, None] = {}
        self.clear()

    def clear(self) -> None:
        self._out.clear()
        self.done = self.failed = self.slow = 0

    def __contains__(self, permit: Permit) -> bool:
        return permit in self._out

    def admit(self, generation: int, now: float) -> Permit | None:
        """A permit, or None: all places are taken or used."""
        if len(self._out) + self.done >= self.places:
            return None
        permit = Permit(generation, now + self._lease_s, False)
        self._out[permit] = None
        return permit

    def give_back(self, permit: Permit) -> None:
        self._out.pop(permit, None)

    def settle(self, permit: Permit, failed: int, slow: bool) -> None:
        del self._out[permit]
        self.done += 1
        self.failed += failed
        self.slow += slow

    def reclaim(self, now: float) -> int:
        """Take back the places of probes that never returned; says how many."""
        lost = [permit for permit in self._out if now >= permit.lease_until]
        for permit in lost:
            del self._out[permit]
        return len(lost)

    def next_lease_end(self) -> float | None:
        return min((permit.lease_until for permit in self._out), default=None)
