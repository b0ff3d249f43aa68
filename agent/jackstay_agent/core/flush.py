"""May what was queued for an upstream leave now? (journey steps 4 to 7 of a posted request; DESIGN §5 Outbox)

One `Line` per upstream. Nothing leaves before the connection proved itself (a handshake, and an answer where the venue
has a harmless question); then cancels leave first, all of them, and the backlog of the outage follows in order and
paced, so that a venue that just came back is not met by a stampede. Once the backlog is gone the line is steady: what
is queued leaves at once. A missing answer or a lost connection puts it back to unproven.

Refuses to know what is sent, by whom it is asked, and the order of the queue. Instants are seconds of any monotonic
clock, arguments throughout.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

PROOF_PAUSE_MIN_S: Final = 0.25  # after a failed proof; doubled, so that a dead venue is asked every few seconds only
PROOF_PAUSE_MAX_S: Final = 5.0
#: Under way at once: more than a venue answers late, fewer than would be unknown if it died just now.
AT_ONCE_STEADY: Final = 64
AT_ONCE_FLUSHING: Final = 8


class Phase(StrEnum):
    UNPROVEN = "unproven"  # held: nobody knows whether the venue is there
    PROVING = "proving"  # a harmless question is under way
    FLUSHING = "flushing"  # the backlog leaves, cancels first, paced
    STEADY = "steady"  # what is queued leaves at once


class Line:
    """The way out to one upstream. ``pace_s``: between two orders while the backlog leaves."""

    def __init__(self, pace_s: float) -> None:
        self.phase = Phase.UNPROVEN
        self.under_way = 0
        self.derisk_under_way = 0
        self._pace_s = pace_s
        self._failures = 0
        self._backlog_to = 0  # the youngest number that waited for the proof
        self._next_at = 0.0  # of orders while flushing
        self._try_at = 0.0  # of the next proof
        self._not_before = {False: 0.0, True: 0.0}  # refused for now (budget, gate, breaker), by: is it de-risking?

    def proof_due(self, now: float) -> bool:
        """Whether to find out now if the venue is there."""
        return self.phase is Phase.UNPROVEN and now >= self._try_at

    def proving(self) -> None:
        self.phase = Phase.PROVING

    def proved(self, now: float, backlog_to: int) -> None:
        """It answered: the backlog, everything numbered up to ``backlog_to``, may leave."""
        if self.phase in (Phase.UNPROVEN, Phase.PROVING):
            self.phase = Phase.FLUSHING
            self._backlog_to = backlog_to
            self._next_at = now
            self._failures = 0

    def failed(self, now: float, chance: float) -> bool:
        """No answer, or nothing could be sent. True if it was proven until now. ``chance`` from [0, 1)."""
        was = self.phase in (Phase.FLUSHING, Phase.STEADY)
        pause_s = min(PROOF_PAUSE_MAX_S, PROOF_PAUSE_MIN_S * 2 ** min(self._failures, 16))
        self._failures += 1
        self._try_at = now + pause_s * (0.5 + chance / 2)
        self.phase = Phase.UNPROVEN
        return was

    def lost(self) -> bool:
        """Its connections are gone and nothing was risked by it: prove it anew, at once. True if it was proven."""
        was = self.phase in (Phase.FLUSHING, Phase.STEADY)
        if was:
            self.phase = Phase.UNPROVEN
        return was

    def emptied(self) -> bool:
        """The backlog is gone; True once."""
        if self.phase is Phase.FLUSHING:
            self.phase = Phase.STEADY
            return True
        return False

    def refused(self, until: float, *, derisk: bool) -> None:
        """A budget, a gate or the breaker says not now. What may reduce risk has its own gate."""
        self._not_before[derisk] = max(self._not_before[derisk], until)

    def may_leave(self, now: float, *, derisk: bool) -> bool:
        if self.phase not in (Phase.FLUSHING, Phase.STEADY) or now < self._not_before[derisk]:
            return False
        if derisk:
            return True
        if self.phase is Phase.STEADY:
            return self.under_way < AT_ONCE_STEADY
        # an order must not overtake the cancels that were queued with it
        return now >= self._next_at and not self.derisk_under_way and self.under_way < AT_ONCE_FLUSHING

    def left(self, now: float, number: int, *, derisk: bool) -> bool:
        """One leaves; they do so by number. True if with this one the backlog is through."""
        self.under_way += 1
        self.derisk_under_way += derisk
        if self.phase is Phase.FLUSHING and not derisk:
            self._next_at = max(now, self._next_at) + self._pace_s
            if number > self._backlog_to:  # younger than the return
                return self.emptied()
        return False

    def landed(self, *, derisk: bool) -> None:
        """It is answered, or was not sent after all."""
        self.under_way -= 1
        self.derisk_under_way -= derisk
