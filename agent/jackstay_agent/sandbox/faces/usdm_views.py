"""Futures nouns as Binance USDⓈ-M JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..engine.algos import Algo
from ..engine.futures import FuturesExchange
from ..engine.model import ZERO, Fill, Order, Symbol
from ..engine.positions import Position
from .binance_views import amount, plain

TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]
GTX = {"LIMIT_MAKER": "GTX"}


def _digits(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def symbol_json(symbol: Symbol, status: str = "") -> dict[str, Any]:
    lot = {"minQty": plain(symbol.quantity_min), "stepSize": plain(symbol.step)}
    return {
        "symbol": symbol.name, "pair": symbol.name, "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000, "status": status or "TRADING",
        "baseAsset": symbol.base, "quoteAsset": symbol.quote,
        "marginAsset": symbol.quote, "pricePrecision": _digits(symbol.tick), "quantityPrecision": _digits(symbol.step),
        "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN", "triggerProtect": "0.0500",
        "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": plain(symbol.price_min), "maxPrice": plain(symbol.price_max),
             "tickSize": plain(symbol.tick)},
            {"filterType": "LOT_SIZE", "maxQty": plain(symbol.quantity_max), **lot},
            {"filterType": "MARKET_LOT_SIZE", "maxQty": plain(symbol.market_quantity_max), **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": symbol.orders_max},
            {"filterType": "MIN_NOTIONAL", "notional": plain(symbol.notional_min)},
            {"filterType": "PERCENT_PRICE", "multiplierUp": plain(symbol.percent_up),
             "multiplierDown": plain(symbol.percent_down), "multiplierDecimal": "4"},
        ],
        "orderTypes": TYPES, "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }  # fmt: skip


def order_json(order: Order) -> dict[str, Any]:
    mean = order.cost / order.filled if order.filled else ZERO
    kind = "LIMIT" if order.type == "LIMIT_MAKER" else order.type
    return {
        "orderId": order.id, "symbol": order.symbol, "status": order.status, "clientOrderId": order.client_id,
        "price": plain_or_zero(order.price), "avgPrice": f"{mean:.5f}", "origQty": plain_or_zero(order.quantity),
        "executedQty": plain_or_zero(order.filled), "cumQty": plain_or_zero(order.filled),
        "cumQuote": amount(order.cost),
        "timeInForce": GTX.get(order.type, order.tif), "type": kind, "origType": kind,
        "reduceOnly": order.reduce_only, "closePosition": False, "side": order.side,
        "positionSide": order.position_side, "stopPrice": "0", "workingType": "CONTRACT_PRICE", "priceProtect": False,
        "priceMatch": "NONE", "selfTradePreventionMode": order.stp, "goodTillDate": 0, "time": order.created_at,
        "updateTime": order.updated_at,
    }  # fmt: skip


def plain_or_zero(value: Decimal) -> str:
    return plain(value) if value else "0"


def fill_json(fill: Fill, position_side: str, realized: Decimal = ZERO) -> dict[str, Any]:
    return {
        "symbol": fill.symbol, "id": fill.trade_id, "orderId": fill.order_id, "side": fill.side,
        "price": plain(fill.price), "qty": plain(fill.quantity), "realizedPnl": amount(realized),
        "quoteQty": plain(fill.price * fill.quantity), "commission": amount(fill.fee),
        "commissionAsset": fill.fee_asset, "time": fill.at,
        "positionSide": position_side, "buyer": fill.side == "BUY", "maker": fill.is_maker,
    }  # fmt: skip


def algo_json(algo: Algo) -> dict[str, Any]:
    asked = algo.request
    return {
        "algoId": algo.id, "clientAlgoId": algo.client_id, "algoType": "CONDITIONAL", "orderType": asked.type,
        "symbol": asked.symbol, "side": asked.side, "positionSide": asked.position_side, "timeInForce": asked.tif,
        "quantity": plain_or_zero(asked.quantity), "algoStatus": algo.status, "triggerPrice": plain(asked.stop_price),
        "price": plain_or_zero(asked.price), "icebergQuantity": None, "selfTradePreventionMode": asked.stp,
        "workingType": "CONTRACT_PRICE", "priceMatch": "NONE", "closePosition": asked.close_position,
        "priceProtect": False, "reduceOnly": asked.reduce_only, "createTime": algo.created_at,
        "updateTime": algo.updated_at, "triggerTime": algo.triggered_at, "goodTillDate": 0,
        "actualOrderId": str(algo.order_id) if algo.order_id else "",
    }  # fmt: skip


def position_json(venue: FuturesExchange, position: Position) -> dict[str, Any]:
    positions, price = venue.positions, venue.positions.prices[position.symbol]
    leverage = positions.leverage(position.account, position.symbol)
    notional = position.quantity * price
    margin = amount(abs(notional) / leverage)
    return {
        "symbol": position.symbol, "positionSide": position.side, "positionAmt": plain_or_zero(position.quantity),
        "entryPrice": plain_or_zero(position.entry), "breakEvenPrice": plain_or_zero(position.entry),
        "markPrice": plain(price), "unRealizedProfit": amount(position.profit(price)), "liquidationPrice": "0",
        "isolatedMargin": "0", "isolatedWallet": "0", "notional": amount(notional), "marginAsset": "USDT",
        "initialMargin": margin, "maintMargin": amount(abs(notional) / 250), "positionInitialMargin": margin,
        "openOrderInitialMargin": "0", "adl": 1, "bidNotional": "0", "askNotional": "0", "leverage": str(leverage),
        "updateTime": position.updated_at,
    }  # fmt: skip


def account_json(venue: FuturesExchange, account: str, now: int) -> dict[str, Any]:
    positions = venue.positions
    wallet, profit = venue.wallets.of(account, "USDT").free, positions.profit(account)
    held, ordered = positions.position_margin(account), positions.order_margin(account)
    available = amount(max(positions.available(account), ZERO))
    sums = {
        "initialMargin": amount(held + ordered), "maintMargin": amount(held / 2), "walletBalance": amount(wallet),
        "unrealizedProfit": amount(profit), "marginBalance": amount(wallet + profit),
        "positionInitialMargin": amount(held), "openOrderInitialMargin": amount(ordered),
        "crossWalletBalance": amount(wallet), "crossUnPnl": amount(profit),
    }  # fmt: skip
    totals = {f"total{name[0].upper()}{name[1:]}": value for name, value in sums.items()}
    rows = [position_json(venue, each) for each in positions.positions(account)]
    for row in rows:
        row["unrealizedProfit"] = row.pop("unRealizedProfit")
    asset = {"asset": "USDT", **sums, "availableBalance": available, "maxWithdrawAmount": available, "updateTime": now}
    return {
        **totals,
        "availableBalance": available,
        "maxWithdrawAmount": available,
        "assets": [asset],
        "positions": rows,
    }
