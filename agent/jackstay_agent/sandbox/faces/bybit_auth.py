"""Bybit's signed requests: HMAC over timestamp, key, window and query or body. Source: v5 "Integration Guidance"."""

from __future__ import annotations

import hmac
from typing import Any

from ..accounts import ApiKey, KeyRing
from ..answers import Call
from .bybit_errors import Refusal
from .whole_numbers import whole

WINDOW_DEFAULT_MS = 5000
AHEAD_MAX_MS = 1000
LOGIN = "GET/realtime"


def window_ms(call: Call) -> int:
    wanted = whole(call.headers.get("X-BAPI-RECV-WINDOW"))
    return WINDOW_DEFAULT_MS if wanted is None else wanted


def sent_ms(call: Call) -> int | None:
    return whole(call.headers.get("X-BAPI-TIMESTAMP"))


def signature(secret: str, payload: str) -> str:
    return hmac.digest(secret.encode(), payload.encode("utf-8", "replace"), "sha256").hex()


def signed(call: Call, keys: KeyRing, permission: str) -> ApiKey:
    """Check everything a private endpoint checks; returns the key. Refusal 10001 to 10005."""
    key = keys.get(call.headers.get("X-BAPI-API-KEY", ""))
    if key is None:
        raise Refusal(10003, "API key is invalid.")
    sent = sent_ms(call)
    if sent is None:
        raise Refusal(10001, "empty value: X-BAPI-TIMESTAMP")
    check_window(sent, window_ms(call), call.now)
    payload = call.body.decode("utf-8", "replace") if call.method == "POST" else call.query
    origin = f"{sent}{key.key}{call.headers.get('X-BAPI-RECV-WINDOW', '')}{payload}"
    if not same(signature(key.secret, origin), call.headers.get("X-BAPI-SIGN", "")):
        shown = origin.encode("ascii", "replace").decode()
        raise Refusal(
            10004, f"Error sign, please check your signature generation algorithm. origin_string[{shown[:500]}]"
        )
    require(key, permission)
    act_for(call, key)
    return key


def act_for(call: Call, key: ApiKey) -> None:
    call.account, call.key = key.account, key.key
    for item in call.items:
        item.account, item.key = key.account, key.key


def check_window(sent: int, window: int, now: int) -> None:
    if not now - window <= sent < now + AHEAD_MAX_MS:
        raise Refusal(
            10002,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{sent}],server_timestamp[{now}],recv_window[{window}]",
        )


def require(key: ApiKey, permission: str) -> None:
    allowed = key.permissions | ({"cancel"} if "trade" in key.permissions else set())
    if permission not in allowed:
        raise Refusal(10005, "Permission denied, please check your API key permissions.")


def login(args: list[Any], keys: KeyRing, now: int) -> ApiKey:
    """The key of a WebSocket `auth`: [key, expires, signature]. Refusal says why not."""
    texts = [str(each) for each in args]
    expires = whole(texts[1].split(".", maxsplit=1)[0]) if len(texts) == 3 else None
    if expires is None:
        raise Refusal(10001, "Param error")
    key = keys.get(texts[0])
    if key is None:
        raise Refusal(10003, "API key is invalid.")
    if expires < now:
        raise Refusal(10004, "Params Error: expires is earlier than the server's time")
    if not same(signature(key.secret, LOGIN + texts[1]), texts[2]):
        raise Refusal(10004, "Error sign")
    return key


def same(expected: str, sent: str) -> bool:
    return hmac.compare_digest(expected.encode(), sent.encode("utf-8", "replace"))
