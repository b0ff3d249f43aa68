"""Which connection carries a request, when to dial another, when to give one up: the pool's decisions, pure.

The shell (transport/http.py) owns sockets and only does what is decided here. Ready connections are used last-in
first-out: the warmest congestion window and the least chance that the server is just closing it; what stays unused at
the cold end is what retires. Prior art: Envoy's conn_pool_base.h for the states, AWS' backoff with full jitter.

                 connected          picked           answered
    CONNECTING ------------> READY --------> BUSY ------------> READY
        |                      |               |
        |                      +--- retire --->+--- drain ---> DRAINING
        +-------------------------- closed ----------------------> CLOSED
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from jackstay_protocols.errors import ValidationError


class ConnState(StrEnum):
    CONNECTING = "connecting"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"  # finishing its request, then closed
    CLOSED = "closed"


_MOVES: dict[tuple[ConnState, str], ConnState] = {
    (ConnState.CONNECTING, "connected"): ConnState.READY,
    (ConnState.CONNECTING, "closed"): ConnState.CLOSED,
    (ConnState.READY, "picked"): ConnState.BUSY,
    (ConnState.READY, "closed"): ConnState.CLOSED,
    (ConnState.BUSY, "answered"): ConnState.READY,
    (ConnState.BUSY, "drain"): ConnState.DRAINING,
    (ConnState.BUSY, "closed"): ConnState.CLOSED,
    (ConnState.DRAINING, "closed"): ConnState.CLOSED,
}
MOVES = dict(_MOVES)  # for documentation and tests


def move(state: ConnState, event: str) -> ConnState:
    """The next state. Raises AssertionError on an illegal move: only a bug in the pool can cause one."""
    following = _MOVES.get((state, event))
    assert following is not None, f"connection in state {state} cannot take event {event!r}"
    return following


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One endpoint's pool; `[connections]` in the configuration."""

    connections_min: int = 1  # kept open once the endpoint was used
    connections_max: int = 32
    waiters_max: int = 4096  # requests waiting for a connection; one more is refused at once
    dial_timeout_s: float = 5.0
    backoff_min_s: float = 0.05
    backoff_max_s: float = 5.0
    dials_per_window_max: int = 60  # a reconnect storm ends in a ban (exchanges.md §2, 17)
    dial_window_s: float = 10.0
    healthy_after_s: float = 5.0  # a connection that lived this long resets the backoff
    idle_s: float = 30.0  # retired before servers (commonly 60 s and more) close it under a request
    lifetime_s: float = 3600.0  # replaced ahead of it, before the old one goes
    probe_s: float = 15.0  # one kept open and idle for this long is asked the profile's harmless question; 0: never
    resolve_interval_s: float = 60.0  # names are looked up again; connections to addresses that left are replaced
    headers_max: int = 256
    header_bytes_max: int = 64 * 1024
    body_bytes_max: int = 48 * 1024 * 1024
    local_address: str = ""

    def __post_init__(self) -> None:
        def need(good: bool, what: str) -> None:
            if not good:
                raise ValidationError(what)

        need(0 <= self.connections_min <= self.connections_max, "connections_min: 0 to connections_max is expected")
        need(1 <= self.connections_max <= 1024, "connections_max: 1 to 1024 is expected")
        need(0 <= self.waiters_max <= 100_000, "waiters_max: 0 to 100000 is expected")
        need(0 < self.dial_timeout_s <= 120, "dial_timeout_s: above 0 and up to 120 is expected")
        need(0 < self.backoff_min_s <= self.backoff_max_s <= 600, "backoff_min_s <= backoff_max_s <= 600 is expected")
        need(1 <= self.dials_per_window_max <= 10_000, "dials_per_window_max: 1 to 10000 is expected")
        need(0 < self.dial_window_s <= 3600, "dial_window_s: above 0 and up to 3600 is expected")
        need(self.idle_s > 0 and self.lifetime_s > 0, "idle_s and lifetime_s: above 0 is expected")
        need(
            self.probe_s >= 0 and self.resolve_interval_s >= 0, "probe_s and resolve_interval_s: 0 or more is expected"
        )
        need(1 <= self.headers_max <= 10_000 and self.header_bytes_max >= 1024, "header bounds: at least 1 and 1024")
        need(0 < self.body_bytes_max <= 1 << 31, "body_bytes_max: above 0 and up to 2 GiB is expected")


class DialPlan:
    """When to dial: enough for who waits, never past the bounds, backing off after failures.

    ``now`` in seconds of any monotonic clock; ``chance`` is a number drawn uniformly from [0, 1).
    """

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._dials: list[float] = []
        self._failures = 0
        self._not_before = 0.0
        self._down_since = 0.0
        self.ever_up = False

    @property
    def failures(self) -> int:
        return self._failures

    def wanted(self, *, live: int, connecting: int, waiting: int, minimum: int | None = None) -> int:
        """How many dials to start now, bounds of time aside: one per waiter nobody else is being dialled for.

        ``minimum``: how many are kept open just now (default: connections_min).
        """
        settings = self._settings
        least = settings.connections_min if minimum is None else minimum
        need = waiting - connecting
        if live + connecting + max(0, need) < least and (self.ever_up or waiting):
            need = least - live - connecting
        return max(0, min(need, settings.connections_max - live - connecting))

    def wait_s(self, now: float) -> float:
        """Seconds until the next dial is allowed; 0 when it is allowed now."""
        settings = self._settings
        self._dials = [at for at in self._dials if now - at < settings.dial_window_s]
        budget_at = 0.0
        if len(self._dials) >= settings.dials_per_window_max:
            budget_at = self._dials[0] + settings.dial_window_s
        return max(0.0, self._not_before - now, budget_at - now)

    def started(self, now: float) -> None:
        self._dials.append(now)

    def succeeded(self) -> None:
        """A handshake alone does not prove health: the backoff is kept until `healthy`."""
        self.ever_up = True
        self._not_before = 0.0

    def healthy(self) -> None:
        """An answer came, or the connection lived for healthy_after_s: failures are forgotten."""
        self._failures = 0

    def failed(self, now: float, chance: float) -> float:
        """Note a failed dial; the pause before the next, full jitter over an exponential cap. The first after a
        healthy period is immediate (exchanges.md §5: NautilusTrader's immediate first)."""
        settings = self._settings
        self._failures += 1
        if self._failures == 1:
            self._down_since = now
            pause_s = settings.backoff_min_s * chance
        else:
            # Never longer than half of how long it has been away: a short outage is over soon after its end.
            patience_s = max(4 * settings.backoff_min_s, (now - self._down_since) / 2)
            cap_s = min(settings.backoff_max_s, settings.backoff_min_s * 2 ** min(self._failures, 32), patience_s)
            pause_s = max(settings.backoff_min_s / 2, cap_s * chance)
        self._not_before = now + pause_s
        return pause_s


def retire(now: float, *, opened_at: float, used_at: float, settings: PoolSettings, keep: bool, hint_s: float) -> bool:
    """Should a ready connection be closed? ``keep``: it is among the minimum; ``hint_s``: the server's keep-alive
    timeout (0: none), obeyed a second early so that no request meets the closing."""
    if now - opened_at >= settings.lifetime_s:
        return True
    if hint_s and now - used_at >= max(0.0, hint_s - 1.0):
        return True
    return not keep and now - used_at >= settings.idle_s
