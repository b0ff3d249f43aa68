"""Engine nouns as Binance spot JSON: plain functions from a noun to a dict. All amounts are strings of 8 decimals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..engine.candles import Bar
from ..engine.model import ZERO, Fill, Order, Symbol, Trade

SPOT_TYPES = [
    "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT",
]  # fmt: skip


def amount(value: Decimal) -> str:
    return f"{value:.8f}"


def plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def filters_json(symbol: Symbol) -> list[dict[str, Any]]:
    up, down = plain(symbol.percent_up), plain(symbol.percent_down)
    market_max = amount(symbol.market_quantity_max)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": amount(symbol.price_min),
            "maxPrice": amount(symbol.price_max),
            "tickSize": amount(symbol.tick),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": amount(symbol.quantity_min),
            "maxQty": amount(symbol.quantity_max),
            "stepSize": amount(symbol.step),
        },
        {"filterType": "MARKET_LOT_SIZE", "minQty": amount(ZERO), "maxQty": market_max, "stepSize": amount(ZERO)},
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": up,
            "bidMultiplierDown": down,
            "askMultiplierUp": up,
            "askMultiplierDown": down,
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": amount(symbol.notional_min),
            "applyMinToMarket": True,
            "maxNotional": amount(symbol.notional_max),
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": symbol.orders_max},
    ]


def symbol_json(symbol: Symbol, status: str = "TRADING") -> dict[str, Any]:
    return {
        "symbol": symbol.name,
        "status": status,
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": SPOT_TYPES,
        "icebergAllowed": False,
        "ocoAllowed": True,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters_json(symbol),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def order_json(order: Order) -> dict[str, Any]:
    """An order as queries give it."""
    view = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "price": amount(order.price),
        "origQty": amount(order.quantity),
        "executedQty": amount(order.filled),
        "cummulativeQuoteQty": amount(order.cost),
        "status": order.status,
        "timeInForce": order.tif,
        "type": order.type,
        "side": order.side,
        "stopPrice": amount(order.stop_price),
        "icebergQty": amount(ZERO),
        "time": order.created_at,
        "updateTime": order.updated_at,
        "isWorking": order.working,
        "workingTime": order.working_at if order.working else -1,
        "origQuoteOrderQty": amount(order.quote_quantity),
        "selfTradePreventionMode": order.stp,
    }
    if order.prevented:
        view["preventedQuantity"] = amount(order.prevented)
    return view


def placed_json(order: Order, fills: list[Fill], kind: str) -> dict[str, Any]:
    """The answer to a placement; `kind` is ACK, RESULT or FULL."""
    view: dict[str, Any] = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "transactTime": order.updated_at,
    }
    if kind == "ACK":
        return view
    full = order_json(order)
    for name in ("price", "origQty", "executedQty", "origQuoteOrderQty", "cummulativeQuoteQty", "status", "timeInForce",
                 "type", "side", "workingTime", "selfTradePreventionMode"):  # fmt: skip
        view[name] = full[name]
    if order.stop_price:
        view["stopPrice"] = full["stopPrice"]
    if kind == "FULL":
        view["fills"] = [
            {
                "price": amount(fill.price),
                "qty": amount(fill.quantity),
                "commission": amount(fill.fee),
                "commissionAsset": fill.fee_asset,
                "tradeId": fill.trade_id,
            }
            for fill in fills
        ]
    return view


def canceled_json(order: Order, cancel_id: str) -> dict[str, Any]:
    """The answer to a cancel: the order's own client id moves to `origClientOrderId`."""
    view = placed_json(order, [], "RESULT")
    view["origClientOrderId"] = order.client_id
    view["clientOrderId"] = cancel_id
    return view


def fill_json(fill: Fill) -> dict[str, Any]:
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "orderListId": -1,
        "price": amount(fill.price),
        "qty": amount(fill.quantity),
        "quoteQty": amount(fill.price * fill.quantity),
        "commission": amount(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.at,
        "isBuyer": fill.side == "BUY",
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def trade_json(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.id,
        "price": amount(trade.price),
        "qty": amount(trade.quantity),
        "quoteQty": amount(trade.price * trade.quantity),
        "time": trade.at,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def aggregate_json(trade: Trade) -> dict[str, Any]:
    return {
        "a": trade.id,
        "p": amount(trade.price),
        "q": amount(trade.quantity),
        "f": trade.id,
        "l": trade.id,
        "T": trade.at,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def bar_json(bar: Bar, length_ms: int) -> list[Any]:
    return [
        bar.opened_at, amount(bar.open), amount(bar.high), amount(bar.low), amount(bar.close), amount(bar.volume),
        bar.opened_at + length_ms - 1, amount(bar.quote_volume), bar.trades, amount(bar.taker_volume),
        amount(bar.taker_quote_volume), "0",
    ]  # fmt: skip


def levels_json(levels: list[tuple[Decimal, Decimal]]) -> list[list[str]]:
    return [[amount(price), amount(quantity)] for price, quantity in levels]
