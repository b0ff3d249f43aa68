"""What end-to-end tests use as a bot: signed Binance-shaped requests through a plain jackstay client."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlencode

import jackstay
from harness import AgentProcess

KEY, SECRET = "sandbox-key", "sandbox-secret"
HOST = "https://api.binance.com"


def routed(url: str, extra: str = "") -> str:
    """Agent configuration: the exchange's true name, led to the sandbox."""
    return f'[upstreams]\n"api.binance.com" = "{url}"\n{extra}'


def client_for(agent: AgentProcess, **options: Any) -> jackstay.Client:
    return jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id=options.pop("bot_id", "e2e"), **options)


def signed(params: dict[str, Any]) -> str:
    query = urlencode(params | {"timestamp": int(time.time() * 1000), "recvWindow": 10000})
    return f"{query}&signature={hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()}"


def order_params(client_id: str, price: float = 20000) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.001",
        "price": f"{price:.2f}",
        "newClientOrderId": client_id,
    }


def order_request(client_id: str, price: float = 20000) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """method, url, headers, body of a signed limit order far below the market."""
    headers = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]
    return "POST", f"{HOST}/api/v3/order", headers, signed(order_params(client_id, price)).encode()


def place(client: jackstay.Client, _sandbox: object, client_id: str, *, deadline_s: float = 5.0) -> jackstay.Response:
    method, url, headers, body = order_request(client_id)
    return client.request(method, url, headers=headers, body=body, deadline_s=deadline_s)
