"""Signing without I/O: a request, a key, an instant and perhaps a nonce make a signed request (journey step 6).

A profile names its scheme. Every scheme drops what an earlier signature left in the request, so a request can be
signed anew after a restart. Time and nonce are arguments: the caller corrects the clock (core/venue_clock) and keeps
the nonce (core/nonce). No scheme here needs more than the standard library; Ed25519 and RSA keys would, and are refused
by name.

Sources: binance-spot-api-docs rest-api.md "SIGNED endpoint security" (2026-07).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from jackstay_protocols.errors import Reason, ValidationError

from .credentials import Credentials
from .outgoing import FORM, OutgoingRequest, with_headers, without


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a signature is made at: the venue's time in Unix ms, how long it is good for, and a nonce if one is used."""

    now_ms: int
    recv_window_ms: int = 5000
    nonce: int = 0


class Signer(Protocol):
    """``needs_nonce``: the venue wants strictly increasing numbers per key, so requests leave in their order."""

    @property
    def needs_nonce(self) -> bool: ...

    @property
    def needs_passphrase(self) -> bool: ...

    def sign(self, request: OutgoingRequest, keys: Credentials, stamp: Stamp) -> OutgoingRequest: ...


@dataclass(frozen=True, slots=True)
class Unsigned:
    """For venues, or sandboxes, whose private calls need no key."""

    needs_nonce: bool = False
    needs_passphrase: bool = False

    def sign(self, request: OutgoingRequest, keys: Credentials, stamp: Stamp) -> OutgoingRequest:
        return request


@dataclass(frozen=True, slots=True)
class BinanceHmac:
    """HMAC-SHA256 in hex over query and form, as they leave; the key in X-MBX-APIKEY.

    The signature, timestamp and recvWindow go into the body of a POST or PUT that has one, else into the query. A
    recvWindow that the request already has is kept if it is shorter: it bounds how late the request can be taken.
    """

    needs_nonce: bool = False
    needs_passphrase: bool = False

    def sign(self, request: OutgoingRequest, keys: Credentials, stamp: Stamp) -> OutgoingRequest:
        _refuse_private_key(keys)
        bare, _, query = request.target.partition("?")
        in_body = request.method in ("POST", "PUT") and (bool(request.body) or not query)
        try:
            form = request.body.decode("ascii") if request.body else ""
        except UnicodeDecodeError:
            raise ValidationError("the form has characters beyond ASCII; percent-encoding is expected") from None
        window = _window_ms(f"{query}&{form}", stamp.recv_window_ms)
        query, form = (without(text, _BINANCE_OWN) for text in (query, form))
        head, tail = f"timestamp={stamp.now_ms}", f"recvWindow={window}"
        signed = "&".join(part for part in (head, form if in_body else query, tail) if part)
        # query and body are signed as one text without anything between them (rest-api.md, example 3)
        payload = query + signed if in_body else signed + form
        signature = hmac.new(keys.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        signed += f"&signature={signature}"
        own = [(b"X-MBX-APIKEY", keys.key.encode())]
        if in_body:
            form = signed
            own.append((b"Content-Type", FORM))
        else:
            query = signed
        return replace(
            request,
            target=f"{bare}?{query}" if query else bare,
            headers=with_headers(request.headers, *own),
            body=form.encode(),
        )


_BINANCE_OWN: Final = frozenset({"timestamp", "recvWindow", "signature"})


def _window_ms(text: str, most: int) -> int:
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if name == "recvWindow" and value.isdecimal() and len(value) < 8:
            return min(int(value), most)
    return most


def _refuse_private_key(keys: Credentials) -> None:
    if "PRIVATE KEY" in keys.secret:
        raise ValidationError(
            f"credentials from {keys.origin}: the secret is a PEM private key (Ed25519 or RSA); this version signs"
            " with HMAC: make an HMAC key at the venue",
            reason=Reason.NO_SIGNER,
        )


SIGNERS: Final[Mapping[str, Signer]] = {
    "none": Unsigned(),
    "binance_hmac": BinanceHmac(),
}
