"""OKX's WebSocket channels from the engines' events: books, best prices, tickers, trades, candles; orders, algo orders,
account and positions of whoever logged in.

Stream names (for faults) are `okx/CHANNEL/instId`, and `okx/CHANNEL/account/instType/instId` for private ones.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from ..engine.model import MARKET_ACCOUNT, BookChange, Event, OrderChange, Trade
from ..streams import StreamHub
from ..venue import Venue
from . import okx_public as public
from . import okx_views as views
from .instruments import Instrument
from .okx_errors import Refusal
from .order_fees import OrderFees
from .top_levels import Delta, TopLevels

if TYPE_CHECKING:
    from .okx import OkxFace

DELTA_DEPTHS = {"books": 400, "books-l2-tbt": 400, "books50-l2-tbt": 50}
WHOLE_DEPTHS = {"books5": 5, "bbo-tbt": 1}
BY_INSTRUMENT = frozenset({*DELTA_DEPTHS, *WHOLE_DEPTHS, "tickers", "trades", "trades-all", "mark-price"})
PRIVATE = frozenset({"orders", "orders-algo", "account", "positions"})
KINDS = ("SPOT", "SWAP", "ANY", "MARGIN", "FUTURES", "OPTION")
KEEPALIVE_TURNS = 600  # an unchanged book says so once a minute
SLOW_TURNS = 5
CHECKSUM_LEVELS = 25
Arg = dict[str, str]


class OkxStreams:
    """Turns events into channel messages. Driven by `event`, `after_batch` and `turn` (each 100 ms)."""

    def __init__(self, face: OkxFace, hub: StreamHub) -> None:
        self._face = face
        self._hub = hub
        self.args: dict[str, Arg] = {}
        self._tops: dict[str, TopLevels] = {}
        self._quiet: dict[str, int] = {}
        self._touched: set[Instrument] = set()
        self._batch: set[Instrument] = set()
        self._fees = OrderFees()
        self._turns = 0

    def rebuilt(self) -> None:
        """The engines were built anew: whoever listens gets new snapshots."""
        self._fees.clear()
        self._touched.clear()
        for stream, top in list(self._tops.items()):
            self._tops[stream] = fresh = TopLevels(top.instrument, top.depth)
            if self._hub.wanted(stream):
                self._hub.publish(stream, self._book(stream, fresh, None))

    def tell_status(self) -> None:
        """The status channel: maintenance that is going on, or that has just ended."""
        row = public.status_json(self._face)
        if not self._face.spot.exchange.trading.in_maintenance:
            row |= {"state": "completed", "end": str(self._face.clock())}
        if self._hub.wanted("okx/status"):
            self._hub.publish("okx/status", self._message("okx/status", [row]))

    # subscribing -------------------------------------------------------------------------------------------------

    def stream_of(self, arg: Arg, account: str) -> str:
        """The stream an `arg` asks for. Refusal 60018 when there is none, 60011 when one has to log in first."""
        channel, name, kind = arg.get("channel", ""), arg.get("instId", ""), arg.get("instType", "")
        if channel in PRIVATE:
            if not account:
                raise Refusal("60011", "Please log in")
            if channel != "account" and kind not in KINDS:
                raise _no_such(arg)
            shown = {"account": arg.get("ccy", "")}.get(channel, f"{kind}/{name}")
            return self._known(f"okx/{channel}/{account}/{shown}", arg)
        if channel == "status":
            return self._known("okx/status", arg)
        candle = channel.startswith("candle") and channel != "candle"
        if (channel not in BY_INSTRUMENT and not candle) or self._face.instruments.find(name) is None:
            raise _no_such(arg)
        if candle:
            self._candle_rows(name, channel, arg)
        return self._known(f"okx/{channel}/{name}", arg)

    def _known(self, stream: str, arg: Arg) -> str:
        self.args[stream] = arg
        return stream

    def _candle_rows(self, name: str, channel: str, arg: Arg) -> list[list[str]]:
        each = self._face.instruments.find(name)
        assert each is not None
        try:
            return public.candle_rows(each, channel.removeprefix("candle"), 1)
        except KeyError:
            raise _no_such(arg) from None

    def first(self, stream: str, account: str) -> dict[str, Any] | None:
        """What a new listener is told at once; those who listen already are brought to the same state before."""
        arg = self.args[stream]
        channel, each = arg["channel"], self._face.instruments.find(arg.get("instId", ""))
        if channel in DELTA_DEPTHS and each is not None:
            self._advance(stream)
            top = self._tops.get(stream)
            if top is None:
                top = self._tops[stream] = TopLevels(each, DELTA_DEPTHS[channel])
            return self._book(stream, top, None)
        if channel in WHOLE_DEPTHS and each is not None:
            return self._whole(stream, each, WHOLE_DEPTHS[channel])
        if channel == "tickers" and each is not None:
            return self._message(stream, [views.ticker_json(each, self._face.clock())])
        if channel == "account":
            return self._message(stream, [public.balance_json(self._face, account, self._face.clock())])
        if channel == "positions":
            return self._message(stream, self._positions(account, arg))
        return None

    def _message(self, stream: str, data: list[Any]) -> dict[str, Any]:
        return {"arg": self.args[stream], "data": data}

    # market data -------------------------------------------------------------------------------------------------

    def event(self, venue: Venue, event: Event) -> None:
        if isinstance(event, BookChange):
            each = self._face.instruments.of(venue, event.symbol)
            self._touched.add(each)
            self._batch.add(each)
        elif isinstance(event, Trade):
            each = self._face.instruments.of(venue, event.symbol)
            for channel in ("trades", "trades-all"):
                stream = f"okx/{channel}/{each.id}"
                if self._hub.wanted(stream):
                    self._hub.publish(stream, self._message(stream, [views.trade_json(each, event)]))
        elif event.order.account != MARKET_ACCOUNT:
            self._order(self._face.instruments.of(venue, event.order.symbol), event)

    def after_batch(self) -> None:
        """Best prices at once; balances and positions that the batch touched."""
        for each in self._batch:
            stream = f"okx/bbo-tbt/{each.id}"
            if self._hub.wanted(stream):
                self._hub.publish(stream, self._whole(stream, each, 1))
        self._batch.clear()
        self._accounts()

    def turn(self) -> None:
        self._turns += 1
        touched, self._touched = self._touched, set()
        for each in touched:
            stream = f"okx/books5/{each.id}"
            if self._hub.wanted(stream):
                self._hub.publish(stream, self._whole(stream, each, 5))
            stream = f"okx/tickers/{each.id}"
            if self._hub.wanted(stream):
                self._hub.publish(stream, self._message(stream, [views.ticker_json(each, self._face.clock())]))
        for stream in list(self._tops):
            if self._hub.wanted(stream):
                self._advance(stream)
            else:
                del self._tops[stream]
        if self._turns % SLOW_TURNS == 0:
            self._slow()

    def _slow(self) -> None:
        for stream, arg in list(self.args.items()):
            if not self._hub.wanted(stream):
                del self.args[stream]
            elif arg["channel"].startswith("candle"):
                rows = self._candle_rows(arg["instId"], arg["channel"], arg)
                if rows:
                    self._hub.publish(stream, self._message(stream, rows))
            elif arg["channel"] == "mark-price":
                each = self._face.instruments.find(arg["instId"])
                assert each is not None
                row = {"instType": each.kind, "instId": each.id, "markPx": views.plain(each.market.last_price),
                       "ts": str(self._face.clock())}  # fmt: skip
                self._hub.publish(stream, self._message(stream, [row]))

    def _advance(self, stream: str) -> None:
        """Tell the listeners of a book what changed; after a minute without change, that nothing did."""
        top = self._tops.get(stream)
        if top is None:
            return
        delta = top.advance()
        quiet = self._quiet.get(stream, 0) + 1
        if delta is None and quiet >= KEEPALIVE_TURNS:
            delta = Delta(top.seq, top.seq, [], [])
        self._quiet[stream] = 0 if delta else quiet
        if delta is not None and self._hub.wanted(stream):
            self._hub.publish(stream, self._book(stream, top, delta))

    def _book(self, stream: str, top: TopLevels, delta: Delta | None) -> dict[str, Any]:
        """A snapshot, or what changed. `prevSeqId` is -1 for a snapshot."""
        bids = delta.bids if delta else list(top.bids.items())
        asks = delta.asks if delta else list(top.asks.items())
        each = top.instrument
        row = {"asks": views.levels(each, asks), "bids": views.levels(each, bids), "ts": str(self._face.clock()),
               "checksum": checksum(top), "seqId": top.seq, "prevSeqId": delta.before if delta else -1}  # fmt: skip
        return {"arg": self.args[stream], "action": "update" if delta else "snapshot", "data": [row]}

    def _whole(self, stream: str, each: Instrument, depth: int) -> dict[str, Any]:
        book = each.market.book
        row = {"asks": views.levels(each, book.asks.depth(depth)), "bids": views.levels(each, book.bids.depth(depth)),
               "instId": each.id, "ts": str(self._face.clock()), "seqId": each.market.update_id}  # fmt: skip
        return self._message(stream, [row])

    # private channels --------------------------------------------------------------------------------------------

    def _order(self, each: Instrument, change: OrderChange) -> None:
        order = change.order
        if order.stop_price and (change.kind == "TRIGGERED" or not order.working_at):
            for stream in self._listening(each, "orders-algo", order.account):
                self._hub.publish(stream, self._message(stream, [views.algo_json(each, order)]))
            if change.kind != "TRIGGERED":
                return
        streams = self._listening(each, "orders", order.account)
        if not streams:
            return
        row = views.order_json(
            each, order, status=change.status, filled=change.filled, cost=change.cost,
            fees=self._fees.up_to(each, change), fill=change.fill,
        )  # fmt: skip
        row["uTime"] = str(change.at)
        row["amendResult"] = "0" if change.kind == "AMENDMENT" else ""
        for stream in streams:
            self._hub.publish(stream, self._message(stream, [row]))

    def _listening(self, each: Instrument, channel: str, account: str) -> list[str]:
        """The streams that want this: of its type or of any, of its instrument or of all."""
        names = [f"okx/{channel}/{account}/{kind}/{name}" for kind in (each.kind, "ANY") for name in (each.id, "")]
        return [name for name in names if self._hub.wanted(name)]

    def _accounts(self) -> None:
        """Balances and positions that changed, to those who listen."""
        if not self.args:
            return
        touched = self._face.spot.exchange.wallets.touched
        for account in sorted({account for account, _ in touched}) if touched else ():
            for asset in sorted({"", *(asset for owner, asset in touched if owner == account)}):
                stream = f"okx/account/{account}/{asset}"
                if self._hub.wanted(stream):
                    shown = public.balance_json(self._face, account, self._face.clock())
                    if asset:
                        shown["details"] = [row for row in shown["details"] if row["ccy"] == asset]
                    self._hub.publish(stream, self._message(stream, [shown]))
        for account in sorted({account for account, _, _ in self._face.linear.futures.positions.touched}):
            for stream, arg in list(self.args.items()):
                if stream.startswith(f"okx/positions/{account}/") and self._hub.wanted(stream):
                    self._hub.publish(stream, self._message(stream, self._positions(account, arg, closed=True)))

    def _positions(self, account: str, arg: Arg, *, closed: bool = False) -> list[Any]:
        """The account's positions; with ``closed`` also those that have just gone to zero."""
        futures = self._face.linear.futures.positions
        held = {(each.symbol, each.side): each for each in futures.positions(account)}
        if closed:
            held |= {(name, side): futures.position(account, name, side)
                     for owner, name, side in futures.touched if owner == account}  # fmt: skip
        rows = []
        for position in held.values():
            each = self._face.instruments.of(self._face.linear, position.symbol)
            if arg.get("instType") in ("ANY", each.kind) and arg.get("instId", "") in ("", each.id):
                rows.append(views.position_json(each, position))
        return rows


def checksum(top: TopLevels) -> int:
    """CRC32 (signed) over the best 25 levels, bid and ask in turn, as `price:size`."""
    each = top.instrument
    bids, asks = list(top.bids.items())[:CHECKSUM_LEVELS], list(top.asks.items())[:CHECKSUM_LEVELS]
    parts = []
    for place in range(max(len(bids), len(asks))):
        for side in (bids, asks):
            if place < len(side):
                price, quantity = side[place]
                parts += [views.plain(price), views.plain(each.size(quantity))]
    value = zlib.crc32(":".join(parts).encode())
    return value - 2**32 if value >= 2**31 else value


def _no_such(arg: Arg) -> Refusal:
    shown = ",".join(f"{name}:{value}" for name, value in arg.items())
    return Refusal("60018", f"Wrong URL or {shown} doesn't exist. Please use the correct URL, channel and parameters.")
