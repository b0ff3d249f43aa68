"""The bot of ``jackstay bench``: the same questions, orders and cancels straight to the exchange and through the agent.

Both ways in turn, so that a noisy moment hits both. It prints one JSON object: seconds per call, a list for each way.
The exchange is the simulated one, whose keys are known; prices are far below its market and each order is cancelled.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import jackstay

HOST = "https://api.binance.com"
KEY, SECRET = "sandbox-key", b"sandbox-secret"
HEADERS = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}
WARM_CALLS = 20

Send = Callable[[str, str, str], int]  # method, path, body -> HTTP status


def straight(url: str) -> Send:
    """By the standard library over one connection that is kept."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)

    def send(method: str, path: str, body: str) -> int:
        connection.request(method, path, body, HEADERS)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return send


def through(client: jackstay.Client) -> Send:
    headers = list(HEADERS.items())

    def send(method: str, path: str, body: str) -> int:
        return client.request(method, HOST + path, headers=headers, body=body.encode()).status

    return send


def signed(**params: Any) -> str:
    query = urlencode(params | {"timestamp": int(time.time() * 1000), "recvWindow": 10000})
    return f"{query}&signature={hmac.new(SECRET, query.encode(), hashlib.sha256).hexdigest()}"


class Round:
    """Calls of one way; each order has a price of its own, for two of one price would be the same order."""

    def __init__(self, way: str, send: Send, taken: dict[str, list[float]]) -> None:
        self._way = way
        self._send = send
        self._taken = taken
        self._orders = 0

    def questions(self, count: int) -> None:
        for _ in range(count):
            self._timed("question", "GET", "/api/v3/time", "")

    def orders(self, count: int) -> None:
        for _ in range(count):
            self._orders += 1
            order = {"symbol": "BTCUSDT", "newClientOrderId": f"bench-{self._way[0]}-{self._orders}"}
            price = 10_000 + (0 if self._way == "straight" else 5_000) + self._orders / 100
            body = signed(**order, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.001", price=f"{price:.2f}")
            self._timed("order", "POST", "/api/v3/order", body)
            gone = signed(symbol="BTCUSDT", origClientOrderId=order["newClientOrderId"])
            self._timed("cancel", "DELETE", f"/api/v3/order?{gone}", "")

    def _timed(self, what: str, method: str, path: str, body: str) -> None:
        began = time.perf_counter()
        status = self._send(method, path, body)
        taken = time.perf_counter() - began
        if status != 200:
            raise RuntimeError(f"{method} {path.partition('?')[0]} {self._way} was answered {status}, not 200")
        self._taken.setdefault(f"{what}, {self._way}", []).append(taken)


def main(url: str, seconds: float, calls: int) -> dict[str, list[float]]:
    """Rounds of ``calls`` each until ``seconds`` are over; at least two."""
    taken: dict[str, list[float]] = {}
    with jackstay.Client(bot_id="bench") as client:
        ways = [Round("straight", straight(url), taken), Round("through the agent", through(client), taken)]
        for way in ways:
            way.questions(WARM_CALLS)
            way.orders(WARM_CALLS)
        taken.clear()
        until, rounds = time.monotonic() + seconds, 0
        while rounds < 2 or time.monotonic() < until:
            rounds += 1
            for way in ways:
                way.questions(calls)
                way.orders(calls)
            for _ in range(calls):
                began = time.perf_counter()
                if not client.beat():
                    raise RuntimeError("the agent did not answer a beat")
                taken.setdefault("beat", []).append(time.perf_counter() - began)
    return taken


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
