"""OKX trading: placing, amending and cancelling, one or many at a time, and the lists and histories of orders.

Every order of a batch has an outcome of its own (`sCode`); the request's `code` only sums them up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..answers import Call
from ..engine.model import ZERO, Order, Reject
from . import okx_views as views
from .face import note_touched
from .instruments import Instrument
from .okx_errors import ItemRefusal, Refusal, from_reject, missing, results, wrong
from .okx_params import number, order_request
from .whole_numbers import bounded, whole, within

if TYPE_CHECKING:
    from .okx import OkxFace

BATCH_MAX = 20
PAGE_MAX = 100
FORGOTTEN_MS = 7_200_000  # a cancelled order that never traded can be asked for this long
ItemHandler = Callable[["OkxFace", Call], Order]


def each_item(face: OkxFace, call: Call, handle: ItemHandler, *, algo: bool = False) -> dict[str, Any]:
    """Run every order of the request; a refused one does not keep the others."""
    if not call.items:
        raise Refusal("50000", "Body for POST request can not be empty.", 400)
    if len(call.items) > BATCH_MAX:
        raise Refusal("50025", f"Parameter orders count exceeds the limit {BATCH_MAX}", 400)
    rows = [_one(face, item, handle, algo=algo) for item in call.items]
    return results(rows, call.now)


def _one(face: OkxFace, item: Call, handle: ItemHandler, *, algo: bool) -> dict[str, Any]:
    names = ("algoId", "algoClOrdId") if algo else ("ordId", "clOrdId")
    row: dict[str, Any] = {names[0]: item.params.get(names[0], ""), names[1]: item.params.get(names[1], "")}
    row |= {"tag": item.params.get("tag", ""), "ts": str(item.now), "sCode": "0", "sMsg": ""}
    try:
        order = handle(face, item)
    except Reject as reject:
        refused = from_reject(reject)
    except ItemRefusal as refusal:
        refused = refusal
    else:
        shown = face.instrument_of(order).shown_id(order.id)
        item.executed, item.order_id = True, shown
        return row | {names[0]: shown, names[1]: views.shown_name(order)}
    return row | {"sCode": refused.code, "sMsg": refused.message}


def instrument(face: OkxFace, params: dict[str, str]) -> Instrument:
    """By instId, or by the number WebSocket orders may use."""
    found = face.instruments.find(params.get("instId", ""))
    if found is None and params.get("instIdCode"):
        found = next((i for i in face.instruments.all() if str(views.code_of(i)) == params["instIdCode"]), None)
    if found is None:
        if not params.get("instId") and not params.get("instIdCode"):
            raise ItemRefusal("50014", "Parameter instId can not be empty")
        raise ItemRefusal("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
    return found


def place(face: OkxFace, item: Call) -> Order:
    each = instrument(face, item.params)
    request = order_request(each, item)
    face.instruments.require_new(item.account, request.client_id)
    before = each.held(item.account, request.position_side)
    order = each.place(request)
    if request.reduce_only and each.held(item.account, request.position_side) > before:
        item.notes.append("enlarged")
    return order


def find(each: Instrument, item: Call, id_name: str = "ordId", client_name: str = "clOrdId") -> Order:
    """The order a request names, of whichever family. Reject("unknown_order") for none."""
    shown, name = item.params.get(id_name, ""), item.params.get(client_name, "")
    if not shown and not name:
        raise ItemRefusal("51003", f"Either {client_name} or {id_name} is required.")
    orders = each.venue.exchange.orders
    if shown:
        return orders.find(item.account, each.name, each.engine_id(shown), None)
    return orders.find(item.account, each.name, None, name)


def is_plain(order: Order) -> bool:
    """A conditional order is of the algo family alone until it has triggered."""
    return not order.stop_price or bool(order.working_at)


def find_plain(face: OkxFace, item: Call, gone: tuple[str, str]) -> tuple[Instrument, Order]:
    each = instrument(face, item.params)
    try:
        order = find(each, item)
    except Reject:
        raise ItemRefusal(*gone) from None
    if not is_plain(order) or (not item.params.get("ordId") and order.stop_price):
        raise ItemRefusal(*gone)
    return each, order


def cancel(face: OkxFace, item: Call) -> Order:
    gone = ("51400", "Cancellation failed as the order has been filled, canceled or does not exist.")
    each, order = find_plain(face, item, gone)
    if order.status == "FILLED":
        raise ItemRefusal("51402", "Cancellation failed as the order is already completed.")
    if not order.is_open:
        raise ItemRefusal("51401", "Cancellation failed as the order is already canceled.")
    note_touched(item, order, cancelled=True)
    return each.venue.exchange.cancel(item.account, each.name, order.id)


def amend(face: OkxFace, item: Call) -> Order:
    """A new size (what is filled counts) or price. With cxlOnFail an order that cannot be amended is cancelled."""
    gone = ("51503", "Order modification failed as the order has been filled, canceled or does not exist.")
    each, order = find_plain(face, item, gone)
    if not order.is_open:
        raise ItemRefusal(*gone)
    size, price = number(item.params, "newSz"), number(item.params, "newPx")
    if not size and not price:
        raise ItemRefusal("50014", "Parameter newSz or newPx can not be empty")
    quantity = each.quantity(size) if size else order.quantity
    note_touched(item, order, cancelled=False)
    try:
        return each.venue.exchange.amend(order, price or order.price, quantity)
    except Reject as reject:
        if item.params.get("cxlOnFail") == "true" or reject.reason == "would_match":
            return each.venue.exchange.cancel(item.account, each.name, order.id)
        raise


# looking -------------------------------------------------------------------------------------------------------


def visible(call: Call, order: Order) -> bool:
    """False for what OKX has forgotten."""
    return bool(order.is_open or order.filled) or order.updated_at > call.now - FORGOTTEN_MS


def query(face: OkxFace, call: Call) -> list[Any]:
    each, order = find_plain(face, call, ("51603", "Order does not exist"))
    if not visible(call, order):
        raise Refusal("51603", "Order does not exist")
    call.order_id = each.shown_id(order.id)
    return [face.order_json(each, order, each.fees(call.account) if order.filled else {})]


def orders(face: OkxFace, call: Call, *, only_open: bool) -> list[Any]:
    """orders-pending and orders-history: newest first, a page at a time (`after`: older than that ordId)."""
    if not only_open and not call.params.get("instType"):
        raise missing("instType")
    rows: list[tuple[int, str, Instrument, Order]] = []
    for each in chosen(face, call):
        table = each.venue.exchange.orders
        found = table.open_of(call.account, each.name) if only_open else table.all_of(call.account, each.name)
        rows += [
            (order.created_at, each.shown_id(order.id), each, order)
            for order in found
            if is_plain(order) and order.is_open == only_open and visible(call, order) and wanted(call, order)
        ]
    fees = {each: each.fees(call.account) for each in {row[2] for row in rows if row[3].filled}}
    return [face.order_json(each, order, fees.get(each, {})) for _, _, each, order in page(call, rows)]


def chosen(face: OkxFace, call: Call) -> list[Instrument]:
    """The instruments a list is asked for."""
    kind = call.params.get("instType", "")
    if kind not in ("", "SPOT", "SWAP", "MARGIN", "FUTURES", "OPTION"):
        raise wrong("instType")
    asked = call.params.get("instId", "")
    return [each for each in face.instruments.all(kind) if asked in ("", each.id)]


def wanted(call: Call, order: Order) -> bool:
    params = call.params
    if params.get("ordType") and views.order_type(order) not in params["ordType"].split(","):
        return False
    if params.get("state") and views.STATES.get(order.status, "canceled") != params["state"]:
        return False
    return within(params.get("begin"), params.get("end"), order.created_at)


def page(call: Call, rows: list[Any]) -> list[Any]:
    """Rows are (time, id, …): newest first, between `after` and `before`, at most `limit`."""
    rows.sort(key=lambda row: (row[0], row[1]), reverse=True)
    after, before = call.params.get("after", ""), call.params.get("before", "")
    names = [row[1] for row in rows]
    start = names.index(after) + 1 if after in names else 0
    end = names.index(before) if before in names else len(rows)
    return rows[start:end][: bounded(call.params.get("limit"), PAGE_MAX, PAGE_MAX)]


def fills(face: OkxFace, call: Call) -> list[Any]:
    rows = []
    for each in chosen(face, call):
        shown = call.params.get("ordId", "")
        number = each.engine_id(shown) if shown else None
        for fill in each.venue.exchange.orders.fills_of(call.account, each.name, number):
            if not within(call.params.get("begin"), call.params.get("end"), fill.at):
                continue
            order = each.venue.exchange.orders.get(fill.order_id)
            name = views.shown_name(order) if order is not None and not order.stop_price else ""
            rows.append((fill.at, views.bill_id(each, fill), views.fill_json(each, fill, name)))
    return [row[2] for row in page(call, rows)]


# dead-man switch -----------------------------------------------------------------------------------------------


def cancel_all_after(face: OkxFace, call: Call) -> list[Any]:
    """0 disarms, 10 to 120 s arm; at the end the account's plain orders (of that tag, if one is given) die."""
    item = call.items[0] if call.items else call
    wanted_s, tag = whole(item.params.get("timeOut")), item.params.get("tag", "")
    if wanted_s is None or (wanted_s and not 10 <= wanted_s <= 120):
        raise Refusal("51000", "Parameter timeOut error", 400)
    fires_at = face.switch(call.account, tag, wanted_s * 1000, call.now)
    call.executed = True
    return [{"triggerTime": str(fires_at), "tag": tag, "ts": str(call.now)}]


def close_position(face: OkxFace, item: Call) -> Order:
    """A market order against the whole position."""
    from ..engine.model import OrderRequest
    from .okx_params import POSITION_SIDES

    each = instrument(face, item.params)
    if each.is_spot:
        raise ItemRefusal("51015", "Instrument ID does not match instrument type.")
    side = POSITION_SIDES.get(item.params.get("posSide", ""), "BOTH")
    held = each.venue.futures.positions.position(item.account, each.name, side).quantity
    if held == ZERO:
        raise ItemRefusal("51023", "Position does not exist.")
    request = OrderRequest(
        item.account, each.name, "SELL" if held > 0 else "BUY", "MARKET", abs(held), owner=item.key,
        client_id=item.params.get("clOrdId", ""), position_side=side, reduce_only=True,
    )  # fmt: skip
    face.instruments.require_new(item.account, request.client_id)
    return each.venue.exchange.place(request).order
