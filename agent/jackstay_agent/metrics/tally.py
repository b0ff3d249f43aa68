"""What only happens once and is gone: requests by outcome, refusals by reason, durations, events. Listens to telling.

Everything else a scrape shows is read from what the agent keeps anyway (sections.py); this is the part that has to be
counted on the way, so it is a few dictionary look-ups per request and nothing more. Labels are words of the profile and
of the code (venue, operation class, outcome, lane, reason, event name), never ids or symbols of a request.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from jackstay_protocols.messages import Refusal

from ..telling import Answered, Asked, Attempt, Listener

#: Seconds. From what the agent itself costs to what a bot gives up at.
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
EVENT_NAMES_MAX = 512  # they are words of the code; a recovery scenario's steps make some more

#: Told per feed: sockets and topics come and go, so what they counted themselves is no counter for a scrape.
FEED_EVENTS = frozenset({"feed.connected", "feed.gap"})


class Histogram:
    """Counts per bucket (the last is +Inf) and their sum in seconds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def copy(self) -> Histogram:
        """As it is now: a page is written over several turns of the loop."""
        copied = Histogram()
        copied.counts, copied.sum_s = self.counts.copy(), self.sum_s
        return copied


class Tally(Listener):
    """Counters by their labels; read by a scrape, written on the agent's loop."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, str], int] = {}  # venue, class, outcome
        self.refusals: dict[tuple[str, str, str], int] = {}  # venue, lane, reason
        self.waits: dict[tuple[str, str], Histogram] = {}  # venue, class: arrival to answer
        self.exchanges: dict[tuple[str, str], Histogram] = {}  # venue, class: what the venue took
        self.settled_late: dict[str, int] = {}
        self.events: dict[str, int] = {}
        self.feeds: dict[tuple[str, str], int] = {}  # what happened to a feed, its name

    def decided(self, asked: Asked, refusal: Refusal | None) -> None:
        if refusal is not None:
            key = (asked.venue, asked.lane, refusal.reason)
            self.refusals[key] = self.refusals.get(key, 0) + 1

    def attempted(self, asked: Asked, attempt: Attempt) -> None:
        key = (asked.venue, asked.kind)
        histogram = self.exchanges.get(key)
        if histogram is None:
            histogram = self.exchanges[key] = Histogram()
        histogram.add(attempt.ended_at - attempt.started_at)

    def answered(self, asked: Asked, answer: Answered) -> None:
        venue, kind = asked.venue, asked.kind
        key = (venue, kind, answer.outcome)
        self.answers[key] = self.answers.get(key, 0) + 1
        histogram = self.waits.get((venue, kind))
        if histogram is None:
            histogram = self.waits[venue, kind] = Histogram()
        histogram.add(answer.elapsed_s)

    def settled(self, _intent: object, settled: Any) -> None:
        state = str(settled.state)
        self.settled_late[state] = self.settled_late.get(state, 0) + 1

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        if name in self.events or len(self.events) < EVENT_NAMES_MAX:
            self.events[name] = self.events.get(name, 0) + 1
        if name in FEED_EVENTS:
            key = (name, str(fields.get("feed", "")))
            self.feeds[key] = self.feeds.get(key, 0) + 1
