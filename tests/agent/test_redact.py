"""Secrets are taken out of what is kept or shown."""

import pytest

from jackstay_agent.redact import DEPTH_MAX, HIDDEN, ITEMS_MAX, redact, redact_text

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"api_key={SECRET}",
        f"apiKey: {SECRET}",
        f'{{"secret": "{SECRET}"}}',
        f"{{'apiSecret': '{SECRET}', 'x': 1}}",
        f"POST /order?symbol=X&timestamp=1&signature={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"sent bearer {SECRET} to the venue",
        f"X-MBX-APIKEY: {SECRET}",
        f"OK-ACCESS-PASSPHRASE: {SECRET}",
        f"postgresql://bot:{SECRET}@db.internal/trades",
        f"password={SECRET}",
        f"token: {SECRET}",
        f"access_token={SECRET}",
        f"listenKey={SECRET}",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
        f"headers=[(b'X-MBX-APIKEY', b'{SECRET}'), ('Accept', 'json')]",
        f"secret_key=b'{SECRET}'",
    ],
)
def test_secrets_in_texts_are_hidden(text):
    """By name and by shape."""
    assert SECRET not in redact_text(text)
    assert HIDDEN in redact_text(text)
    assert SECRET not in redact(text.encode())


def test_what_is_no_secret_stays():
    """Symbols, footprints, tokens of a chain and plain words are not hidden."""
    text = "token_symbol=USDT footprint=3 order 17 at 50000.1: timeout after 10 s"
    assert redact_text(text) == text


def test_a_long_text_keeps_its_end():
    """A stack trace says at its end what happened."""
    assert redact_text("a" * 50 + "end", 10) == "...aaaaaaaend"


def test_plain_data_is_copied_without_secrets():
    """Telling names hide their values, whatever they are; the rest is searched; bounds hold."""
    data = {
        "api_key": SECRET,
        "password": ["a", "b"],
        "token": None,
        "url": f"https://u:{SECRET}@h/",
        "nested": [{"secretKey": {"deep": SECRET}}, (f"signature={SECRET}",), {SECRET[:3]}],
        "price": 1.5,
        "flag": True,
        7: "x",
    }
    clean = redact(data)
    assert SECRET not in repr(clean)
    assert (clean["price"], clean["flag"], clean["token"], clean[7]) == (1.5, True, None, "x")
    assert len(redact(list(range(ITEMS_MAX + 50)))) == ITEMS_MAX
    deep = SECRET
    for _ in range(DEPTH_MAX + 2):
        deep = [deep]
    assert SECRET not in repr(redact(deep))
    marker = object()
    assert redact(marker) is marker
