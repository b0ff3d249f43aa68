"""Whatever surrounds a secret, it does not come out of the redaction; whatever comes in, it ends soon."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay_agent.error_handler import ErrorHandler, causes_of
from jackstay_agent.redact import DEPTH_MAX, HIDDEN, TEXT_MAX, redact, redact_text

NAMES = st.sampled_from(
    [
        "api_key", "apiKey", "X-MBX-APIKEY", "api-secret", "secret", "SECRET_KEY", "privateKey", "passphrase",
        "password",
        "db_password", "PASSWD", "pwd", "token", "access_token", "refreshToken", "signature", "sign", "X-BAPI-SIGN",
        "CB-ACCESS-KEY", "OK-ACCESS-PASSPHRASE", "Authorization", "Cookie", "credentials", "listenKey", "otp",
        "mnemonic",
    ]
)  # fmt: skip
#: What keys are made of; nothing that ends a value in a query or a header.
SECRETS = st.text("ABCDEFGHabcdefgh0123456789+/=_.~-", min_size=8, max_size=80).filter(
    lambda s: s.strip("=") == s and "redacted" not in s
)
#: What passwords are made of; inside quotes they may hold anything but the quote.
PASSWORDS = st.text("ABCabc019 ;,&)}]{(:=@/é", min_size=8, max_size=40).filter(lambda s: s.strip() == s)
NOISE = st.text(max_size=200)


@st.composite
def betrayed(draw: st.DrawFn) -> tuple[str, str]:
    """(text, secret): one of the ways a secret gets into a message."""
    name = draw(NAMES)
    way = draw(st.integers(0, 12))
    if way <= 3:
        secret = draw(PASSWORDS)
        return [
            json.dumps({name: secret, "x": 1}, ensure_ascii=False),
            repr({"x": 1, name: secret}),
            f"connect(host='h', {name}={secret!r}, port=1)",
            json.dumps(json.dumps({name: secret}, ensure_ascii=False), ensure_ascii=False),  # JSON in a JSON log line
        ][way], secret
    secret = draw(SECRETS)
    return [
        f"{name}={secret}",
        f"GET /order?symbol=X&{name}={secret}&x=1 failed",
        f"{name}: {secret}\r\nAccept: */*",
        f"headers=[(b'{name}', b'{secret}')]",
        f"{name}: Bearer {secret}",
        f"Bearer {secret} was refused",
        f"postgresql://bot:{secret.replace('/', '_')}@db.internal:5432/trades",
        f"-----BEGIN RSA PRIVATE KEY-----\n{secret}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{secret}",
    ][way - 4], secret.replace("/", "_") if way == 10 else secret


@given(NOISE, betrayed(), NOISE)
def test_no_secret_comes_out_of_a_text(before: str, told: tuple[str, str], after: str) -> None:
    """By name in query, header, JSON, nested JSON, repr; by shape in bearer, URL and PEM; amid any noise."""
    text, secret = told
    clean = redact_text(f"{before}\n{text}\n{after}")
    assert secret not in clean or secret in before + after
    assert HIDDEN in clean


@given(betrayed(), st.integers(0, 700))
def test_a_cut_leaves_no_rest_of_a_secret(told: tuple[str, str], tail: int) -> None:
    """Wherever a long text is cut, the name that betrays a secret was read before."""
    text, secret = told
    clean = redact_text(f"{'x' * 2000}\n{text}\n{'y' * tail}", 300)
    assert len(clean) <= 303
    assert not any(secret[at:] in clean for at in range(len(secret) - 6))


DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(DATA, NAMES, SECRETS, st.integers(0, 6), betrayed())
def test_no_secret_comes_out_of_details(data: Any, name: str, secret: str, shape: int, told: tuple[str, str]) -> None:
    """Under a telling name as anything, in header pairs, in bytes, in keys, in an exception, at any depth."""
    text, hidden = told
    shapes: list[Any] = [
        {name: secret},
        {name: {"deep": [secret, {"deeper": secret}]}},
        {"headers": [(name, secret), ("Accept", "*/*")]},
        {"headers": [(name.encode(), secret.encode())]},
        {"body": text.encode()},
        {text: 1},
        {"cause": ValueError(text)},
    ]
    clean = repr(redact({"a": data, "b": [shapes[shape], (shapes[shape],)]}))
    wanted = secret if shape < 4 else hidden
    assert wanted not in clean or wanted in repr(data)


@given(DATA)
def test_any_details_are_bounded(data: Any) -> None:
    """Nothing raises, and no depth goes on for ever."""
    deep = data
    for _ in range(DEPTH_MAX + 3):
        deep = [deep]
    assert "..." in repr(redact(deep))
    redact(data)


@settings(max_examples=30)
@given(betrayed(), betrayed())
def test_a_context_its_trace_and_its_events_hold_no_secret(one: tuple[str, str], two: tuple[str, str]) -> None:
    """Message, cause and note of the exception, and the details: none of it is in what is kept or told."""
    events: list[Any] = []
    handler = ErrorHandler(None, log=False, on_event=events.append)

    def fail() -> None:
        try:
            raise KeyError(one[0])
        except KeyError as error:
            raise ConnectionError(two[0]) from error

    try:
        fail()
    except ConnectionError as error:
        error.add_note(one[0])
        context = handler.create_error_context(error, "exchange", "place", details={"said": two[0], "by": error})
        handler.record(context)
        causes = causes_of(error)
    for _, secret in (one, two):
        # repr() and tracebacks write quotes and backslashes twice; these secrets have none.
        assert secret not in repr(context.details)
        assert secret not in str(context.stack_trace)
        assert secret not in repr(handler.recent_errors())
        assert secret not in repr(events)
        assert secret not in repr(causes)
    assert "in fail" in str(context.stack_trace), "the trace still says where"


@given(st.text(max_size=400))
def test_redaction_is_at_rest_after_one_pass(text: str) -> None:
    """What was hidden stays as it is when it passes another net."""
    once = redact_text(text)
    assert redact_text(once) == once


@pytest.mark.serial
@pytest.mark.parametrize(
    "piece",
    ["a-", "token-", "a.", "token=", "token='", "secret\\", "x", "a://", "://a:", "eyJ", "eyJaaaaaaaa.", "bearer ",
     "password='\\", "'token'        ", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"],
)  # fmt: skip
def test_no_text_keeps_the_patterns_busy(piece: str) -> None:
    """Four times the text takes about four times as long, not sixteen: no server can write a message that stops us."""

    def took_s(size: int) -> float:
        text = (piece * size)[:size]
        best = 9e9
        for _ in range(3):
            began = time.perf_counter()
            redact_text(text, TEXT_MAX * 4)
            best = min(best, time.perf_counter() - began)
        return best

    assert took_s(TEXT_MAX * 4) <= 0.02 + 9 * took_s(TEXT_MAX)
