"""Bybit's WebSocket topics from the engines' events: books, trades, tickers, candles; orders, executions, wallet and
positions of whoever authenticated.

Stream names (for faults) are `bybit/TOPIC/CATEGORY`, and `bybit/TOPIC/ACCOUNT` for private ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.model import MARKET_ACCOUNT, BookChange, Event, OrderChange, Trade
from ..streams import StreamHub
from ..venue import Venue
from . import bybit_public as public
from . import bybit_views as views
from .bybit_errors import Refusal
from .instruments import Instrument
from .order_fees import OrderFees
from .top_levels import Delta, TopLevels

if TYPE_CHECKING:
    from .bybit import BybitFace

DEPTHS = {"1": 1, "50": 50, "200": 200, "500": 500, "1000": 1000}
PRIVATE = frozenset({"order", "execution", "execution.fast", "position", "wallet", "greeks", "dcp"})
PROTECTED = {"spot": "spot", "future": "linear", "option": "option"}
BEST_AGAIN_TURNS = 30  # the best level is told again after three seconds without a change
SLOW_TURNS = 10
RESTARTED = 1  # `u` of a snapshot after the service was restarted


class BybitStreams:
    """Turns events into topic messages. Driven by `event`, `after_batch` and `turn` (each 100 ms)."""

    def __init__(self, face: BybitFace, hub: StreamHub) -> None:
        self._face = face
        self._hub = hub
        # what each public stream is about: topic words, instrument
        self._about: dict[str, tuple[list[str], Instrument]] = {}
        self._tops: dict[str, TopLevels] = {}
        self._updates: dict[str, int] = {}
        self._quiet: dict[str, int] = {}
        self._tickers: dict[str, dict[str, Any]] = {}
        self._touched: set[Instrument] = set()
        self._fees = OrderFees()
        self._turns = 0
        self._messages = 0

    def rebuilt(self) -> None:
        """The engines were built anew: whoever listens to a book gets a new snapshot that says so."""
        self._fees.clear()
        self._touched.clear()
        for stream, top in list(self._tops.items()):
            self._tops[stream] = fresh = TopLevels(top.instrument, top.depth)
            self._updates[stream] = RESTARTED
            self._hub.publish(stream, self._book(stream, fresh, None))

    # subscribing -------------------------------------------------------------------------------------------------

    def public_stream(self, topic: str, category: str) -> str:
        """The stream of a public topic. Refusal when there is none."""
        words = topic.split(".")
        each = self._face.instruments.find(words[-1], category)
        fits = (
            (words[0] == "orderbook" and len(words) == 3 and words[1] in DEPTHS)
            or (words[0] in ("publicTrade", "tickers") and len(words) == 2)
            or (words[0] == "kline" and len(words) == 3 and words[1] in public.BARS)
        )
        if not fits or each is None:
            raise Refusal(10001, f"error:handler not found,topic:{topic}")
        stream = f"bybit/{topic}/{category}"
        self._about[stream] = (words, each)
        return stream

    def private_stream(self, topic: str, account: str) -> str:
        kind, _, category = topic.partition(".")
        if topic == "execution.fast" or topic.startswith("execution.fast."):
            kind, category = "execution.fast", topic.removeprefix("execution.fast").removeprefix(".")
        known = PROTECTED if kind == "dcp" else ("", "spot", "linear", "inverse", "option")
        if kind not in PRIVATE or category not in known:
            raise Refusal(10001, f"error:handler not found,topic:{topic}")
        return f"bybit/{topic}/{account}"

    def first(self, stream: str) -> dict[str, Any] | None:
        """What a new listener is told at once; those who listen already are brought to the same state before."""
        words, each = self._about.get(stream, ([], None))
        if each is None:
            return None
        if words[0] == "orderbook":
            self._advance(stream)
            top = self._tops.get(stream)
            if top is None:
                top = self._tops[stream] = TopLevels(each, DEPTHS[words[1]])
                self._updates.setdefault(stream, RESTARTED + 1)
            return self._book(stream, top, None)
        if words[0] == "tickers":
            self._ticker(stream, each)
            return self._message(stream, "snapshot", views.ticker_json(each, self._face.clock()))
        return None

    def _message(self, stream: str, kind: str, data: Any) -> dict[str, Any]:
        return {"topic": _topic(stream), "type": kind, "ts": self._face.clock(), "data": data}

    # market data -------------------------------------------------------------------------------------------------

    def event(self, venue: Venue, event: Event) -> None:
        if isinstance(event, BookChange):
            self._touched.add(self._face.instruments.of(venue, event.symbol))
        elif isinstance(event, Trade):
            each = self._face.instruments.of(venue, event.symbol)
            stream = f"bybit/publicTrade.{each.id}/{each.kind}"
            if self._hub.wanted(stream):
                self._hub.publish(stream, self._message(stream, "snapshot", [views.stream_trade_json(each, event)]))
        elif event.order.account != MARKET_ACCOUNT:
            self._order(self._face.instruments.of(venue, event.order.symbol), event)

    def after_batch(self) -> None:
        """Balances and positions that the batch touched."""
        touched = self._face.spot.exchange.wallets.touched
        for account in sorted({account for account, _ in touched}) if touched else ():
            if self._heard(account, "wallet", ""):
                self._tell(account, "wallet", "", [public.wallet_json(self._face, account)])
        futures = self._face.linear.futures.positions
        for account, name, side in sorted(futures.touched) if futures.touched else ():
            each = self._face.instruments.of(self._face.linear, name)
            if not self._heard(account, "position", each.kind):
                continue
            row = {"category": each.kind, **views.position_json(each, futures.position(account, name, side))}
            self._tell(account, "position", each.kind, [row])

    def turn(self) -> None:
        self._turns += 1
        touched, self._touched = self._touched, set()
        for stream, (words, each) in list(self._about.items()):
            if not self._hub.wanted(stream):
                self._forget(stream)
            elif words[0] == "orderbook":
                self._advance(stream)
            elif words[0] == "tickers" and each in touched:
                changed = self._ticker(stream, each)
                if changed:
                    kind = "snapshot" if each.is_spot else "delta"
                    self._hub.publish(stream, self._message(stream, kind, changed))
            elif words[0] == "kline" and self._turns % SLOW_TURNS == 0:
                self._bars(stream, each, words[1])

    def _forget(self, stream: str) -> None:
        for kept in (self._about, self._tops, self._quiet, self._tickers):
            kept.pop(stream, None)

    def _ticker(self, stream: str, each: Instrument) -> dict[str, Any]:
        """The whole ticker (spot), or what changed of it (contracts)."""
        row = views.ticker_json(each, self._face.clock())
        before, self._tickers[stream] = self._tickers.get(stream, {}), row
        if each.is_spot:
            return row if row != before else {}
        changed = {name: value for name, value in row.items() if before.get(name) != value}
        return {"symbol": each.id, **changed} if changed else {}

    def _bars(self, stream: str, each: Instrument, interval: str) -> None:
        rows, length = public.bar_rows(each, interval, 1), public.bar_length_ms(interval)
        if not rows:
            return
        start, now = int(rows[0][0]), self._face.clock()
        names = ("open", "high", "low", "close", "volume", "turnover")
        bar = {"start": start, "end": start + length - 1, "interval": interval,
               **dict(zip(names, rows[0][1:], strict=True)), "confirm": now >= start + length,
               "timestamp": now}  # fmt: skip
        self._hub.publish(stream, self._message(stream, "snapshot", [bar]))

    def _advance(self, stream: str) -> None:
        """Tell the listeners of a book what changed; the best level alone is told whole, and again when quiet."""
        top = self._tops.get(stream)
        if top is None:
            return
        delta = top.advance()
        quiet = 0 if delta else self._quiet.get(stream, 0) + 1
        if top.depth == 1 and quiet >= BEST_AGAIN_TURNS:
            quiet = 0
            self._hub.publish(stream, self._book(stream, top, None))
        elif delta is not None:
            self._updates[stream] = self._updates.get(stream, RESTARTED) + 1
            self._hub.publish(stream, self._book(stream, top, None if top.depth == 1 else delta))
        self._quiet[stream] = quiet

    def _book(self, stream: str, top: TopLevels, delta: Delta | None) -> dict[str, Any]:
        bids = delta.bids if delta else list(top.bids.items())
        asks = delta.asks if delta else list(top.asks.items())
        data = {"s": top.instrument.id, "b": views.levels(bids), "a": views.levels(asks),
                "u": self._updates.get(stream, RESTARTED), "seq": top.seq}  # fmt: skip
        return self._message(stream, "delta" if delta else "snapshot", data) | {"cts": self._face.clock()}

    # private topics --------------------------------------------------------------------------------------------------

    def _order(self, each: Instrument, change: OrderChange) -> None:
        order = change.order
        if self._heard(order.account, "order", each.kind):
            fees = self._fees.up_to(each, change)
            row = {"category": each.kind, **views.order_json(
                each, order, fees, status=change.status, filled=change.filled, cost=change.cost)}  # fmt: skip
            row["updatedTime"] = str(change.at)
            if change.kind == "TRIGGERED":
                self._tell(order.account, "order", each.kind, [row | {"orderStatus": "Triggered"}])
            self._tell(order.account, "order", each.kind, [row])
        for kind, shape in (("execution", dict), ("execution.fast", _fast)):
            if change.fill is not None and self._heard(order.account, kind, each.kind):
                row = {"category": each.kind, **views.fill_json(each, change.fill, order)}
                self._tell(order.account, kind, each.kind, [shape(row)])

    def _heard(self, account: str, kind: str, category: str) -> bool:
        return any(self._hub.wanted(stream) for stream in _streams(account, kind, category))

    def _tell(self, account: str, kind: str, category: str, data: list[Any]) -> None:
        for stream in _streams(account, kind, category):
            if self._hub.wanted(stream):
                self._messages += 1
                now = self._face.clock()
                message = {"id": f"{now}-{self._messages}", "topic": _topic(stream), "creationTime": now, "data": data}
                self._hub.publish(stream, message)


def _topic(stream: str) -> str:
    return stream.split("/")[1]


def _streams(account: str, kind: str, category: str) -> list[str]:
    """The streams that want it: of all categories, and of its own."""
    names = [kind, f"{kind}.{category}"] if category else [kind]
    return [f"bybit/{name}/{account}" for name in names]


def _fast(execution: dict[str, Any]) -> dict[str, Any]:
    names = ("category", "symbol", "execId", "execPrice", "execQty", "orderId", "isMaker", "orderLinkId", "side",
             "execTime", "seq")  # fmt: skip
    return {name: execution[name] for name in names}
