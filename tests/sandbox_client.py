"""A plain client of the sandbox for its own tests: signed requests over http.client, and bare sockets."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlencode

from jackstay_agent.sandbox import SandboxProcess

KEY, SECRET = "sandbox-key", "sandbox-secret"


def signed(params: dict[str, Any], secret: str = SECRET) -> str:
    query = urlencode({"timestamp": int(time.time() * 1000), "recvWindow": 10000} | params)
    return f"{query}&signature={hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()}"


def limit_order(
    client_id: str = "", side: str = "BUY", price: str = "40000", quantity: str = "0.01", **more: Any
) -> dict[str, Any]:
    named = {"newClientOrderId": client_id} if client_id else {}
    order = {
        "symbol": "BTCUSDT",
        "side": side,
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": quantity,
        "price": price,
    }
    return order | named | more


def signed_request(number: str, method: str, params: dict[str, object]) -> dict[str, object]:
    """A request of Binance's WebSocket API."""
    params = params | {"apiKey": KEY, "timestamp": int(time.time() * 1000)}
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    signature = hmac.digest(SECRET.encode(), payload.encode(), "sha256").hex()
    return {"id": number, "method": method, "params": params | {"signature": signature}}


class Plain:
    """Blocking requests to one sandbox, a connection each."""

    def __init__(self, sandbox: SandboxProcess, key: str = KEY, secret: str = SECRET) -> None:
        self.port, self._key, self._secret = sandbox.port, key, secret

    def send(
        self, method: str, target: str, body: str | None = None, timeout_s: float = 5.0
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, JSON or text, headers)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, target, body, {"X-MBX-APIKEY": self._key})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(data), dict(answer.getheaders())
        except ValueError:
            return answer.status, data.decode(), dict(answer.getheaders())

    def public(self, path: str, **params: Any) -> Any:
        return self.send("GET", f"{path}?{urlencode(params)}")[1]

    def call(
        self, method: str, path: str, params: dict[str, Any] | None = None, timeout_s: float = 5.0
    ) -> tuple[int, Any, dict[str, str]]:
        """A signed request: POST and PUT in the body, GET and DELETE in the query."""
        text = signed(params or {}, self._secret)
        if method in ("POST", "PUT"):
            return self.send(method, path, text, timeout_s)
        return self.send(method, f"{path}?{text}", timeout_s=timeout_s)

    def place(self, client_id: str = "", **order: Any) -> Any:
        return self.call("POST", "/api/v3/order", limit_order(client_id, **order))[1]

    def raw_order(self, client_id: str, **order: str) -> bytes:
        """The bytes of a signed order, for a bare socket."""
        body = signed(limit_order(client_id, **order))
        return (
            f"POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nX-MBX-APIKEY: {self._key}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def dial(self, timeout_s: float = 5.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)


def read_until_end(sock: socket.socket) -> tuple[bytes, str]:
    """Everything the other side sent, and how it ended: "closed", "reset" or "silent" (timed out)."""
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        return data, "reset"
    except TimeoutError:
        return data, "silent"
    return data, "closed"
