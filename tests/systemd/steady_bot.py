"""A ccxt bot that asks at a steady rate, whatever happens to its agent, and says at its end what became of each call.

    steady_bot.py OUT.json RATE_PER_S

Of five calls one places an order (a price and a client id of its own), one cancels its oldest open one, three ask, so
that a long run ends with as much money as it began. It
runs until SIGTERM, waits for what is under way, and writes OUT.json. OUT.json.n holds how many calls were answered so
far, OUT.json.open how many wait for their answer.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import ccxt.async_support as ccxt

import jackstay

SYMBOL = "BTC/USDT"


class Steady:
    def __init__(self, exchange: Any, rate: float, out: Path) -> None:
        self.exchange = exchange
        self.rate = rate
        self.out = out
        self.sent = self.ok = 0
        self.errors: list[str] = []
        self.placed: list[str] = []
        self.cancelled: list[str] = []
        self.open: deque[str] = deque()
        self.longest_pause_s = self.longest_call_s = 0.0
        self.last_ok_at = 0.0
        self.stopping = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.run_id = f"{int(time.time() * 1000) % 10**9:09d}"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stopping.set)
        began = loop.time()
        while not self.stopping.is_set():
            due = int((loop.time() - began) * self.rate)
            while self.sent < due:
                task = loop.create_task(self.one(self.sent))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
                self.sent += 1
            self.tell("n", self.ok)
            self.tell("open", len(self.tasks))
            await asyncio.sleep(0.004)
        if self.tasks:
            await asyncio.wait(self.tasks)
        self.out.write_text(
            json.dumps(
                {
                    "sent": self.sent,
                    "ok": self.ok,
                    "seconds": round(loop.time() - began, 1),
                    "errors": len(self.errors),
                    "first_errors": self.errors[:10],
                    "kinds": Counter(" ".join(each.split()[1:9]) for each in self.errors).most_common(6),
                    "placed": self.placed,
                    "cancelled": self.cancelled,
                    "longest_pause_ms": round(self.longest_pause_s * 1000),
                    "longest_call_ms": round(self.longest_call_s * 1000),
                }
            )
        )

    def tell(self, what: str, count: int) -> None:
        """Whole or not at all: it is read at any moment."""
        path = self.out.with_name(f"{self.out.name}.{what}")
        making = path.with_name(path.name + ".new")
        making.write_text(str(count))
        making.replace(path)

    async def one(self, number: int) -> None:
        began = time.monotonic()
        try:
            await self.call(number)
        except Exception as error:
            self.errors.append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
            return
        now = time.monotonic()
        self.ok += 1
        self.longest_call_s = max(self.longest_call_s, now - began)
        if self.last_ok_at:
            self.longest_pause_s = max(self.longest_pause_s, now - self.last_ok_at)
        self.last_ok_at = now

    async def call(self, number: int) -> None:
        round_, step = divmod(number, 5)
        if step == 0:
            client_id = f"s{self.run_id}x{round_}"
            price = 20000 + round_ % 2_000_000 / 100
            await self.exchange.create_order(
                SYMBOL, "limit", "buy", 0.001, price, {"newClientOrderId": client_id, "timeInForce": "GTC"}
            )
            self.placed.append(client_id)
            self.open.append(client_id)
        elif step == 3 and self.open:
            client_id = self.open.popleft()
            self.cancelled.append(client_id)
            await self.exchange.private_delete_order({"symbol": "BTCUSDT", "origClientOrderId": client_id})
        else:
            await self.exchange.public_get_time()


async def main() -> None:
    out, rate = Path(sys.argv[1]), float(sys.argv[2])
    exchange = ccxt.binance(
        {"apiKey": "sandbox-key", "secret": "sandbox-secret", "enableRateLimit": False, "timeout": 30_000}
    )
    exchange.options["recvWindow"] = 60_000
    client = jackstay.AsyncClient(bot_id="steady")
    jackstay.attach(exchange, client)
    exchange.options["fetchCurrencies"] = False
    exchange.options["fetchMarkets"] = ["spot"]
    while True:  # the venue may come later
        try:
            await exchange.load_markets()
            break
        except ccxt.NetworkError:
            await asyncio.sleep(0.2)
    try:
        await Steady(exchange, rate, out).run()
    finally:
        await exchange.close()
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
