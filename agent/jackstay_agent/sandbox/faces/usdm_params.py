"""A Binance USDⓈ-M order or algo order request into the engine's `OrderRequest`, with the codes of that market."""

from __future__ import annotations

from typing import Any

from ..engine.futures import FuturesExchange
from ..engine.model import ZERO, OrderRequest
from .binance_errors import Refusal, mandatory
from .binance_params import client_id_of, number, symbol_of

CONDITIONAL = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
TRIGGERED = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"})
TIFS = frozenset({"GTC", "IOC", "FOK", "GTX"})


def order_request(venue: FuturesExchange, params: dict[str, str], account: str, owner: str) -> OrderRequest:
    """An ordinary order. Conditional types have moved to the algo family: -4120."""
    kind = params.get("type", "")
    if kind in CONDITIONAL:
        raise Refusal(
            -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        )
    common = _common(venue, params, account, owner)
    if kind not in ("LIMIT", "MARKET"):
        raise mandatory("type") if not kind else Refusal(-1116, "Invalid orderType.")
    for name in ("quantity", "price", "timeInForce") if kind == "LIMIT" else ("quantity",):
        if not params.get(name):
            raise mandatory(name)
    maker = kind == "LIMIT" and common["tif"] == "GTX"
    return OrderRequest(
        type="LIMIT_MAKER" if maker else kind,
        quantity=number(params, "quantity"),
        price=number(params, "price") if kind == "LIMIT" else ZERO,
        client_id=client_id_of(params),
        **common,
    )


def algo_request(venue: FuturesExchange, params: dict[str, str], account: str, owner: str) -> OrderRequest:
    """A conditional order of the algo family."""
    if params.get("algoType") != "CONDITIONAL":
        raise mandatory("algoType")
    kind = params.get("type", "")
    if kind not in TRIGGERED:
        raise Refusal(-1116, "Invalid orderType.")
    close = params.get("closePosition") == "true"
    if close and kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise Refusal(-4136, "Target strategy invalid for orderType LIMIT,closePosition true.")
    needed = ["triggerPrice", *([] if close else ["quantity"]), *(["price"] if kind in ("STOP", "TAKE_PROFIT") else [])]
    for name in needed:
        if not params.get(name):
            raise mandatory(name)
    if close and params.get("quantity"):
        raise Refusal(-1106, "Parameter 'quantity' sent when not required.")
    return OrderRequest(
        type=kind,
        quantity=number(params, "quantity"),
        price=number(params, "price"),
        stop_price=number(params, "triggerPrice"),
        client_id=client_id_of(params, "clientAlgoId"),
        close_position=close,
        **_common(venue, params, account, owner),
    )


def _common(venue: FuturesExchange, params: dict[str, str], account: str, owner: str) -> dict[str, Any]:
    symbol, side = symbol_of(params), params.get("side", "")
    venue.market(symbol)
    if side not in ("BUY", "SELL"):
        raise mandatory("side") if not side else Refusal(-1117, "Invalid side.")
    tif = params.get("timeInForce") or "GTC"
    if tif not in TIFS:
        raise Refusal(-1115, "Invalid timeInForce.")
    position_side = params.get("positionSide") or "BOTH"
    hedged = account in venue.positions.hedged
    if position_side not in (("LONG", "SHORT") if hedged else ("BOTH",)):
        raise Refusal(-4061, "Order's position side does not match user's setting.")
    reduce_only = params.get("reduceOnly") == "true"
    if hedged:
        # in hedge mode the side that closes says so itself; the flag is not accepted
        if params.get("reduceOnly"):
            raise Refusal(-1106, "Parameter 'reduceonly' sent when not required.")
        reduce_only = (side, position_side) in (("SELL", "LONG"), ("BUY", "SHORT"))
    return {"account": account, "owner": owner, "symbol": symbol, "side": side, "tif": tif, "reduce_only": reduce_only,
            "position_side": position_side, "stp": params.get("selfTradePreventionMode") or "NONE"}  # fmt: skip
