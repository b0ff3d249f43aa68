"""The first words on a private stream: a signed message that says whose events are wanted. Pure.

Sources, 2026-07: binance-spot-api-docs web-socket-api.md "userDataStream.subscribe.signature" (HMAC over the parameters
in alphabetical order); Bybit v5 "Connect, Authentication" (over "GET/realtime" and an expiry); OKX v5 "Login" (over
seconds, GET and /users/self/verify). Kraken and Binance USDⓈ-M want no login but a token fetched over HTTP before.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from .credentials import Credentials

BYBIT_EXPIRES_MS = 10_000  # the venue refuses an expiry that has passed when the message arrives


def _nothing(keys: Credentials, now_ms: int, window_ms: int) -> str:
    return ""


def _binance_ws_api(keys: Credentials, now_ms: int, window_ms: int) -> str:
    params: dict[str, str | int] = {"apiKey": keys.key, "recvWindow": window_ms, "timestamp": now_ms}
    payload = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
    params["signature"] = hmac.new(keys.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    return _json({"id": "jackstay", "method": "userDataStream.subscribe.signature", "params": params})


def _bybit_v5(keys: Credentials, now_ms: int, window_ms: int) -> str:
    expires = now_ms + BYBIT_EXPIRES_MS
    signature = hmac.new(keys.secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
    return _json({"op": "auth", "args": [keys.key, expires, signature]})


def _okx_v5(keys: Credentials, now_ms: int, window_ms: int) -> str:
    seconds = str(now_ms // 1000)
    digest = hmac.new(keys.secret.encode(), f"{seconds}GET/users/self/verify".encode(), hashlib.sha256).digest()
    said = {
        "apiKey": keys.key,
        "passphrase": keys.passphrase,
        "timestamp": seconds,
        "sign": base64.b64encode(digest).decode(),
    }
    return _json({"op": "login", "args": [said]})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


Login = Callable[[Credentials, int, int], str]

LOGINS: Final[Mapping[str, Login]] = {
    "none": _nothing,
    "binance_ws_api": _binance_ws_api,
    "bybit_v5": _bybit_v5,
    "okx_v5": _okx_v5,
}
