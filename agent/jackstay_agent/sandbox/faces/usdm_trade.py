"""Binance USDⓈ-M trading, account and position endpoints."""

from __future__ import annotations

from typing import Any

from ..answers import Call
from ..engine.model import Reject
from ..venue import Venue
from . import binance_public as public
from . import binance_trade as spot_trade
from . import usdm_views as views
from .binance_auth import whole
from .binance_errors import Refusal, mandatory
from .binance_params import number, symbol_of
from .usdm_params import order_request

UNKNOWN = "Unknown order sent."


def exchange_info(venue: Venue, call: Call) -> dict[str, Any]:
    limits = venue.limits
    return {
        "timezone": "UTC", "serverTime": call.now, "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True}],
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limits.weight_max},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": limits.orders_10s_max},
        ],
        "symbols": [
            views.symbol_json(market.symbol, "SETTLING" if public.status_of(venue, name, call.now) != "TRADING" else "")
            for name, market in venue.exchange.markets.items()
        ],
    }  # fmt: skip


def depth(venue: Venue, call: Call) -> dict[str, Any]:
    return public.depth(venue, call) | {"E": call.now, "T": call.now}


def premium_index(venue: Venue, call: Call) -> Any:
    rows = [
        {"symbol": name, "markPrice": str(m.last_price), "indexPrice": str(m.last_price), "lastFundingRate": "0.0001",
         "nextFundingTime": call.now - call.now % 28_800_000 + 28_800_000, "interestRate": "0.0001", "time": call.now}
        for name, m in venue.exchange.markets.items()
    ]  # fmt: skip
    symbol = call.params.get("symbol")
    return next((row for row in rows if row["symbol"] == symbol), rows)


def place(venue: Venue, call: Call) -> dict[str, Any]:
    request = order_request(venue.futures, call.params, call.account, call.key)
    spot_trade.count_order(venue, call)
    before = abs(_held(venue, call, request.symbol, request.position_side))
    placed = venue.exchange.place(request)
    call.executed, call.order_id = True, placed.order.id
    if request.reduce_only and abs(_held(venue, call, request.symbol, request.position_side)) > before:
        call.notes.append("enlarged")
    view = views.order_json(placed.order)
    if call.params.get("newOrderRespType", "ACK") == "ACK" and request.type == "MARKET":
        view |= {"status": "NEW", "executedQty": "0", "cumQty": "0", "cumQuote": "0", "avgPrice": "0.00"}
    return view


def _held(venue: Venue, call: Call, symbol: str, side: str) -> Any:
    return venue.futures.positions.position(call.account, symbol, side).quantity


def query(venue: Venue, call: Call) -> dict[str, Any]:
    order = spot_trade.find(venue, call)
    call.order_id = order.id
    return views.order_json(order)


def open_order(venue: Venue, call: Call) -> dict[str, Any]:
    order = spot_trade.find(venue, call)
    if not order.is_open:
        raise Refusal(-2013, "Order does not exist.")
    return views.order_json(order)


def cancel(venue: Venue, call: Call) -> dict[str, Any]:
    symbol = symbol_of(call.params)
    order_id, client_id = whole(call.params, "orderId"), call.params.get("origClientOrderId")
    if order_id is None and not client_id:
        raise Refusal(-1102, "Mandatory parameter 'orderId' was not sent, was empty/null, or malformed.")
    try:
        order = venue.exchange.cancel(call.account, symbol, order_id, client_id)
    except Reject as reject:
        if reject.reason == "unknown_symbol":
            raise
        raise Refusal(-2011, UNKNOWN) from None
    call.executed, call.order_id = True, order.id
    spot_trade.note_cancel(call, order)
    return views.order_json(order)


def amend(venue: Venue, call: Call) -> dict[str, Any]:
    """PUT /fapi/v1/order: a new price and quantity under the same name; it loses its place in the queue."""
    for name in ("side", "quantity", "price"):
        if not call.params.get(name):
            raise mandatory(name)
    order = spot_trade.find(venue, call)
    if not order.is_open:
        raise Refusal(-2013, "Order does not exist.")
    spot_trade.count_order(venue, call)
    amended = venue.futures.amend(order, number(call.params, "price"), number(call.params, "quantity"))
    call.executed, call.order_id = True, amended.id
    return views.order_json(amended)


def open_orders(venue: Venue, call: Call) -> list[Any]:
    symbol = symbol_of(call.params) if call.params.get("symbol") else None
    if symbol:
        venue.exchange.market(symbol)
    return [views.order_json(order) for order in venue.exchange.orders.open_of(call.account, symbol)]


def all_orders(venue: Venue, call: Call) -> list[Any]:
    symbol, first = symbol_of(call.params), whole(call.params, "orderId") or 0
    venue.exchange.market(symbol)
    found = [order for order in venue.exchange.orders.all_of(call.account, symbol) if order.id >= first]
    return [views.order_json(order) for order in found][-min(whole(call.params, "limit") or 500, 1000) :]


def cancel_all(venue: Venue, call: Call) -> dict[str, Any]:
    symbol = symbol_of(call.params)
    for order in venue.exchange.cancel_all(call.account, symbol):
        spot_trade.note_cancel(call, order)
    call.executed = True
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def user_trades(venue: Venue, call: Call) -> list[Any]:
    symbol = symbol_of(call.params)
    venue.exchange.market(symbol)
    sides = {order.id: order.position_side for order in venue.exchange.orders.all_of(call.account, symbol)}
    fills = venue.exchange.orders.fills_of(call.account, symbol, whole(call.params, "orderId"))
    return [views.fill_json(fill, sides.get(fill.order_id, "BOTH")) for fill in fills[-1000:]]


def account(venue: Venue, call: Call) -> dict[str, Any]:
    return views.account_json(venue.futures, call.account, call.now)


def account_v2(venue: Venue, call: Call) -> dict[str, Any]:
    return account(venue, call) | {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
    }


def balance(venue: Venue, call: Call) -> list[Any]:
    row = views.account_json(venue.futures, call.account, call.now)["assets"][0]
    return [
        {"accountAlias": "sandbox", "asset": "USDT", "balance": row["walletBalance"], "marginAvailable": True,
         "crossWalletBalance": row["crossWalletBalance"], "crossUnPnl": row["crossUnPnl"],
         "availableBalance": row["availableBalance"], "maxWithdrawAmount": row["maxWithdrawAmount"],
         "updateTime": call.now}
    ]  # fmt: skip


def position_risk(venue: Venue, call: Call) -> list[Any]:
    futures, symbol = venue.futures, call.params.get("symbol")
    return [
        views.position_json(futures, each)
        for each in futures.positions.positions(call.account)
        if symbol in (None, "", each.symbol)
    ]


def leverage(venue: Venue, call: Call) -> dict[str, Any]:
    symbol, wanted = symbol_of(call.params), whole(call.params, "leverage")
    venue.exchange.market(symbol)
    if wanted is None or not 1 <= wanted <= 125:
        raise Refusal(-4028, f"Leverage {wanted} is not valid")
    venue.futures.positions.set_leverage(call.account, symbol, wanted)
    return {"symbol": symbol, "leverage": wanted, "maxNotionalValue": "1000000"}


def leverage_bracket(venue: Venue, call: Call) -> list[Any]:
    bracket = {"bracket": 1, "initialLeverage": 125, "notionalCap": 50_000_000, "notionalFloor": 0,
               "maintMarginRatio": 0.004, "cum": 0.0}  # fmt: skip
    return [{"symbol": name, "brackets": [bracket]} for name in venue.exchange.markets]


def position_mode(venue: Venue, call: Call) -> dict[str, Any]:
    return {"dualSidePosition": call.account in venue.futures.positions.hedged}


def set_position_mode(venue: Venue, call: Call) -> dict[str, Any]:
    positions, wanted = venue.futures.positions, call.params.get("dualSidePosition") == "true"
    if wanted == (call.account in positions.hedged):
        raise Refusal(-4059, "No need to change position side.")
    if positions.positions(call.account):
        raise Refusal(-4068, "Position side cannot be changed if there exists position.")
    if venue.exchange.orders.open_of(call.account):
        raise Refusal(-4067, "Position side cannot be changed if there exists open orders.")
    positions.set_hedged(call.account, hedged=wanted)
    return {"code": 200, "msg": "success"}


def countdown(venue: Venue, call: Call) -> dict[str, Any]:
    """POST /fapi/v1/countdownCancelAll: the per-symbol dead-man switch."""
    symbol, duration_ms = symbol_of(call.params), whole(call.params, "countdownTime")
    if duration_ms is None:
        raise mandatory("countdownTime")
    venue.futures.countdown(call.account, symbol, duration_ms)
    return {"symbol": symbol, "countdownTime": str(duration_ms)}
