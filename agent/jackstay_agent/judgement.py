"""Steps 4 and 10 of a request's journey for one upstream: its breaker, its limits, its retry budget, its loop stop.

The core decides; this file holds the pieces of one venue together, gives them the clock's and chance's values, and
turns what they tell into events. It moves no bytes and waits for nothing.
"""

from __future__ import annotations

import random as chance
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from jackstay_protocols.errors import Lane, Reason, ValidationError
from jackstay_protocols.types import OrderClass

from .core.breaker import Breaker, BreakerSettings, BreakerState, Permit
from .core.breaker import Refusal as BreakerRefusal
from .core.event_sink import EventSink
from .core.loop_stop import LoopSettings, LoopStop
from .core.modes import Mode
from .core.rate_headers import HeaderReader
from .core.rate_limit import Admit, Ask, GateScope, Limiter, Refuse, Wait
from .core.retry import RetryBudget, RetrySettings
from .core.verdict import BreakerMark, Verdict
from .host_budgets import UpstreamBudgets
from .venue_modes import VenueModes
from .venues.profile import GENERIC, Profile, Route

# Names of parameters that make an equal order look different (DESIGN §3 rule 1): ids, clocks, nonces, signatures.
CHANGES_WITH_EVERY_REQUEST = frozenset({"timestamp", "recvwindow", "nonce", "signature", "exptime"})
NOT_PART_OF_AN_ORDER = CHANGES_WITH_EVERY_REQUEST | {
    *("newclientorderid", "clientorderid", "clordid", "cl_ord_id", "orderlinkid", "userref", "newclientstrategyid"),
}

#: Classes of endpoints; what breaks one need not break the others (DESIGN §5 Breaker).
ORDERS, ACCOUNT, MARKET_DATA = "orders", "account", "market_data"
BREAKER_CLASSES = (ORDERS, ACCOUNT, MARKET_DATA)
ORDER_KINDS = frozenset({"place", "amend", "replace", "cancel", "cancel_all", "unlisted"})


class Door(NamedTuple):
    """What a request of one endpoint and key has to pass; kept, for it holds no state of its own."""

    ask: Ask
    breaker: Breaker
    account: str  # the alias of its API key


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
        modes: VenueModes,
        shared: UpstreamBudgets | None = None,
        loops: LoopSettings | None = None,
    ) -> None:
        """``shared``: where the budgets per address come from, if all agents of the host share them."""
        self.name = name
        self.profile = profile
        self.venue = name if profile is GENERIC else profile.name
        self.breakers = {each: Breaker(breaker, name=f"{name} {each}") for each in BREAKER_CLASSES}
        self._first = self.breakers[ORDERS]
        self._shared = shared
        self._of_host = {name for name, per_key, _orders in profile.charged if shared is not None and not per_key}
        rules = [replace(each, kind="leased") if each.name in self._of_host else each for each in profile.budgets]
        self.limiter = Limiter(rules)
        if shared is not None:
            for name in sorted(self._of_host):
                shared.share(name, self.limiter.leased(name, "ip"))
        self.retry_budget = RetryBudget(retry)
        self.loop_stop = LoopStop(loops)
        self._headers = HeaderReader(profile.header_rules)
        self._limits = {rule.name: rule.limit for rule in profile.budgets}
        self._clock = clock
        self._random = random
        self._on_event = on_event
        self._modes = modes
        self._doors: dict[tuple[str, str, Lane, str, str], Door] = {}
        self._keys: dict[bytes, str] = {}
        self._rejects_seen = False
        self._dirty = False

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
                    # the same after a restart and in every agent of the host: budgets are kept under it
                    alias = self._keys[value] = f"key-{blake2b(value, digest_size=4).hexdigest()}"
                return alias
        return ""

    def door(self, method: str, path: str, route: Route, key: str, breaker: str = "") -> Door:
        """What this request costs, which gates it passes, and which breaker is its own (or the one that is named)."""
        place = (method, path, route.lane, key, breaker)
        found = self._doors.get(place)
        if found is None:
            if len(self._doors) >= 4096:
                self._doors.clear()
            gates = [(GateScope.IP, "ip"), (GateScope.KEY, key), (GateScope.ENDPOINT, f"{method} {path}")]
            if route.orders:
                gates.append((GateScope.ORDER_COUNT, key))
            charges = [
                (name, key if per_key else "ip", float(route.orders if counts_orders else route.weight))
                for name, per_key, counts_orders in self.profile.charged
                if (route.orders if counts_orders else route.weight)
            ]
            ask = Ask(route.lane, tuple(charges), tuple(gates))
            found = self._doors[place] = Door(ask, self.breakers[breaker or breaker_class(route, key)], key)
        return found

    def acquire(self, door: Door, route: Route) -> Permit | BreakerRefusal:
        return door.breaker.acquire(self._clock(), derisk=route.lane is Lane.DERISK)

    def admit(self, door: Door, deadline_at: float, ticket: Wait | None) -> Admit | Wait | Refuse:
        room = self.limiter.admit(self._clock(), door.ask, deadline_at=deadline_at, ticket=ticket)
        if self._shared is not None and not isinstance(room, Admit):
            self._shared.look()
        return room

    def held(self, orders: list[tuple[OrderClass, bool]]) -> tuple[str, float | None] | None:
        """(message, retry after) where a mode stops one of these orders: (class, is post only)."""
        for order_class, post_only in orders:
            hold = self._modes.refusal(self.venue, Lane.ORDER, order_class, post_only=post_only)
            if hold is not None:
                left_s = None if hold.until is None else max(0.0, hold.until - self._clock())
                what = (
                    "an order that is not post-only"
                    if hold.mode is Mode.POST_ONLY
                    else f"an order of class {order_class}"
                )
                return f"{self.name}: mode {hold.mode} (by {hold.holder}: {hold.why}) stops {what}", left_s
        return None

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

    def loop_refusal(self, account: str, key: Callable[[], tuple[str, ...]]) -> tuple[str, float] | None:
        """(message, retry after) when this very order was refused too often; ``key`` is made only if needed.

        ``account``: the alias of the API key; what another account does right changes nothing for this one.
        """
        if not self._rejects_seen:
            return None
        stopped = self.loop_stop.refusal(self._clock(), account, key())
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
        door: Door,
        permit: Permit,
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
        self._dirty = True
        if not sent:
            door.breaker.ignore(permit, now)
        elif verdict.breaker is BreakerMark.SUCCESS:
            door.breaker.success(permit, now, duration_s)
        elif verdict.breaker is BreakerMark.FAILURE:
            door.breaker.failure(permit, now, duration_s, jitter=self._random.random())
        else:
            door.breaker.ignore(permit, now)
        if headers and self._limits:
            for budget, used in self._headers.read(headers, self._limits):
                if self._shared is not None and budget in self._of_host:
                    self._shared.correct(budget, used)
                else:
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
        self.tell()

    def order_answered(self, account: str, key: tuple[str, ...], verdict: Verdict, *, rejected: bool) -> None:
        """Feed the loop stop: an equal reject counts, anything accepted clears."""
        now = self._clock()
        if rejected:
            self._rejects_seen = True
            if self.loop_stop.rejected(now, account, key, verdict.code or verdict.cause):
                self._on_event("loop.stopped", {"upstream": self.name, "reason": verdict.code or verdict.cause})
        elif self._rejects_seen:
            self.loop_stop.succeeded(now, account)
            self._rejects_seen = not self.loop_stop.idle

    def begin_slowly(self) -> None:
        """The venue was away: its address returns on a ramp."""
        self.limiter.ramp(self._clock())

    def release_loops(self) -> int:
        """An operator's word for every account: how many stops it lifted."""
        now = self._clock()
        accounts = {scope for scope, _key, _stop in self.loop_stop.stopped(now)}
        return sum(self.loop_stop.release(now, account) for account in accounts)

    def give_back(self, door: Door, permit: Permit, room: Admit) -> None:
        """Admitted and not sent: neither success nor failure (DESIGN §3 rule 12)."""
        now = self._clock()
        door.breaker.ignore(permit, now)
        self.limiter.give_back(now, room)

    # ------------------------------------------------------------ over a restart

    def take_dirty(self) -> bool:
        """Something was learnt since the last call."""
        dirty, self._dirty = self._dirty, False
        return dirty

    def snapshot(self) -> dict[str, Any]:
        now = self._clock()
        return {
            "breakers": {name: each.snapshot(now) for name, each in self.breakers.items()},
            "limiter": self.limiter.snapshot(now),
        }

    def restore(self, kept: Any, elapsed_s: float) -> None:
        """Take up a snapshot, or raise ValidationError; what of it makes sense is then taken up nevertheless."""
        now = self._clock()
        if not isinstance(kept, dict) or not isinstance(kept.get("breakers"), dict):
            raise ValidationError(f"what was kept of {self.name} is damaged: start without it")
        wrong: list[str] = []
        for name, breaker in self.breakers.items():
            if name in kept["breakers"]:
                try:
                    breaker.restore(kept["breakers"][name], now, elapsed_s=elapsed_s)
                except ValidationError as error:
                    wrong.append(str(error))
        try:
            self.limiter.restore(kept.get("limiter"), now, elapsed_s=elapsed_s)  # type: ignore[arg-type]
        except ValidationError as error:
            wrong.append(str(error))
        if wrong:
            raise ValidationError("; ".join(wrong))

    @staticmethod
    def in_trouble(kept: Any) -> bool:
        """A snapshot in which something is shut: worth showing and probing before the bot asks."""
        if not isinstance(kept, dict) or not isinstance(kept.get("breakers"), dict):
            return False
        shut = any(isinstance(each, dict) and each.get("state") != "closed" for each in kept["breakers"].values())
        limiter = kept.get("limiter")
        return shut or (isinstance(limiter, dict) and bool(limiter.get("gates")))

    # ------------------------------------------------------------ operators

    def reset(self) -> dict[str, Any]:
        """An operator's word: close the breaker, open the gates, forget loops. Says what was changed."""
        now = self._clock()
        opened = [
            f"{gate['scope']} {gate['whose']}"
            for gate in self.limiter.status(now)["gates"]
            if self.limiter.release(now, GateScope(gate["scope"]), gate["whose"])
        ]
        before = {name: str(each.state) for name, each in self.breakers.items()}
        for breaker in self.breakers.values():
            if breaker.state is not BreakerState.CLOSED:
                breaker.force(BreakerState.CLOSED, now, why="reset by an operator")
        released = self.release_loops()
        self.tell()
        return {"breakers_were": before, "gates_opened": opened, "loops_released": released}

    def status(self) -> dict[str, Any]:
        """``breaker`` is the state of the worst of ``breakers``, with all their counts together."""
        breakers = {name: self._shown(each) for name, each in self.breakers.items()}
        worst = max(breakers.values(), key=lambda each: _WORST.index(each["state"]))
        worst = worst | {name: sum(each[name] for each in breakers.values()) for name in self._first.counts}
        return {"breaker": worst, "breakers": breakers, "limits": self.limiter.status(self._clock())}

    def _shown(self, breaker: Breaker) -> dict[str, Any]:
        now = self._clock()
        breaker.advance(now)
        left_s = round(breaker.until - now, 3) if breaker.until is not None else None
        return {"state": str(breaker.state), "left_s": left_s, "why": breaker.why, **breaker.counts}

    def tell(self) -> None:
        """Turn what happened into events."""
        for name, breaker in self.breakers.items():
            tell_breaker(breaker, self.name, name, self._on_event)
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


def tell_breaker(breaker: Breaker, upstream: str, endpoint_class: str, on_event: EventSink) -> None:
    """What happened to a breaker, as the agent's events."""
    for event in breaker.drain_events() if breaker.pending else ():
        kind = event.to_state if event.kind == "moved" else event.kind
        facts = {"upstream": upstream, "class": endpoint_class, "was": event.from_state.value, "why": event.why}
        on_event(f"breaker.{kind}", facts)


def breaker_class(route: Route, key: str) -> str:
    """Whose breaker a request is: that of orders, of the account, or of public market data."""
    if route.kind in ORDER_KINDS:
        return ORDERS
    return ACCOUNT if key or route.kind in ("order_query", "other") else MARKET_DATA


_WORST = ("closed", "metrics_only", "disabled", "half_open", "open", "forced_open")

REFUSAL_WORDS = {
    Reason.BREAKER_OPEN: "the breaker of {name} is open after repeated failures",
    Reason.HALF_OPEN_FULL: "the breaker of {name} is half open and its probes are under way",
}
