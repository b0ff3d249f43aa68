"""Bodies, as they really come."""

import gzip
import json

import pytest

from jackstay_agent.core.answer_body import (
    NOTHING,
    Answer,
    cut,
    is_closed,
    is_json_type,
    is_markup,
    parse,
    plain_text,
    shape,
    shows_no_code,
    told_by,
    told_by_items,
)
from jackstay_agent.core.outcome_tables import BINANCE, BITMEX, BYBIT, DERIBIT, GENERIC, KRAKEN, OKX


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b'{"a":1}', {"a": 1}),
        (b"[1]\n", [1]),
        (b"\xef\xbb\xbf{}", {}),
        ('{"a":"ü"}'.encode("utf-16"), {"a": "ü"}),
        (b"", None),
        (b"   ", None),
        (b"<html></html>", None),
        (b'{"a":1', None),
        (b'{"a":{"b":1}', None),
        (b'{"a":1}}', None),
        (b"1", None),
        (b"null", None),
        (b'"ok"', None),
        (b'{"a":"\xff"}', None),
        (b"[" * 200_000, None),
        (gzip.compress(b"{}", mtime=0), None),
    ],
)
def test_only_a_whole_object_or_array_is_parsed(body, whole):
    """Empty, markup, cut off, scalar, wrong encoding, absurd nesting and compressed bytes are None."""
    assert parse(Answer(200, [], body)) == whole


def test_the_cheap_look_sees_ends_only():
    """Begin and end must match; the middle is not looked at."""
    assert is_closed(b'{"a":1}')
    assert is_closed(b"[1]\n")
    assert not is_closed(b'{"a":1')
    assert not is_closed(b"[1}")
    assert not is_closed(b"")
    assert not is_closed(b"<a>")


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ([], True),
        ([(b"Server", b"x"), (b"Content-Type", b"application/json;charset=UTF-8")], True),
        ([(b"content-type", b"text/plain")], True),
        ([(b"CONTENT-TYPE", b"text/html")], False),
        ([(b"Content-Type", b"application/octet-stream")], False),
    ],
)
def test_content_types(headers, fine):
    """A missing type is no lie, a wrong one is; names compare without case."""
    assert is_json_type(headers) is fine


def test_shapes_are_named_without_quoting():
    """Empty, compressed, markup, or just not JSON: never the body's own words."""
    assert shape(b" \n") == "empty body"
    assert shape(gzip.compress(b"x", mtime=0)) == "compressed body"
    assert shape(b" <!DOCTYPE html>") == "markup instead of JSON"
    assert shape(b'{"key":"secret"') == "not the promised JSON (15 bytes)"
    assert is_markup(b"\n<p>")
    assert plain_text(b"a" * 9999 + b"\xff") == "a" * 4096


def test_codes_are_found_where_the_venue_puts_them():
    """Numbers and texts become texts; lists of errors give their first real one; oddities give nothing."""
    assert told_by({"code": -2010, "msg": "no"}, BINANCE) == ("-2010", "no")
    assert told_by({"code": "51008"}, OKX) == ("51008", "")
    assert told_by({"error": ["WTrade:x", "EOrder:Insufficient funds"]}, KRAKEN).code == "EOrder:Insufficient funds"
    assert told_by({"error": ["WTrade:x"]}, KRAKEN) == NOTHING
    assert told_by({"error": []}, KRAKEN) == NOTHING
    assert told_by({"error": {"code": 10028, "message": "m"}}, DERIBIT) == ("10028", "m")
    assert told_by({"error": {"name": "HTTPError", "message": "m"}}, BITMEX) == ("HTTPError", "m")
    assert told_by({"error": {"code": [1]}}, DERIBIT) == told_by({"error": {"x": 1}}, DERIBIT) == ("error", "")
    for odd in ([], "x", {"code": True}, {"code": {}}, {"code": None}, {}):
        assert told_by(odd, BINANCE) == NOTHING


def test_items_of_a_batch():
    """Each item's code, empty where it has none; what is no batch has no items."""
    assert told_by_items({"data": [{"sCode": "51008", "sMsg": "m"}, {}, 5]}, OKX) == [("51008", "m"), ("", "")]
    assert told_by_items([{"code": -2010, "msg": "m"}, {"orderId": 1}], BINANCE) == [("-2010", "m"), ("", "")]
    assert told_by_items({"retExtInfo": {"list": [{"code": 0, "msg": "OK"}]}}, BYBIT) == [("", "OK")]
    assert told_by_items({"retExtInfo": {}}, BYBIT) == []
    assert told_by_items([], BYBIT) == []


def test_a_good_answer_is_known_by_its_first_bytes():
    """Venues whose every answer has a code show it first; others have none in sight."""
    assert shows_no_code(b'{"retCode":0,"result":{}}', BYBIT)
    assert not shows_no_code(b'{"retCode":10006}', BYBIT)
    assert shows_no_code(b'{"symbol":"X"}', BINANCE)
    assert not shows_no_code(b'{"code":-1003}', BINANCE)
    assert shows_no_code(b'{"code":1}', GENERIC)


def test_words_are_cut_and_printable():
    """A venue's message is short and has no control characters."""
    assert cut("a\x00b\n" + "c" * 999) == "a b " + "c" * 196
    assert json.dumps(cut("\x1b[31m")) == '" [31m"'
