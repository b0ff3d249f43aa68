"""What anybody may send the Kraken face: whatever it is, it is understood or refused, never a crash."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.sandbox.answers import Call, form
from jackstay_agent.sandbox.faces.face import Face
from jackstay_agent.sandbox.faces.kraken_errors import Refusal
from jackstay_agent.sandbox.faces.kraken_names import PAIRS, order_number, order_txid, trade_number, trade_txid
from jackstay_agent.sandbox.faces.kraken_params import moment, order_request
from jackstay_agent.sandbox.faces.kraken_words import asked_words, batch_words
from jackstay_agent.sandbox.server import SandboxServer
from jackstay_agent.sandbox.venue import Venue
from kraken_client import KEY, next_nonce, signature

NOW = 1_700_000_000_000
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "0", "-1", "1", "0.01", "40000", "40000.0", "1e5", "NaN", "Infinity", "+5", "+NaN", "²", "9" * 40]
    ),
    st.sampled_from(
        ["buy", "sell", "limit", "market", "stop-loss", "XBTUSD", "BTC/USD", "post", "viqc", "GTD", "true"]
    ),
)
NAMES = st.sampled_from(
    "pair type ordertype volume price price2 oflags timeinforce expiretm deadline userref cl_ord_id leverage starttm"
    " reduce_only stptype validate txid trades start end ofs timeout order_qty limit_price trigger_price closetime"
    " token orders cl_ord_ids".split()
)
METHODS = st.sampled_from(
    "AddOrder AddOrderBatch AmendOrder EditOrder CancelOrder CancelOrderBatch CancelAllOrdersAfter QueryOrders"
    " OpenOrders ClosedOrders TradesHistory QueryTrades TradeVolume".split()
)
VALUES = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.lists(TEXTS, max_size=2),
                   st.dictionaries(NAMES, TEXTS, max_size=2))  # fmt: skip


async def awake_face() -> Face:
    server = SandboxServer(Venue(clock=lambda: NOW, enforce_limits=False))
    return next(face for face in server.faces if face.name == "kraken")


FACE = asyncio.run(awake_face())


@given(st.integers(1, 2**50))
def test_ids_lead_back(number: int) -> None:
    """An order id and a trade id look like Kraken's and lead back to the number they stand for."""
    for spell, read, first in ((order_txid, order_number, "O"), (trade_txid, trade_number, "T")):
        txid = spell(number)
        assert [len(part) for part in txid.split("-")] == [6, 5, 6]
        assert txid.startswith(first)
        assert read(txid) == number


@given(st.text(max_size=20))
def test_no_text_is_an_id_by_accident(text: str) -> None:
    """Reading an id never fails, whatever stands there."""
    assert order_number(text) is None or order_txid(order_number(text) or 0) == text


@given(TEXTS)
def test_moments(text: str) -> None:
    """A time is understood within this century or not at all."""
    at = moment(text, NOW)
    assert at is None or 0 <= at < 4_200_000_000_000


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_orders_are_understood_or_refused(params: dict[str, Any]) -> None:
    """Any order request is one for the engine, with prices on the tick, or is refused."""
    base = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "40000"}
    try:
        pair, request = order_request(base | params, "main", "key", NOW)
    except Refusal:
        return
    assert pair in PAIRS.values()
    assert request.price % pair.symbol.tick == 0
    assert max(request.quantity, request.quote_quantity) > Decimal(0)


@given(METHODS, st.dictionaries(NAMES, VALUES, max_size=6), st.booleans())
def test_every_private_request_is_answered(name: str, params: dict[str, Any], as_json: bool) -> None:
    """Whatever a key's owner signs and sends is answered in Kraken's shape, and the ledger can read it."""
    nonce, path = str(next_nonce()), f"/0/private/{name}"
    texts = {"nonce": nonce} | {key: value for key, value in params.items() if isinstance(value, str)}
    body = orjson.dumps(params | {"nonce": nonce}).decode() if as_json and _is_json(params) else "form"
    headers = {"API-Key": KEY, "API-Sign": signature(path, nonce, body)}
    call = Call("POST", path, "", body.encode(), headers, texts, NOW)
    FACE.facts(call)
    told = orjson.loads(FACE.answer(call).body)
    FACE.after_batch()
    assert ("result" in told) == (told["error"] == [])
    assert all(error.startswith("E") and not error.startswith("EAPI") for error in told["error"])


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize(("waited_ms", "refused"), [(5000, False), (5001, True)])
def test_an_order_that_waited_too_long(waited_ms: int, refused: bool) -> None:
    """Without a deadline of its own an order is good for five seconds after its receipt."""
    nonce, path = str(next_nonce()), "/0/private/AddOrder"
    body = f"nonce={nonce}&pair=XBTUSD&type=buy&ordertype=limit&volume=0.001&price=40000"
    headers = {"API-Key": KEY, "API-Sign": signature(path, nonce, body)}
    call = Call("POST", path, "", body.encode(), headers, form(body), NOW)
    FACE.facts(call)
    call.now = NOW + waited_ms
    told = orjson.loads(FACE.answer(call).body)
    assert told["error"] == (["EService:Deadline elapsed"] if refused else [])


@given(st.sampled_from(["add_order", "amend_order", "edit_order", "cancel_order"]), st.dictionaries(TEXTS, VALUES))
def test_socket_words(method: str, params: dict[str, Any]) -> None:
    """The WebSocket's words become texts, whatever they were."""
    assert all(isinstance(value, str) for value in asked_words(method, params).values())
    for batch in ("batch_add", "batch_cancel"):
        orjson.dumps(batch_words(batch, params | {"orders": list(params.values())}))
