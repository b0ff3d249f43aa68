"""The venues' dead-man switches: armed by a person, renewed while all is well, left armed when the agent stops.

`core/deadman` decides when; this file asks the venue, through the de-risking lane and its reserved share, and keeps the
switches on the disk: what is armed at the venue is adopted by the next agent before anything else, for it goes off by
itself. Arming shows what would die and refuses where that would hurt. Refuses to arm anything on its own.

A switch of the connection's kind (it fires when private streams are gone) is not renewed by requests: not armed here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from jackstay_protocols.errors import Reason, ValidationError
from jackstay_protocols.types import OrderClass

from .core.deadman import Advice, Step, Switch, cost_share, refuse_arming
from .core.event_sink import EventSink
from .core.protection import OpenOrder
from .flight import Flight
from .transport.http import HttpAnswer, HttpFailure
from .upstreams import Upstreams
from .venues.answers import Denied, Done
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest

Carry = Callable[[str, OutgoingRequest, float], Awaitable["HttpAnswer | HttpFailure | None"]]
ASK_WITHIN_S = 3.0
SYMBOLS_MAX = 100
SHOWN_MAX = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """What stands between a renewal and the venue: the venue's own "not before" (None: nothing), and how much of the
    tightest budget one renewal takes: its weight, the budget's limit and time. A limit of 0: no budget is known.
    """

    gate_until: float | None = None
    weight: float = 0.0
    limit: float = 0.0
    per_s: float = 1.0


def limits_of(upstreams: Upstreams, origin: str, request: OutgoingRequest, now: float) -> Limits:
    """As the venue's profile and its gates have them now."""
    way = upstreams.way(request.method, origin + request.target, "")
    judgement, profile, route = way.upstream.judgement, way.upstream.profile, way.route
    key = judgement.key_alias(request.headers)
    ask = judgement.door(request.method, way.path, route, key).ask
    rules = {rule.name: rule for rule in profile.budgets}
    tightest = Limits(judgement.limiter.gated_until(now, ask))
    for name, _whose, weight in ask.charges:
        rule = rules[name]
        if not tightest.limit or weight * rule.per_s / rule.limit > tightest.weight * tightest.per_s / tightest.limit:
            tightest = Limits(tightest.gate_until, weight, rule.limit, rule.per_s)
    return tightest


@dataclass(slots=True)
class Armed:
    """One switch at a venue; ``symbol`` "" where it is the account's."""

    venue: str
    symbol: str
    bot_id: str
    switch: Switch = field(default_factory=Switch)
    asking: bool = False
    renewals: int = 0


class Deadman:
    """``operations(venue)``: signed questions, None without a key. ``listed(venue)``: every open order of the account,
    or why it cannot be seen. ``limits(origin, request)``: gates and budgets for this request.
    ``fresh(bot)``: whether a switch may be renewed in its name.
    """

    def __init__(
        self,
        *,
        operations: Callable[[str], Operations | None],
        carry: Carry,
        listed: Callable[[str], Awaitable[list[OpenOrder] | str]],
        limits: Callable[[str, OutgoingRequest], Limits],
        fresh: Callable[[str], tuple[bool, str]],
        exclusive: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
        keep: Callable[[], Awaitable[None]],
        on_event: EventSink,
    ) -> None:
        self._operations = operations
        self._carry = carry
        self._listed = listed
        self._limits = limits
        self._fresh = fresh
        self._exclusive = exclusive
        self._clock = clock
        self._wall = wall
        self._keep = keep
        self._on_event = on_event
        self._armed: dict[tuple[str, str], Armed] = {}

    # ---- a person's word

    async def arm(
        self,
        venue: str,
        bot_id: str,
        window_s: float,
        symbols: list[str],
        *,
        accept_losing_stops: bool,
        expect: int | None,
        dry_run: bool,
        by: str,
        why: str,
    ) -> dict[str, Any]:
        """Arm, after showing what would die. ``expect``: how many orders the operator saw; another number is refused.

        Raises ValidationError saying why not.
        """
        operations, data = self._known(venue)
        if not data.window_min_s <= window_s <= data.window_max_s:
            raise ValidationError(
                f"{venue}: a window of {window_s:g} s; {data.window_min_s:g} to {data.window_max_s:g} s are expected"
            )
        orders = await self._listed(venue)
        if isinstance(orders, str):
            raise ValidationError(f"{venue}: what would die cannot be seen ({orders}); nothing was armed")
        per_symbol = data.scope == "symbol"
        wanted = sorted(set(symbols) or {each.symbol for each in orders}) if per_symbol else [""]
        if not wanted or len(wanted) > SYMBOLS_MAX:
            raise ValidationError(
                f"{venue} arms per symbol and {len(wanted)} are meant; name 1 to {SYMBOLS_MAX} with --symbol"
            )
        dies = [each for each in orders if not per_symbol or each.symbol in wanted]
        cost = self._limits(operations.profile.base_url, _request(operations, wanted[0], window_s))
        share = cost_share(cost.weight, window_s, cost.limit, cost.per_s, len(wanted)) if cost.limit else 0.0
        told: dict[str, Any] = {
            "venue": venue,
            "window_s": window_s,
            "symbols": wanted if per_symbol else [],
            "would_die": [{"id": each.name, "symbol": each.symbol, "class": str(each.order_class)} for each in dies],
            "budget_share": round(share, 4),
            "kills_conditional": data.kills_conditional,
            "armed": False,
        }
        told["would_die"], told["count"] = told["would_die"][:SHOWN_MAX], len(dies)
        no = refuse_arming(
            kills_conditional=data.kills_conditional,
            protective=sum(each.order_class in (OrderClass.PROTECTIVE, OrderClass.UNKNOWN) for each in dies),
            accept_losing_stops=accept_losing_stops,
            account_wide=not per_symbol,
            exclusive=self._exclusive,
            share=share,
        )
        if no is not None:
            raise ValidationError(f"{venue}: {no}", details=told)
        if dry_run:
            return told
        if expect is not None and expect != len(dies):
            raise ValidationError(
                f"{venue}: {len(dies)} orders would die, {expect} were expected; look again", details=told
            )
        for symbol in wanted:
            await self._arm_one(operations, venue, symbol, bot_id, window_s)
        self._on_event(
            "deadman.armed",
            {"venue": venue, "symbols": told["symbols"], "window_s": window_s, "bot": bot_id, "by": by, "why": why},
        )
        return told | {"armed": True}

    async def _arm_one(self, operations: Operations, venue: str, symbol: str, bot_id: str, window_s: float) -> None:
        """Written down first: an agent that dies in between finds a switch that may be armed, never a forgotten one."""
        armed = self._armed.setdefault((venue, symbol), Armed(venue, symbol, bot_id))
        armed.bot_id = bot_id
        sent_at = self._clock()
        armed.switch.arm(window_s, sent_at)
        armed.asking = True
        try:
            await self._keep()
            no = await self._ask(operations, symbol, window_s)
        finally:
            armed.asking = False
        if no:
            self._armed.pop((venue, symbol), None)
            await self._keep()
            raise ValidationError(f"{venue} {symbol or 'account'}: the switch is not armed: {no}")
        armed.switch.renewed(sent_at)

    async def disarm(self, venue: str, *, by: str, why: str) -> dict[str, Any]:
        """Switch off at the venue. Raises ValidationError where none is armed, or the venue does not say it is off."""
        operations, _data = self._known(venue)
        mine = [each for each in self._armed.values() if each.venue == venue]
        if not mine:
            raise ValidationError(f"{venue}: no switch is armed here; `jackstay deadman status` shows them")
        for each in mine:
            each.asking = True
            try:
                no = await self._ask(operations, each.symbol, 0.0)
            finally:
                each.asking = False
            if no:
                raise ValidationError(f"{venue} {each.symbol or 'account'}: it is still armed: {no}")
            del self._armed[venue, each.symbol]
        await self._keep()
        self._on_event("deadman.disarmed", {"venue": venue, "by": by, "why": why})
        return {"venue": venue, "disarmed": len(mine)}

    # ---- the pulse

    def tick(self) -> None:
        """Call it a few times a second: renew what is due, tell in time what will not be."""
        now = self._clock()
        for armed in list(self._armed.values()):
            if armed.asking:
                continue
            operations = self._operations(armed.venue)
            fresh, why = self._fresh(armed.bot_id)
            gate = None
            if operations is None:
                fresh, why = False, "the agent has no key for this venue any more"
            else:
                request = _request(operations, armed.symbol, armed.switch.window_s)
                gate = self._limits(operations.profile.base_url, request).gate_until
            advice = armed.switch.advise(now, fresh=fresh, why_not_fresh=why, gate_until=gate)
            if advice.step is Step.RENEW and operations is not None:
                self._renew(armed, operations, now)
            elif advice.step is not Step.NOTHING:
                self._tell(armed, advice, now)

    def _renew(self, armed: Armed, operations: Operations, now: float) -> None:
        armed.switch.tried(now)
        armed.asking = True
        Flight(self._renewed(armed, operations, now), lambda error: self._broken(armed, error)).step()

    async def _renewed(self, armed: Armed, operations: Operations, sent_at: float) -> None:
        try:
            no = await self._ask(operations, armed.symbol, armed.switch.window_s)
        finally:
            armed.asking = False
        if no:
            left_s = round(armed.switch.fires_at - self._clock(), 1)
            self._on_event(
                "deadman.renewal_failed",
                {"venue": armed.venue, "symbol": armed.symbol, "why": no, "fires_in_s": left_s},
            )
            return
        armed.switch.renewed(sent_at)
        armed.renewals += 1
        await self._keep()

    def _broken(self, armed: Armed, error: BaseException) -> None:
        armed.asking = False
        self._on_event("deadman.broken", {"venue": armed.venue, "error": f"{type(error).__name__}: {error}"})

    def _tell(self, armed: Armed, advice: Advice, now: float) -> None:
        at = armed.switch.fires_at if advice.at is None else advice.at
        self._on_event(
            "deadman.lapsed" if advice.step is Step.TELL_LAPSED else "deadman.will_fire",
            {
                "venue": armed.venue,
                "symbol": armed.symbol,
                "bot": armed.bot_id,
                "in_s": round(at - now, 1),
                "at": round(self._wall() + at - now, 3),
                "why": advice.why,
            },
        )

    async def _ask(self, operations: Operations, symbol: str, window_s: float) -> str:
        """ "" when the venue took it; otherwise why not."""
        request = _request(operations, symbol, window_s)
        result = await self._carry(operations.profile.base_url, request, self._clock() + ASK_WITHIN_S)
        if result is None:
            return "it may not be asked now (a gate of the venue, or the network)"
        if isinstance(result, HttpFailure):
            return f"{result.cause}: {result.detail}"
        answer = operations.read("deadman", result.status, result.body)
        if isinstance(answer, Done):
            return ""
        if isinstance(answer, Denied):
            return f"the venue refused: status {answer.status} {answer.code} {answer.message}".rstrip()
        return f"the venue answered {type(answer).__name__}"

    def _known(self, venue: str) -> tuple[Operations, Any]:
        operations = self._operations(venue)
        if operations is None:
            raise ValidationError(
                f"{venue}: the agent holds no key of this venue; give [venues.{venue}.keys] one",
                reason=Reason.NO_SIGNER,
            )
        data = operations.profile.data.deadman
        if data is None:
            raise ValidationError(
                f"{venue} has no dead-man switch of its own; `jackstay arm` lets the agent cancel in its stead"
            )
        if data.trigger != "timer":
            raise ValidationError(
                f"{venue}: its switch fires when the account's private streams are gone, not by a timer; it is not"
                " armed by this version",
                reason=Reason.NOT_YET,
            )
        return operations, data

    # ---- stop, restart, facts

    async def at_stop(self) -> list[str]:
        """Renew each to its full window and leave it armed; lines for the operator who stops the agent."""
        lines = []
        for armed in list(self._armed.values()):
            operations = self._operations(armed.venue)
            sent_at = self._clock()
            if operations is not None and sent_at < armed.switch.fires_at:
                no = await self._ask(operations, armed.symbol, armed.switch.window_s)
                if not no:
                    armed.switch.renewed(sent_at)
            left_s = armed.switch.fires_at - self._clock()
            lines.append(
                f"{armed.venue} {armed.symbol or 'account'}: the dead-man switch stays armed and fires in"
                f" {max(0.0, left_s):.0f} s unless an agent is back"
            )
            self._on_event(
                "deadman.left_armed", {"venue": armed.venue, "symbol": armed.symbol, "fires_in_s": round(left_s, 1)}
            )
        if lines:
            await self._keep()
        return lines

    def snapshot(self) -> dict[str, Any]:
        now, wall = self._clock(), self._wall()
        rows = [[a.venue, a.symbol, a.bot_id, a.switch.snapshot(now)] for a in self._armed.values()]
        return {"wall": wall, "switches": rows}

    def restore(self, kept: dict[str, Any]) -> None:
        """Adopt what an earlier agent armed. Raises ValidationError and adopts nothing if it cannot be read."""
        now = self._clock()
        adopted = {}
        try:
            elapsed_s = max(0.0, self._wall() - float(kept["wall"]))
            for venue, symbol, bot_id, row in kept["switches"]:
                armed = Armed(str(venue), str(symbol), str(bot_id))
                armed.switch.restore(row, now, elapsed_s=elapsed_s)
                adopted[armed.venue, armed.symbol] = armed
        except (KeyError, TypeError, ValueError) as error:
            raise ValidationError(f"the journaled dead-man switches are damaged ({type(error).__name__})") from error
        self._armed = adopted
        for armed in adopted.values():
            self._on_event(
                "deadman.adopted",
                {
                    "venue": armed.venue,
                    "symbol": armed.symbol,
                    "state": str(armed.switch.state(now)),
                    "fires_in_s": round(armed.switch.fires_at - now, 1),
                },
            )

    def status(self) -> list[dict[str, Any]]:
        now = self._clock()
        return [
            {
                "venue": armed.venue,
                "symbol": armed.symbol,
                "bot": armed.bot_id,
                "state": str(armed.switch.state(now)),
                "window_s": armed.switch.window_s,
                "fires_in_s": round(armed.switch.fires_at - now, 1),
                "renewals": armed.renewals,
            }
            for armed in self._armed.values()
        ]


def _request(operations: Operations, symbol: str, window_s: float) -> OutgoingRequest:
    """A window of 0 switches it off."""
    window_ms = int(window_s * 1000)
    if symbol:
        return operations.request("deadman", symbol=symbol, window_ms=window_ms)
    return operations.request("deadman", window_ms=window_ms)
