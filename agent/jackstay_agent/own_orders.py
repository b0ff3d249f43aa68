"""Which open orders are a bot's own, asked of the venue and proved by journal or client-id prefix (DESIGN §3 rule 6).

An order is a bot's if its request went through this agent (account/books, the outbox), or if its client id begins as
the operator said this agent's orders do (`[account] client_id_prefixes`). What it is for is its request's word; of an
order whose request nobody saw only the operator's own prefixes tell, otherwise its class is unknown: it is left alone.
Everybody else's orders are looked past.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from jackstay_protocols.types import OrderClass

from .account.books import Books
from .account.pulling import Pulling, Silence
from .core.account import Order
from .core.order_class import ClassRules, OrderFacts, classify_order
from .core.protection import OpenOrder
from .guardian import Found
from .venues.operations import Operations

T = TypeVar("T")
NO_KEY = "the agent has no key for this venue"


class AccountOrders:
    """`guardian.OwnOrders` over the account's evidence and the venue. ``venues()``: those where the agent has a key.

    ``sort_out(operations, listed)``: the venue's list -> (own, ours by prefix and nobody's by journal). ``only_bot()``:
    the one bot of this agent, whose the latter are; "" where there are several. ``on_cancelled(venue)``: it took one.
    """

    def __init__(
        self,
        books: Books,
        pulling: Pulling,
        *,
        loop: asyncio.AbstractEventLoop,
        venues: Callable[[], list[Operations]],
        sort_out: Callable[[Operations, list[Order]], Awaitable[tuple[list[Order], list[Order]]]],
        class_rules: Callable[[str], ClassRules],
        only_bot: Callable[[], str],
        on_cancelled: Callable[[str], None] = lambda _venue: None,
    ) -> None:
        self._books = books
        self._pulling = pulling
        self._loop = loop
        self._venues = venues
        self._sort_out = sort_out
        self._class_rules = class_rules
        self._only_bot = only_bot
        self._on_cancelled = on_cancelled

    async def find(self, bot_id: str) -> Found:
        return await self._in_task(self._find(bot_id))

    async def cancel(self, order: OpenOrder) -> str:
        return await self._in_task(self._cancel(order))

    async def listed(self, venue: str) -> list[OpenOrder] | str:
        """Every open order of the account, whoever's; or why it cannot be seen."""
        operations = next((each for each in self._venues() if each.profile.name == venue), None)
        if operations is None:
            return NO_KEY
        return await self._in_task(self._listed(operations))

    def known(self, bot_id: str) -> list[OpenOrder]:
        """What the evidence has as open, without asking."""
        names = {operations.profile.name for operations in self._venues()} or set(self._books.venues())
        return [self._open(each) for venue in sorted(names) for each in self._books.of_bot(venue, bot_id) if each.live]

    # ---- in tasks of their own

    async def _in_task(self, work: Awaitable[T]) -> T:
        """Asking waits on futures and threads; whoever asks may be run by callbacks (flight.py)."""
        return await asyncio.ensure_future(work, loop=self._loop)

    async def _find(self, bot_id: str) -> Found:
        orders: dict[tuple[str, str, str, str], OpenOrder] = {}
        silent: dict[str, str] = {}
        for operations in self._venues():
            venue = operations.profile.name
            listed = await self._pulling.open_orders(operations)
            if isinstance(listed, Silence):
                silent[venue] = listed.why
                found = [each for each in self._books.of_bot(venue, bot_id) if each.live]
            else:
                found = await self._own(operations, listed, bot_id)
            for each in found:
                order = self._open(each)
                orders[order.key] = order
        powerless, out_of_reach = self._beyond(bot_id)
        return Found(list(orders.values()), silent, powerless, out_of_reach)

    def _beyond(self, bot_id: str) -> tuple[dict[str, str], list[OpenOrder]]:
        """Venues where this bot has orders and the agent no key: what is known there cannot be cancelled."""
        keyed = {operations.profile.name for operations in self._venues()}
        at: dict[str, str] = {}
        known: list[OpenOrder] = []
        for venue in sorted(self._books.venues() - keyed):
            here = [self._open(each) for each in self._books.of_bot(venue, bot_id) if each.live]
            if here:
                at[venue] = NO_KEY
                known += here
        return at or ({} if keyed else {"every venue": NO_KEY}), known

    async def _own(self, operations: Operations, listed: list[Order], bot_id: str) -> list[Order]:
        own, by_prefix = await self._sort_out(operations, listed)
        found = []
        for shown in own:
            kept = self._books.find(shown)
            if kept is not None and kept.bot_id == bot_id:
                found.append(shown.with_what(kept))
        if self._only_bot() == bot_id:
            found += by_prefix
        return found

    async def _listed(self, operations: Operations) -> list[OpenOrder] | str:
        listed = await self._pulling.open_orders(operations)
        if isinstance(listed, Silence):
            return listed.why
        return [self._open(shown.with_what(self._books.find(shown) or shown)) for shown in listed]

    async def _cancel(self, order: OpenOrder) -> str:
        operations = next((each for each in self._venues() if each.profile.name == order.venue), None)
        if operations is None:
            return NO_KEY
        asked = Order(
            order.venue,
            order.symbol,
            order.client_id,
            order.venue_id,
            order.family,
            order.side,
            context=order.context,
        )
        no = await self._pulling.cancel(operations, asked)
        if no is None:
            self._on_cancelled(order.venue)
        return "" if no is None else no.why

    def _open(self, order: Order) -> OpenOrder:
        told = order.order_class
        rules = self._class_rules(order.venue)
        return OpenOrder(
            order.venue,
            order.family,
            order.symbol,
            order.side,
            order.client_id,
            order.venue_id,
            OrderClass(told) if told else classify_order(OrderFacts("", client_id=order.client_id), rules),
            order.price,
            order.context,
        )
