"""Kraken orders: placing, changing, cancelling, and the switch that cancels all of an account's orders.

Source: docs.kraken.com, "Trading". REST and the WebSocket API come here with the same words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..answers import Call
from ..engine import filters
from ..engine.model import ZERO, Order, OrderRequest, Reject
from ..venue import Venue
from . import kraken_views as views
from .binance_trade import note_cancel
from .kraken_errors import Refusal, invalid, text_of
from .kraken_limits import AMEND_COSTS, EDIT_COSTS, Counters, cost_of
from .kraken_names import PAIRS, Pair, known_pair, order_number, order_txid, pair_of, trade_txid
from .kraken_params import (
    check_deadline,
    check_decimals,
    client_id_of,
    is_true,
    note_reason,
    number,
    order_request,
    params_of,
    tag_of,
    userref_of,
)
from .kraken_public import rfc3339

BATCH_MAX = 15
CANCEL_BATCH_MAX = 50
SWITCH_MAX_S = 86_400
AMENDS_FROM = 2**40  # their ids look like those of trades, and must not be those of trades
USER_REQUESTED = "User requested"
_USERREF = re.compile(r"^[+-]?[0-9]{1,10}$")


@dataclass(slots=True)
class Switch:
    """An account's dead-man switch; gone once it has fired, until somebody arms it anew."""

    fires_at: int


class Desk:
    """Everything that trades on one venue in Kraken's manner; the face and the WebSocket share one."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.counters = Counters(enforced=venue.limits.enforced)
        self.switches: dict[str, Switch] = {}
        # orders that are good till a date, by the engine's number
        self._dated: dict[int, int] = {}
        self._amends = 0

    def reset(self) -> None:
        self.counters.reset()
        self.switches.clear()
        self._dated.clear()

    def remember(self) -> None:
        """After a load: orders with a date are looked after again."""
        for order in self.venue.exchange.orders.all_of():
            if order.is_open and order.tag and (at := tag_of(order).expires_at):
                self._dated[order.id] = at

    # placing -----------------------------------------------------------------------------------------------------

    def add(self, call: Call) -> dict[str, Any]:
        params = params_of(call)
        pair, request = order_request(params, call.account, call.key, call.now)
        check_in_time(call)
        told: dict[str, Any] = {"descr": {"order": views.order_words(pair, request)}}
        if is_true(params, "validate"):
            self.venue.exchange.test(request)
            return told
        order = self._place(call, pair, request)
        call.order_id = order_txid(order.id)
        return {"txid": [call.order_id], **told}

    def _place(self, call: Call, pair: Pair, request: OrderRequest) -> Order:
        """Count and place; the client id must be free on all pairs of the account."""
        if not self.counters.order(call.account, request.symbol, call.now, 1):
            raise Refusal("EOrder:Rate limit exceeded")
        if request.client_id and any(
            order.client_id == request.client_id for order in self.venue.exchange.orders.open_of(call.account)
        ):
            raise Reject("duplicate_client_id", request.client_id)
        order = self.venue.exchange.place(request).order
        call.executed = True
        if order.is_open and (at := tag_of(order).expires_at):
            self._dated[order.id] = at
        return order

    def add_batch(self, call: Call) -> dict[str, Any]:
        """Up to fifteen orders of one pair: all are checked before the first is placed, then each has its own fate."""
        params = params_of(call)
        if not 2 <= len(call.items) <= BATCH_MAX:
            raise invalid("orders")
        shared = {"pair": params.get("pair", "")}
        wanted = [order_request(item.params | shared, call.account, call.key, call.now) for item in call.items]
        check_in_time(call)
        only_checked = is_true(params, "validate")
        for _, request in wanted if only_checked else ():
            self.venue.exchange.test(request)
        told: list[dict[str, Any]] = []
        for item, (pair, request) in zip(call.items, wanted, strict=True):
            descr: dict[str, Any] = {"descr": {"order": views.order_words(pair, request)}}
            item.account, item.key, item.now = call.account, call.key, call.now
            try:
                if not only_checked:
                    item.order_id = order_txid(self._place(item, pair, request).id)
                    descr = {"txid": item.order_id, **descr}
            except (Refusal, Reject) as error:
                item.notes.append("refused")
                descr = {"error": text_of(error), **descr}
            told.append(descr)
        return {"orders": told}

    # changing ----------------------------------------------------------------------------------------------------

    def amend(self, call: Call) -> dict[str, Any]:
        """In place: the order keeps its id, and its place in the queue where it only became smaller."""
        params = params_of(call)
        order = self._named(call, params)
        pair = PAIRS[order.symbol]
        check_in_time(call)
        quantity, limit = number(params, "order_qty"), number(params, "limit_price")
        trigger = number(params, "trigger_price")
        if not (quantity or limit or trigger):
            raise invalid("order_qty")
        for price in (limit, trigger):
            check_decimals(pair, price)
        if (limit and not order.price) or (trigger and (not order.stop_price or order.working)):
            raise invalid("limit_price" if limit and not order.price else "trigger_price")
        self._count_change(call, order, AMEND_COSTS)
        price = limit or order.price
        if is_true(params, "post_only") and self._would_match(order, price):
            raise Reject("would_match")
        note_cancel_of_other(call, order)
        if price == order.price and not trigger:
            self.venue.exchange.shrink(order, quantity)
        else:
            self.venue.exchange.amend(order, price, quantity or order.quantity, trigger or order.stop_price)
        call.executed, call.order_id = True, order_txid(order.id)
        self._amends += 1
        return {"amend_id": trade_txid(AMENDS_FROM + self._amends)}

    def _would_match(self, order: Order, price: Decimal) -> bool:
        best = self.venue.exchange.markets[order.symbol].book.opposite(order.side).best()
        if best is None or not order.working:
            return False
        return best.price <= price if order.side == "BUY" else best.price >= price

    def _count_change(self, call: Call, order: Order, costs: tuple[tuple[int, int], ...]) -> None:
        cost = 1 + cost_of(costs, call.now - order.created_at)
        if not self.counters.order(call.account, order.symbol, call.now, cost):
            raise Refusal("EOrder:Rate limit exceeded")

    def edit(self, call: Call) -> dict[str, Any]:
        """Cancel and replace under a new id; a replacement that cannot stand leaves the old order as it was."""
        params = params_of(call)
        old = self._by_txid(call.account, str(params.get("txid", "")))
        pair, tag = pair_of(str(params.get("pair", ""))), tag_of(old)
        if pair.symbol.name != old.symbol:
            raise invalid("pair")
        given = {
            "pair": pair.id, "type": old.side.lower(), "ordertype": views.KINDS[old.type],
            "volume": params.get("volume") or pair.volume(old.remaining), "oflags": params.get("oflags", ""),
            "price": params.get("price") or _shown(pair, old.stop_price or old.price),
            "price2": params.get("price2") or (_shown(pair, old.price) if old.stop_price else ""),
            "userref": params.get("userref") or (str(tag.userref) if tag.userref else ""),
        }  # fmt: skip
        check_in_time(call)
        _, request = order_request(given, call.account, call.key, call.now)
        self._check_edit(old, pair, request)
        told = {"descr": {"order": views.order_words(pair, request)}}
        if is_true(params, "validate"):
            return {"status": "ok", **told}
        self._count_change(call, old, EDIT_COSTS)
        note_cancel_of_other(call, old)
        self.venue.exchange.cancel(old.account, old.symbol, old.id)
        note_reason(old, USER_REQUESTED)
        order = self._place(call, pair, request)
        call.order_id = order_txid(order.id)
        return {
            "status": "ok", "txid": call.order_id, "originaltxid": order_txid(old.id), "orders_cancelled": 1,
            "volume": given["volume"], "price": given["price"], **told,
        }  # fmt: skip

    def _check_edit(self, old: Order, pair: Pair, request: OrderRequest) -> None:
        """What `place` would refuse, asked while the old order still stands (its money counts as free)."""
        exchange = self.venue.exchange
        exchange.test(request)
        if request.type == "LIMIT_MAKER" and self._would_match(old, request.price):
            raise Reject("would_match")
        filters.check(pair.symbol, request, exchange.markets[old.symbol].last_price)
        asset = pair.quote.name if request.side == "BUY" else pair.base.name
        need = request.quantity
        if request.side == "BUY":
            need = request.price * request.quantity * (1 + exchange.settlement.fee_rate)
        if need > exchange.wallets.of(old.account, asset).free + old.locked:
            raise Reject("insufficient_balance", asset)

    # ending ------------------------------------------------------------------------------------------------------

    def cancel(self, call: Call) -> dict[str, Any]:
        """By txid, by userref (all orders of it) or by cl_ord_id."""
        return {"count": len(self.cancelled(call, params_of(call)))}

    def cancelled(self, call: Call, params: dict[str, Any]) -> list[Order]:
        name = str(params.get("txid") or "")
        if name and order_number(name) is None:
            userref = userref_of({"userref": name}) if _USERREF.match(name) else None
            if userref is None:
                raise Refusal("EOrder:Invalid order")
            orders = [each for each in self._open(call.account) if tag_of(each).userref == userref]
            if not orders:
                raise Reject("unknown_order", name)
        else:
            orders = [self._named(call, params)]
        for order in orders:
            self._end(call, order)
        return orders

    def cancel_batch(self, call: Call) -> dict[str, Any]:
        """What can be cancelled is; the venue counts it and is silent about the rest."""
        if not 2 <= len(call.items) <= CANCEL_BATCH_MAX:
            raise invalid("orders")
        count = 0
        for item in call.items:
            item.account, item.key, item.now = call.account, call.key, call.now
            try:
                count += len(self.cancelled(item, item.params))
            except (Refusal, Reject):
                item.notes.append("refused")
        if not count:
            raise Reject("unknown_order")
        return {"count": count}

    def cancel_all(self, call: Call) -> dict[str, Any]:
        orders = self._open(call.account)
        for order in orders:
            self._end(call, order)
        return {"count": len(orders)}

    def _end(self, call: Call, order: Order) -> None:
        self.counters.cancel(call.account, order.symbol, call.now, call.now - order.created_at)
        self.venue.exchange.cancel(order.account, order.symbol, order.id)
        note_reason(order, USER_REQUESTED)
        note_cancel(call, order)
        call.executed, call.order_id = True, order_txid(order.id)

    # the switch --------------------------------------------------------------------------------------------------

    def cancel_after(self, call: Call) -> dict[str, Any]:
        """Arm, push back or (0) disarm the account's switch. It fires once and stays disarmed until armed anew."""
        text = str(params_of(call).get("timeout", ""))
        if not text.isascii() or not text.isdigit() or int(text) > SWITCH_MAX_S:
            raise invalid("timeout")
        call.executed = True
        if text.strip("0") == "":
            self.switches.pop(call.account, None)
            return {"currentTime": rfc3339(call.now, "seconds"), "triggerTime": "0"}
        fires_at = call.now + int(text) * 1000
        self.switches[call.account] = Switch(fires_at)
        return {"currentTime": rfc3339(call.now, "seconds"), "triggerTime": rfc3339(fires_at, "seconds")}

    def hasten(self) -> int:
        """A fault: every armed switch has run out now."""
        for switch in self.switches.values():
            switch.fires_at = self.venue.clock()
        return len(self.switches)

    def expire(self) -> bool:
        """Fire what has run out and end what has reached its date. True when an order ended."""
        now, ended = self.venue.clock(), False
        if self.venue.exchange.trading.in_maintenance:
            return False
        for account, switch in list(self.switches.items()):
            if switch.fires_at <= now:
                del self.switches[account]
                for order in self._open(account):
                    self.venue.exchange.cancel(account, order.symbol, order.id)
                    note_reason(order, "Cancel all orders after")
                    ended = True
        for number_, at in list(self._dated.items()):
            if at <= now:
                del self._dated[number_]
                order_ = self.venue.exchange.orders.get(number_)
                if order_ is not None and order_.is_open:
                    self.venue.exchange.expire(order_)
                    ended = True
        return ended

    # finding -----------------------------------------------------------------------------------------------------

    def _open(self, account: str) -> list[Order]:
        return list(self.venue.exchange.orders.open_of(account))

    def _by_txid(self, account: str, txid: str) -> Order:
        found = order_number(txid)
        if found is None:
            raise Refusal("EOrder:Invalid order")
        order = self.venue.exchange.orders.get(found)
        if order is None or order.account != account or not order.is_open:
            raise Reject("unknown_order", txid)
        return order

    def _named(self, call: Call, params: dict[str, Any]) -> Order:
        """The open order of a txid or a cl_ord_id."""
        client_id = client_id_of(params)
        if not client_id:
            if not params.get("txid"):
                raise invalid("txid")
            return self._by_txid(call.account, str(params["txid"]))
        for order in self._open(call.account):
            if order.client_id == client_id:
                return order
        raise Reject("unknown_order", client_id)


def check_in_time(call: Call) -> None:
    """Has the request waited too long since it was received?"""
    check_deadline(params_of(call), call.now, call.structures.get("received_at", call.now))


def note_cancel_of_other(call: Call, order: Order) -> None:
    """Changing somebody else's order is touching it."""
    if order.owner and order.owner != call.key:
        call.notes.append("foreign")


def ledger_symbol(text: str) -> str:
    """The pair's altname, whichever way it was spelled; what was sent when nobody knows it."""
    pair = known_pair(text)
    return pair.altname if pair else text


def _shown(pair: Pair, price: Decimal) -> str:
    return pair.price(price) if price != ZERO else ""
