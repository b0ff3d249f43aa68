"""From a reset to the first message of the new, subscribed socket: the agent's feeds beside what bots use otherwise.

    python tests/bench/bench_reconnect.py [--rounds N] [--calls RESETS] [--json FILE]

One exchange on loopback resets every connection with a TCP reset, again and again; a message comes every millisecond
to whoever is subscribed. The time runs in the reader, from its last message before the reset to the first one after it.
Each way does what its documentation says: `websockets` by its reconnect iterator, ccxt.pro by calling watch_trades
again after an error, cryptofeed by its own handler. A library that is not installed is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Row, arguments, finish, latency_rows
from scripted_exchange import TEXT, Peer, ScriptedExchange, frame

PERIOD_S = 0.001
GAP_S = 0.05  # how long a connection lives between two resets
RESET_S_MAX = 30.0


def trade(stream: str, number: int) -> bytes:
    return b'{"stream":"%s","data":%s}' % (stream.encode(), event(number))


def event(number: int) -> bytes:
    now = int(time.time() * 1000)
    return b'{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"50000.01","q":"0.10000000","T":%d,"m":true,"M":true}' % (
        now,
        number,
        now,
    )


class Exchange:
    """Binance's combined stream: a wrapper only for those who dialled /stream."""

    def __init__(self) -> None:
        self.peers: dict[Peer, str] = {}
        self.number = 0

    async def __call__(self, peer: Peer) -> None:
        try:
            async for text in peer.texts():
                ask = json.loads(text)
                await peer.text({"result": None, "id": ask["id"]})
                self.peers[peer] = ask["params"][0]
        finally:
            self.peers.pop(peer, None)

    async def pour(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            self.number += 1
            for peer, stream in list(self.peers.items()):
                wrapped = b"/stream" in peer.head.split(b"\r\n")[0]
                payload = trade(stream, self.number) if wrapped else event(self.number)
                peer.writer.write(frame(TEXT, payload))

    def reset(self) -> None:
        for peer in list(self.peers):
            peer.reset()
            self.peers.pop(peer, None)


class Clock:
    """When messages came, as one reader sees it."""

    def __init__(self) -> None:
        self.last = 0.0
        self._news = asyncio.Event()

    def heard(self) -> None:
        self.last = time.perf_counter()
        self._news.set()

    async def next_after(self, instant: float) -> float:
        async with asyncio.timeout(RESET_S_MAX):
            while self.last <= instant:
                self._news.clear()
                await self._news.wait()
        return self.last


async def measured(exchange: Exchange, clock: Clock, resets: int) -> list[float]:
    took = []
    await clock.next_after(0.0)
    for _ in range(resets):
        await asyncio.sleep(GAP_S)
        exchange.reset()
        began = time.perf_counter()
        await asyncio.sleep(0)
        await asyncio.sleep(PERIOD_S)  # what was on its way has arrived, or is lost
        settled = time.perf_counter()
        if clock.last > began:
            began = clock.last
        took.append(await clock.next_after(max(began, settled - PERIOD_S)) - began)
    return took


async def by_agent(url: str, clock: Clock) -> None:
    from jackstay_agent.feeds import FeedManager, FeedSettings
    from jackstay_agent.transport.websocket import ws_connect
    from jackstay_protocols.clock import boot_s

    manager = FeedManager(
        {"sim": FeedSettings(url=f"{url}/stream", dialect="binance", dials_max=0, healthy_s=0.0)},
        loop=asyncio.get_running_loop(),
        clock=boot_s,
        random=random.random,
        ws_dial=ws_connect,
        publish=lambda _batches: clock.heard(),
        on_event=lambda _name, _fields: None,
    )
    manager.demand("sim", ["btcusdt@trade"])
    try:
        await asyncio.Event().wait()
    finally:
        await manager.stop()


async def by_websockets(url: str, clock: Clock) -> None:
    import websockets

    async for socket in websockets.connect(f"{url}/stream", proxy=None):
        with contextlib.suppress(websockets.ConnectionClosed):
            await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')
            async for _text in socket:
                clock.heard()


async def by_ccxt(url: str, clock: Clock) -> None:
    import ccxt.pro

    exchange = ccxt.pro.binance({"newUpdates": True})
    exchange.urls["api"]["ws"]["spot"] = f"{url}/ws"
    market = {
        "id": "BTCUSDT",
        "lowercaseId": "btcusdt",
        "symbol": "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
        "type": "spot",
        "spot": True,
        "active": True,
        "precision": {"price": 0.01, "amount": 0.00001},
        "limits": {},
        "info": {},
        "baseId": "BTC",
        "quoteId": "USDT",
        "margin": False,
        "swap": False,
        "future": False,
        "option": False,
        "contract": False,
        "linear": None,
        "inverse": None,
        "settle": None,
        "settleId": None,
    }
    exchange.set_markets([market])

    async def load_markets(*_args: Any, **_named: Any) -> Any:
        return exchange.markets  # there is no REST API here

    exchange.load_markets = load_markets
    try:
        while True:
            with contextlib.suppress(ccxt.NetworkError):
                await exchange.watch_trades("BTC/USDT")
                clock.heard()
    finally:
        await exchange.close()


async def by_cryptofeed(url: str, clock: Clock) -> None:
    from cryptofeed.connection import WSAsyncConn
    from cryptofeed.connection_handler import ConnectionHandler

    async def nothing(_connection: Any) -> None:
        pass

    async def subscribe(connection: Any) -> None:
        await connection.write('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')

    async def handler(_message: str, _connection: Any, _at: float) -> None:
        clock.heard()

    connection = WSAsyncConn("wss://bench", "bench")  # it takes no other scheme when it is made
    connection.address = f"{url}/stream"
    handling = ConnectionHandler(connection, subscribe, handler, nothing, -1)
    await handling._create_connection()


async def one(way: Callable[[str, Clock], Awaitable[None]], resets: int) -> list[float]:
    venue, clock = Exchange(), Clock()
    async with ScriptedExchange(venue) as server:
        url = f"ws://127.0.0.1:{server.port}"
        tasks = [asyncio.ensure_future(venue.pour()), asyncio.ensure_future(way(url, clock))]
        try:
            return await measured(venue, clock, resets)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    resets = min(options.calls, 12)
    ways: dict[str, Callable[[str, Clock], Awaitable[None]]] = {"jackstay feeds": by_agent}
    if importlib.util.find_spec("websockets"):
        ways["websockets iterator"] = by_websockets
    if importlib.util.find_spec("ccxt"):
        ways["ccxt.pro watch_trades"] = by_ccxt
    if importlib.util.find_spec("cryptofeed"):
        logging.getLogger("feedhandler").disabled = True
        ways["cryptofeed handler"] = by_cryptofeed
    runs: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            try:
                runs[name].append(asyncio.run(one(way, resets)))
            except TimeoutError:
                print(f"{name}: no message within {RESET_S_MAX:g} s of a reset", file=sys.stderr)
    runs = {name: rounds for name, rounds in runs.items() if len(rounds) == options.rounds}
    return finish(latency_rows("reset to first message", runs, "jackstay feeds"), options)


if __name__ == "__main__":
    main()
