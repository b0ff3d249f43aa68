"""Bybit's, OKX's and Kraken's signatures, against ccxt's own sign() on the same parameters, time and nonce."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.outgoing import FORM, JSON, OutgoingRequest
from jackstay_agent.venues.signing import SIGNERS, Stamp
from jackstay_protocols.errors import ValidationError

NOW_MS = 1_700_000_000_123
NONCE = 1_700_000_000_456
KEYS = Credentials("the-key", base64.b64encode(b"the-secret of a test").decode(), "the phrase", origin="a test")
STAMP = Stamp(NOW_MS, 5000, NONCE)
LOGIN = {"apiKey": KEYS.key, "secret": KEYS.secret, "password": KEYS.passphrase}

BYBIT, OKX, KRAKEN = ccxt.bybit(LOGIN), ccxt.okx(LOGIN), ccxt.kraken(LOGIN)
for exchange in (BYBIT, OKX):
    exchange.nonce = lambda: NOW_MS
KRAKEN.incrementing_nonce = lambda: NONCE

NAMES = st.sampled_from(["symbol", "category", "orderLinkId", "clOrdId", "ordId", "limit", "pair", "volume", "userref"])
WORDS = st.text("abcXYZ0189-_.", min_size=1, max_size=12)
PARAMS = st.dictionaries(NAMES, WORDS, min_size=1, max_size=5)
TEXTS = st.dictionaries(NAMES, st.text(max_size=12), min_size=1, max_size=4)


def same_headers(ours: OutgoingRequest, theirs: dict[str, Any], but: tuple[str, ...] = ()) -> None:
    for name, value in theirs["headers"].items():
        if name not in but:
            assert ours.header(name.encode()).decode() == value, name


@given(PARAMS)
def test_bybit_reads(params: dict[str, str]) -> None:
    """The query as it leaves is what is signed."""
    theirs = BYBIT.sign("v5/order/realtime", ["private"], "GET", dict(params))
    target = theirs["url"].removeprefix("https://api.bybit.com")
    ours = SIGNERS["bybit_v5"].sign(OutgoingRequest("GET", target), KEYS, STAMP)
    assert ours.target == target
    same_headers(ours, theirs, but=("Content-Type",))


@given(TEXTS)
def test_bybit_writes(params: dict[str, str]) -> None:
    """The body as it leaves is what is signed; whatever characters are in it."""
    theirs = BYBIT.sign("v5/order/cancel", ["private"], "POST", dict(params))
    ours = SIGNERS["bybit_v5"].sign(
        OutgoingRequest("POST", "/v5/order/cancel", [], theirs["body"].encode()), KEYS, STAMP
    )
    assert ours.body == theirs["body"].encode()
    same_headers(ours, theirs, but=("Referer",))


@given(PARAMS)
def test_okx_reads(params: dict[str, str]) -> None:
    """Path and query are signed, with the passphrase beside them, also when the target is a whole URL."""
    theirs = OKX.sign("trade/order", ["private"], "GET", dict(params))
    for target in (theirs["url"], theirs["url"].removeprefix("https://www.okx.com")):
        ours = SIGNERS["okx_v5"].sign(OutgoingRequest("GET", target), KEYS, STAMP)
        assert ours.target == target
        same_headers(ours, theirs)


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_okx_writes(batch: list[dict[str, str]]) -> None:
    """A batch is a JSON list; it is signed as it stands."""
    theirs = OKX.sign("trade/cancel-batch-orders", ["private"], "POST", [dict(each) for each in batch])
    ours = SIGNERS["okx_v5"].sign(
        OutgoingRequest("POST", "/api/v5/trade/cancel-batch-orders", [], theirs["body"].encode()), KEYS, STAMP
    )
    same_headers(ours, theirs)


@given(PARAMS)
def test_kraken_forms(params: dict[str, str]) -> None:
    """The nonce stands first in the form; path, nonce and form are signed."""
    theirs = KRAKEN.sign("AddOrder", ["private"], "POST", dict(params))
    form = theirs["body"].partition("&")[2].encode()
    ours = SIGNERS["kraken_spot"].sign(OutgoingRequest("POST", "/0/private/AddOrder", [], form), KEYS, STAMP)
    assert ours.body == theirs["body"].encode()
    same_headers(ours, theirs)


@given(st.lists(PARAMS, min_size=1, max_size=3))
def test_kraken_batches(orders: list[dict[str, str]]) -> None:
    """A batch is a JSON object with the nonce in it."""
    theirs = KRAKEN.sign("AddOrderBatch", ["private"], "POST", {"pair": "XBTUSD", "orders": orders})
    body = json.dumps({"pair": "XBTUSD", "orders": orders}).encode()
    ours = SIGNERS["kraken_spot"].sign(OutgoingRequest("POST", "/0/private/AddOrderBatch", [], body), KEYS, STAMP)
    assert json.loads(ours.body) == json.loads(theirs["body"])
    assert ours.body == theirs["body"].encode()
    same_headers(ours, theirs)


@pytest.mark.parametrize("scheme", ["bybit_v5", "okx_v5", "kraken_spot"])
@pytest.mark.parametrize(
    "request_",
    [
        OutgoingRequest("POST", "/x", [(b"Content-Type", FORM), (b"x-own", b"1")], b"a=1"),
        OutgoingRequest("POST", "/x", [(b"Content-Type", JSON)], b'{"price":1.10}'),
    ],
    ids=["form", "json"],
)
def test_signing_anew_leaves_nothing_of_the_old_signature(scheme: str, request_: OutgoingRequest) -> None:
    """After a restart: new time, new nonce, one signature, the bot's own headers kept."""
    old = Stamp(NOW_MS - 60_000, 5000, NONCE - 60_000)
    signer = SIGNERS[scheme]
    assert signer.sign(signer.sign(request_, KEYS, old), KEYS, STAMP) == signer.sign(request_, KEYS, STAMP)
    assert signer.sign(request_, KEYS, STAMP).header(b"x-own") == request_.header(b"x-own")


def test_kraken_numbers_keep_their_digits() -> None:
    """The body is written anew for the nonce; no number passes through a float."""
    price = "0.1234567890123456789012345"
    body = b'{"orders":[{"price":' + price.encode() + b"}]}"
    signed = SIGNERS["kraken_spot"].sign(OutgoingRequest("POST", "/x", [], body), KEYS, STAMP)
    assert json.loads(signed.body, parse_float=Decimal)["orders"][0]["price"] == Decimal(price)


@pytest.mark.parametrize(
    ("body", "keys", "nonce", "words"),
    [
        (b"[1]", KEYS, NONCE, "no object"),
        (b'{"a":', KEYS, NONCE, "neither"),
        (b"a=\xff", KEYS, NONCE, "ASCII"),
        (b"a=1", KEYS, 0, "nonce 0"),
        (b"a=1", Credentials("k", "not base64!", origin="a file"), NONCE, "Base64"),
    ],
)
def test_what_kraken_cannot_sign(body: bytes, keys: Credentials, nonce: int, words: str) -> None:
    """It is said before it is sent, and the secret is not quoted."""
    with pytest.raises(ValidationError, match=words) as error:
        SIGNERS["kraken_spot"].sign(OutgoingRequest("POST", "/x", [], body), keys, Stamp(NOW_MS, 5000, nonce))
    assert keys.secret not in str(error.value)


def test_bybits_own_shorter_window_is_kept() -> None:
    """It bounds how late the venue may take the request."""
    short = OutgoingRequest("POST", "/x", [(b"x-bapi-recv-window", b"200")], b"{}")
    assert SIGNERS["bybit_v5"].sign(short, KEYS, STAMP).header(b"X-BAPI-RECV-WINDOW") == b"200"


def test_none_signs_nothing() -> None:
    """A venue without keys gets the request as it is."""
    request_ = OutgoingRequest("GET", "/x")
    assert SIGNERS["none"].sign(request_, KEYS, STAMP) is request_
