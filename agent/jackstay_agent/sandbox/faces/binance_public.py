"""Binance spot market data: what the world may see of the book, without a key."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

from ..answers import Call
from ..engine.candles import INTERVALS, MINUTE
from ..engine.exchange import Market
from ..engine.model import ZERO
from ..venue import Venue
from . import binance_views as views
from .binance_auth import whole
from .binance_errors import Refusal, mandatory
from .binance_params import symbol_of

DAY_MS = 86_400_000


def ping(venue: Venue, call: Call) -> dict[str, Any]:
    return {}


def server_time(venue: Venue, call: Call) -> dict[str, Any]:
    return {"serverTime": call.now}


def exchange_info(venue: Venue, call: Call) -> dict[str, Any]:
    names = (
        _names(venue, call) if call.params.get("symbol") or call.params.get("symbols") else list(venue.exchange.markets)
    )
    limits = venue.limits
    return {
        "timezone": "UTC",
        "serverTime": call.now,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limits.weight_max},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": limits.orders_10s_max},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
        ],
        "exchangeFilters": [],
        "symbols": [
            views.symbol_json(venue.exchange.markets[name].symbol, status_of(venue, name, call.now)) for name in names
        ],
    }


def status_of(venue: Venue, name: str, now: int) -> str:
    """BREAK outside the market's hours, HALT while it takes no orders."""
    trading = venue.exchange.trading
    if not trading.is_open(name, now):
        return "BREAK"
    return "TRADING" if trading.takes_orders(name, now) else "HALT"


def _names(venue: Venue, call: Call) -> list[str]:
    """The symbols asked for by `symbol` or `symbols` (a JSON list); all when neither is sent."""
    text = call.params.get("symbols")
    if text:
        try:
            names = orjson.loads(text)
        except ValueError:
            raise Refusal(-1100, "Illegal characters found in parameter 'symbols'.") from None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Refusal(-1100, "Illegal characters found in parameter 'symbols'.")
    elif call.params.get("symbol"):
        names = [symbol_of(call.params)]
    else:
        return list(venue.exchange.markets)
    if any(name not in venue.exchange.markets for name in names):
        raise Refusal(-1121, "Invalid symbol.")
    return names


def _limit(call: Call, default: int, most: int) -> int:
    limit = whole(call.params, "limit")
    return default if limit is None else max(1, min(limit, most))


def depth(venue: Venue, call: Call) -> dict[str, Any]:
    market = venue.exchange.market(symbol_of(call.params))
    limit = _limit(call, 100, 5000)
    return {
        "lastUpdateId": market.update_id,
        "bids": views.levels_json(market.book.bids.depth(limit)),
        "asks": views.levels_json(market.book.asks.depth(limit)),
    }


def depth_weight(call: Call) -> int:
    limit = call.params.get("limit", "100")
    size = int(limit) if limit.isdigit() else 100
    return 5 if size <= 100 else 25 if size <= 500 else 50 if size <= 1000 else 250


def trades(venue: Venue, call: Call) -> list[Any]:
    market = venue.exchange.market(symbol_of(call.params))
    return [views.trade_json(trade) for trade in list(market.trades)[-_limit(call, 500, 1000) :]]


def aggregate_trades(venue: Venue, call: Call) -> list[Any]:
    market = venue.exchange.market(symbol_of(call.params))
    first = whole(call.params, "fromId") or 0
    start, end = whole(call.params, "startTime") or 0, whole(call.params, "endTime")
    found = [t for t in market.trades if t.id >= first and t.at >= start and (end is None or t.at <= end)]
    limit = _limit(call, 500, 1000)
    return [views.aggregate_json(trade) for trade in (found[:limit] if first or start else found[-limit:])]


def klines(venue: Venue, call: Call) -> list[Any]:
    market = venue.exchange.market(symbol_of(call.params))
    interval = call.params.get("interval", "")
    if not interval:
        raise mandatory("interval")
    if interval not in INTERVALS:
        raise Refusal(-1120, "Invalid interval.")
    bars = venue.candles[market.symbol.name].bars(interval, _limit(call, 500, 1000))
    start, end = whole(call.params, "startTime") or 0, whole(call.params, "endTime")
    length_ms = INTERVALS[interval] * MINUTE
    return [views.bar_json(b, length_ms) for b in bars if b.opened_at >= start and (end is None or b.opened_at <= end)]


def ticker_24h(venue: Venue, call: Call) -> Any:
    return _one_or_all(call, [_day_json(venue, venue.exchange.markets[name], call.now) for name in _names(venue, call)])


def ticker_price(venue: Venue, call: Call) -> Any:
    names = _names(venue, call)
    return _one_or_all(
        call, [{"symbol": n, "price": views.amount(venue.exchange.markets[n].last_price)} for n in names]
    )


def book_ticker(venue: Venue, call: Call) -> Any:
    return _one_or_all(call, [_best_json(venue.exchange.markets[name]) for name in _names(venue, call)])


def average_price(venue: Venue, call: Call) -> dict[str, Any]:
    market = venue.exchange.market(symbol_of(call.params))
    return {"mins": 5, "price": views.amount(market.last_price), "closeTime": call.now}


def one_weight(one: int, every: int) -> Any:
    """Weight of an endpoint that is cheap for one symbol and dear for all."""
    return lambda call: one if call.params.get("symbol") else every


def _one_or_all(call: Call, rows: list[dict[str, Any]]) -> Any:
    return rows[0] if call.params.get("symbol") else rows


def _best_json(market: Market) -> dict[str, Any]:
    nothing = (ZERO, ZERO)
    bid, ask = next(iter(market.book.bids.depth(1)), nothing), next(iter(market.book.asks.depth(1)), nothing)
    return {
        "symbol": market.symbol.name,
        "bidPrice": views.amount(bid[0]),
        "bidQty": views.amount(bid[1]),
        "askPrice": views.amount(ask[0]),
        "askQty": views.amount(ask[1]),
    }


def _day_json(venue: Venue, market: Market, now: int) -> dict[str, Any]:
    day = venue.candles[market.symbol.name].day(now, market.last_price)
    change = day.close - day.open
    percent = change / day.open * 100 if day.open else ZERO
    mean = day.quote_volume / day.volume if day.volume else market.last_price
    return {
        **_best_json(market),
        "priceChange": views.amount(change),
        "priceChangePercent": f"{percent:.3f}",
        "weightedAvgPrice": views.amount(mean),
        "prevClosePrice": views.amount(day.open),
        "lastPrice": views.amount(market.last_price),
        "lastQty": views.amount(market.trades[-1].quantity if market.trades else Decimal(0)),
        "openPrice": views.amount(day.open),
        "highPrice": views.amount(day.high),
        "lowPrice": views.amount(day.low),
        "volume": views.amount(day.volume),
        "quoteVolume": views.amount(day.quote_volume),
        "openTime": now - DAY_MS,
        "closeTime": now,
        "firstId": day.first_trade,
        "lastId": day.last_trade,
        "count": day.trades,
    }
