"""Bybit trading: create, amend, cancel, one or many at a time; realtime, history and executions; the switch.

Placing is acknowledged, not confirmed: what became of the order is asked of realtime or heard on the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..answers import Call
from ..engine.model import ZERO, Order, Reject
from . import bybit_views as views
from .bybit_errors import Refusal, from_reject, wrong
from .bybit_params import CATEGORIES, number, order_request
from .face import note_touched
from .instruments import Instrument
from .whole_numbers import bounded, whole, within

if TYPE_CHECKING:
    from .bybit import BybitFace

BATCH_MAX = 20
CLOSED_SEEN_MAX = 500  # realtime knows this many orders that are over
PAGE_MAX = 50
EXECUTIONS_MAX = 100
WINDOW_MIN_S, WINDOW_MAX_S = 3, 300
PRODUCTS = {"SPOT": "spot", "DERIVATIVES": "linear", "OPTIONS": "option"}
ItemHandler = Callable[["BybitFace", Call], Order]


def category_of(params: dict[str, str]) -> str:
    category = params.get("category", "")
    if category not in CATEGORIES:
        raise Refusal(10001, "Illegal category")
    return category


def instrument(face: BybitFace, params: dict[str, str]) -> Instrument:
    category = category_of(params)
    if not params.get("symbol"):
        raise Refusal(10001, "params error: symbol is required")
    each = face.instruments.find(params["symbol"], category)
    if each is None:
        raise Refusal(*(170121, "Invalid symbol.") if category == "spot" else (10001, "params error: symbol invalid"))
    return each


def one(face: BybitFace, call: Call, handle: ItemHandler) -> dict[str, Any]:
    """The request's only order."""
    if len(call.items) != 1:
        raise Refusal(10001, "Request parameter error.")
    return _run(face, call.items[0], handle)


def _run(face: BybitFace, item: Call, handle: ItemHandler) -> dict[str, Any]:
    each = instrument(face, item.params)
    try:
        order = handle(face, item)
    except Reject as reject:
        raise from_reject(reject, each) from None
    item.executed, item.order_id = True, each.shown_id(order.id)
    return {"orderId": each.shown_id(order.id), "orderLinkId": views.shown_name(order)}


def many(face: BybitFace, call: Call, handle: ItemHandler) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every order of a batch; what was refused is told beside the results, order by order."""
    if not 0 < len(call.items) <= BATCH_MAX:
        raise Refusal(10001, f"The number of orders in a batch is 1 to {BATCH_MAX}")
    rows, codes = [], []
    for item in call.items:
        row = {name: item.params.get(name, "") for name in ("category", "symbol", "orderId", "orderLinkId")}
        try:
            row |= _run(face, item, handle) | {"createAt": str(item.now)}
            codes.append({"code": 0, "msg": "OK"})
        except Refusal as refusal:
            row |= {"createAt": ""}
            codes.append({"code": refusal.code, "msg": refusal.message})
        rows.append(row)
    return {"list": rows}, {"list": codes}


def place(face: BybitFace, item: Call) -> Order:
    each = instrument(face, item.params)
    request = order_request(each, item)
    face.instruments.require_new(item.account, request.client_id, each.kind)
    before = each.held(item.account, request.position_side)
    order = each.place(request)
    if request.reduce_only and each.held(item.account, request.position_side) > before:
        item.notes.append("enlarged")
    return order


def find(each: Instrument, item: Call) -> Order:
    """By id, else by name. Reject("unknown_order") for none."""
    shown, name = item.params.get("orderId", ""), item.params.get("orderLinkId", "")
    if not shown and not name:
        raise Refusal(10001, "orderId or orderLinkId is required")
    orders = each.venue.exchange.orders
    number_or_none = each.engine_id(shown) if shown else None
    return orders.find(item.account, each.name, number_or_none, None if shown else name)


def cancel(face: BybitFace, item: Call) -> Order:
    each = instrument(face, item.params)
    order = find(each, item)
    if order.is_open:
        note_touched(item, order, cancelled=True)
    return each.venue.exchange.cancel(item.account, each.name, order.id)


def amend(face: BybitFace, item: Call) -> Order:
    each = instrument(face, item.params)
    order = find(each, item)
    if not order.is_open:
        raise Reject("not_open")
    size, price = number(item.params, "qty"), number(item.params, "price")
    stop = number(item.params, "triggerPrice")
    wanted = (price or order.price, size or order.quantity, stop or order.stop_price)
    if wanted == (order.price, order.quantity, order.stop_price):
        raise Refusal(10001, "The order remains unchanged as the parameters entered match the existing ones.")
    note_touched(item, order, cancelled=False)
    return each.venue.exchange.amend(order, *wanted)


def cancel_all(face: BybitFace, call: Call) -> dict[str, Any]:
    """All orders of a category, a symbol, or (`orderFilter`) a kind."""
    item = call.items[0] if call.items else call
    gone = []
    for each in chosen(face, item.params):
        for order in each.venue.exchange.orders.open_of(item.account, each.name):
            if order.is_open and _of_filter(item.params, order):
                note_touched(item, order, cancelled=True)
                each.venue.exchange.cancel(item.account, each.name, order.id)
                gone.append({"orderId": each.shown_id(order.id), "orderLinkId": views.shown_name(order)})
    item.executed = call.executed = True
    return {"list": gone, "success": "1"}


def chosen(face: BybitFace, params: dict[str, str]) -> list[Instrument]:
    """The instruments that lists and cancel-all are asked for. Contracts want a symbol or a coin."""
    category, symbol = category_of(params), params.get("symbol", "")
    coins = (params.get("settleCoin", ""), params.get("baseCoin", ""))
    if category == "linear" and not symbol and not any(coins):
        raise Refusal(10001, "Missing some parameters that must be filled in, symbol or settleCoin or baseCoin")
    return [
        each
        for each in face.instruments.all(category)
        if symbol in ("", each.id) and coins[0] in ("", each.symbol.quote) and coins[1] in ("", each.symbol.base)
    ]


def _of_filter(params: dict[str, str], order: Order) -> bool:
    """`Order` is what is on the book, `StopOrder` (and the like) what waits for a price; all without a filter."""
    asked = params.get("orderFilter", "")
    return not asked or (asked == "Order") != views.is_waiting(order)


# looking -------------------------------------------------------------------------------------------------------


def realtime(face: BybitFace, call: Call) -> dict[str, Any]:
    """Open orders; asked for one, or with openOnly=1, also the latest that are over."""
    params = call.params
    named = params.get("orderId") or params.get("orderLinkId")
    with_closed = bool(named) or params.get("openOnly") == "1"
    where = chosen(face, params) if not named else _places(face, params)
    found = []
    for each in where:
        table = each.venue.exchange.orders
        if with_closed:
            mine = table.all_of(call.account, each.name)
            closed = [order for order in mine if not order.is_open][-CLOSED_SEEN_MAX:]
            # asked by openOnly=1 alone, only closed ones are told
            still_open = table.open_of(call.account, each.name) if named else []
            found += [(each, order) for order in (*still_open, *closed)]
        else:
            found += [(each, order) for order in table.open_of(call.account, each.name)]
    return _listed(call, found)


def _places(face: BybitFace, params: dict[str, str]) -> list[Instrument]:
    category, symbol = category_of(params), params.get("symbol", "")
    return [each for each in face.instruments.all(category) if symbol in ("", each.id)]


def history(face: BybitFace, call: Call) -> dict[str, Any]:
    """Orders that are over; of those cancelled without a fill only the last day's."""
    found = []
    for each in _places(face, call.params):
        for order in each.venue.exchange.orders.all_of(call.account, each.name):
            if order.is_open or (not order.filled and order.updated_at < call.now - 86_400_000):
                continue
            found.append((each, order))
    return _listed(call, found)


def _listed(call: Call, found: list[tuple[Instrument, Order]]) -> dict[str, Any]:
    params = call.params
    fees = {each: each.fees(call.account) for each in {each for each, order in found if order.filled}}
    rows = []
    for each, order in found:
        if not _of_filter(params, order) or not _named(params, each, order):
            continue
        row = views.order_json(each, order, fees.get(each, {}).get(order.id, ZERO))
        if params.get("orderStatus") in (None, "", row["orderStatus"]) and _in_span(params, order.created_at):
            rows.append((order.created_at, row["orderId"], row))
    if len(rows) == 1 and (params.get("orderId") or params.get("orderLinkId")):
        call.order_id = rows[0][1]
    return page(call, rows, PAGE_MAX)


def _named(params: dict[str, str], each: Instrument, order: Order) -> bool:
    if params.get("orderId") and params["orderId"] != each.shown_id(order.id):
        return False
    return params.get("orderLinkId") in (None, "", views.shown_name(order))


def _in_span(params: dict[str, str], at: int) -> bool:
    return within(params.get("startTime"), params.get("endTime"), at)


def page(call: Call, rows: list[tuple[int, str, dict[str, Any]]], most: int) -> dict[str, Any]:
    """Newest first, `limit` at a time; the cursor names the last row of this page and is empty after the last."""
    rows.sort(key=lambda row: (row[0], row[1]), reverse=True)
    text, cursor = call.params.get("limit", ""), call.params.get("cursor", "")
    if text and not whole(text):
        raise wrong("limit")
    limit = bounded(text, 20, most)
    names = [f"{row[1]}_{row[0]}" for row in rows]
    if cursor and cursor not in names:
        # the row it named has left the list: go on after its time
        at = whole(cursor.rpartition("_")[2]) or 0
        start = next((n for n, row in enumerate(rows) if row[0] < at), len(rows))
    else:
        start = names.index(cursor) + 1 if cursor else 0
    shown = rows[start : start + limit]
    following = names[start + limit - 1] if start + limit < len(rows) else ""
    return {"category": call.params.get("category", ""), "nextPageCursor": following, "list": [row[2] for row in shown]}


def executions(face: BybitFace, call: Call) -> dict[str, Any]:
    rows = []
    for each in _places(face, call.params):
        shown = call.params.get("orderId", "")
        number_or_none = each.engine_id(shown) if shown else None
        for fill in each.venue.exchange.orders.fills_of(call.account, each.name, number_or_none):
            order = each.venue.exchange.orders.get(fill.order_id)
            name = call.params.get("orderLinkId", "")
            if _in_span(call.params, fill.at) and name in ("", views.shown_name(order) if order else ""):
                row = views.fill_json(each, fill, order)
                rows.append((fill.at, f"{fill.trade_id:018d}{fill.side}", row))
    return page(call, rows, EXECUTIONS_MAX)


# the switch ------------------------------------------------------------------------------------------------------


def disconnect_protection(face: BybitFace, call: Call) -> dict[str, Any]:
    """How long after the last private `dcp` stream the orders of a product live."""
    item = call.items[0] if call.items else call
    window_s, product = whole(item.params.get("timeWindow")), item.params.get("product") or "OPTIONS"
    if window_s is None or not WINDOW_MIN_S <= window_s <= WINDOW_MAX_S:
        raise wrong("timeWindow")
    if product not in PRODUCTS:
        raise wrong("product")
    face.protection.set_window(call.account, PRODUCTS[product], window_s)
    call.executed = True
    return {}
