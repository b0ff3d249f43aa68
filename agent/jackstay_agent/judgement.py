"""Steps 4 and 10 of a request's journey for one upstream: its breaker, its limits, its retry budget, its loop stop.

The core decides; this file holds the pieces of one venue together, gives them the clock's and chance's values, and
turns what they tell into events. It moves no bytes and waits for nothing.
"""

from __future__ import annotations

import random as chance
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from jackstay_protocols.errors import Lane, Reason

from .core.breaker import Breaker, BreakerSettings, BreakerState, Permit
from .core.breaker import Refusal as BreakerRefusal
from .core.loop_stop import LoopStop
from .core.rate_headers import HeaderReader
from .core.rate_limit import Admit, Ask, GateScope, Limiter, Refuse, Wait
from .core.retry import RetryBudget, RetrySettings
from .core.verdict import BreakerMark, Verdict
from .venues.profile import Profile, Route

EventSink = Callable[[str, dict[str, Any]], None]

# Names of parameters that make an equal order look different (DESIGN §3 rule 1): ids, clocks, nonces, signatures.
NOT_PART_OF_AN_ORDER = frozenset(
    {
        "newclientorderid",
        "clientorderid",
        "clordid",
        "cl_ord_id",
        "orderlinkid",
        "userref",
        "timestamp",
        "recvwindow",
        "nonce",
        "signature",
        "exptime",
        "newclientstrategyid",
    }
)


class Judgement:
    """What one upstream may be asked now, and what its answers teach."""

    def __init__(
        self,
        name: str,
        profile: Profile,
        breaker: BreakerSettings,
        retry: RetrySettings,
        *,
        clock: Callable[[], float],
        random: chance.Random,
        on_event: EventSink,
    ) -> None:
        self.name = name
        self.profile = profile
        self.breaker = Breaker(breaker, name=name)
        self.limiter = Limiter(profile.budgets)
        self.retry_budget = RetryBudget(retry)
        self.loop_stop = LoopStop()
        self._headers = HeaderReader(profile.header_rules)
        self._limits = {rule.name: rule.limit for rule in profile.budgets}
        self._clock = clock
        self._random = random
        self._on_event = on_event
        self._asks: dict[tuple[str, str, str], Ask] = {}
        self._keys: dict[bytes, str] = {}
        self._rejects_seen = False

    # ------------------------------------------------------------ step 4

    def key_alias(self, headers: list[tuple[bytes, bytes]]) -> str:
        """A stable alias of the API key a request carries ("" without one); the key itself is never shown."""
        wanted = self.profile.key_header
        if not wanted:
            return ""
        for name, value in headers:
            if len(name) == len(wanted) and name.lower() == wanted:
                alias = self._keys.get(value)
                if alias is None:
                    if len(self._keys) >= 256:
                        self._keys.clear()
                    alias = self._keys[value] = f"key{len(self._keys) + 1}"
                return alias
        return ""

    def ask(self, method: str, path: str, route: Route, key: str) -> Ask:
        """What this request costs and which gates it passes; kept per endpoint and key, for it holds no state."""
        found = self._asks.get((method, path, key))
        if found is None:
            if len(self._asks) >= 4096:
                self._asks.clear()
            endpoint = f"{method} {path}"
            gates = [(GateScope.IP, "ip"), (GateScope.KEY, key), (GateScope.ENDPOINT, endpoint)]
            if route.orders:
                gates.append((GateScope.ORDER_COUNT, key))
            charges = [
                (name, key if per_key else "ip", float(route.orders if counts_orders else route.weight))
                for name, per_key, counts_orders in self.profile.charged
                if (route.orders if counts_orders else route.weight)
            ]
            found = self._asks[method, path, key] = Ask(route.lane, tuple(charges), tuple(gates))
        return found

    def acquire(self, route: Route) -> Permit | BreakerRefusal:
        return self.breaker.acquire(self._clock(), derisk=route.lane is Lane.DERISK)

    def admit(self, ask: Ask, deadline_at: float, ticket: Wait | None) -> Admit | Wait | Refuse:
        return self.limiter.admit(self._clock(), ask, deadline_at=deadline_at, ticket=ticket)

    def order_key(self, path: str, query: str, body: bytes) -> tuple[str, ...]:
        """Equal for equal orders: the fields without ids, clocks and signatures, sorted."""
        try:
            text = query + "&" + body.decode("utf-8") if body[:1] not in (b"{", b"[") else query
        except UnicodeDecodeError:
            return (path, repr(body[:512]))
        fields = [f"{name}={value}" for name, value in parse_qsl(text) if name.lower() not in NOT_PART_OF_AN_ORDER]
        if body[:1] in (b"{", b"["):
            fields.append(repr(body[:2048]))
        return (path, *sorted(fields))

    def loop_refusal(self, key: Callable[[], tuple[str, ...]]) -> tuple[str, float] | None:
        """(message, retry after) when this very order was refused too often; ``key`` is made only if needed."""
        if not self._rejects_seen:
            return None
        stopped = self.loop_stop.refusal(self._clock(), self.name, key())
        if stopped is None:
            return None
        message = (
            f"{stopped.count} equal orders in a row were refused by the venue ({stopped.reason}): change a field of the"
            " order, or wait"
        )
        return message, stopped.retry_after_s

    # ------------------------------------------------------------ step 10

    def record(
        self,
        permit: Permit,
        route: Route,
        endpoint: str,
        key: str,
        verdict: Verdict,
        duration_s: float,
        headers: list[tuple[bytes, bytes]] | None,
        *,
        sent: bool,
    ) -> None:
        """``sent`` False: no byte left. That is the pool's to handle (backoff, dial budget) and no news of the venue's
        health, so callers go on waiting for its return inside their deadlines instead of being refused.
        """
        now = self._clock()
        if not sent:
            self.breaker.ignore(permit, now)
        elif verdict.breaker is BreakerMark.SUCCESS:
            self.breaker.success(permit, now, duration_s)
        elif verdict.breaker is BreakerMark.FAILURE:
            self.breaker.failure(permit, now, duration_s, jitter=self._random.random())
        else:
            self.breaker.ignore(permit, now)
        if headers and self._limits:
            for budget, used in self._headers.read(headers, self._limits):
                self.limiter.correct(now, budget, self.profile.whose(budget, key), used)
        if verdict.gate is not None:
            whose = {GateScope.IP: "ip", GateScope.ENDPOINT: endpoint}.get(verdict.gate, key)
            self.limiter.gate(
                now,
                verdict.gate,
                whose,
                retry_after_s=verdict.retry_after_s,
                why=f"{verdict.cause} from {self.name}",
                ban=verdict.ban,
            )
        self._tell()

    def order_answered(self, key: tuple[str, ...], verdict: Verdict, *, rejected: bool) -> None:
        """Feed the loop stop: an equal reject counts, anything accepted clears."""
        now = self._clock()
        if rejected:
            self._rejects_seen = True
            if self.loop_stop.rejected(now, self.name, key, verdict.code or verdict.cause):
                self._on_event("loop.stopped", {"upstream": self.name, "reason": verdict.code or verdict.cause})
        elif self._rejects_seen:
            self.loop_stop.succeeded(now, self.name)
            self._rejects_seen = False

    def give_back(self, permit: Permit, admitted: Admit | None) -> None:
        """Admitted and not sent: neither success nor failure (DESIGN §3 rule 12)."""
        now = self._clock()
        self.breaker.ignore(permit, now)
        if admitted is not None:
            self.limiter.give_back(now, admitted)

    # ------------------------------------------------------------ operators

    def reset(self) -> dict[str, Any]:
        """An operator's word: close the breaker, open the gates, forget loops. Says what was changed."""
        now = self._clock()
        opened = [
            f"{gate['scope']} {gate['whose']}"
            for gate in self.limiter.status(now)["gates"]
            if self.limiter.release(now, GateScope(gate["scope"]), gate["whose"])
        ]
        before = self.breaker.state
        if before is not BreakerState.CLOSED:
            self.breaker.force(BreakerState.CLOSED, now, why="reset by an operator")
        released = self.loop_stop.release(now, self.name)
        self._tell()
        return {"breaker_was": str(before), "gates_opened": opened, "loops_released": released}

    def status(self) -> dict[str, Any]:
        now = self._clock()
        self.breaker.advance(now)
        until = self.breaker.until
        return {
            "breaker": {
                "state": str(self.breaker.state),
                "left_s": round(until - now, 3) if until is not None else None,
                **self.breaker.counts,
            },
            "limits": self.limiter.status(now),
        }

    def _tell(self) -> None:
        for event in self.breaker.drain_events():
            self._on_event(
                f"breaker.{event.to_state if event.kind == 'moved' else event.kind}",
                {"upstream": self.name, "was": event.from_state.value, "why": event.why},
            )
        for told in self.limiter.drain_events():
            self._on_event(
                f"limit.{told.kind}",
                {
                    "upstream": self.name,
                    "scope": str(told.scope),
                    "whose": told.whose,
                    "for_s": round(told.until - self._clock(), 3) if told.until is not None else None,
                    "why": told.why,
                },
            )


REFUSAL_WORDS = {
    Reason.BREAKER_OPEN: "the breaker of {name} is open after repeated failures",
    Reason.HALF_OPEN_FULL: "the breaker of {name} is half open and its probes are under way",
}
