"""Gates and ramps: the venue said "not now", and how we come back afterwards.

A gate has exactly the scope the venue gave it (ip, key, endpoint, order count) and stands until the venue's instant; it
is never shortened, only lengthened or released by an operator. After a gate of a whole ip or key the way back is a
ramp: a few requests a second, rising evenly, so that the end of a ban is not the start of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

from .bounds import LONGEST_S, check_instant, check_number
from .verdict import GateScope

GateKey = tuple[GateScope, str]  # scope, and whose: an egress address, a key's name, an endpoint, an account
GATES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RampSettings:
    """How fast we return after a gate. A ramp lasts as long as its gate did, at most ``ramp_s`` (``ban_ramp_s``)."""

    ramp_s: float = 30.0
    ban_ramp_s: float = 120.0
    start_per_s: float = 2.0
    end_per_s: float = 50.0

    def __post_init__(self) -> None:
        check_number("RampSettings", "ramp_s", self.ramp_s, 0.0, LONGEST_S)
        check_number("RampSettings", "ban_ramp_s", self.ban_ramp_s, 0.0, LONGEST_S)
        check_number("RampSettings", "start_per_s", self.start_per_s, 0.0, 1e6, above_low=True)
        check_number("RampSettings", "end_per_s", self.end_per_s, self.start_per_s, 1e6)


@dataclass(slots=True)
class Gate:
    since: float
    until: float
    why: str
    ban: bool


class Ramp:
    """Allowed by time t after the gate: 1 + start x t + (end - start) x t² / (2 x length)."""

    __slots__ = ("_count", "_length_s", "_since", "_start", "_steeper")

    def __init__(self, since: float, length_s: float, settings: RampSettings) -> None:
        self._since = since
        self._length_s = length_s
        self._start = settings.start_per_s
        self._steeper = (settings.end_per_s - settings.start_per_s) / (2.0 * length_s)
        self._count = 0.0

    @property
    def ends_at(self) -> float:
        return self._since + self._length_s

    def next_at(self, now: float) -> float:
        """The earliest instant, not before ``now``, at which one more request fits."""
        due = self._count  # request number n+1 may go when the curve has reached n
        # The positive root in the form that does not cancel for a nearly flat ramp.
        t = 2.0 * due / (self._start + sqrt(self._start**2 + 4.0 * self._steeper * due))
        return max(now, min(self._since + t, self.ends_at))

    def take(self) -> None:
        self._count += 1.0

    def give_back(self) -> None:
        self._count = max(0.0, self._count - 1.0)


class Gates:
    """All gates and ramps of one venue."""

    __slots__ = ("_next_at", "_ramps", "_settings", "closed")

    def __init__(self, settings: RampSettings) -> None:
        self._settings = settings
        self.closed: dict[GateKey, Gate] = {}
        self._ramps: dict[GateKey, Ramp] = {}
        self._next_at = inf  # before this instant time changes nothing

    @property
    def idle(self) -> bool:
        return not self.closed and not self._ramps

    def close(self, key: GateKey, until: float, now: float, why: str, ban: bool) -> Gate:
        check_instant(f"gate {key[0]} {key[1]}", "until", until)
        until = min(until, now + LONGEST_S)
        self.advance(now)
        gate = self.closed.get(key)
        if gate is None:
            if len(self.closed) >= GATES_MAX:  # absurd; the shortest one is the least loss
                del self.closed[min(self.closed, key=lambda k: self.closed[k].until)]
            gate = self.closed[key] = Gate(now, until, why, ban)
            self._ramps.pop(key, None)
        else:
            gate.until, gate.why, gate.ban = max(gate.until, until), why, gate.ban or ban
        self._plan()
        return gate

    def _plan(self) -> None:
        self._next_at = min(
            min((gate.until for gate in self.closed.values()), default=inf),
            min((ramp.ends_at for ramp in self._ramps.values()), default=inf),
        )

    def release(self, key: GateKey, now: float) -> bool:
        """An operator's word: open at once, with the ramp that would have followed."""
        gate = self.closed.get(key)
        if gate is None:
            return False
        gate.until = self._next_at = now
        self.advance(now)
        return True

    def advance(self, now: float) -> list[GateKey]:
        """Open what is due; says which gates opened. What has been gated as a whole returns on a ramp."""
        if now < self._next_at:
            return []
        opened = [key for key, gate in self.closed.items() if now >= gate.until]
        for key in opened:
            gate = self.closed.pop(key)
            longest_s = self._settings.ban_ramp_s if gate.ban else self._settings.ramp_s
            length_s = min(longest_s, gate.until - gate.since)
            if key[0] in (GateScope.IP, GateScope.KEY) and length_s > 0.0 and now < gate.until + length_s:
                self._ramps[key] = Ramp(gate.until, length_s, self._settings)
        for key in [key for key, ramp in self._ramps.items() if now >= ramp.ends_at]:
            del self._ramps[key]
        self._plan()
        return opened

    def gate_over(self, keys: tuple[GateKey, ...], derisk: bool) -> Gate | None:
        """The gate that stands longest before these keys. An order count never gates de-risking."""
        found: Gate | None = None
        for key in keys:
            gate = self.closed.get(key)
            if gate is None or (derisk and key[0] is GateScope.ORDER_COUNT):
                continue
            if found is None or gate.until > found.until:
                found = gate
        return found

    def ramp_next_at(self, keys: tuple[GateKey, ...], now: float) -> float:
        return max((self._ramps[key].next_at(now) for key in keys if key in self._ramps), default=now)

    def ramp_take(self, keys: tuple[GateKey, ...]) -> None:
        for key in keys:
            if key in self._ramps:
                self._ramps[key].take()

    def ramp_give_back(self, keys: tuple[GateKey, ...]) -> None:
        for key in keys:
            if key in self._ramps:
                self._ramps[key].give_back()

    def restore_ramp(self, key: GateKey, now: float, left_s: float) -> None:
        """A return that was under way goes on from its slow beginning, for what was left of it."""
        if left_s > 0.0 and key not in self.closed and len(self._ramps) < GATES_MAX:
            self._ramps[key] = Ramp(now, left_s, self._settings)
            self._plan()

    def ramping(self) -> dict[GateKey, float]:
        """Key -> when its ramp ends."""
        return {key: ramp.ends_at for key, ramp in self._ramps.items()}
