"""Binance's signature, against ccxt's own sign() on the same parameters."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.outgoing import FORM, OutgoingRequest, encoded
from jackstay_agent.venues.signing import SIGNERS, Stamp
from jackstay_protocols.errors import ValidationError

NOW_MS = 1_700_000_000_123
KEYS = Credentials("the-key", "the-secret", origin="a test")
SIGNER = SIGNERS["binance_hmac"]

ORACLE = ccxt.binance({"apiKey": KEYS.key, "secret": KEYS.secret, "options": {"recvWindow": 5000}})
ORACLE.nonce = lambda: NOW_MS

NAMES = st.sampled_from(["symbol", "side", "orderId", "origClientOrderId", "limit", "fromId", "quantity", "note"])
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: "+" not in text and " " not in text  # ccxt writes a blank as '+': compared in its own test below
)


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.sampled_from(["GET", "DELETE"]))
def test_a_signed_query_is_ccxts(params: dict[str, str], method: str) -> None:
    """The same parameters give the same URL and the same header, whatever characters are in them."""
    theirs = ORACLE.sign("order", ["private"], method, dict(params))
    target = f"/api/v3/order?{encoded(params.items())}" if params else "/api/v3/order"
    ours = SIGNER.sign(OutgoingRequest(method, target), KEYS, Stamp(NOW_MS))
    assert _loose(f"https://api.binance.com{ours.target}") == _loose(theirs["url"])
    assert ours.header(b"x-mbx-apikey").decode() == theirs["headers"]["X-MBX-APIKEY"]
    assert ours.body == b""


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.sampled_from(["POST", "PUT"]))
def test_a_signed_form_is_ccxts(params: dict[str, str], method: str) -> None:
    """A POST or PUT carries its parameters and the signature in the body, as ccxt's do."""
    theirs = ORACLE.sign("order", ["fapiPrivate"], method, {"newClientOrderId": "x-1", **params})
    body = encoded([("newClientOrderId", "x-1"), *params.items()]).encode()
    ours = SIGNER.sign(OutgoingRequest(method, "/fapi/v1/order", [(b"Content-Type", FORM)], body), KEYS, Stamp(NOW_MS))
    assert _loose(ours.body.decode()) == _loose(theirs["body"])
    assert ours.header(b"Content-Type") == theirs["headers"]["Content-Type"].encode()


def _loose(text: str) -> Any:
    """Comparable whatever of RFC 3986's unreserved characters is escaped; the signature has to fit each own text."""
    head, _, query = text.rpartition("?")
    payload, _, signature = query.rpartition("&signature=")
    assert hmac.new(KEYS.secret.encode(), payload.encode(), hashlib.sha256).hexdigest() == signature
    return head, parse_qsl(payload, keep_blank_values=True)


def test_plain_parameters_are_byte_for_byte_ccxts() -> None:
    """With nothing to escape, URL and signature are the same text."""
    theirs = ORACLE.sign("order", ["private"], "GET", {"symbol": "BTCUSDT", "origClientOrderId": "js-1_a"})
    ours = SIGNER.sign(
        OutgoingRequest("GET", "/api/v3/order?symbol=BTCUSDT&origClientOrderId=js-1_a"), KEYS, Stamp(NOW_MS)
    )
    assert f"https://api.binance.com{ours.target}" == theirs["url"]


def test_signing_anew_leaves_nothing_of_the_old_signature() -> None:
    """After a restart the same request is signed at the new time, with one timestamp and one signature."""
    once = SIGNER.sign(OutgoingRequest("DELETE", "/api/v3/order?symbol=A&orderId=1"), KEYS, Stamp(NOW_MS - 60_000))
    assert SIGNER.sign(once, KEYS, Stamp(NOW_MS)) == SIGNER.sign(
        OutgoingRequest("DELETE", "/api/v3/order?symbol=A&orderId=1"), KEYS, Stamp(NOW_MS)
    )


def test_a_shorter_window_of_the_bots_own_is_kept_and_a_longer_one_is_not() -> None:
    """recvWindow bounds how late the venue may take a request; the profile's figure is the most."""

    def window(text: str) -> str:
        signed = SIGNER.sign(OutgoingRequest("POST", "/o", [], f"recvWindow={text}&a=1".encode()), KEYS, Stamp(NOW_MS))
        return dict(parse_qsl(signed.body.decode()))["recvWindow"]

    assert window("100") == "100"
    assert window("60000") == "5000"
    assert window("nonsense") == "5000"


def test_query_and_form_together_are_signed_as_one_text() -> None:
    """rest-api.md, example 3: query and body without anything between them."""
    signed = SIGNER.sign(OutgoingRequest("POST", "/api/v3/order?symbol=LTCBTC", [], b"side=BUY"), KEYS, Stamp(NOW_MS))
    payload, _, signature = signed.body.decode().rpartition("&signature=")
    assert signed.query == "symbol=LTCBTC"
    assert hmac.new(b"the-secret", f"symbol=LTCBTC{payload}".encode(), hashlib.sha256).hexdigest() == signature


def test_a_pem_key_is_refused_by_name() -> None:
    """Ed25519 and RSA keys are not signed wrongly: they are said to be unknown here."""
    pem = Credentials("key", "-----BEGIN PRIVATE KEY-----abc", origin="a test")
    with pytest.raises(ValidationError, match="Ed25519 or RSA"):
        SIGNER.sign(OutgoingRequest("GET", "/"), pem, Stamp(NOW_MS))
