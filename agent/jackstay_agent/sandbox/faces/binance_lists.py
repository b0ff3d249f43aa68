"""Binance's order lists: OCO placed the old way (`order/oco`) and the new (`orderList/oco`), queried and cancelled."""

from __future__ import annotations

from typing import Any

from ..answers import Call
from ..engine.model import Order, OrderList, OrderRequest, Reject
from ..venue import Venue
from . import binance_views as views
from .binance_auth import whole
from .binance_errors import Refusal, from_reject, mandatory
from .binance_params import client_id_of, number, symbol_of
from .binance_trade import count_order

_LIMIT_LEG = "LIMIT_MAKER"


def place_oco(venue: Venue, call: Call) -> dict[str, Any]:
    """POST /api/v3/order/oco: quantity, price, stopPrice, stopLimitPrice."""
    params = call.params
    for name in ("side", "quantity", "price", "stopPrice"):
        if not params.get(name):
            raise mandatory(name)
    stop_limit = number(params, "stopLimitPrice")
    common = _common(call)
    limit = OrderRequest(
        type=_LIMIT_LEG, price=number(params, "price"), client_id=client_id_of(params, "limitClientOrderId"), **common
    )
    stop = OrderRequest(
        type="STOP_LOSS_LIMIT" if stop_limit else "STOP_LOSS",
        price=stop_limit,
        stop_price=number(params, "stopPrice"),
        client_id=client_id_of(params, "stopClientOrderId"),
        **common,
    )
    return _place(venue, call, limit, stop)


def place_oco_new(venue: Venue, call: Call) -> dict[str, Any]:
    """POST /api/v3/orderList/oco: an above leg and a below leg, one of them the maker."""
    legs = {place: call.params.get(f"{place}Type", "") for place in ("above", "below")}
    for place, kind in legs.items():
        if not kind:
            raise mandatory(f"{place}Type")
    common = _common(call)
    requests = {place: _leg(call, place, kind, common) for place, kind in legs.items()}
    maker = next((place for place, kind in legs.items() if kind == _LIMIT_LEG), None)
    if maker is None:
        raise Refusal(-1158, "Order type not supported in OCO.")
    other = "below" if maker == "above" else "above"
    return _place(venue, call, requests[maker], requests[other])


def _leg(call: Call, place: str, kind: str, common: dict[str, Any]) -> OrderRequest:
    if kind not in (_LIMIT_LEG, "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"):
        raise Refusal(-1158, "Order type not supported in OCO.")
    return OrderRequest(
        type=kind,
        price=number(call.params, f"{place}Price"),
        stop_price=number(call.params, f"{place}StopPrice"),
        client_id=client_id_of(call.params, f"{place}ClientOrderId"),
        **common,
    )


def _common(call: Call) -> dict[str, Any]:
    side, quantity = call.params.get("side", ""), number(call.params, "quantity")
    if side not in ("BUY", "SELL"):
        raise Refusal(-1117, "Invalid side.")
    if not quantity:
        raise mandatory("quantity")
    return {"account": call.account, "symbol": symbol_of(call.params), "side": side, "quantity": quantity,
            "owner": call.key}  # fmt: skip


def _place(venue: Venue, call: Call, limit: OrderRequest, stop: OrderRequest) -> dict[str, Any]:
    count_order(venue, call)
    pair, *legs = venue.exchange.place_pair(limit, stop, client_id_of(call.params, "listClientOrderId"))
    call.executed, call.order_id = True, pair.id
    return list_json(venue, pair) | {"orderReports": [views.placed_json(leg, [], "RESULT") for leg in legs]}


def list_json(venue: Venue, pair: OrderList) -> dict[str, Any]:
    is_open = venue.exchange.lists.is_open(pair)
    return {
        "orderListId": pair.id,
        "contingencyType": "OCO",
        "listStatusType": "EXEC_STARTED" if is_open else "ALL_DONE",
        "listOrderStatus": "EXECUTING" if is_open else "ALL_DONE",
        "listClientOrderId": pair.client_id,
        "transactionTime": pair.created_at,
        "symbol": pair.symbol,
        "orders": [_name(leg) for leg in venue.exchange.lists.legs(pair)],
    }


def _name(order: Order) -> dict[str, Any]:
    return {"symbol": order.symbol, "orderId": order.id, "clientOrderId": order.client_id}


def _find(venue: Venue, call: Call, client_name: str) -> OrderList:
    list_id, client_id = whole(call.params, "orderListId"), call.params.get(client_name)
    if list_id is None and not client_id:
        raise mandatory("orderListId")
    try:
        return venue.exchange.lists.find(call.account, list_id, client_id)
    except Reject as reject:
        raise from_reject(reject) from None


def query(venue: Venue, call: Call) -> dict[str, Any]:
    try:
        return list_json(venue, _find(venue, call, "origClientOrderId"))
    except Refusal as refusal:
        raise Refusal(-2018, "Order list does not exist.") if refusal.code == -2011 else refusal from None


def cancel(venue: Venue, call: Call) -> dict[str, Any]:
    pair = _find(venue, call, "listClientOrderId")
    legs = venue.exchange.lists.legs(pair)
    resting = next((leg for leg in legs if leg.is_open), None)
    if resting is None:
        raise Refusal(-2011, "Unknown order list sent.")
    venue.exchange.cancel(call.account, pair.symbol, resting.id)
    call.executed, call.order_id = True, pair.id
    return list_json(venue, pair) | {"orderReports": [views.canceled_json(leg, f"cancel{leg.id:016d}") for leg in legs]}


def open_lists(venue: Venue, call: Call) -> list[Any]:
    lists = venue.exchange.lists
    return [list_json(venue, pair) for pair in lists.all_of(call.account) if lists.is_open(pair)]


def all_lists(venue: Venue, call: Call) -> list[Any]:
    return [list_json(venue, pair) for pair in venue.exchange.lists.all_of(call.account)]
