"""OKX's algo family: conditional orders with ids, lists and cancels of their own.

An algo order is the engine's own conditional order; once triggered it is found in both families.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..answers import Call
from ..engine.model import Order, Reject
from . import okx_views as views
from .face import note_touched
from .instruments import Instrument
from .okx_errors import ItemRefusal, Refusal, wrong
from .okx_params import algo_request, number
from .okx_trade import chosen, find, instrument, page, visible

if TYPE_CHECKING:
    from .okx import OkxFace

GONE = ("51400", "Cancellation failed as the order has been filled, canceled or does not exist.")
ORDER_TYPES = frozenset({"trigger", "conditional", "oco", "move_order_stop", "iceberg", "twap", "chase"})


def place(face: OkxFace, item: Call) -> Order:
    each = instrument(face, item.params)
    request = algo_request(each, item)
    face.instruments.require_new(item.account, request.client_id)
    return each.venue.exchange.place(request).order


def find_algo(face: OkxFace, item: Call, gone: tuple[str, str]) -> tuple[Instrument, Order]:
    """By instrument if it is named, else wherever the account has it."""
    if item.params.get("instId"):
        places = [instrument(face, item.params)]
    else:
        places = face.instruments.all()
    for each in places:
        try:
            order = find(each, item, "algoId", "algoClOrdId")
        except Reject:
            continue
        if order.stop_price:
            return each, order
    raise ItemRefusal(*gone)


def cancel(face: OkxFace, item: Call) -> Order:
    each, order = find_algo(face, item, GONE)
    if order.working_at or not order.is_open:
        raise ItemRefusal(*GONE)
    note_touched(item, order, cancelled=True)
    return each.venue.exchange.cancel(item.account, each.name, order.id)


def amend(face: OkxFace, item: Call) -> Order:
    """A new size, trigger price or order price of one that still waits."""
    gone = ("51503", "Order modification failed as the order has been filled, canceled or does not exist.")
    each, order = find_algo(face, item, gone)
    if order.working_at or not order.is_open:
        raise ItemRefusal(*gone)
    family = "" if views.order_kind(order) == "trigger" else "Sl" if order.type.startswith("STOP") else "Tp"
    size, stop = number(item.params, "newSz"), number(item.params, f"new{family}TriggerPx")
    price_name = f"new{family}OrdPx"
    price = order.price if item.params.get(price_name, "-1") == "-1" else number(item.params, price_name)
    if bool(price) != bool(order.price):
        raise wrong(price_name)
    quantity = each.quantity(size) if size else order.quantity
    note_touched(item, order, cancelled=False)
    return each.venue.exchange.amend(order, price, quantity, stop or order.stop_price)


def query(face: OkxFace, call: Call) -> list[Any]:
    each, order = find_algo(face, call, ("51603", "Order does not exist"))
    if not visible(call, order):
        raise Refusal("51603", "Order does not exist")
    call.order_id = each.shown_id(order.id)
    return [views.algo_json(each, order)]


def orders(face: OkxFace, call: Call, *, only_open: bool) -> list[Any]:
    """orders-algo-pending and orders-algo-history, of one algo type."""
    kinds = set(call.params.get("ordType", "").split(","))
    if not kinds <= ORDER_TYPES:
        raise wrong("ordType")
    rows = []
    for each in chosen(face, call):
        table = each.venue.exchange.orders
        for order in table.open_of(call.account, each.name) if only_open else table.all_of(call.account, each.name):
            waiting = order.is_open and not order.working_at
            if not order.stop_price or waiting != only_open or views.order_kind(order) not in kinds:
                continue
            row = views.algo_json(each, order)
            if call.params.get("state") in (None, "", row["state"]) and visible(call, order):
                rows.append((order.created_at, row["algoId"], row))
    return [row[2] for row in page(call, rows)]
