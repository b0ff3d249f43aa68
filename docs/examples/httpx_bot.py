"""An httpx bot that signs for itself, with one jackstay line in it.

    jackstay run demo --config agent.toml          # in one terminal
    JACKSTAY_AGENT=demo python httpx_bot.py        # in another

It places a limit order far below the market, looks at it and cancels it. Everything above the transport is plain httpx:
its client, its time-outs, its exceptions. Keys come from the environment; the sandbox's are the defaults.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import time
from urllib.parse import urlencode

import httpx

from jackstay.adapters.httpx import AgentTransport

BASE = "https://api.binance.com"
KEY = os.environ.get("SANDBOX_KEY", "sandbox-key")
SECRET = os.environ.get("SANDBOX_SECRET", "sandbox-secret")


def signed(params: dict[str, str]) -> str:
    query = urlencode(params | {"timestamp": str(int(time.time() * 1000)), "recvWindow": "5000"})
    return f"{query}&signature={hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()}"


def main() -> int:
    client_id = f"httpx-{int(time.time() * 1000)}"
    one = {"symbol": "BTCUSDT", "origClientOrderId": client_id}
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}
    headers = {"X-MBX-APIKEY": KEY}
    with httpx.Client(base_url=BASE, headers=headers, timeout=5, transport=AgentTransport()) as http:  # the one line
        try:
            placed = http.post(
                "/api/v3/order", params=signed(order | {"price": "20000", "newClientOrderId": client_id})
            )
            placed.raise_for_status()
            print("placed", placed.json()["status"])
        except httpx.TimeoutException:
            print("nobody knows: asking the venue, never sending it again", file=sys.stderr)
        except httpx.TransportError as error:
            print(f"not now: {error}", file=sys.stderr)
            return 1
        found = http.get("/api/v3/order", params=signed(one))
        if found.status_code != 200:
            return 1
        print("cancelled", http.delete("/api/v3/order", params=signed(one)).json()["status"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
