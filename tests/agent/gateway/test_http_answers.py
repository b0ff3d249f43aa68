"""What http.sock says in status codes, since its clients know no other words of ours."""

from __future__ import annotations

import pytest

from jackstay_agent.gateway.http_answers import refusal_bytes, response_bytes, status_of
from jackstay_protocols.errors import Outcome, Reason
from jackstay_protocols.messages import Refusal, Response

ROWS = [
    (Reason.BREAKER_OPEN, 503), (Reason.HALF_OPEN_FULL, 503), (Reason.QUEUE_FULL, 503), (Reason.DRAINING, 503),
    (Reason.MODE, 503), (Reason.DISK, 503), (Reason.EXPIRED, 503), (Reason.RATE_LIMITED, 429), (Reason.GATED, 429),
    (Reason.EQUAL_PENDING, 504), (Reason.LOOP_STOPPED, 422), (Reason.DUPLICATE, 422), (Reason.NO_SIGNER, 422),
    (Reason.UPSTREAM_NOT_ALLOWED, 422), (Reason.BAD_REQUEST, 422), (Reason.INTERNAL, 503),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "status"), ROWS)
def test_each_refusal_has_its_status(reason: Reason, status: int) -> None:
    """Not now, wait, never like this: what a client's library does is decided by this number alone."""
    assert status_of(Refusal(reason, "x")) == status


def test_a_refusal_says_when_to_come_back_in_whole_seconds_upward() -> None:
    """Retry-After knows no fractions and must never be early; our own header has them. The text is no JSON."""
    told = refusal_bytes(Refusal(Reason.GATED, "wait", 1.2), keep_alive=False)
    assert b"\r\nRetry-After: 2\r\n" in told
    assert b"\r\nX-Jackstay-Retry-After: 1.200\r\n" in told
    assert b"\r\nConnection: close\r\n" in told
    assert told.endswith(b"\r\n\r\njackstay: wait\n")


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (Response(200, b"OK", [], b"{}", Outcome.OK), 200),
        (Response(400, b"Bad", [], b"{}", Outcome.REJECTED), 400),
        (Response(520, b"", [], b"x", Outcome.FAILED), 520),
        (Response(0, b"", [], b"", Outcome.UNKNOWN, cause="reset"), 504),
        (Response(0, b"", [], b"", Outcome.FAILED, cause="absent"), 502),
        (Response(200, b"OK", [], b"<html>", Outcome.UNKNOWN, cause="not_json"), 504),
        (Response(302, b"Found", [], b"", Outcome.UNKNOWN, cause="not_json"), 504),
        (Response(503, b"", [], b"busy", Outcome.UNKNOWN), 503),
    ],
)
def test_an_answer_is_the_venues_unless_it_proves_nothing(response: Response, status: int) -> None:
    """A 2xx that leaves an order unknown is never shown as one; the venue's own errors are."""
    assert response_bytes(response, keep_alive=True).startswith(b"HTTP/1.1 %d " % status)


def test_framing_is_ours_and_header_pairs_are_the_venues() -> None:
    """Repeated headers and their case survive; lengths and encodings of the hop do not. HEAD has no body."""
    headers = [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Transfer-Encoding", b"chunked"), (b"etag", b"x")]
    told = response_bytes(Response(200, b"Fine", headers, b"abc", Outcome.OK), keep_alive=True, head=True)
    assert told.startswith(b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\netag: x\r\n")
    assert b"chunked" not in told
    assert told.endswith(b"Content-Length: 3\r\n\r\n")
