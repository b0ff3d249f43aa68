"""The bot of ``jackstay demo``: an ordinary ccxt bot with one jackstay line in it.

It reads one JSON order a line on standard input ("trade", "place", "protect", "ask", "outcomes", "watch", "quit") and
answers each with one JSON line. Its URLs, keys and error handling are plain ccxt; the one jackstay line is ``attach``.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jackstay

SYMBOL = "BTC/USDT"


def make_exchange(client: jackstay.Client) -> Any:
    import ccxt

    exchange = ccxt.binance(
        {
            "apiKey": "sandbox-key",
            "secret": "sandbox-secret",
            "timeout": 4000,
            # it bounds how long a lost request may still arrive: the shorter, the sooner it is known to be absent
            "options": {
                "recvWindow": 1000,
                "fetchMarkets": {"types": ["spot"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )
    jackstay.attach(exchange, client)  # the one line
    return exchange


class Bot:
    def __init__(self) -> None:
        self.client = jackstay.Client(bot_id="demo-bot")
        self.exchange = make_exchange(self.client)
        self.serial = 0
        self.watched: list[float] = []

    def trade(self, count: int) -> dict[str, Any]:
        """Place and cancel ``count`` orders, the everyday life."""
        self.exchange.load_markets()
        placed = self.place(count)["orders"]
        for order in placed:
            if order["result"] == "ok":
                self.exchange.cancel_order(order["id"], SYMBOL)
        return {"orders": placed, "free": str(self.exchange.fetch_balance()["USDT"]["free"])}

    def place(self, count: int, pause_s: float = 0.0, price: float = 0.0) -> dict[str, Any]:
        """One intended order each; an exception is noted and never answered with a second order."""
        orders = []
        for _ in range(count):
            self.serial += 1
            client_id = f"demo-{os.getpid()}-{self.serial}"
            began = time.monotonic()
            entry: dict[str, Any] = {"client_id": client_id}
            try:
                order = self.exchange.create_order(
                    SYMBOL, "limit", "buy", 0.001, price or 20000 + self.serial, {"newClientOrderId": client_id}
                )
                entry |= {"result": "ok", "id": order["id"]}
            except Exception as error:  # a real bot would branch on the type; the demo only reports it
                entry |= {"result": type(error).__name__, "message": str(error)[:200]}
            entry["ms"] = round((time.monotonic() - began) * 1000, 1)
            orders.append(entry)
            time.sleep(pause_s)
        return {"orders": orders}

    def protect(self) -> dict[str, Any]:
        """One stop below the market for what is held: it has to outlive the bot."""
        client_id = f"demo-{os.getpid()}-stop"
        order = self.exchange.create_order(
            SYMBOL, "limit", "sell", 0.001, 15000, {"stopPrice": 15100, "newClientOrderId": client_id}
        )
        return {"orders": [{"client_id": client_id, "result": "ok", "id": order["id"]}]}

    def ask(self, seconds: float) -> dict[str, Any]:
        """Ask the time in a loop; how often, how slow at worst, which exceptions."""
        until = time.monotonic() + seconds
        count, worst_s, errors = 0, 0.0, []
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                self.exchange.fetch_time()
            except Exception as error:
                errors.append(type(error).__name__)
            worst_s = max(worst_s, time.monotonic() - began)
            count += 1
            time.sleep(0.02)
        return {"count": count, "worst_ms": round(worst_s * 1000, 1), "errors": errors}

    def outcomes(self, seconds: float) -> dict[str, Any]:
        """What became of orders of an earlier life, the first that is told."""
        return {"outcomes": [str(each.outcome) for each in islice(self.client.outcomes(timeout_s=seconds), 1)]}

    def watch(self, feed: str, topic: str) -> dict[str, Any]:
        """Follow a market data topic from now on, on a thread with a client of its own."""

        def follow() -> None:
            with jackstay.Client(kind="reader") as client:
                for _message in client.subscribe(feed, [topic]):
                    self.watched.append(time.time())

        threading.Thread(target=follow, daemon=True).start()
        return {}

    def heard(self, since: float, wait_s: float) -> dict[str, Any]:
        """Arrival times (wall clock seconds) of market data since then; waits for the first if there is none yet."""
        until = time.monotonic() + wait_s
        while time.monotonic() < until and not any(each >= since for each in list(self.watched)):
            self.client.beat()
            time.sleep(0.05)
        return {"times": [each for each in list(self.watched) if each >= since]}


def orders(bot: Bot) -> Iterator[dict[str, Any]]:
    """Lines of standard input; while none comes the bot beats, from this very thread, as its own loop would."""
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], 0.3)
        if not readable:
            bot.client.beat()
            continue
        line = sys.stdin.readline()
        if not line:
            return
        yield json.loads(line)


def main() -> None:
    bot = Bot()
    bot.client.beat()
    print(json.dumps({"ready": True}), flush=True)
    for order in orders(bot):
        verb = order.pop("do")
        if verb == "quit":
            break
        try:
            answer = getattr(bot, verb)(**order)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    bot.client.close(reason="the demo is over")


if __name__ == "__main__":
    main()
