"""Market data streams in the Binance shape: /ws, /ws/<stream>, /stream?streams=…, SUBSCRIBE and friends.

`<symbol>@seq` is a test stream of numbered messages at a rate set over the admin API: loss, doubles and order can be
counted at the far end.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aiohttp import WSMsgType, web

from .engine.exchange import Exchange
from .faces.binance_spot import plain
from .faults import FaultBook

SENT_KEPT = 1000
BACKLOG_BYTES_MAX = 16 * 1024 * 1024


class Subscriber:
    """One stream socket and what it asked for."""

    def __init__(self, socket: web.WebSocketResponse, transport: Any, *, combined: bool, wanted: set[str]) -> None:
        self.socket = socket
        self.transport = transport
        self.combined = combined
        self.wanted = wanted


class Streams:
    """Who listens to what, and the sending of it."""

    def __init__(self, exchange: Exchange, faults: FaultBook) -> None:
        self._exchange = exchange
        self._faults = faults
        self._subscribers: set[Subscriber] = set()
        self._seq: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.sent = 0
        self.connects = 0

    # ------------------------------------------------------------ sockets

    async def serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=True, compress=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        self.connects += 1
        combined = request.path.startswith("/stream")
        if combined:
            wanted = {name for name in request.query.get("streams", "").split("/") if name}
        else:
            wanted = {name for name in request.path.removeprefix("/ws").split("/") if name}
        subscriber = Subscriber(socket, request.transport, combined=combined, wanted=wanted)
        self._subscribers.add(subscriber)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._command(subscriber, message.data)
        finally:
            self._subscribers.discard(subscriber)
        return socket

    async def _command(self, subscriber: Subscriber, text: str) -> None:
        try:
            command = json.loads(text)
            method, params, number = command["method"], command.get("params", []), command.get("id")
        except (ValueError, KeyError, TypeError):
            await subscriber.socket.send_str('{"error":{"code":2,"msg":"Invalid request"},"id":null}')
            return
        result: Any = None
        if method == "SUBSCRIBE":
            subscriber.wanted.update(params)
        elif method == "UNSUBSCRIBE":
            subscriber.wanted.difference_update(params)
        elif method == "LIST_SUBSCRIPTIONS":
            result = sorted(subscriber.wanted)
        else:
            await subscriber.socket.send_str(json.dumps({"error": {"code": 2, "msg": "Invalid method"}, "id": number}))
            return
        await subscriber.socket.send_str(json.dumps({"result": result, "id": number}))

    def reset_all(self) -> int:
        """Cut every stream socket without a farewell."""
        count = len(self._subscribers)
        for subscriber in list(self._subscribers):
            if subscriber.transport is not None:
                subscriber.transport.abort()
        return count

    # ------------------------------------------------------------ sending

    def publish(self, stream: str, symbol: str, message: Any) -> None:
        """To every socket that asked for the stream, unless a fault strikes."""
        listeners = [each for each in self._subscribers if stream in each.wanted]
        if not listeners or self._faults.stream("stream_silence", symbol):
            return
        if self._faults.stream("stream_drop", symbol):
            return
        times = 2 if self._faults.stream("stream_twice", symbol) else 1
        raw = json.dumps(message, separators=(",", ":"))
        wrapped = f'{{"stream":"{stream}","data":{raw}}}'
        for subscriber in listeners:
            for _ in range(times):
                self._send(subscriber, wrapped if subscriber.combined else raw)

    def _send(self, subscriber: Subscriber, text: str) -> None:
        transport = subscriber.transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            transport.abort()  # a reader this slow is disconnected, as venues do
            return
        self.sent += 1
        task = asyncio.ensure_future(subscriber.socket.send_str(text))
        self._tasks.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a socket that closed meanwhile is no news

    def on_trade(self, trade: tuple[str, int, Decimal, Decimal, str, int]) -> None:
        symbol, number, price, quantity, side, at_ms = trade
        self.publish(
            f"{symbol.lower()}@trade",
            symbol,
            {
                "e": "trade",
                "E": at_ms,
                "s": symbol,
                "t": number,
                "p": plain(price),
                "q": plain(quantity),
                "T": at_ms,
                "m": side == "SELL",
                "M": True,
            },
        )

    def flush_books(self) -> None:
        """Depth differences and best quotes since the last call."""
        for symbol, book in self._exchange.books.items():
            changes = self._exchange.depth_changes(symbol)
            if changes is None:
                continue
            first, last, levels = changes
            now = int(time.time() * 1000)
            bids = [[plain(price), plain(quantity)] for price, quantity in levels["BUY"]]
            asks = [[plain(price), plain(quantity)] for price, quantity in levels["SELL"]]
            name = symbol.lower()
            message = {"e": "depthUpdate", "E": now, "s": symbol, "U": first, "u": last, "b": bids, "a": asks}
            self.publish(f"{name}@depth", symbol, message)
            self.publish(f"{name}@depth@100ms", symbol, message)
            bid, ask = book.depth("BUY", 1), book.depth("SELL", 1)
            if bid and ask:
                quote = {"u": last, "s": symbol, "b": plain(bid[0][0]), "B": plain(bid[0][1])}
                quote |= {"a": plain(ask[0][0]), "A": plain(ask[0][1])}
                self.publish(f"{name}@bookTicker", symbol, quote)

    async def number(self, symbol: str, per_s: float, stop: Callable[[], bool]) -> None:
        """Publish ``<symbol>@seq`` at a rate until told to stop."""
        pause_s = max(0.001, 1.0 / per_s)
        burst = max(1, round(per_s * pause_s))
        next_at = time.monotonic()
        while not stop():
            for _ in range(burst):
                number = self._seq[symbol] = self._seq.get(symbol, 0) + 1
                self.publish(f"{symbol.lower()}@seq", symbol, {"e": "seq", "s": symbol, "n": number, "E": time.time()})
            next_at += pause_s
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
