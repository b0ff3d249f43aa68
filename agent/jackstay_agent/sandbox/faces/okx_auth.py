"""OKX's signed requests: key, passphrase, a timestamp of at most 30 s, HMAC over time, method, path and body.

Source: OKX v5 documentation, "REST Authentication"; codes 50103 to 50120. WebSocket login: codes 60001 to 60009.
"""

from __future__ import annotations

import base64
import hmac
import re
from datetime import datetime

from ..accounts import ApiKey, KeyRing
from ..answers import Call
from .okx_errors import Refusal

WINDOW_MS = 30_000
HEADERS = (
    ("OK-ACCESS-KEY", "50103"),
    ("OK-ACCESS-SIGN", "50106"),
    ("OK-ACCESS-TIMESTAMP", "50107"),
    ("OK-ACCESS-PASSPHRASE", "50104"),
)
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
LOGIN_PATH = "GET/users/self/verify"


def stamp_ms(text: str) -> int | None:
    """An ISO timestamp with milliseconds, as OKX wants it; None for anything else."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000) if text.endswith("Z") else None
    except (ValueError, OverflowError):
        return None


def signature(secret: str, payload: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), payload.encode("utf-8", "replace"), "sha256")).decode()


def signed(call: Call, keys: KeyRing, permission: str) -> ApiKey:
    """Check everything a private endpoint checks; returns the key. Refusal with OKX's code and HTTP status."""
    for header, code in HEADERS:
        if not call.headers.get(header):
            raise Refusal(code, f'Request header "{header}" can not be empty.', 401)
    sent = call.headers["OK-ACCESS-TIMESTAMP"]
    at = stamp_ms(sent)
    if at is None:
        raise Refusal("50112", "Invalid OK-ACCESS-TIMESTAMP", 401)
    if abs(call.now - at) > WINDOW_MS:
        raise Refusal("50102", "Timestamp request expired", 401)
    key = keys.get(call.headers["OK-ACCESS-KEY"])
    if key is None:
        raise Refusal("50111", "Invalid OK-ACCESS-KEY", 401)
    if not same(key.passphrase, call.headers["OK-ACCESS-PASSPHRASE"]):
        raise Refusal("50105", 'Request header "OK-ACCESS-PASSPHRASE" incorrect.', 401)
    target = f"{call.path}?{call.query}" if call.query else call.path
    payload = sent + call.method + target + call.body.decode("utf-8", "replace")
    if not same(signature(key.secret, payload), call.headers["OK-ACCESS-SIGN"]):
        raise Refusal("50113", "Invalid Sign", 401)
    require(key, permission)
    call.account, call.key = key.account, key.key
    for item in call.items:
        item.account, item.key = key.account, key.key
    return key


def require(key: ApiKey, permission: str) -> None:
    allowed = key.permissions | ({"cancel"} if "trade" in key.permissions else set())
    if permission not in allowed:
        raise Refusal("50120", "This API key doesn't have permission to use this function", 401)


def login(arg: dict[str, str], keys: KeyRing, now: int) -> ApiKey:
    """The key of a WebSocket login. Refusal with its code."""
    sent = arg.get("timestamp", "")
    key = keys.get(arg.get("apiKey", ""))
    if key is None:
        raise Refusal("60005", "Invalid apiKey")
    if not _SECONDS.fullmatch(sent):
        raise Refusal("60004", "Invalid timestamp")
    if abs(now - float(sent) * 1000) > WINDOW_MS:
        raise Refusal("60006", "Timestamp request expired")
    if not same(key.passphrase, arg.get("passphrase", "")):
        raise Refusal("60024", "Wrong passphrase")
    if not same(signature(key.secret, sent + LOGIN_PATH), arg.get("sign", "")):
        raise Refusal("60007", "Invalid sign")
    return key


def same(expected: str, sent: str) -> bool:
    return hmac.compare_digest(expected.encode(), sent.encode("utf-8", "replace"))
