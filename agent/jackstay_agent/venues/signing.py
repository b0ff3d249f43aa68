"""Signing without I/O: a request, a key, an instant and perhaps a nonce make a signed request (journey step 6).

A profile names its scheme. Every scheme drops what an earlier signature left in the request, so a request can be
signed anew after a restart. Time and nonce are arguments: the caller corrects the clock (core/venue_clock) and keeps
the nonce (core/nonce). No scheme here needs more than the standard library; Ed25519 and RSA keys would, and are refused
by name.

Sources, 2026-07: binance-spot-api-docs rest-api.md "SIGNED endpoint security"; Bybit v5 guide "Authentication"; OKX v5
"REST Authentication"; Kraken "Spot REST Authentication".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from jackstay_protocols.errors import Reason, ValidationError

from .credentials import Credentials
from .outgoing import FORM, JSON, OutgoingRequest, json_bytes, json_document, with_headers, without


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


@dataclass(frozen=True, slots=True)
class BybitV5:
    """HMAC-SHA256 in hex over time, key, window and the query (GET) or the body (POST) as they leave; in headers."""

    needs_nonce: bool = False
    needs_passphrase: bool = False

    def sign(self, request: OutgoingRequest, keys: Credentials, stamp: Stamp) -> OutgoingRequest:
        _refuse_private_key(keys)
        said = request.header(b"X-BAPI-RECV-WINDOW")
        window = _shorter(said.decode("latin-1"), stamp.recv_window_ms)
        signed = request.body if request.method == "POST" else request.query.encode()
        payload = f"{stamp.now_ms}{keys.key}{window}".encode() + signed
        own = [
            (b"X-BAPI-API-KEY", keys.key.encode()),
            (b"X-BAPI-TIMESTAMP", str(stamp.now_ms).encode()),
            (b"X-BAPI-RECV-WINDOW", str(window).encode()),
            (b"X-BAPI-SIGN", hmac.new(keys.secret.encode(), payload, hashlib.sha256).hexdigest().encode()),
        ]
        if request.body:
            own.append((b"Content-Type", JSON))
        return replace(request, headers=with_headers(request.headers, *own))


@dataclass(frozen=True, slots=True)
class OkxV5:
    """HMAC-SHA256 in Base64 over ISO time, method, path with query, and body; the key's passphrase goes along.

    OKX takes a request up to 30 s after its timestamp (error 50102), whatever window a caller would like.
    """

    needs_nonce: bool = False
    needs_passphrase: bool = True

    def sign(self, request: OutgoingRequest, keys: Credentials, stamp: Stamp) -> OutgoingRequest:
        seconds, ms = divmod(stamp.now_ms, 1000)
        at = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
        target = f"{request.path}?{request.query}" if request.query else request.path
        payload = f"{at}{request.method}{target}".encode() + request.body
        digest = hmac.new(keys.secret.encode(), payload, hashlib.sha256).digest()
        own = [
            (b"OK-ACCESS-KEY", keys.key.encode()),
            (b"OK-ACCESS-PASSPHRASE", keys.passphrase.encode()),
            (b"OK-ACCESS-TIMESTAMP", at.encode()),
            (b"OK-ACCESS-SIGN", base64.b64encode(digest)),
        ]
        if request.method != "GET":
            own.append((b"Content-Type", JSON))
        return replace(request, headers=with_headers(request.headers, *own))


@dataclass(frozen=True, slots=True)
class KrakenSpot:
    """HMAC-SHA512 in Base64 over path and SHA-256(nonce, body); the nonce stands first in the form or JSON body.

    Nonces rise per key, so signed requests must leave in the order in which they were signed.
    """

    needs_nonce: bool = True
    needs_passphrase: bool = False

    def sign(self, request: OutgoingRequest, keys: Credentials, stamp: Stamp) -> OutgoingRequest:
        if stamp.nonce <= 0:
            raise ValidationError(f"nonce {stamp.nonce}; one above zero is expected from the key's source of nonces")
        try:
            secret = base64.b64decode(keys.secret, validate=True)
        except ValueError:
            raise ValidationError(f"credentials from {keys.origin}: a Kraken secret is Base64; copy it again") from None
        nonce = str(stamp.nonce)
        body, kind = self._body(request, nonce)
        digest = hashlib.sha256(nonce.encode() + body).digest()
        signature = hmac.new(secret, request.path.encode() + digest, hashlib.sha512).digest()
        own = [
            (b"API-Key", keys.key.encode()),
            (b"API-Sign", base64.b64encode(signature)),
            (b"Content-Type", kind),
        ]
        return replace(request, headers=with_headers(request.headers, *own), body=body)

    @staticmethod
    def _body(request: OutgoingRequest, nonce: str) -> tuple[bytes, bytes]:
        if request.is_form:
            try:
                form = without(request.body.decode("ascii"), frozenset({"nonce"}))
            except UnicodeDecodeError:
                raise ValidationError("the form has characters beyond ASCII; percent-encoding is expected") from None
            return (f"nonce={nonce}&{form}" if form else f"nonce={nonce}").encode(), FORM
        try:
            document = json_document(request.body)
        except ValueError:
            raise ValidationError("the body is neither a form nor a JSON document") from None
        if not isinstance(document, dict):
            raise ValidationError("the JSON body is no object; the nonce has to stand in one")
        document.pop("nonce", None)
        return json_bytes({"nonce": nonce, **document}), JSON


_BINANCE_OWN: Final = frozenset({"timestamp", "recvWindow", "signature"})


def _window_ms(text: str, most: int) -> int:
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if name == "recvWindow":
            return _shorter(value, most)
    return most


def _shorter(said: str, most: int) -> int:
    """A window the request already names, if it is one and shorter than ours."""
    return min(int(said), most) if said.isascii() and said.isdecimal() and 0 < len(said) < 8 else most


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
    "bybit_v5": BybitV5(),
    "okx_v5": OkxV5(),
    "kraken_spot": KrakenSpot(),
}
#: Schemes whose venues want rising numbers of a key.
NONCE_SCHEMES: Final = frozenset(name for name, signer in SIGNERS.items() if signer.needs_nonce)
