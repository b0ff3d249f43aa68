"""Binance market streams from the engine's events: trade, aggTrade, bookTicker, depth (U/u), partial depth, kline,
tickers, and a test stream `<symbol>@seq` that counts, so that a listener can prove it lost nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..answers import Call
from ..engine.candles import INTERVALS, MINUTE
from ..engine.model import BookChange, Event, Trade
from ..streams import StreamHub
from ..venue import Venue
from . import binance_public as public
from . import binance_views as views

SLOW_EVERY = 10  # the plain @depth and @kline streams speak every tenth 100 ms turn: once a second
# the speeds futures offer besides are all spoken at the fast one
FAST_DEPTHS = ("@depth@100ms", "@depth@0ms", "@depth@250ms", "@depth@500ms")
PARTIAL_DEPTHS = (5, 10, 20)
SEQ_RATE_DEFAULT = 20.0
SEQ_BURST_MAX = 5000


class BinanceStreams:
    """Turns events into stream messages. Driven by `event`, `after_batch`, `turn` (each 100 ms) and `count`."""

    def __init__(self, venue: Venue, hub: StreamHub) -> None:
        self._venue = venue
        self._hub = hub
        self._pending: dict[str, dict[str, dict[tuple[str, Decimal], Decimal]]] = {}
        self._first_ids: dict[str, dict[str, int]] = {}
        self._best: dict[str, Any] = {}
        self._turns = 0
        self.seq_rate = SEQ_RATE_DEFAULT
        self._seq: dict[str, int] = {}
        self._seq_due = 0.0
        self.rebuilt()

    def rebuilt(self) -> None:
        """The engine was built anew: forget what was seen of the old one."""
        for speed in ("fast", "slow"):
            self._pending[speed] = {name: {} for name in self._venue.exchange.markets}
            self._first_ids[speed] = dict.fromkeys(self._venue.exchange.markets, 0)
        self._best.clear()
        self._touched: set[str] = set()

    def event(self, event: Event) -> None:
        if isinstance(event, BookChange):
            for speed in ("fast", "slow"):
                self._first_ids[speed][event.symbol] = self._first_ids[speed][event.symbol] or event.update_id
                self._pending[speed][event.symbol][event.side, event.price] = event.quantity
            self._touched.add(event.symbol)
        elif isinstance(event, Trade):
            self._trade(event)

    def _trade(self, trade: Trade) -> None:
        low = trade.symbol.lower()
        if self._hub.wanted(f"{low}@trade"):
            self._hub.publish(
                f"{low}@trade",
                {"e": "trade", "E": trade.at, "s": trade.symbol, "t": trade.id, "p": views.amount(trade.price),
                 "q": views.amount(trade.quantity), "T": trade.at, "m": trade.buyer_is_maker, "M": True},
            )  # fmt: skip
        if self._hub.wanted(f"{low}@aggTrade"):
            message = {"e": "aggTrade", "E": trade.at, "s": trade.symbol, **views.aggregate_json(trade)}
            self._hub.publish(f"{low}@aggTrade", message)

    def after_batch(self) -> None:
        """Best bid and ask of every symbol the last batch of events touched, if they changed."""
        for name in self._touched:
            low = name.lower()
            if not self._hub.wanted(f"{low}@bookTicker"):
                continue
            market = self._venue.exchange.markets[name]
            best = (market.book.bids.depth(1), market.book.asks.depth(1))
            if best == self._best.get(name) or not all(best):
                continue
            self._best[name] = best
            (bid, bid_size), (ask, ask_size) = best[0][0], best[1][0]
            message = {"u": market.update_id, "s": name, "b": views.amount(bid), "B": views.amount(bid_size),
                       "a": views.amount(ask), "A": views.amount(ask_size)}  # fmt: skip
            if self._venue.kind == "usdm":
                now = self._venue.clock()
                message |= {"e": "bookTicker", "E": now, "T": now}
            self._hub.publish(f"{low}@bookTicker", message)
        self._touched.clear()

    def turn(self) -> None:
        """Every 100 ms: depth and partial depth; every second: the slow depth, klines and tickers."""
        self._turns += 1
        for name in self._venue.exchange.markets:
            self._depth(name, "fast", FAST_DEPTHS if self._venue.kind == "usdm" else FAST_DEPTHS[:1])
            self._partial(name, "@100ms")
            if self._turns % SLOW_EVERY == 0:
                self._depth(name, "slow", ("@depth", "@depth@1000ms"))
                self._partial(name, "")
                self._bars(name)
                self._tickers(name)
                self._mark_price(name)

    def _depth(self, name: str, speed: str, suffixes: tuple[str, ...]) -> None:
        changes, first = self._pending[speed][name], self._first_ids[speed][name]
        if not changes:
            return
        self._pending[speed][name], self._first_ids[speed][name] = {}, 0
        low = name.lower()
        streams = [low + suffix for suffix in suffixes if self._hub.wanted(low + suffix)]
        if not streams:
            return
        sides: dict[str, list[list[str]]] = {"BUY": [], "SELL": []}
        for (side, price), quantity in changes.items():
            sides[side].append([views.amount(price), views.amount(quantity)])
        last = self._venue.exchange.markets[name].update_id
        now = self._venue.clock()
        message = {
            "e": "depthUpdate",
            "E": now,
            "s": name,
            "U": first,
            "u": last,
            "b": sides["BUY"],
            "a": sides["SELL"],
        }
        if self._venue.kind == "usdm":
            # futures name the event they follow, so that a gap shows without counting
            message |= {"T": now, "pu": first - 1}
        for stream in streams:
            self._hub.publish(stream, message)

    def _partial(self, name: str, suffix: str) -> None:
        book = self._venue.exchange.markets[name]
        for count in PARTIAL_DEPTHS:
            stream = f"{name.lower()}@depth{count}{suffix}"
            if self._hub.wanted(stream):
                bids, asks = book.book.bids.depth(count), book.book.asks.depth(count)
                message = {
                    "lastUpdateId": book.update_id,
                    "bids": views.levels_json(bids),
                    "asks": views.levels_json(asks),
                }
                self._hub.publish(stream, message)

    def _bars(self, name: str) -> None:
        for interval, minutes in INTERVALS.items():
            stream = f"{name.lower()}@kline_{interval}"
            if not self._hub.wanted(stream):
                continue
            bars = self._venue.candles[name].bars(interval, 1)
            if bars:
                self._hub.publish(stream, self._bar_message(name, interval, views.bar_json(bars[0], minutes * MINUTE)))

    def _bar_message(self, name: str, interval: str, row: list[Any]) -> dict[str, Any]:
        now = self._venue.clock()
        bar = self._venue.candles[name].bars(interval, 1)[0]
        return {"e": "kline", "E": now, "s": name, "k": {
            "t": row[0], "T": row[6], "s": name, "i": interval, "f": bar.first_trade, "L": bar.last_trade, "o": row[1],
            "c": row[4], "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": now > row[6], "q": row[7],
            "V": row[9], "Q": row[10], "B": "0"}}  # fmt: skip

    def _mark_price(self, name: str) -> None:
        """Futures have a mark price, which is the last price here: once a second, whichever speed was asked for."""
        streams = [f"{name.lower()}@markPrice{speed}" for speed in ("", "@1s")]
        if self._venue.kind != "usdm" or not any(self._hub.wanted(stream) for stream in streams):
            return
        now, price = self._venue.clock(), views.amount(self._venue.exchange.markets[name].last_price)
        message = {"e": "markPriceUpdate", "E": now, "s": name, "p": price, "i": price, "P": price, "r": "0.00010000",
                   "T": now - now % 28_800_000 + 28_800_000}  # fmt: skip
        for stream in streams:
            self._hub.publish(stream, message)

    def _tickers(self, name: str) -> None:
        low = name.lower()
        if not (self._hub.wanted(f"{low}@ticker") or self._hub.wanted(f"{low}@miniTicker")):
            return
        call = Call("GET", "/api/v3/ticker/24hr", "", b"", {}, {"symbol": name}, self._venue.clock())
        day = public.ticker_24h(self._venue, call)
        mini = {"E": call.now, "s": name, "c": day["lastPrice"], "o": day["openPrice"], "h": day["highPrice"],
                "l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"]}  # fmt: skip
        self._hub.publish(f"{low}@miniTicker", {"e": "24hrMiniTicker", **mini})
        self._hub.publish(f"{low}@ticker", {
            "e": "24hrTicker", **mini, "p": day["priceChange"], "P": day["priceChangePercent"],
            "w": day["weightedAvgPrice"], "x": day["prevClosePrice"], "Q": day["lastQty"], "b": day["bidPrice"],
            "B": day["bidQty"], "a": day["askPrice"], "A": day["askQty"], "O": day["openTime"], "C": day["closeTime"],
            "F": day["firstId"], "L": day["lastId"], "n": day["count"]})  # fmt: skip

    def count(self, elapsed_s: float) -> None:
        """The counting stream: as many numbers as are due. Numbers go on whether or not anybody listens."""
        self._seq_due += self.seq_rate * elapsed_s
        due = min(int(self._seq_due), SEQ_BURST_MAX)
        self._seq_due -= int(self._seq_due)
        for name in self._venue.exchange.markets:
            stream, first = f"{name.lower()}@seq", self._seq.get(name, 0) + 1
            self._seq[name] = first + due - 1
            if self._hub.wanted(stream):
                for number in range(first, first + due):
                    self._hub.publish(stream, {"e": "seq", "s": name, "n": number})
