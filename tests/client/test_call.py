"""jackstay.call: the caller's words become a wire request, or an error that says how to fix the call."""

from __future__ import annotations

import math
from collections import UserDict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from jackstay import call
from jackstay_protocols import limits
from jackstay_protocols.errors import Lane, Reason, ValidationError
from jackstay_protocols.messages import Beat, Request

URL = "https://api.binance.com/api/v3/order?symbol=BTCUSDT&signature=secret"


def build(method: Any = "GET", url: Any = URL, **more: Any) -> Request:
    words: dict[str, Any] = {
        "venue": None, "path": None, "headers": None, "body": b"", "lane": None, "idempotency_key": None, "sign": False,
        "tag": "",
    }  # fmt: skip
    return call.request_message(method, url, **(words | more))


def told(*args: Any, **more: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        build(*args, **more)
    return caught.value


def test_a_url_travels_unchanged() -> None:
    """Signatures cover the text of the URL."""
    assert build(url=URL + "&x=%2B+~").target == URL + "&x=%2B+~"


def test_a_venue_and_a_path_replace_the_url() -> None:
    """The agent knows the venue's host."""
    request = build(url=None, venue="binance", path="/api/v3/time")
    assert (request.venue, request.target) == ("binance", "/api/v3/time")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.binance.com/x",
        "ftp://x/y",
        "https://",
        "https:///x",
        "https://?x",
        "https://:80/",
        "https://@x/",
        "//x/y",
        b"https://x/",
        5,
        "https://x/a b",
        "https://x/a\r\nb",
        "https://x/ä",
        "https://x/\x00",
        "https://x/\x7f",
    ],
)
def test_a_bad_url_is_refused(url: Any) -> None:
    """No scheme, no host, no text, or letters that would have to be encoded."""
    assert told(url=url).reason == Reason.BAD_REQUEST


def test_errors_never_show_a_query() -> None:
    """That is where signatures live."""
    assert "secret" not in str(told(url="http:/" + URL))
    assert "secret" not in str(told(url=URL + " "))


def test_the_longest_url_passes_and_one_byte_more_does_not() -> None:
    """The bound is inclusive."""
    url = "https://x/" + "a" * (limits.URL_BYTES_MAX - 10)
    assert build(url=url).target == url
    assert told(url=url + "a").reason == Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("url", "more"),
    [
        (URL, {"venue": "binance"}),
        (URL, {"path": "/x"}),
        (None, {}),
        (None, {"venue": "b"}),
        (None, {"path": "/x"}),
        (None, {"venue": "b", "path": "x"}),
        (None, {"venue": "b\n", "path": "/x"}),
        (None, {"venue": "b", "path": "/a b"}),
    ],
)
def test_either_a_url_or_a_venue_with_a_path(url: Any, more: dict[str, Any]) -> None:
    """Both, neither or half of it is refused."""
    assert told(url=url, **more).reason == Reason.BAD_REQUEST


@pytest.mark.parametrize(("given", "sent"), [("GET", "GET"), ("post", "POST"), ("Propfind", "PROPFIND")])
def test_methods_are_upper_case(given: str, sent: str) -> None:
    """ccxt says GET, some bots say get."""
    assert build(given).method == sent


@pytest.mark.parametrize("method", ["", "G T", "GET\r\n", "X" * 17, None, b"GET", "GÉT"])
def test_a_bad_method_is_refused(method: Any) -> None:
    """A token of letters, not too long."""
    assert told(method).reason == Reason.BAD_REQUEST


def test_headers_keep_order_repetition_and_capitals() -> None:
    """Pairs in, the same pairs out; a mapping gives its items."""
    pairs = [("X-b", "1"), ("x-B", "2"), (b"A", b"\xff")]
    assert build(headers=pairs).headers == [(b"X-b", b"1"), (b"x-B", b"2"), (b"A", b"\xff")]
    assert build(headers={"K": "v"}).headers == build(headers=UserDict({"K": "v"})).headers == [(b"K", b"v")]
    assert build(headers=[]).headers == build(headers=None).headers == []


def test_header_text_is_latin_1_where_it_can_be() -> None:
    """What Latin-1 lacks goes as UTF-8."""
    assert build(headers=[("A", "é"), ("B", "→")]).headers == [(b"A", b"\xe9"), (b"B", "→".encode())]


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "x\r\nB: y"},
        {"A": "x\ny"},
        {"A": "\x00"},
        {"A\r\n": "x"},
        {"": "x"},
        {"A b": "x"},
        {"A:": "x"},
        {"A": 5},
        {"A": None},
        {5: "x"},
        ["A"],
        ["AB"],
        [("A",)],
        [("A", "b", "c")],
        "A: b",
    ],
)
def test_bad_headers_are_refused(headers: Any) -> None:
    """Nothing that would end a line or is no text."""
    assert told(headers=headers).reason == Reason.BAD_REQUEST


def test_headers_are_bounded_in_number_and_size() -> None:
    """At the bound they pass, one past it they do not."""
    many = [("A", "b")] * limits.HEADERS_MAX
    assert len(build(headers=many).headers) == limits.HEADERS_MAX
    assert told(headers=[*many, ("A", "b")]).reason == Reason.TOO_LARGE
    big = [("A", "b" * (limits.HEADER_BYTES_MAX - 1))]
    assert build(headers=big).headers
    assert told(headers=[("AA", big[0][1])]).reason == Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("given", "sent"),
    [(b"\x00\xff", b"\x00\xff"), ("é", b"\xc3\xa9"), (bytearray(b"a"), b"a"), (memoryview(b"a"), b"a"), (None, b"")],
)
def test_bodies_are_bytes_in_the_end(given: Any, sent: bytes) -> None:
    """Bytes as they are, text as UTF-8."""
    assert build(body=given).body == sent


@pytest.mark.parametrize("body", [{"a": 1}, ["a"], 5, object()])
def test_a_body_that_needs_encoding_is_the_callers(body: Any) -> None:
    """Nobody guesses JSON or a form here: signatures cover bytes."""
    assert "encode" in str(told(body=body))


def test_the_largest_body_passes_and_one_byte_more_does_not() -> None:
    """The bound is inclusive."""
    body = b"x" * limits.REQUEST_BODY_BYTES_MAX
    assert build(body=body).body is body
    assert told(body=body + b"x").reason == Reason.TOO_LARGE


@pytest.mark.parametrize(
    "more",
    [{"lane": "fast"}, {"lane": 5}, {"idempotency_key": "x" * 129}, {"idempotency_key": "a\n"}, {"idempotency_key": 5}],
)
def test_bad_lanes_and_keys_are_refused(more: dict[str, Any]) -> None:
    """Each names what is expected."""
    assert told(**more).reason == Reason.BAD_REQUEST


def test_lane_key_sign_and_tag_travel() -> None:
    """Hints and words of the bot."""
    request = build(lane="derisk", idempotency_key="k", sign=True, tag="exit")
    assert (request.lane, request.idempotency_key, request.sign, request.tag) == (Lane.DERISK, "k", True, "exit")


@pytest.mark.parametrize("wrong", [0, -1, math.nan, math.inf, limits.DEADLINE_S_MAX + 1, "5", True, None])
def test_impossible_deadlines_are_refused(wrong: Any) -> None:
    """A number of seconds above 0 and at most ten minutes."""
    for spelled in ({"deadline_s": wrong, "deadline": None}, {"deadline_s": None, "deadline": wrong}):
        if wrong is None:
            assert call.deadline_of(**spelled) == limits.DEADLINE_S_DEFAULT
        else:
            with pytest.raises(ValidationError, match="deadline"):
                call.deadline_of(**spelled)


def test_one_spelling_of_the_deadline_is_enough() -> None:
    """Both at once contradict each other."""
    assert call.deadline_of(2, None) == call.deadline_of(None, 2) == 2.0
    with pytest.raises(ValidationError):
        call.deadline_of(1, 1)


def test_a_post_needs_a_time_to_live() -> None:
    """Above 0 and at most a day."""
    assert call.post_message(build(), 60).ttl_s == 60.0
    for wrong in (0, -1, math.nan, limits.QUEUED_TTL_S_MAX + 1):
        with pytest.raises(ValidationError, match="ttl_s"):
            call.post_message(build(), wrong)


def test_a_frame_at_the_bound_passes_and_one_past_it_does_not() -> None:
    """The client refuses first: ZeroMQ could only cut the connection."""
    size = len(call.frame_of(Beat(), 1, 0, 0, 1000))
    assert len(call.frame_of(Beat(), 1, 0, 0, size)) == size
    with pytest.raises(ValidationError) as caught:
        call.frame_of(Beat(), 1, 0, 0, size - 1)
    assert caught.value.reason == Reason.TOO_LARGE


def test_topics_are_checked() -> None:
    """A single text is a mistake; number and size are bounded."""
    assert call.check_topics(("a", "b")) == ["a", "b"]
    for wrong in (
        "btcusdt",
        [""],
        [5],
        ["x" * (limits.TOPIC_BYTES_MAX + 1)],
        ["a"] * (limits.TOPICS_PER_SUBSCRIBE_MAX + 1),
    ):
        with pytest.raises(ValidationError):
            call.check_topics(wrong)  # type: ignore[arg-type]


def test_reports_become_plain_values_without_floats_of_money() -> None:
    """Decimals and times become text, enums their values, tuples lists."""
    assert call.plain({"a": Decimal("1.50"), 5: (1, {Lane.ORDER}), "t": datetime(2025, 1, 1, tzinfo=UTC)}) == {
        "a": "1.50",
        "5": [1, ["order"]],
        "t": "2025-01-01T00:00:00+00:00",
    }
    with pytest.raises(ValidationError):
        call.plain({"a": object()})
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValidationError, match="deep"):
        call.plain(circle)


def test_long_texts_are_cut_and_say_so() -> None:
    """A stack trace does not break a report."""
    assert call.short("abc") == "abc"
    cut = call.short("ä" * limits.TEXT_BYTES_MAX)
    assert len(cut.encode()) <= limits.TEXT_BYTES_MAX
    assert cut.endswith("(cut)")
