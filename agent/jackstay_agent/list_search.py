"""Step 11 for an order without an id of its own: is it among the orders the venue lists? (DESIGN §6, `lookup`)

Reads the profile's lists to their end, keeps those that were created while ours was under way, takes out every one the
journal knows as another order, and asks core/matching whether exactly one is left. Two candidates, another equal order
still open, a list that could not be read or has no end: nothing is concluded. That none is left is told, too; whether
it proves anything is the profile's word (`lists_prove_absence`) and core/evidence's rule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from jackstay_protocols.errors import ValidationError

from .core.evidence import Clock, Evidence, Finding, Source
from .core.matching import Candidate, Sought, looks_alike, match_lists
from .outbox import Intent, Outbox, Unknown
from .transport.http import HttpAnswer, HttpFailure
from .venues.answers import OrderState
from .venues.operations import Lookup, Operations
from .venues.outgoing import OutgoingRequest

Ask = Callable[[str, OutgoingRequest, float], Awaitable["HttpAnswer | HttpFailure | None"]]
PAGES_MAX = 20
ANSWER_WITHIN_S = 5.0
BEFORE_S = 60.0  # how far back the lists are read: more than any clock is off, less than a page of most accounts


class Unlisted(Exception):
    """A list could not be read to its end; nothing can be concluded."""


class ListSearch:
    def __init__(
        self,
        outbox: Callable[[], Outbox],
        *,
        ask: Ask,
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_answer: Callable[[str, object], None],
    ) -> None:
        self._outbox = outbox
        self._ask = ask
        self._clock = clock
        self._wall = wall
        self._on_answer = on_answer
        self.asked = 0

    async def search(
        self, unknown: Unknown, operations: Operations, lookup: Lookup
    ) -> tuple[Evidence, OrderState | None]:
        """What the lists say of it, and the order itself if it is there."""
        intent, asked_at = unknown.intent, self._clock()
        told = Evidence(Source.LISTS, Finding.NO_ANSWER, asked_at, intent.family)
        sought = self._sought(unknown)
        if sought is None or unknown.search.clock is Clock.WRONG or self._outbox().other_equals(unknown.seq):
            return told, None  # without a time to look at, or without one order that could be it
        try:
            listed = await self._listed(unknown, operations, lookup)
        except Unlisted:
            return told, None
        own = self._outbox()
        keys = operations.venue_id_keys(intent.family)
        known = {id_ for id_ in listed if own.knows_order(unknown.seq, id_, listed[id_].client_id, keys)}
        candidates = [_candidate(each) for each in listed.values()]
        match = match_lists(
            sought,
            candidates,
            known,
            clock_offset_s=lookup.patience.clock_offset_s,
            late_s=intent.recv_window_s or lookup.late_s or lookup.patience.visibility_delay_s,
        )
        if match.found is not None:
            order = listed[match.found.venue_order_id]
            found = replace(
                told,
                finding=Finding.EXISTS,
                venue_order_id=order.venue_id,
                status=str(order.status),
                created_at=match.found.created_at,
            )
            return found, order
        # where the venue's clock can be measured, nothing is missed by the word of ours: it may have been anywhere
        dated = unknown.search.clock is Clock.VENUE or not operations.has("server_time")
        return (replace(told, finding=Finding.NOT_FOUND) if match.count == 0 and dated else told), None

    def _sought(self, unknown: Unknown) -> Sought | None:
        venue_s = self._outbox().venue_at(unknown.intent.venue, self._clock())
        return sought_of(unknown, (self._wall() if venue_s is None else venue_s) - unknown.since_s)

    async def _listed(self, unknown: Unknown, operations: Operations, lookup: Lookup) -> dict[str, OrderState]:
        """Every order of the lists that says when it was created and could be ours. Raises Unlisted."""
        intent, found = unknown.intent, dict[str, OrderState]()
        since_ms = int((unknown.search.sent_wall - BEFORE_S) * 1000)
        for name in lookup.lists:
            for sweep in self._sweeps(operations, name, intent):
                given: dict[str, Any] | None = {**sweep, "symbol": intent.symbol, "since_ms": since_ms}
                for _page in range(PAGES_MAX):
                    assert given is not None
                    orders, given = await self._page(intent, operations, name, given)
                    for order in orders:
                        if order.time_ms is None or order.quantity is None:
                            raise Unlisted(name)
                        found[order.venue_id] = order
                    if given is None:
                        break
                else:
                    raise Unlisted(name)
        return found

    def _sweeps(self, operations: Operations, name: str, intent: Intent) -> list[dict[str, str]]:
        """The order's own values where they say enough; else what shows the whole account."""
        own = context_of(intent)
        try:
            operations.request(name, family=intent.family, **{**own, "symbol": intent.symbol})
        except ValidationError:
            return [{**each, **own} for each in operations.sweeps_of(intent.family)]
        return [own]

    async def _page(
        self, intent: Intent, operations: Operations, name: str, given: dict[str, Any]
    ) -> tuple[list[OrderState], dict[str, Any] | None]:
        try:
            question = operations.request(name, family=intent.family, **given)
        except ValidationError as error:
            raise Unlisted(str(error)) from None
        self.asked += 1
        result = await self._ask(intent.connection_id, question, self._clock() + ANSWER_WITHIN_S)
        if not isinstance(result, HttpAnswer):
            raise Unlisted(name)
        answer = operations.read(name, result.status, result.body, family=intent.family)
        if not isinstance(answer, list):
            self._on_answer(intent.venue, answer)
            raise Unlisted(name)
        orders = [each for each in answer if isinstance(each, OrderState)]
        return orders, operations.next_page(name, result.body, family=intent.family, given=given)


def context_of(intent: Intent) -> dict[str, str]:
    """The order's own values that questions about it may need (a category, an instrument type)."""
    return {name: value for name, value in intent.fields.items() if isinstance(value, str) and name not in ORDER_FIELDS}


ORDER_FIELDS = frozenset({"symbol", "side", "type", "quantity", "quote_quantity", "price", "stop_price"})


def sought_of(unknown: Unknown, given_up_at: float) -> Sought | None:
    """What to look for; None for an order sized in quote units: no list says that."""
    fields, intent = unknown.intent.fields, unknown.intent
    quantity = _decimal(fields.get("quantity"))
    if quantity is None:
        return None
    return Sought(
        symbol=intent.symbol,
        side=intent.side,
        order_type=str(fields.get("type", "")),
        quantity=quantity,
        price=_decimal(fields.get("price")),
        sent_at=unknown.search.sent_wall,
        given_up_at=given_up_at,
    )


def has_fields_of(unknown: Unknown, order: OrderState) -> bool:
    """Whether the venue's order has the fields of this one; where they cannot be compared it has not."""
    sought = sought_of(unknown, 0.0)
    return sought is not None and looks_alike(sought, _candidate(order))


def _candidate(order: OrderState) -> Candidate:
    return Candidate(
        venue_order_id=order.venue_id,
        symbol=order.symbol,
        side=order.side,
        order_type=order.type,
        quantity=order.quantity or Decimal(0),
        price=order.price,
        created_at=(order.time_ms or 0) / 1000,
        client_order_id=order.client_id,
        status=str(order.status),
    )


def _decimal(value: object) -> Decimal | None:
    """A number of the journal: they come back from it as text."""
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None
