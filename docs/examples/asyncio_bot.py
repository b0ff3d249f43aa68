"""A bot of plain asyncio: no exchange library, one `AsyncClient`, requests that the agent signs.

    jackstay run demo --config agent.toml          # with a key: [venues.binance.keys]
    JACKSTAY_AGENT=demo python asyncio_bot.py

The bot holds no key. Three questions go out at once, then an order with an idempotency key: asking twice with the same
key gives the same answer and places nothing twice. A client order id is put in by the agent before it signs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlencode

import jackstay

ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.001",
    "price": "20500",
}
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


async def price(client: jackstay.AsyncClient, symbol: str) -> str:
    answer = await client.request("GET", venue="binance", path=f"/api/v3/ticker/price?symbol={symbol}", deadline_s=3)
    return str(answer.json()["price"])


async def place(client: jackstay.AsyncClient, key: str) -> jackstay.Response:
    return await client.request(
        "POST",
        venue="binance",
        path="/api/v3/order",
        headers=FORM,
        body=urlencode(ORDER),
        sign=True,
        idempotency_key=key,
        deadline_s=5,
    )


async def main() -> int:
    async with jackstay.AsyncClient() as client:
        prices = await asyncio.gather(*(price(client, symbol) for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT")))
        print("prices", len(prices))
        key = f"asyncio-{time.time_ns()}"
        try:
            first, again = await place(client, key), await place(client, key)
        except jackstay.OutcomeUnknown:
            print("nobody knows yet; the agent asks the venue and tells it later", file=sys.stderr)
            return 1
        except jackstay.Refused as error:
            print(f"refused: {error.reason}, again in {error.retry_after_s} s", file=sys.stderr)
            return 1
        print("placed once", first.json()["orderId"] == again.json()["orderId"])
        cancel = urlencode({"symbol": "BTCUSDT", "orderId": first.json()["orderId"]})
        gone = await client.request("DELETE", venue="binance", path=f"/api/v3/order?{cancel}", sign=True, deadline_s=5)
        print("cancelled", gone.json()["status"])
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
