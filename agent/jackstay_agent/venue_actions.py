"""What the agent itself can do for a recovery scenario at one venue (recovery_scenarios/actions.py).

Everything is asked of the venue through the pipeline, under its limits and breaker. An answer that did not come is an
error, never an empty list: a scenario that is True stands on what the venue said. The agent places no order, so there
is no `resubmit` here: an adjusted order is suggested to the bot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from jackstay_protocols.errors import ExchangeError

from .account.books import Books
from .account.pulling import Pulling, Silence
from .core.account import Order, Stage
from .core.modes import Mode
from .reopening import Reopening
from .transport.http import HttpAnswer, HttpFailure
from .venue_modes import VenueModes
from .venues.answers import VenueStatus
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest

Carry = Callable[[str, OutgoingRequest, float], Awaitable["HttpAnswer | HttpFailure | None"]]
ASK_WITHIN_S = 5.0
RESUBSCRIBED_WITHIN_S = 30.0
FLOWS_WITHIN_S = 3.0
LOOK_EVERY_S = 0.1
FILTERS = ("tick_size", "step_size", "quantity_min", "quantity_max", "notional_min")
LIVE = {"state": "live"}
FILLS_BACK_S = 3_600.0
PROBES = ("probe.orders", "probe.account", "probe.market_data", "server_time")


class VenueQuestions:
    """``operations(venue)``: with the agent's key, or None. Holds nothing: while a venue is away or gated, calls wait
    inside their deadlines anyway.
    """

    def __init__(
        self,
        *,
        operations: Callable[[str], Operations | None],
        what: str,
        books: Books,
        pulling: Pulling,
        carry: Carry,
        streams: Callable[[], dict[str, Any]],
        feeds: Callable[[], dict[str, Any]],
        disarm: Callable[[str], Awaitable[bool]],
        direct: Callable[[str, dict[str, Any]], Awaitable[bool]],
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._operations = operations
        self._what = what
        self._books = books
        self._pulling = pulling
        self._carry = carry
        self._streams = streams
        self._feeds = feeds
        self._disarm = disarm
        self._direct = direct
        self._clock = clock
        self._wall = wall
        self._on_event = on_event

    # ---- the account

    async def query(self, symbol: str, order_id: str) -> dict[str, Any] | None:
        operations = self._venue()
        shown = await self._pulling.order(operations, self._order(operations, symbol, order_id))
        if isinstance(shown, Silence):
            raise ExchangeError(shown.why)
        if shown.stage is Stage.ABSENT:
            return None
        return {
            "status": shown.stage.value,
            "quantity": shown.quantity or Decimal(0),
            "filled": shown.filled or Decimal(0),
        }

    async def cancel(self, symbol: str, order_id: str) -> bool:
        operations = self._venue()
        no = await self._pulling.cancel(operations, self._order(operations, symbol, order_id))
        if no is not None:
            raise ExchangeError(no.why)
        return True

    async def open_orders(self, _symbol: str | None) -> list[Any]:
        found: list[Any] = _told(await self._pulling.open_orders(self._venue()))
        return found

    async def fills(self, symbol: str | None, order_id: str | None) -> list[dict[str, Any]]:
        operations = self._venue()
        since_ms = int((self._wall() - FILLS_BACK_S) * 1000)
        symbols = [symbol] if symbol else sorted(self._books.symbols(operations.profile.name))
        found = []
        for each in symbols:
            found += _told(await self._pulling.fills(operations, since_ms, symbol=each))
        if order_id is not None:
            named = [each for each in found if order_id in (each.client_id, each.venue_id)]
            if found and not named and symbol:  # some venues' fills know the venue's id alone
                venue_id = await self._venue_id(operations, symbol, order_id)
                named = [each for each in found if venue_id and each.venue_id == venue_id]
            found = named
        return [{"quantity": each.quantity, "price": each.price} for each in found]

    async def _venue_id(self, operations: Operations, symbol: str, order_id: str) -> str:
        """The venue's own id of this order; asked for where an agent that died had not written it down."""
        order = self._order(operations, symbol, order_id)
        if order.venue_id:
            return order.venue_id
        shown = await self._pulling.order(operations, order)
        if isinstance(shown, Silence):
            raise ExchangeError(shown.why)
        return shown.venue_id

    async def balances(self) -> dict[str, Decimal]:
        return {each.name: each.total for each in _told(await self._pulling.balances(self._venue()))}

    async def last_known(self, name: str) -> tuple[dict[str, Decimal], float] | None:
        """As the state monitor last pulled it."""
        held = self._books.holdings.get((name.removesuffix("s"), self._operations_name()))
        if not held:
            return None
        oldest = min(each.seen_at for each in held.values())
        return {each.name: each.total for each in held.values()}, round(max(0.0, self._clock() - oldest), 1)

    async def positions(self) -> dict[str, Decimal]:
        operations = self._venue()
        if not operations.has("positions"):
            return {}
        return {each.name: each.total for each in _told(await self._pulling.positions(operations))}

    # ---- the way to the venue

    async def reconnect(self, what: str) -> bool:
        """The pool dials by itself; that the venue answers is the proof."""
        return await self.probe(what)

    async def resubscribe(self, what: str) -> bool:
        """The account's own stream is up again, where the agent keeps one."""
        return await self._soon(lambda: self._streams().get(self._what, LIVE)["state"] == "live", RESUBSCRIBED_WITHIN_S)

    async def switch_feed(self, feed: str, source: str) -> bool:
        """Data of this source flows: bots read it under its own name."""
        if source not in self._feeds():
            raise ExchangeError(f"feed {source!r} is not configured")
        flows = lambda: any(each["state"] == "live" for each in self._feeds()[source]["sockets"])  # noqa: E731
        return await self._soon(flows, FLOWS_WITHIN_S)

    async def venue_status(self, what: str) -> str:
        operations = self._venue()
        if not operations.has("status"):
            return "online" if await self.probe(what) else "maintenance"
        result = await self._asked(operations, "status")
        told = operations.read("status", result.status, result.body)
        if not isinstance(told, VenueStatus):
            raise ExchangeError(f"the venue's status cannot be read: {type(told).__name__}")
        return told.status

    async def probe(self, what: str) -> bool:
        operations = self._venue()
        name = next((each for each in PROBES if operations.has(each)), None)
        if name is None:
            raise ExchangeError("the profile has no harmless question to ask")
        result = await self._asked(operations, name)
        return 200 <= result.status < 300

    async def disarm_switch(self, what: str) -> bool:
        return await self._disarm(self._what)

    async def filters(self, symbol: str, market: dict[str, str]) -> dict[str, Decimal]:
        found = _told(await self._pulling.rule(self._venue(), symbol, market))
        return {name: getattr(found, name) for name in FILTERS}

    # ---- words

    async def directive(self, name: str, fields: dict[str, Any]) -> bool:
        return await self._direct(name, fields if "feed" in fields else {"venue": self._what, **fields})

    async def notify(self, name: str, fields: dict[str, Any]) -> None:
        self._on_event(f"recovery.told.{name}", {"venue": self._what, **fields})

    # ---- inside

    def _operations_name(self) -> str:
        return self._venue().profile.name

    def _venue(self) -> Operations:
        operations = self._operations(self._what)
        if operations is None:
            raise ExchangeError(f"{self._what}: the agent holds no key of this venue, it cannot ask")
        return operations

    def _order(self, operations: Operations, symbol: str, order_id: str) -> Order:
        """As the evidence knows it, by either id; a number nobody knows is the venue's own."""
        venue = operations.profile.name
        family = next(iter(operations.families), "")
        for asked in (Order(venue, symbol, order_id), Order(venue, symbol, "", order_id, family)):
            known = self._books.find(asked)
            if known is not None:
                return known
        if order_id.isdecimal():
            return Order(venue, symbol, "", order_id, family)
        return Order(venue, symbol, order_id, "", family)

    async def _soon(self, ready: Callable[[], bool], within_s: float) -> bool:
        until = self._clock() + within_s
        while not ready():
            if self._clock() >= until:
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    async def _asked(self, operations: Operations, name: str) -> HttpAnswer:
        question = operations.request(name)
        result = await self._carry(operations.profile.base_url, question, self._clock() + ASK_WITHIN_S)
        if result is None:
            raise ExchangeError(f"{name} may not be asked now (limits, gate or breaker)")
        if isinstance(result, HttpFailure):
            raise ExchangeError(f"{name}: {result.cause}: {result.detail}")
        return result


class VenueActions(VenueQuestions):
    """The same with a mode over ``holds_at`` ("" where there is no venue to hold), in the holder's name."""

    def __init__(
        self,
        holder: str,
        mode: Mode,
        *,
        modes: VenueModes,
        holds_at: str,
        hold_for_s: float,
        reopening: Reopening | None = None,
        **questions: Any,
    ) -> None:
        super().__init__(**questions)
        self._holder = holder
        self._mode = mode
        self._modes = modes
        self._holds_at = holds_at
        self._hold_for_s = hold_for_s
        self._reopening = reopening

    async def hold(self, what: str, why: str) -> None:
        if self._holds_at:
            self._modes.hold(self._holds_at, self._mode, holder=self._holder, why=why, for_s=self._hold_for_s)

    async def release(self, what: str) -> None:
        if self._holds_at:
            self._modes.release(self._holds_at, self._holder)

    async def cancel_for_stalled(self, what: str) -> list[str]:
        return await self._reopening.cancel_for_stalled(what) if self._reopening is not None else []

    async def barrier(self, what: str) -> bool:
        return self._reopening is not None and self._reopening.barrier(what)

    async def ramp(self, what: str) -> None:
        if self._reopening is not None:
            self._reopening.ramp(what)


def _told(answer: Any) -> Any:
    if isinstance(answer, Silence):
        raise ExchangeError(answer.why)
    return answer
