"""When a connection counts as silent, and when to speak on it (DESIGN §5 Connections; exchanges.md 13-15).

Two clocks, never mixed. The *transport* clock is fed by every frame, pongs included; the *data* clock by application
messages alone, because servers exist that answer pings for hours and deliver nothing (exchanges.md 14). A subscription
that was acknowledged and never delivers is a third thing: it has a first-message deadline of its own (13).

Pure: `now` is an argument in seconds of any one clock, the caller keeps timers and sockets. A quiet symbol is not a
dead one, so the wait for a first message doubles with each miss up to sixteenfold, and the data clock belongs to the
socket, which carries many topics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

FIRST_MESSAGE_GROWTH_MAX = 16
CADENCE_WINDOW_S = 300.0
CADENCE_SEEN_MIN = 20  # loop turns with data before a rhythm is believed
CADENCE_DOUBLINGS_MAX = 6
NEVER = float("inf")


class Due(StrEnum):
    """What a look at the clocks found."""

    NOTHING = "nothing"
    HEARTBEAT = "heartbeat"  # send the venue's application heartbeat
    SILENT = "silent"  # no data for too long: replace the socket
    OLD = "old"  # the socket nears the venue's lifetime: rotate it


@dataclass(frozen=True, slots=True)
class HeartbeatRules:
    """Seconds; 0 turns a rule off."""

    silence_s: float = 0.0
    heartbeat_interval_s: float = 0.0
    lifetime_s: float = 0.0
    cadence_factor: float = 0.0
    cadence_min_s: float = 0.0


@dataclass(slots=True)
class Cadence:
    """A socket's learned rhythm: the longest gap between its messages, over the last one to two windows.

    A gap ``factor`` times longer is silence. Busy sockets are so found dead in seconds, and a symbol that trades once a
    minute raises no alarm. Each silence that brought no message afterwards doubles the limit, so that a closed market
    is not redialled for ever.
    """

    factor: float
    min_s: float
    seen: int = 0
    misses: int = 0
    _longest_s: float = 0.0
    _before_s: float = 0.0
    _since: float | None = None

    def heard(self, now: float, gap_s: float) -> None:
        self.misses = 0
        self.seen += 1
        if self._since is None:
            self._since = now
        elif now - self._since > CADENCE_WINDOW_S:
            self._before_s, self._longest_s, self._since = self._longest_s, 0.0, now
        self._longest_s = max(self._longest_s, gap_s)

    def missed(self) -> None:
        self.misses = min(self.misses + 1, CADENCE_DOUBLINGS_MAX)

    def forget(self) -> None:
        """Other topics, another rhythm."""
        self.seen = 0
        self._longest_s = self._before_s = 0.0
        self._since = None

    def limit_s(self) -> float:
        if self.factor <= 0 or self.seen < CADENCE_SEEN_MIN:
            return NEVER
        return max(self.min_s, self.factor * max(self._longest_s, self._before_s)) * (1 << self.misses)


@dataclass(slots=True)
class SocketClocks:
    """Both clocks of one open socket and what they make due."""

    rules: HeartbeatRules
    opened_at: float
    transport_at: float = 0.0
    data_at: float = 0.0
    spoke_at: float = 0.0
    cadence: Cadence | None = None  # kept over reconnects by the caller
    expects_data: bool = False
    old_told: bool = False
    _any_data: bool = False

    def __post_init__(self) -> None:
        self.transport_at = self.data_at = self.spoke_at = self.opened_at

    def heard_transport(self, now: float) -> None:
        """Any frame: a pong, a ping, an acknowledgement."""
        self.transport_at = now

    def heard_data(self, now: float) -> None:
        """An application message; the only thing that feeds the data clock."""
        # The first gap of a connection is its own making, and what comes outside a market's hours is no rhythm.
        if self.cadence is not None and self._any_data and self.expects_data:
            self.cadence.heard(now, now - self.data_at)
        self._any_data = True
        self.data_at = self.transport_at = now

    def expect(self, now: float, wanted: bool) -> None:
        """Silence counts from the moment something was asked for, not from before."""
        if wanted and not self.expects_data:
            self.data_at = max(self.data_at, now)
        self.expects_data = wanted

    def excuse(self, seconds: float) -> None:
        """Time in which this process itself did not run is no silence of the venue (DESIGN §3 rule 13)."""
        self.data_at += max(0.0, seconds)

    def silent_at(self) -> float:
        """When the silence is too long: the profile's deadline or the learned one, whichever is sooner."""
        if not self.expects_data:
            return NEVER
        limit_s = self.rules.silence_s if self.rules.silence_s > 0 else NEVER
        if self.cadence is not None:
            limit_s = min(limit_s, self.cadence.limit_s())
        return self.data_at + limit_s

    def due(self, now: float) -> Due:
        """The most urgent thing that is due; a heartbeat or rotation told once counts as done."""
        if now >= self.silent_at():
            if self.cadence is not None:
                self.cadence.missed()
            return Due.SILENT
        if self.rules.heartbeat_interval_s > 0 and now >= self.spoke_at + self.rules.heartbeat_interval_s:
            self.spoke_at = now
            return Due.HEARTBEAT
        if self.rules.lifetime_s > 0 and not self.old_told and now >= self.opened_at + self.rules.lifetime_s:
            self.old_told = True
            return Due.OLD
        return Due.NOTHING

    def next_at(self) -> float:
        """When `due` can next say something, or NEVER."""
        edges = [self.silent_at()]
        if self.rules.heartbeat_interval_s > 0:
            edges.append(self.spoke_at + self.rules.heartbeat_interval_s)
        if self.rules.lifetime_s > 0 and not self.old_told:
            edges.append(self.opened_at + self.rules.lifetime_s)
        return min(edges)


@dataclass(slots=True)
class FirstMessages:
    """Topics that were subscribed on a socket and have not delivered since."""

    wait_s: float
    _due: dict[str, float] = field(default_factory=dict)
    _misses: dict[str, int] = field(default_factory=dict)

    def expect(self, topics: Iterable[str], now: float) -> None:
        if self.wait_s <= 0:
            return
        for topic in topics:
            growth = min(2 ** self._misses.get(topic, 0), FIRST_MESSAGE_GROWTH_MAX)
            self._due[topic] = now + self.wait_s * growth

    def heard(self, topic: str) -> None:
        self._due.pop(topic, None)
        self._misses.pop(topic, None)

    def forget(self, topic: str) -> None:
        """Nobody wants it any more, or its socket went: a new `expect` starts the wait again."""
        self._due.pop(topic, None)

    def forget_all(self) -> None:
        self._due.clear()

    def overdue(self, now: float) -> list[str]:
        """Topics past their deadline, each told once per `expect`; their next wait is longer."""
        late = [topic for topic, due_at in self._due.items() if now >= due_at]
        for topic in late:
            del self._due[topic]
            self._misses[topic] = min(self._misses.get(topic, 0) + 1, FIRST_MESSAGE_GROWTH_MAX)
        return late

    def waiting(self, topic: str) -> bool:
        return topic in self._due

    def next_at(self) -> float:
        return min(self._due.values(), default=NEVER)
