"""A symbol's filters, checked in Binance's order; the first one broken names itself in the refusal.

Source: Binance spot filters.md (PRICE_FILTER, PERCENT_PRICE_BY_SIDE, LOT_SIZE, MARKET_LOT_SIZE, NOTIONAL,
MAX_NUM_ORDERS). Market orders are judged by the last price.
"""

from __future__ import annotations

from decimal import Decimal

from .model import ZERO, OrderRequest, Reject, Symbol


def check(symbol: Symbol, request: OrderRequest, last_price: Decimal) -> None:
    """Raises Reject("filter", name) for the first filter the request breaks."""
    if request.price:
        _check_price(symbol, request.price)
        _check_percent(symbol, request, last_price)
    if request.stop_price:
        _check_price(symbol, request.stop_price)
    if request.quantity:
        _check_lot(symbol, request)
    _check_notional(symbol, request, request.price or last_price)


def _check_price(symbol: Symbol, price: Decimal) -> None:
    if price < symbol.price_min or price > symbol.price_max or price % symbol.tick:
        raise Reject("filter", "PRICE_FILTER")


def _check_percent(symbol: Symbol, request: OrderRequest, last_price: Decimal) -> None:
    if last_price and not last_price * symbol.percent_down <= request.price <= last_price * symbol.percent_up:
        raise Reject("filter", "PERCENT_PRICE_BY_SIDE")


def _check_lot(symbol: Symbol, request: OrderRequest) -> None:
    quantity = request.quantity
    if quantity < symbol.quantity_min or quantity > symbol.quantity_max or quantity % symbol.step:
        raise Reject("filter", "LOT_SIZE")
    if request.type == "MARKET" and quantity > symbol.market_quantity_max:
        raise Reject("filter", "MARKET_LOT_SIZE")


def _check_notional(symbol: Symbol, request: OrderRequest, price: Decimal) -> None:
    notional = request.quote_quantity or request.quantity * price
    if notional == ZERO:
        return
    if notional < symbol.notional_min:
        raise Reject("filter", "NOTIONAL")
    if symbol.notional_max and notional > symbol.notional_max and request.type != "MARKET":
        raise Reject("filter", "NOTIONAL")
