"""Binance's signed requests: key, timing window, HMAC over query and body, permission. Source: rest-api.md, SIGNED."""

from __future__ import annotations

import hmac
import re

from ..accounts import ApiKey, KeyRing
from ..answers import Call
from .binance_errors import Refusal, mandatory

RECV_WINDOW_DEFAULT_MS = 5000
RECV_WINDOW_MAX_MS = 60_000
AHEAD_MAX_MS = 1000
_SIGNATURE = re.compile(r"(?:^|&)signature=([^&]*)")
_KEY = re.compile(r"^[A-Za-z0-9_\-]{1,64}$")


def keyed(call: Call, keys: KeyRing) -> ApiKey:
    """The request's API key. Refusal -2014 (none or malformed) or -2015 (unknown)."""
    sent = call.headers.get("X-MBX-APIKEY", "")
    if not _KEY.match(sent):
        raise Refusal(-2014, "API-key format invalid.", 401)
    key = keys.get(sent)
    if key is None:
        raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    call.account, call.key = key.account, key.key
    return key


def signed(call: Call, keys: KeyRing, permission: str) -> ApiKey:
    """Check everything a SIGNED endpoint checks; returns the key it was signed with."""
    key = keyed(call, keys)
    payload = call.query + call.body.decode("utf-8", "replace")
    found = _SIGNATURE.search(payload)
    if found is None or not found[1]:
        raise mandatory("signature")
    check_window(call.params, call.now)
    payload = payload[: found.start()] + payload[found.end() :]
    if not verify(key, payload.lstrip("&"), found[1]):
        raise Refusal(-1022, "Signature for this request is not valid.")
    check_nonce(call.params, key, keys)
    require(key, permission)
    return key


def verify(key: ApiKey, payload: str, signature: str) -> bool:
    expected = hmac.digest(key.secret.encode(), payload.encode(), "sha256").hex()
    return hmac.compare_digest(expected.encode(), signature.encode())


def check_nonce(params: dict[str, str], key: ApiKey, keys: KeyRing) -> None:
    """A key that wants nonces: `nonce`, or the timestamp where none is sent, has to rise. Binance knows no such thing;
    this is for rehearsing requests that overtake each other."""
    if not key.wants_nonces:
        return
    nonce = whole(params, "nonce")
    if not keys.take_nonce(key, nonce if nonce is not None else whole(params, "timestamp") or 0):
        raise Refusal(-1021, "The nonce of this request is not above the last one of its key.")


def require(key: ApiKey, permission: str) -> None:
    if permission == "cancel" and "trade" in key.permissions:
        return
    if permission not in key.permissions:
        raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)


def check_window(params: dict[str, str], now: int) -> None:
    """-1021 when the timestamp is too old for its recvWindow or more than a second ahead."""
    timestamp = whole(params, "timestamp")
    if timestamp is None:
        raise mandatory("timestamp")
    window_text = params.get("recvWindow")
    try:
        window = RECV_WINDOW_DEFAULT_MS if window_text is None else float(window_text)
    except ValueError:
        raise Refusal(-1100, "Illegal characters found in parameter 'recvWindow'.") from None
    if not 0 <= window <= RECV_WINDOW_MAX_MS:
        raise Refusal(-1131, "recvWindow must be less than 60000.")
    if timestamp > now + AHEAD_MAX_MS:
        raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now - timestamp > window:
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")


def whole(params: dict[str, str], name: str) -> int | None:
    """A whole-number parameter, None when absent. Refusal -1100 when it is something else."""
    text = params.get(name)
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)
