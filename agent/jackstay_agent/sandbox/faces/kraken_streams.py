"""Kraken's WebSocket v2 channels from the engine's events: book with its checksum, trade, ticker, ohlc, executions,
balances. Source: docs.kraken.com, "Spot WebSocket v2" and the guide "Book checksum (WebSocket v2)".

Numbers travel as JSON numbers in full precision, which is what the checksum is made of. A book update names only the
levels inside the subscribed depth; a level pushed out by better ones is the reader's to drop.
"""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

import orjson

from ..engine.candles import MINUTE, Bar
from ..engine.model import ZERO, BookChange, Event, OrderChange, Trade
from ..streams import Listener, StreamHub, text_frame
from ..venue import Venue
from . import kraken_executions as executions
from .kraken_names import ASSETS, PAIRS, Pair
from .kraken_public import OHLC_MINUTES, rfc3339

DEPTHS = (10, 25, 100, 500, 1000)
CHECKSUM_LEVELS = 10
TRADES_SHOWN = 50
BARS_SHOWN = 50
TRIGGERS = ("trades", "bbo")

Levels = dict[Decimal, Decimal]


def number(text: str) -> Any:
    """A JSON number with exactly these digits."""
    return orjson.Fragment(text.encode())


class KrakenListener(Listener):
    """One connection; private channels number their messages for each."""

    def __init__(self, transport: Any, connection: int) -> None:
        super().__init__(transport, connection, combined=False)
        self.sequences: dict[str, int] = {}
        self.sent_before = 0

    def next_sequence(self, channel: str) -> int:
        self.sequences[channel] = self.sequences.get(channel, 0) + 1
        return self.sequences[channel]


class KrakenHub(StreamHub):
    """Who listens to which channel of which pair or account."""

    def fields_of(self, message: dict[str, Any]) -> dict[str, Any]:
        first = message["data"][0] if message["data"] else {}
        return {**first, "channel": message["channel"], "type": message["type"]}

    def tell(self, listener: KrakenListener, stream: str, message: dict[str, Any]) -> None:
        """A snapshot for one listener alone, if no fault keeps it back."""
        if self._faults.silent():
            return
        if self._faults.armed:
            fault = self._faults.pick_stream(stream, self.fields_of(message), (listener.connection,))
            if fault is not None:
                self.log.note(stream, orjson.dumps(message), (), fault.kind)
                return
        self.log.note(stream, self._send(listener, message), (listener.connection,), "")

    def _deliver(self, stream: str, message: dict[str, Any], *, only: int = 0, skip: int = 0, fault: str = "") -> None:
        private = message["channel"] in ("executions", "balances")
        data = orjson.dumps(message)
        frame = b"" if private else text_frame(data)
        for listener in list(self._by_stream.get(stream, ())):
            if (only and listener.connection != only) or (skip and listener.connection == skip):
                continue
            if private and isinstance(listener, KrakenListener):
                self._send(listener, message)
            else:
                listener.send(frame)
                self.sent += 1
        self.noted(stream, data, only=only, skip=skip, fault=fault)

    def _send(self, listener: KrakenListener, message: dict[str, Any]) -> bytes:
        channel = message["channel"]
        if channel in ("executions", "balances"):
            message = {**message, "sequence": listener.next_sequence(channel)}
        data = orjson.dumps(message)
        listener.send(text_frame(data))
        self.sent += 1
        return data

    def heartbeat(self) -> None:
        """Once a second: whoever is subscribed and has heard nothing hears that the line stands."""
        for listener in list(self.listeners):
            if not isinstance(listener, KrakenListener):
                continue
            if listener.streams and listener.sent == listener.sent_before and not self._faults.silent():
                listener.send(text_frame(b'{"channel":"heartbeat"}'))
            listener.sent_before = listener.sent


class Channels:
    """Turns events into messages. Driven by `event` and `after_batch`."""

    def __init__(self, venue: Venue, hub: KrakenHub) -> None:
        self._venue = venue
        self._hub = hub
        self._shown: dict[str, tuple[Levels, Levels]] = {}
        self._best: dict[str, Any] = {}
        self._totals: dict[tuple[str, str], Decimal] = {}
        self._touched: set[str] = set()
        self._traded: set[str] = set()

    def rebuilt(self) -> None:
        """The engine was built anew: whoever follows a book gets it whole again."""
        self._shown.clear()
        self._best.clear()
        self._totals.clear()
        self._touched = set(PAIRS)
        self._traded.clear()

    def event(self, event: Event) -> None:
        if isinstance(event, BookChange):
            self._touched.add(event.symbol)
        elif isinstance(event, Trade):
            self._traded.add(event.symbol)
            self._trade(PAIRS[event.symbol], event)
        elif isinstance(event, OrderChange):
            self._order(event)

    def after_batch(self) -> None:
        """Books and tickers the last batch of events touched, and balances it changed."""
        for name in self._touched | self._traded:
            pair = PAIRS[name]
            for depth in DEPTHS:
                self._book(pair, depth)
            self._ticker(pair, traded=name in self._traded)
        for name in self._traded:
            self._bars(PAIRS[name])
        self._touched.clear()
        self._traded.clear()
        self._balances()

    # books -------------------------------------------------------------------------------------------------------

    def _now(self, pair: Pair, depth: int) -> tuple[Levels, Levels]:
        book = self._venue.exchange.markets[pair.symbol.name].book
        return dict(book.bids.depth(depth)), dict(book.asks.depth(depth))

    def _book(self, pair: Pair, depth: int) -> None:
        stream = f"book:{pair.name}:{depth}"
        if not self._hub.wanted(stream):
            self._shown.pop(stream, None)
            return
        before, now = self._shown.get(stream), self._now(pair, depth)
        self._shown[stream] = now
        if before is None:
            self._hub.publish(stream, self._snapshot(pair, now))
        elif before != now:
            bids = _changes(before[0], now[0], depth, sign=-1)
            asks = _changes(before[1], now[1], depth, sign=1)
            told = self._levels(pair, bids, asks) | {
                "checksum": checksum(pair, now), "timestamp": rfc3339(self._venue.clock())
            }  # fmt: skip
            self._hub.publish(stream, {"channel": "book", "type": "update", "data": [told]})

    def _snapshot(self, pair: Pair, now: tuple[Levels, Levels]) -> dict[str, Any]:
        told = self._levels(pair, list(now[0].items()), list(now[1].items())) | {
            "checksum": checksum(pair, now), "timestamp": rfc3339(self._venue.clock())
        }  # fmt: skip
        return {"channel": "book", "type": "snapshot", "data": [told]}

    def _levels(
        self, pair: Pair, bids: list[tuple[Decimal, Decimal]], asks: list[tuple[Decimal, Decimal]]
    ) -> dict[str, Any]:
        def rows(levels: list[tuple[Decimal, Decimal]]) -> list[dict[str, Any]]:
            return [{"price": number(pair.price(p)), "qty": number(pair.volume(q))} for p, q in levels]

        return {"symbol": pair.name, "bids": rows(bids), "asks": rows(asks)}

    # subscribing -------------------------------------------------------------------------------------------------

    def subscribe_book(self, listener: KrakenListener, pair: Pair, depth: int, *, snapshot: bool) -> None:
        stream = f"book:{pair.name}:{depth}"
        self._book(pair, depth)
        self._hub.subscribe(listener, stream)
        now = self._shown[stream] = self._now(pair, depth)
        if snapshot:
            self._hub.tell(listener, stream, self._snapshot(pair, now))

    def subscribe_trades(self, listener: KrakenListener, pair: Pair, *, snapshot: bool) -> None:
        stream = f"trade:{pair.name}"
        self._hub.subscribe(listener, stream)
        trades = list(self._venue.exchange.markets[pair.symbol.name].trades)[-TRADES_SHOWN:]
        if snapshot:
            data = [_trade_json(pair, trade) for trade in trades]
            self._hub.tell(listener, stream, {"channel": "trade", "type": "snapshot", "data": data})

    def subscribe_ticker(self, listener: KrakenListener, pair: Pair, trigger: str, *, snapshot: bool) -> None:
        stream = f"ticker:{pair.name}:{trigger}"
        self._hub.subscribe(listener, stream)
        if snapshot:
            data = [self._ticker_json(pair)]
            self._hub.tell(listener, stream, {"channel": "ticker", "type": "snapshot", "data": data})

    def subscribe_ohlc(self, listener: KrakenListener, pair: Pair, minutes: int, *, snapshot: bool) -> None:
        stream = f"ohlc:{pair.name}:{minutes}"
        self._hub.subscribe(listener, stream)
        bars = self._venue.candles[pair.symbol.name].bars(OHLC_MINUTES[minutes], BARS_SHOWN)
        if snapshot:
            data = [_bar_json(pair, bar, minutes) for bar in bars]
            self._hub.tell(listener, stream, {"channel": "ohlc", "type": "snapshot", "data": data})

    def subscribe_executions(
        self, listener: KrakenListener, account: str, *, orders: bool, trades: bool
    ) -> None:  # fmt: skip
        """Open orders first, then the latest fifty trades, in one snapshot."""
        stream, table = f"executions:{account}", self._venue.exchange.orders
        self._hub.subscribe(listener, stream)
        if not orders and not trades:
            return
        data = [executions.open_json(order) for order in table.open_of(account)] if orders else []
        if trades:
            for fill in table.fills_of(account)[-TRADES_SHOWN:]:
                order = table.get(fill.order_id)
                if order is not None:
                    data.append(executions.trade_json(order, fill))
        self._hub.tell(listener, stream, {"channel": "executions", "type": "snapshot", "data": data})

    def subscribe_balances(self, listener: KrakenListener, account: str, *, snapshot: bool) -> None:
        stream = f"balances:{account}"
        self._hub.subscribe(listener, stream)
        held = self._venue.exchange.wallets.assets(account)
        for name, balance in held.items():
            self._totals[account, name] = balance.total
        if snapshot:
            data = [
                {"asset": name, "asset_class": "currency", "balance": _money(name, balance.total),
                 "wallets": [{"type": "spot", "id": "main", "balance": _money(name, balance.total)}]}
                for name, balance in sorted(held.items())
            ]  # fmt: skip
            self._hub.tell(listener, stream, {"channel": "balances", "type": "snapshot", "data": data})

    # the rest ----------------------------------------------------------------------------------------------------

    def _trade(self, pair: Pair, trade: Trade) -> None:
        if self._hub.wanted(stream := f"trade:{pair.name}"):
            self._hub.publish(stream, {"channel": "trade", "type": "update", "data": [_trade_json(pair, trade)]})

    def _ticker(self, pair: Pair, *, traded: bool) -> None:
        wanted = [trigger for trigger in TRIGGERS if self._hub.wanted(f"ticker:{pair.name}:{trigger}")]
        if not wanted:
            return
        book = self._venue.exchange.markets[pair.symbol.name].book
        best = (book.bids.depth(1), book.asks.depth(1))
        moved = best != self._best.get(pair.name)
        self._best[pair.name] = best
        for trigger in wanted:
            if traded or (moved and trigger == "bbo"):
                message = {"channel": "ticker", "type": "update", "data": [self._ticker_json(pair)]}
                self._hub.publish(f"ticker:{pair.name}:{trigger}", message)

    def _ticker_json(self, pair: Pair) -> dict[str, Any]:
        market = self._venue.exchange.markets[pair.symbol.name]
        day = self._venue.candles[pair.symbol.name].day(self._venue.clock(), market.last_price)
        bid, ask = (side.depth(1)[0] if len(side) else (ZERO, ZERO) for side in (market.book.bids, market.book.asks))
        change = market.last_price - day.open
        mean = day.quote_volume / day.volume if day.volume else market.last_price
        return {
            "symbol": pair.name, "bid": number(pair.price(bid[0])), "bid_qty": number(pair.volume(bid[1])),
            "ask": number(pair.price(ask[0])), "ask_qty": number(pair.volume(ask[1])),
            "last": number(pair.price(market.last_price)), "volume": number(pair.volume(day.volume)),
            "vwap": number(pair.price(mean)), "low": number(pair.price(day.low)), "high": number(pair.price(day.high)),
            "change": number(pair.price(change)), "change_pct": number(f"{change / day.open * 100:.2f}"),
            "timestamp": rfc3339(self._venue.clock()),
        }  # fmt: skip

    def _bars(self, pair: Pair) -> None:
        for minutes, interval in OHLC_MINUTES.items():
            if self._hub.wanted(stream := f"ohlc:{pair.name}:{minutes}"):
                bars = self._venue.candles[pair.symbol.name].bars(interval, 1)
                data = [_bar_json(pair, bar, minutes) for bar in bars]
                self._hub.publish(stream, {"channel": "ohlc", "type": "update", "data": data})

    def _order(self, change: OrderChange) -> None:
        stream = f"executions:{change.order.account}"
        if self._hub.wanted(stream):
            for item in executions.items(change):
                self._hub.publish(stream, {"channel": "executions", "type": "update", "data": [item]})

    def _balances(self) -> None:
        """Every asset whose total changed; a lock alone is not a change of the balance."""
        wallets, now = self._venue.exchange.wallets, rfc3339(self._venue.clock())
        for account, name in sorted(wallets.touched):
            stream = f"balances:{account}"
            if not self._hub.wanted(stream):
                continue
            total, before = wallets.of(account, name).total, self._totals.get((account, name), ZERO)
            if total == before:
                continue
            self._totals[account, name] = total
            item = {
                "asset": name, "asset_class": "currency", "type": "trade", "category": "trade", "wallet_type": "spot",
                "wallet_id": "main", "amount": _money(name, total - before), "balance": _money(name, total),
                "timestamp": now,
            }  # fmt: skip
            self._hub.publish(stream, {"channel": "balances", "type": "update", "data": [item]})


def _changes(before: Levels, now: Levels, depth: int, *, sign: int) -> list[tuple[Decimal, Decimal]]:
    """What a reader of `before` must be told to know `now`, levels pushed out of the depth left out."""
    worst = max((price * sign for price in now), default=ZERO)
    gone = [
        (price, ZERO) for price in before
        if price not in now and (len(now) < depth or price * sign < worst)
    ]  # fmt: skip
    return gone + [(price, quantity) for price, quantity in now.items() if before.get(price) != quantity]


def checksum(pair: Pair, levels: tuple[Levels, Levels]) -> int:
    """CRC32 over the ten best asks, then the ten best bids: price and quantity without point and leading zeros."""
    bids, asks = levels
    text = "".join(
        pair.price(price).replace(".", "").lstrip("0") + pair.volume(quantity).replace(".", "").lstrip("0")
        for side in (asks, bids)
        for price, quantity in list(side.items())[:CHECKSUM_LEVELS]
    )
    return zlib.crc32(text.encode())


def _trade_json(pair: Pair, trade: Trade) -> dict[str, Any]:
    return {
        "symbol": pair.name,
        "side": "sell" if trade.buyer_is_maker else "buy",
        "price": number(pair.price(trade.price)),
        "qty": number(pair.volume(trade.quantity)),
        "ord_type": "market",
        "trade_id": trade.id,
        "timestamp": rfc3339(trade.at),
    }


def _bar_json(pair: Pair, bar: Bar, minutes: int) -> dict[str, Any]:
    mean = bar.quote_volume / bar.volume if bar.volume else bar.close
    opened_at = bar.opened_at - bar.opened_at % (minutes * MINUTE)
    return {
        "symbol": pair.name, "open": number(pair.price(bar.open)), "high": number(pair.price(bar.high)),
        "low": number(pair.price(bar.low)), "close": number(pair.price(bar.close)), "trades": bar.trades,
        "volume": number(pair.volume(bar.volume)), "vwap": number(pair.price(mean)),
        "interval_begin": rfc3339(opened_at), "interval": minutes, "timestamp": rfc3339(opened_at + minutes * MINUTE),
    }  # fmt: skip


def _money(name: str, amount: Decimal) -> Any:
    return number(f"{amount:.{ASSETS[name].decimals}f}")
