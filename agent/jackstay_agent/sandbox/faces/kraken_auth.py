"""Kraken's signed requests: API-Key, API-Sign over path, nonce and body, a nonce that rises, a permission.

Source: docs.kraken.com, "Spot REST Authentication". A Kraken secret is Base64 of the bytes that sign. The sandbox's
secrets are plain words, so a client is given the Base64 of one; a secret that is Base64 already may be used as it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from ..accounts import ApiKey, KeyRing
from ..answers import Call
from .kraken_errors import Refusal

NONCE_MAX = 2**64 - 1


def signed(call: Call, keys: KeyRing, permission: str) -> ApiKey:
    """Everything a private endpoint checks; returns the key. A nonce is used up by a request whose signature holds."""
    key = keys.get(call.headers.get("API-Key", ""))
    if key is None:
        raise Refusal("EAPI:Invalid key")
    nonce = call.params.get("nonce", "")
    if not nonce.isascii() or not nonce.isdigit() or int(nonce) > NONCE_MAX:
        raise Refusal("EAPI:Invalid nonce")
    message = call.path.encode() + hashlib.sha256(nonce.encode() + call.body).digest()
    if not verify(key, message, call.headers.get("API-Sign", "")):
        raise Refusal("EAPI:Invalid signature")
    if not keys.take_nonce(key, int(nonce)):
        raise Refusal("EAPI:Invalid nonce")
    call.account, call.key = key.account, key.key
    require(key, permission)
    return key


def verify(key: ApiKey, message: bytes, signature: str) -> bool:
    try:
        found = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return any(hmac.compare_digest(hmac.digest(secret, message, "sha512"), found) for secret in _secrets(key))


def _secrets(key: ApiKey) -> list[bytes]:
    secrets = [key.secret.encode()]
    try:
        secrets.append(base64.b64decode(key.secret, validate=True))
    except (binascii.Error, ValueError):
        pass
    return secrets


def require(key: ApiKey, permission: str) -> None:
    """`permission` "": any key may."""
    if not permission:
        return
    if permission == "cancel" and "trade" in key.permissions:
        return
    if permission not in key.permissions:
        raise Refusal("EGeneral:Permission denied")
