"""Signatures and keys never reach the disk."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.wire_secrets import strip_body, strip_form, strip_json, strip_target


@pytest.mark.parametrize(
    ("target", "stripped"),
    [
        (b"/api/v3/order?a=1&signature=abc&b=2", b"/api/v3/order?a=1&signature=&b=2"),
        (b"/api?SIGNATURE=abc", b"/api?SIGNATURE="),
        (b"/api?X-MBX-APIKEY=k&api_key=k2", b"/api?X-MBX-APIKEY=&api_key="),
        (b"/api?%73ignature=abc", b"/api?%73ignature="),
        (b"/api?signature=a&signature=b", b"/api?signature=&signature="),
        (b"/api?signature=", b"/api?signature="),
        (b"/api?design_id=7&keyword=x", b"/api?design_id=7&keyword=x"),
        (b"/signature=1/x", b"/signature=1/x"),
    ],
)
def test_secrets_of_a_query_are_cut_and_their_names_stay(target: bytes, stripped: bytes) -> None:
    """Whatever case, separators, percent-encoding or repetition."""
    assert strip_target(target) == stripped


def test_what_holds_no_secret_is_the_same_object() -> None:
    """No copy for the common case."""
    for plain in (b"/api/v3/order?symbol=BTCUSDT", b"/api"):
        assert strip_target(plain) is plain
    body = b"symbol=BTCUSDT&side=BUY"
    assert strip_form(body) is body
    assert strip_body(b"") == b""


@pytest.mark.parametrize(
    "body",
    [
        {"signature": "abc", "id": 1},
        {"params": {"apiKey": "k", "signature": "s", "symbol": "BTCUSDT"}},
        {"passphrase": 'tricky " \\ , } text', "symbol": "x"},
        {"otp": 123456, "n": 1},
        [{"token": "t"}],
        {"sign": "x"},
    ],
)
def test_secrets_of_a_json_body_are_emptied_and_it_stays_json(body: object) -> None:
    """Values with escapes, numbers and nested ones are gone; everything else is as it was."""

    def emptied(value: object) -> object:
        if isinstance(value, dict):
            secret = ("signature", "apiKey", "passphrase", "otp", "token", "sign")
            return {k: "" if k in secret else emptied(v) for k, v in value.items()}
        return [emptied(v) for v in value] if isinstance(value, list) else value

    for text in (json.dumps(body), json.dumps(body, separators=(",", ":")), " \n" + json.dumps(body, indent=1)):
        assert json.loads(strip_body(text.encode())) == emptied(body)


def test_a_form_body_is_told_from_json() -> None:
    """A form body is stripped like a query."""
    assert strip_body(b"nonce=1&sign=abc") == b"nonce=1&sign="


_LETTERS = 'signkeyé_-"\\{}[],:%= '


@given(
    st.dictionaries(
        st.text(_LETTERS, max_size=8),
        st.one_of(st.text(_LETTERS, max_size=12), st.integers(), st.booleans(), st.none()),
    )
)
def test_any_json_stays_json(body: dict[str, object]) -> None:
    """Stripping never breaks a body."""
    stripped = json.loads(strip_json(json.dumps(body).encode()))
    assert list(stripped) == list(body)
