"""Plain clients of the sandbox's OKX and Bybit faces: signed requests, made by hand so that nothing is hidden."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from jackstay_agent.sandbox import SandboxProcess

KEY, SECRET, PASSPHRASE = "sandbox-key", "sandbox-secret", "sandbox-passphrase"


def now_ms() -> int:
    return int(time.time() * 1000)


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def okx_headers(
    method: str, target: str, body: str, at_ms: int, key: str = KEY, secret: str = SECRET, passphrase: str = PASSPHRASE
) -> dict[str, str]:
    """The four headers of a signed OKX request."""
    stamp = iso(at_ms)
    digest = hmac.new(secret.encode(), (stamp + method + target + body).encode(), hashlib.sha256).digest()
    return {
        "OK-ACCESS-KEY": key,
        "OK-ACCESS-SIGN": base64.b64encode(digest).decode(),
        "OK-ACCESS-TIMESTAMP": stamp,
        "OK-ACCESS-PASSPHRASE": passphrase,
        "Content-Type": "application/json",
    }


def okx_order(
    client_id: str = "", side: str = "buy", sz: str = "0.01", px: str = "40000", **more: Any
) -> dict[str, Any]:
    order = {"instId": "BTC-USDT", "tdMode": "cash", "side": side, "ordType": "limit", "sz": sz, "px": px}
    return order | ({"clOrdId": client_id} if client_id else {}) | more


class Client:
    """Blocking requests to one sandbox, a connection each."""

    def __init__(self, sandbox: SandboxProcess, key: str = KEY, secret: str = SECRET) -> None:
        self.port, self.key, self.secret = sandbox.port, key, secret

    def send(
        self, method: str, target: str, body: str, headers: dict[str, str], timeout_s: float = 5.0
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, JSON or text, headers)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, target, body or None, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(data), dict(answer.getheaders())
        except ValueError:
            return answer.status, data.decode(), dict(answer.getheaders())


class OkxClient(Client):
    def call(
        self,
        method: str,
        path: str,
        params: Any = None,
        timeout_s: float = 5.0,
        at_ms: int | None = None,
        **headers: str,
    ) -> tuple[int, Any]:
        """A signed request below /api/v5/: GET in the query, POST as JSON."""
        target, body = f"/api/v5/{path}", ""
        if method == "GET" and params:
            target += "?" + urlencode(params)
        elif params is not None:
            body = json.dumps(params)
        signed = okx_headers(method, target, body, now_ms() if at_ms is None else at_ms, self.key, self.secret)
        return self.send(
            method, target, body, signed | {k.replace("_", "-"): v for k, v in headers.items()}, timeout_s
        )[:2]

    def public(self, path: str, **params: Any) -> Any:
        return self.send("GET", f"/api/v5/{path}?{urlencode(params)}", "", {})[1]

    def place(self, client_id: str = "", **order: Any) -> dict[str, Any]:
        """The order's item of the answer."""
        return dict(self.call("POST", "trade/order", okx_order(client_id, **order))[1]["data"][0])

    def order(self, client_id: str, symbol: str = "BTC-USDT") -> Any:
        return self.call("GET", "trade/order", {"instId": symbol, "clOrdId": client_id})[1]


def bybit_headers(
    payload: str, at_ms: int, key: str = KEY, secret: str = SECRET, window_ms: int = 5000
) -> dict[str, str]:
    """The headers of a signed Bybit request; `payload` is the query of a GET, the body of a POST."""
    origin = f"{at_ms}{key}{window_ms}{payload}"
    return {
        "X-BAPI-API-KEY": key,
        "X-BAPI-TIMESTAMP": str(at_ms),
        "X-BAPI-RECV-WINDOW": str(window_ms),
        "X-BAPI-SIGN": hmac.new(secret.encode(), origin.encode(), hashlib.sha256).hexdigest(),
        "Content-Type": "application/json",
    }


def bybit_order(
    name: str = "", side: str = "Buy", qty: str = "0.01", price: str = "40000", category: str = "spot", **more: Any
) -> dict[str, Any]:
    order = {"category": category, "symbol": "BTCUSDT", "side": side, "orderType": "Limit", "qty": qty, "price": price}
    return order | ({"orderLinkId": name} if name else {}) | more


class BybitClient(Client):
    def full(
        self,
        method: str,
        path: str,
        params: Any = None,
        timeout_s: float = 5.0,
        at_ms: int | None = None,
        **headers: str,
    ) -> tuple[int, Any, dict[str, str]]:
        """A signed request below /v5/: GET in the query, POST as JSON; (status, body, headers)."""
        target, body, query = f"/v5/{path}", "", ""
        if method == "GET":
            query = urlencode(params or {})
            target += f"?{query}" if query else ""
        else:
            body = json.dumps(params or {})
        at = now_ms() if at_ms is None else at_ms
        signed = bybit_headers(query or body, at, self.key, self.secret)
        return self.send(method, target, body, signed | {k.replace("_", "-"): v for k, v in headers.items()})

    def call(self, method: str, path: str, params: Any = None, **more: Any) -> Any:
        return self.full(method, path, params, **more)[1]

    def public(self, path: str, **params: Any) -> Any:
        return self.send("GET", f"/v5/{path}?{urlencode(params)}", "", {})[1]

    def place(self, name: str = "", **order: Any) -> Any:
        return self.call("POST", "order/create", bybit_order(name, **order))

    def orders(self, path: str = "order/realtime", category: str = "spot", **params: Any) -> list[dict[str, Any]]:
        return list(self.call("GET", path, {"category": category, **params})["result"]["list"])
