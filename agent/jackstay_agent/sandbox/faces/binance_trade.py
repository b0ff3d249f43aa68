"""Binance spot trading and account endpoints: signed requests against the engine."""

from __future__ import annotations

from typing import Any

from ..answers import Call
from ..engine.model import Order, OrderRequest, Reject
from ..venue import Venue
from . import binance_views as views
from .binance_auth import whole
from .binance_errors import Refusal, from_reject, mandatory
from .binance_params import client_id_of, order_request, symbol_of


def account(venue: Venue, call: Call) -> dict[str, Any]:
    key = venue.keys.get(call.key)
    permissions = key.permissions if key else frozenset[str]()
    only_funded = call.params.get("omitZeroBalances") == "true"
    balances = [
        {"asset": asset, "free": views.amount(balance.free), "locked": views.amount(balance.locked)}
        for asset, balance in sorted(venue.exchange.wallets.assets(call.account).items())
        if balance.total or not only_funded
    ]
    rate = venue.exchange.settlement.fee_rate
    return {
        "makerCommission": int(rate * 10_000),
        "takerCommission": int(rate * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": views.amount(rate), "taker": views.amount(rate), "buyer": "0.0", "seller": "0.0"},
        "canTrade": "trade" in permissions,
        "canWithdraw": "withdraw" in permissions,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": call.now,
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": 1,
    }


def count_order(venue: Venue, call: Call) -> None:
    """One more order of the account; Binance answers -1015 with 429 when it is one too many."""
    if not venue.limits.order(call.now, call.account):
        most = venue.limits.orders_10s_max
        raise Refusal(-1015, f"Too many new orders; current limit is {most} orders per 10 SECOND.", 429)


def place(venue: Venue, call: Call) -> dict[str, Any]:
    request = order_request(call.params, call.account, call.key)
    venue.exchange.market(request.symbol)
    count_order(venue, call)
    return _place(venue, call, request)


def _place(venue: Venue, call: Call, request: OrderRequest) -> dict[str, Any]:
    placed = venue.exchange.place(request)
    call.executed, call.order_id = True, placed.order.id
    default = "FULL" if request.type in ("MARKET", "LIMIT") else "ACK"
    kind = call.params.get("newOrderRespType", default)
    return views.placed_json(placed.order, placed.fills, kind if kind in ("ACK", "RESULT", "FULL") else default)


def place_test(venue: Venue, call: Call) -> dict[str, Any]:
    venue.exchange.test(order_request(call.params, call.account, call.key))
    return {}


def _named(venue: Venue, call: Call) -> tuple[str, int | None, str | None]:
    symbol = symbol_of(call.params)
    order_id, client_id = whole(call.params, "orderId"), call.params.get("origClientOrderId")
    if order_id is None and not client_id:
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    venue.exchange.market(symbol)
    return symbol, order_id, client_id


def find(venue: Venue, call: Call) -> Order:
    symbol, order_id, client_id = _named(venue, call)
    try:
        return venue.exchange.orders.find(call.account, symbol, order_id, client_id)
    except Reject as reject:
        raise from_reject(reject, looking_up=True) from None


def query(venue: Venue, call: Call) -> dict[str, Any]:
    order = find(venue, call)
    call.order_id = order.id
    return views.order_json(order)


def cancel(venue: Venue, call: Call) -> dict[str, Any]:
    symbol, order_id, client_id = _named(venue, call)
    cancel_id = client_id_of(call.params)
    try:
        found = venue.exchange.orders.find(call.account, symbol, order_id, client_id)
        if (only := call.params.get("cancelRestrictions")) and found.status != only.removeprefix("ONLY_"):
            raise Refusal(-2011, "Order was not canceled due to cancel restrictions.")
        order = venue.exchange.cancel(call.account, symbol, order_id, client_id)
    except Reject as reject:
        raise from_reject(reject, cancelling=True) from None
    call.executed, call.order_id = True, order.id
    note_cancel(call, order)
    return views.canceled_json(order, cancel_id or f"cancel{order.id:016d}")


def note_cancel(call: Call, order: Order) -> None:
    """What a judge wants to know of a cancel: was it another key's order, was it there to protect?"""
    if order.owner and order.owner != call.key:
        call.notes.append("foreign")
    if order.stop_price:
        call.notes.append("protective")


def open_orders(venue: Venue, call: Call) -> list[Any]:
    symbol = symbol_of(call.params) if call.params.get("symbol") else None
    if symbol:
        venue.exchange.market(symbol)
    orders = venue.exchange.orders.open_of(call.account, symbol)
    return [views.order_json(order) for order in orders]


def cancel_all(venue: Venue, call: Call) -> list[Any]:
    symbol = symbol_of(call.params)
    venue.exchange.market(symbol)
    orders = venue.exchange.cancel_all(call.account, symbol)
    if not orders:
        raise Refusal(-2011, "Unknown order sent.")
    call.executed = True
    for order in orders:
        note_cancel(call, order)
    return [views.canceled_json(order, f"cancel{order.id:016d}") for order in orders]


def _span(call: Call) -> tuple[int, int | None]:
    return whole(call.params, "startTime") or 0, whole(call.params, "endTime")


def _page(call: Call, rows: list[Any], *, from_first: bool) -> list[Any]:
    limit = min(whole(call.params, "limit") or 500, 1000)
    return rows[:limit] if from_first else rows[-limit:]


def all_orders(venue: Venue, call: Call) -> list[Any]:
    symbol = symbol_of(call.params)
    venue.exchange.market(symbol)
    first, (start, end) = whole(call.params, "orderId"), _span(call)
    rows = [
        views.order_json(order)
        for order in venue.exchange.orders.all_of(call.account, symbol)
        if order.id >= (first or 0) and order.created_at >= start and (end is None or order.created_at <= end)
    ]
    return _page(call, rows, from_first=first is not None or start > 0)


def my_trades(venue: Venue, call: Call) -> list[Any]:
    symbol = symbol_of(call.params)
    venue.exchange.market(symbol)
    first, (start, end) = whole(call.params, "fromId"), _span(call)
    rows = [
        views.fill_json(fill)
        for fill in venue.exchange.orders.fills_of(call.account, symbol, whole(call.params, "orderId"))
        if fill.trade_id >= (first or 0) and fill.at >= start and (end is None or fill.at <= end)
    ]
    return _page(call, rows, from_first=first is not None or start > 0)


def cancel_replace(venue: Venue, call: Call) -> dict[str, Any]:
    """Cancel one order and place another. STOP_ON_FAILURE places nothing when the cancel fails."""
    mode = call.params.get("cancelReplaceMode", "")
    if mode not in ("STOP_ON_FAILURE", "ALLOW_FAILURE"):
        raise mandatory("cancelReplaceMode")
    request = order_request(call.params, call.account, call.key)
    order_id, client_id = whole(call.params, "cancelOrderId"), call.params.get("cancelOrigClientOrderId")
    if order_id is None and not client_id:
        raise Refusal(
            -1102, "Param 'cancelOrigClientOrderId' or 'cancelOrderId' must be sent, but both were empty/null!"
        )
    venue.exchange.market(request.symbol)
    canceled, cancel_data = _try_cancel(venue, call, request.symbol, order_id, client_id)
    result = {"cancelResult": "SUCCESS" if canceled else "FAILURE", "newOrderResult": "NOT_ATTEMPTED",
              "cancelResponse": cancel_data, "newOrderResponse": None}  # fmt: skip
    if canceled or mode == "ALLOW_FAILURE":
        try:
            count_order(venue, call)
            result["newOrderResponse"] = _place(venue, call, request)
            result["newOrderResult"] = "SUCCESS"
        except (Refusal, Reject) as error:
            refusal = from_reject(error) if isinstance(error, Reject) else error
            result["newOrderResult"] = "FAILURE"
            result["newOrderResponse"] = {"code": refusal.code, "msg": refusal.message}
    if result["newOrderResult"] == "SUCCESS" and canceled:
        return result
    partly = canceled or result["newOrderResult"] == "SUCCESS"
    code, text = (
        (-2021, "Order cancel-replace partially failed.") if partly else (-2022, "Order cancel-replace failed.")
    )
    raise CancelReplaceFailed(code, text, 409 if partly else 400, result)


class CancelReplaceFailed(Refusal):
    """A cancelReplace that failed in whole or in part carries both halves in `data`."""

    def __init__(self, code: int, message: str, status: int, data: dict[str, Any]) -> None:
        super().__init__(code, message, status)
        self.data = data


def _try_cancel(
    venue: Venue, call: Call, symbol: str, order_id: int | None, client_id: str | None
) -> tuple[bool, dict[str, Any]]:
    try:
        order = venue.exchange.cancel(call.account, symbol, order_id, client_id)
    except Reject as reject:
        refusal = from_reject(reject, cancelling=True)
        return False, {"code": refusal.code, "msg": refusal.message}
    call.executed = True
    return True, views.canceled_json(order, call.params.get("cancelNewClientOrderId") or f"cancel{order.id:016d}")
