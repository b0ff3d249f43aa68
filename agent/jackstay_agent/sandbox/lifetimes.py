"""How long a Binance connection lives: server pings that must be answered, a number of client messages a second, a
lifetime of a day, and the announcement that the server shuts down. All of it can be scaled down on request.

Sources: Binance spot web-socket-streams.md and web-socket-api.md (ping every 20 s, pong with its payload within a
minute, an unsolicited pong does not help; 5 messages a second; 24 hours; `serverShutdown`); USDⓈ-M connection docs
(ping every 3 minutes, pong within 10; 10 messages a second; 24 hours).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import orjson

from .streams import LineListener, Listener, close_frame, ping_frame, text_frame

DAY_S = 86_400.0
CLOSE_GOING_AWAY, CLOSE_POLICY = 1001, 1008


@dataclass(slots=True)
class SocketRules:
    """Seconds. Zero turns a rule off."""

    ping_every_s: float
    pong_within_s: float
    lifetime_s: float = DAY_S
    messages_per_s: int = 0


def rules_by_door(*, enforce_limits: bool) -> dict[str, SocketRules]:
    return {
        "spot": SocketRules(20.0, 60.0, messages_per_s=5 if enforce_limits else 0),
        # the WebSocket API counts requests by weight instead
        "api": SocketRules(20.0, 60.0),
        "usdm": SocketRules(180.0, 600.0, messages_per_s=10 if enforce_limits else 0),
    }


@dataclass(slots=True)
class Watch:
    """One connection under its door's rules; times in monotonic seconds. `ends_at` 0: at the end of its lifetime."""

    door: str
    opened_at: float
    pinged_at: float
    payload: bytes = b""
    unanswered_since: float = 0.0
    ends_at: float = 0.0
    window_at: float = 0.0
    window_count: int = 0


class Doorkeeper:
    """Watches every connection it was told of. `turn` ten times a second."""

    def __init__(self, *, enforce_limits: bool) -> None:
        self.rules = rules_by_door(enforce_limits=enforce_limits)
        self._watches: dict[Listener, Watch] = {}

    def join(self, listener: Listener, door: str, now: float) -> None:
        self._watches[listener] = Watch(door, now, now)

    def leave(self, listener: Listener) -> None:
        self._watches.pop(listener, None)

    def set(self, changes: dict[str, Any], door: str = "") -> None:
        """New rules for one door, or all; they hold for connections that stand, too. ValueError for wrong ones."""
        names = {each.name for each in fields(SocketRules)}
        for name, value in changes.items():
            if name not in names:
                raise ValueError(f"unknown rule {name!r}: expected one of {', '.join(sorted(names))}")
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} is {value!r}: expected a number from 0")
        if door and door not in self.rules:
            raise ValueError(f"door is {door!r}: expected one of {', '.join(self.rules)}")
        for each in [door] if door else list(self.rules):
            for name, value in changes.items():
                setattr(self.rules[each], name, value)

    def heard(self, listener: Listener, now: float) -> bool:
        """One message (or ping or pong) of the client; False, and the connection ends, when it is one too many."""
        watch = self._watches.get(listener)
        if watch is None:
            return False  # it was ended a moment ago, and this was on its way
        most = self.rules[watch.door].messages_per_s
        if now - watch.window_at >= 1.0:
            watch.window_at, watch.window_count = now, 0
        watch.window_count += 1
        if most and watch.window_count > most:
            self._end(listener, CLOSE_POLICY, "Too many requests")
            return False
        return True

    def ponged(self, listener: Listener, payload: bytes) -> None:
        """Only a pong that carries the ping's payload counts."""
        watch = self._watches.get(listener)
        if watch is not None and payload == watch.payload:
            watch.unanswered_since = 0.0

    def turn(self, now: float) -> None:
        for listener, watch in list(self._watches.items()):
            rules = self.rules[watch.door]
            ends_at = watch.ends_at or (watch.opened_at + rules.lifetime_s if rules.lifetime_s else 0.0)
            if ends_at and now >= ends_at:
                self._end(listener, CLOSE_GOING_AWAY, "")
            elif watch.unanswered_since and rules.pong_within_s and now - watch.unanswered_since > rules.pong_within_s:
                self._end(listener, CLOSE_POLICY, "Pong timeout")
            elif rules.ping_every_s and now - watch.pinged_at >= rules.ping_every_s:
                watch.pinged_at, watch.payload = now, b"%d" % int(now * 1000)
                watch.unanswered_since = watch.unanswered_since or now
                if not isinstance(listener, LineListener):
                    listener.send(ping_frame(watch.payload))
                else:
                    watch.unanswered_since = 0.0

    def shut_down(self, after_s: float, now: float, wall_ms: int) -> int:
        """Announce the end to every connection; it comes after this long. Returns how many there are."""
        event = {"e": "serverShutdown", "E": wall_ms}
        for listener, watch in self._watches.items():
            watch.ends_at = now + after_s
            if isinstance(listener, LineListener):
                continue
            told: dict[str, Any] = {"event": event} if listener.is_api else event
            listener.send(text_frame(orjson.dumps(told)))
        return len(self._watches)

    def _end(self, listener: Listener, code: int, reason: str) -> None:
        self._watches.pop(listener, None)
        listener.end(close_frame(code, reason))
