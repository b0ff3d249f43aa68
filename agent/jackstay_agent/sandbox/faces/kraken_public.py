"""Kraken market data: what the world may see of the books, without a key (docs.kraken.com, "Market Data")."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from ..answers import Call
from ..engine.model import Trade
from ..venue import Venue
from . import kraken_views as views
from .kraken_errors import invalid
from .kraken_names import ASSETS, PAIRS, Pair, asset_of, pair_of

OHLC_MINUTES = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d", 10080: "1w"}
DEPTH_MAX = 500
TRADES_MAX = 1000


def server_time(venue: Venue, call: Call) -> dict[str, Any]:
    now = datetime.fromtimestamp(call.now / 1000, UTC)
    return {"unixtime": call.now // 1000, "rfc1123": format_datetime(now, usegmt=True)}


def system_status(venue: Venue, call: Call) -> dict[str, Any]:
    return {"status": venue.exchange.trading.mode, "timestamp": rfc3339(call.now, "seconds")}


def rfc3339(at_ms: int, precision: str = "microseconds") -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def assets(venue: Venue, call: Call) -> dict[str, Any]:
    wanted = call.params.get("asset")
    found = [asset_of(name) for name in wanted.split(",")] if wanted else list(ASSETS.values())
    return {asset.id: views.asset_json(asset) for asset in found}


def asset_pairs(venue: Venue, call: Call) -> dict[str, Any]:
    rate = venue.exchange.settlement.fee_rate
    return {pair.id: views.pair_json(pair, rate, status_of(venue, pair, call.now)) for pair in _pairs(call)}


def status_of(venue: Venue, pair: Pair, now: int) -> str:
    trading = venue.exchange.trading
    return trading.mode_of(pair.symbol.name) if trading.is_open(pair.symbol.name, now) else "cancel_only"


def _pairs(call: Call) -> list[Pair]:
    wanted = call.params.get("pair")
    return [pair_of(name) for name in wanted.split(",")] if wanted else list(PAIRS.values())


def _pair(call: Call) -> Pair:
    wanted = call.params.get("pair")
    if not wanted:
        raise invalid("pair")
    return pair_of(wanted)


def ticker(venue: Venue, call: Call) -> dict[str, Any]:
    return {pair.id: ticker_json(venue, pair, call.now) for pair in _pairs(call)}


def ticker_json(venue: Venue, pair: Pair, now: int) -> dict[str, Any]:
    market = venue.exchange.markets[pair.symbol.name]
    day = venue.candles[pair.symbol.name].day(now, market.last_price)
    mean = pair.cost(day.quote_volume / day.volume) if day.volume else pair.cost(market.last_price)
    last = market.trades[-1].quantity if market.trades else day.volume

    def best(levels: list[tuple[Any, Any]]) -> list[str]:
        if not levels:
            return ["0.00000", "0", "0.000"]
        return [pair.price(levels[0][0]), str(int(levels[0][1])), f"{levels[0][1]:.3f}"]

    return {
        "a": best(market.book.asks.depth(1)),
        "b": best(market.book.bids.depth(1)),
        "c": [pair.price(market.last_price), pair.volume(last)],
        "v": [pair.volume(day.volume)] * 2,
        "p": [mean] * 2,
        "t": [day.trades] * 2,
        "l": [pair.price(day.low)] * 2,
        "h": [pair.price(day.high)] * 2,
        "o": pair.price(day.open),
    }


def depth(venue: Venue, call: Call) -> dict[str, Any]:
    pair = _pair(call)
    count = _whole(call, "count", 100, DEPTH_MAX)
    return {pair.id: views.book_json(pair, venue.exchange.markets[pair.symbol.name], count, call.now // 1000)}


def _whole(call: Call, name: str, default: int, most: int) -> int:
    text = call.params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise invalid(name)
    return int(text)


def trades(venue: Venue, call: Call) -> dict[str, Any]:
    pair, count = _pair(call), _whole(call, "count", TRADES_MAX, TRADES_MAX)
    since_ns = _since_ns(call.params.get("since", ""))
    everything = venue.exchange.markets[pair.symbol.name].trades
    found = [trade for trade in everything if trade.at * 1_000_000 > since_ns]
    found = found[:count] if since_ns else found[-count:]
    last = found[-1].at * 1_000_000 if found else since_ns
    return {pair.id: [_trade_json(pair, trade) for trade in found], "last": str(last)}


def _since_ns(text: str) -> int:
    """`since` may be seconds or nanoseconds."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise invalid("since")
    return int(text) if len(text) > 12 else int(text) * 1_000_000_000


def _trade_json(pair: Pair, trade: Trade) -> list[Any]:
    side = "s" if trade.buyer_is_maker else "b"
    return [pair.price(trade.price), pair.volume(trade.quantity), trade.at / 1000, side, "m", "", trade.id]


def ohlc(venue: Venue, call: Call) -> dict[str, Any]:
    pair, minutes = _pair(call), _whole(call, "interval", 1, 21600)
    if minutes not in OHLC_MINUTES:
        raise invalid("interval")
    since = _since_ns(call.params.get("since", "")) // 1_000_000
    bars = venue.candles[pair.symbol.name].bars(OHLC_MINUTES[minutes], 720)
    rows = [
        [bar.opened_at // 1000, pair.price(bar.open), pair.price(bar.high), pair.price(bar.low), pair.price(bar.close),
         pair.price(bar.quote_volume / bar.volume) if bar.volume else "0.0", pair.volume(bar.volume), bar.trades]
        for bar in bars
        if bar.opened_at >= since
    ]  # fmt: skip
    return {pair.id: rows, "last": bars[-2].opened_at // 1000 if len(bars) > 1 else 0}
