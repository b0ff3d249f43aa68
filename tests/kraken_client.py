"""A plain client of the sandbox's Kraken face for its own tests: signed forms over http.client, and a WebSocket that
keeps a book the way Kraken's guide says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
import zlib
from decimal import Decimal
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from websockets.sync.client import connect

from jackstay_agent.sandbox import SandboxProcess

KEY = "sandbox-key"
SECRET = "c2FuZGJveC1zZWNyZXQ="  # what a Kraken client is given for the sandbox's secret
_last_nonce = 0


def next_nonce() -> int:
    """Nanoseconds since the epoch, and never the same twice."""
    global _last_nonce
    _last_nonce = max(_last_nonce + 1, time.time_ns())
    return _last_nonce


def signature(path: str, nonce: str, body: str, secret: str = SECRET) -> str:
    """API-Sign of a request."""
    digest = hashlib.sha256((nonce + body).encode()).digest()
    return base64.b64encode(hmac.digest(base64.b64decode(secret), path.encode() + digest, "sha512")).decode()


def limit_order(cl_ord_id: str = "", **more: Any) -> dict[str, Any]:
    named = {"cl_ord_id": cl_ord_id} if cl_ord_id else {}
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "40000"}
    return order | named | more


class KrakenPlain:
    """Blocking requests to one sandbox, a connection each."""

    def __init__(self, sandbox: SandboxProcess, key: str = KEY, secret: str = SECRET) -> None:
        self.port, self._key, self._secret = sandbox.port, key, secret

    def send(self, method: str, target: str, body: str = "", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """(status, JSON or text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, target, body or None, headers or {})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(data)
        except ValueError:
            return answer.status, data.decode()

    def public(self, name: str, **params: Any) -> Any:
        return self.send("GET", f"/0/public/{name}?{urlencode(params)}")[1]

    def call(self, name: str, params: dict[str, Any] | None = None, nonce: int | None = None) -> tuple[list[str], Any]:
        """(errors, result) of a private request."""
        stamp = str(next_nonce() if nonce is None else nonce)
        if any(isinstance(value, list) for value in (params or {}).values()):
            body, kind = json.dumps({"nonce": stamp, **(params or {})}), "application/json"
        else:
            body, kind = urlencode({"nonce": stamp, **(params or {})}), "application/x-www-form-urlencoded"
        path = f"/0/private/{name}"
        headers = {"API-Key": self._key, "API-Sign": signature(path, stamp, body, self._secret), "Content-Type": kind}
        status, told = self.send("POST", path, body, headers)
        if status != 200:
            return [str(status)], told
        return told["error"], told.get("result")

    def place(self, cl_ord_id: str = "", **order: Any) -> str:
        """The txid of a placed limit order."""
        errors, result = self.call("AddOrder", limit_order(cl_ord_id, **order))
        assert errors == [], errors
        return str(result["txid"][0])

    def token(self) -> str:
        return str(self.call("GetWebSocketsToken")[1]["token"])


class KrakenWs:
    """One WebSocket; `messages` not yet asked for wait in order. Numbers are Decimals."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self._connecting = connect(f"ws://127.0.0.1:{sandbox.port}/v2", proxy=None)

    def send(self, method: str, req_id: int | None = None, **params: Any) -> None:
        asked: dict[str, Any] = {"method": method} | ({"params": params} if params else {})
        self._socket.send(json.dumps(asked | ({"req_id": req_id} if req_id is not None else {})))

    def raw(self, text: str) -> None:
        self._socket.send(text)

    def next(self, timeout_s: float = 5.0, **fields: Any) -> dict[str, Any]:
        """The next message with these fields; others are passed over. TimeoutError when it does not come."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self._socket.recv(timeout=max(0.0, deadline - time.monotonic()))
            message: dict[str, Any] = json.loads(text, parse_float=Decimal)
            if all(message.get(name) == value for name, value in fields.items()):
                return message

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.send(method, **params)
        return self.next(method=method)

    def __enter__(self) -> KrakenWs:
        self._socket = self._connecting.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connecting.__exit__(kind, error, trace)


class FollowedBook:
    """A reader's book of one pair: snapshot, updates, truncation to its depth, and the checksum it should have."""

    def __init__(self, depth: int = 10) -> None:
        self.depth = depth
        self.bids: dict[Decimal, str] = {}
        self.asks: dict[Decimal, str] = {}

    def read(self, message: dict[str, Any]) -> bool:
        """Take a message in; does the checksum fit?"""
        (data,) = message["data"]
        if message["type"] == "snapshot":
            self.bids.clear()
            self.asks.clear()
        for side, rows in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for row in rows:
                price = Decimal(row["price"])
                if not Decimal(row["qty"]):
                    side.pop(price, None)
                else:
                    side[price] = f"{row['price']}".replace(".", "").lstrip("0") + f"{row['qty']}".replace(
                        ".", ""
                    ).lstrip("0")
        self.bids = {price: self.bids[price] for price in sorted(self.bids, reverse=True)[: self.depth]}
        self.asks = {price: self.asks[price] for price in sorted(self.asks)[: self.depth]}
        text = "".join([*list(self.asks.values())[:10], *list(self.bids.values())[:10]])
        return zlib.crc32(text.encode()) == data["checksum"]
