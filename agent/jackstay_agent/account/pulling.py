"""What the venue says of an account when it is asked: open orders of all families, single orders, fills, holdings.

Each question goes through the pipeline, under the venue's limits and breaker. An answer that did not come, or that
cannot be read, is a `Silence` with its reason: never an empty list. A list is read to its last page or it is a Silence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from jackstay_protocols.errors import ValidationError

from ..core.account import ZERO, Fill, Heard, Holding, Order, Stage
from ..transport.http import HttpAnswer, HttpFailure
from ..venues import answers
from ..venues.answers import Broken, NotFound, OrderState, SymbolRule
from ..venues.operations import Operations
from ..venues.outgoing import OutgoingRequest

#: Carries a signed question; None: it may not be asked now. A coroutine of the running loop.
Carry = Callable[[str, OutgoingRequest, float], Awaitable["HttpAnswer | HttpFailure | None"]]

PAGES_MAX = 100


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer, and why."""

    why: str


class Pulling:
    """Asks one venue after another; several questions of one venue go one by one, so that no burst is made of them."""

    def __init__(
        self,
        carry: Carry,
        *,
        clock: Callable[[], float],
        within_s: float,
        on_answer: Callable[[str, object], None] = lambda _venue, _answer: None,
    ) -> None:
        self._carry = carry
        self._clock = clock
        self._within_s = within_s
        self._on_answer = on_answer
        self.asked = 0

    async def open_orders(self, operations: Operations) -> list[Order] | Silence:
        """All open orders of all families of the account, asked one after another."""
        found: list[Order] = []
        asked: set[tuple[str, bytes]] = set()
        for family in operations.families:
            if not operations.has("open_orders", family):
                continue
            for sweep in operations.sweeps_of(family):
                question = operations.request("open_orders", family=family, **sweep)
                bare = (question.path, repr(sorted(sweep.items())).encode())
                if bare in asked:
                    continue  # two families in one list
                asked.add(bare)
                asked_at = self._clock()
                listed = await self._list(operations, "open_orders", family, dict(sweep))
                if isinstance(listed, Silence):
                    return listed
                found += [order_of(operations, each, asked_at, Heard.LIST, family, sweep) for each in listed]
        return found

    async def order(self, operations: Operations, order: Order) -> Order | Silence:
        """One order, asked for by its id in every place its family has; ABSENT where all say that there is none."""
        asked_at = self._clock()
        family = order.family if order.family in operations.families else next(iter(operations.families), "")
        given: dict[str, str | int] = {**order.context, "symbol": order.symbol}
        given |= {"client_id": order.client_id} if order.client_id else {"venue_id": order.venue_id}
        wanted = {name: value for name, value in given.items() if name in ("client_id", "venue_id")}
        for name in operations.lookup(family).ask:
            answer = await self._ask(operations, name, family, given, asked=wanted)
            if isinstance(answer, OrderState):
                return order_of(operations, answer, asked_at, Heard.QUERY, family, {})
            if isinstance(answer, Silence):
                return answer
            if not isinstance(answer, NotFound):
                return Silence(f"{name}: {_words(answer)}")
        if not operations.lookup(family).ask:
            return Silence(f"the profile says no way to ask about one order of family {family!r}")
        return Order(
            order.venue,
            order.symbol,
            order.client_id,
            order.venue_id,
            order.family,
            order.side,
            Stage.ABSENT,
            seen_at=asked_at,
            heard=Heard.QUERY,
            bot_id=order.bot_id,
        )

    async def fills(self, operations: Operations, since_ms: int, **given: str) -> list[Fill] | Silence:
        """Trades of the account since an instant of the venue's clock."""
        asked: dict[str, str | int] = {**given, "since_ms": since_ms}
        listed = await self._list(operations, "fills_since", "", asked)
        if isinstance(listed, Silence):
            return listed
        return [fill_of(operations, each) for each in listed]

    async def balances(self, operations: Operations) -> list[Holding] | Silence:
        seen_at = self._clock()
        listed = await self._list(operations, "balances", "", {})
        if isinstance(listed, Silence):
            return listed
        return [each for item in listed if (each := balance_of(operations, item, seen_at)) is not None]

    async def rule(self, operations: Operations, symbol: str, context: Mapping[str, str]) -> SymbolRule | Silence:
        """What an order of this symbol has to keep to; ``context``: what the question needs besides (a category)."""
        if not operations.has("symbol_rules"):
            return Silence("its profile has no way to ask for a symbol's rules")
        wanted = operations.profile.symbol(symbol)
        turns = operations.turns("symbol_rules")
        fitting = [each for each in turns if all(context.get(key, value) == value for key, value in each.items())]
        for turn in fitting or [{}]:
            given: dict[str, str | int] = {**turn, **context, "symbol": symbol}
            listed = await self._ask(operations, "symbol_rules", "", given, asked={})
            if isinstance(listed, Silence):
                return listed
            rows = [each for each in listed if isinstance(each, SymbolRule)] if isinstance(listed, list) else []
            for each in rows:
                if each.symbol == wanted:
                    return each
        return Silence(f"the venue lists no rules of {symbol}")

    async def positions(self, operations: Operations) -> list[Holding] | Silence:
        found: list[Holding] = []
        for sweep in operations.sweeps_of("", "positions"):
            seen_at = self._clock()
            listed = await self._list(operations, "positions", "", dict(sweep))
            if isinstance(listed, Silence):
                return listed
            found += [position_of(operations, item, seen_at) for item in listed]
        return [each for each in found if each.total]

    async def cancel(self, operations: Operations, order: Order) -> Silence | None:
        """Cancel one order by its id; None: the venue took it, or has nothing open there (no proof of its end)."""
        given: dict[str, str | int] = {**order.context, "symbol": order.symbol}
        given |= {"client_id": order.client_id} if order.client_id else {"venue_id": order.venue_id}
        answer = await self._ask(operations, "cancel", order.family, given)
        if isinstance(answer, Silence | answers.Done | answers.NotOpen | NotFound):
            return answer if isinstance(answer, Silence) else None
        return Silence(_words(answer))

    # ---- inside

    async def _list(
        self, operations: Operations, name: str, family: str, given: dict[str, str | int]
    ) -> list[Any] | Silence:
        found: list[Any] = []
        page = given
        for _ in range(PAGES_MAX):
            result = await self._carried(operations, name, family, page)
            if isinstance(result, Silence):
                return result
            answer = operations.read(name, result.status, result.body, family=family)
            self._on_answer(operations.profile.name, answer)
            if not isinstance(answer, list):
                return Silence(f"{name}: {_words(answer)}")
            found += answer
            try:
                following = operations.next_page(name, result.body, family=family, given=page)
            except Broken as error:
                return Silence(f"{name}: {error}")
            if following is None:
                return found
            page = following
        return Silence(f"{name}: more than {PAGES_MAX} pages")

    async def _ask(
        self,
        operations: Operations,
        name: str,
        family: str,
        given: dict[str, str | int],
        asked: dict[str, str | int] | None = None,
    ) -> Any:
        result = await self._carried(operations, name, family, given)
        if isinstance(result, Silence):
            return result
        answer = operations.read(name, result.status, result.body, family=family, asked=asked)
        self._on_answer(operations.profile.name, answer)
        return answer

    async def _carried(
        self, operations: Operations, name: str, family: str, given: dict[str, str | int]
    ) -> HttpAnswer | Silence:
        try:
            question = operations.request(name, family=family, **given)
        except ValidationError as error:
            return Silence(str(error))
        self.asked += 1
        deadline_at = self._clock() + self._within_s
        result = await self._carry(operations.profile.base_url, question, deadline_at)
        if result is None:
            return Silence(f"{name}: the venue may not be asked now (limits, gate or breaker)")
        if isinstance(result, HttpFailure):
            return Silence(f"{name}: {result.cause}: {result.detail}")
        return result


def order_of(
    operations: Operations, told: OrderState, at: float, heard: Heard, family: str, context: dict[str, str]
) -> Order:
    """A venue's normalised order as the account's noun."""
    return Order(
        operations.profile.name,
        told.symbol,
        told.client_id,
        told.venue_id,
        told.family or family,
        told.side,
        Stage(told.status.value),
        told.quantity,
        told.filled,
        told.price,
        told.time_ms,
        at,
        heard,
        context={**context, **told.context},
    )


def fill_of(operations: Operations, told: answers.Fill) -> Fill:
    return Fill(
        operations.profile.name,
        told.symbol,
        told.trade_id,
        told.venue_id,
        told.side,
        told.price,
        told.quantity,
        told.client_id,
        told.fee,
        told.fee_asset,
        told.time_ms,
        told.maker,
    )


def balance_of(operations: Operations, told: answers.Balance, at: float) -> Holding | None:
    total = told.total if told.total is not None else told.free
    if total is None:
        return None
    return Holding(
        "balance", operations.profile.name, operations.profile.asset(told.asset), total, told.free, seen_at=at
    )


def position_of(operations: Operations, told: answers.Position, at: float) -> Holding:
    part = "" if told.side in ("", "both", "net", "buy", "sell", "none") else told.side
    quantity: Decimal = told.quantity or ZERO
    return Holding("position", operations.profile.name, told.symbol, quantity, part=part, seen_at=at)


def _words(answer: object) -> str:
    if isinstance(answer, answers.Denied):
        return f"the venue refused: status {answer.status} {answer.code} {answer.message}".rstrip()
    if isinstance(answer, answers.Unreadable):
        return f"the answer cannot be read: {answer.reason}"
    return f"the venue answered {type(answer).__name__}"
