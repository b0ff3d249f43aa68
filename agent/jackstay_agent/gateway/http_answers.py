"""What http.sock answers, as bytes: the venue's answer as it came, or the agent's word in a status code.

Pure. A client of this door has no jackstay package, so a refusal must lead its library to the right reaction by the
status code alone: 503 not now, 429 wait, 422 never like this, 502 the way to the venue broke and nothing happened, 504
nobody knows. These are codes that ccxt, too, turns into ExchangeNotAvailable, RateLimitExceeded, ExchangeError and
RequestTimeout; the text is no JSON, for a library would look in it for the venue's own codes.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from jackstay_protocols.errors import Outcome, Reason
from jackstay_protocols.messages import Refusal, Response

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"trailer", b"upgrade"})

#: Trying again changes nothing, or makes the second order that the refusal prevents.
_FINAL = frozenset(
    {
        *(Reason.BAD_REQUEST, Reason.UPSTREAM_NOT_ALLOWED, Reason.NO_SIGNER, Reason.TOO_LARGE, Reason.NOT_PERMITTED),
        *(Reason.DUPLICATE, Reason.LOOP_STOPPED, Reason.NOT_YET),
    }
)
_WAIT = frozenset({Reason.RATE_LIMITED, Reason.GATED})


def status_of(refusal: Refusal) -> int:
    """The status code of a refusal (the table above)."""
    if refusal.outcome is Outcome.UNKNOWN or refusal.reason == Reason.EQUAL_PENDING:
        return 504  # of an order whose equal is unknown nobody knows whether it exists
    if refusal.reason in _FINAL:
        return 422
    return 429 if refusal.reason in _WAIT else 503


def refusal_bytes(refusal: Refusal, *, keep_alive: bool, head: bool = False) -> bytes:
    return own_bytes(
        status_of(refusal),
        refusal.message,
        reason=str(refusal.reason),
        outcome=refusal.outcome or Outcome.FAILED,
        retry_after_s=refusal.retry_after_s,
        keep_alive=keep_alive,
        head=head,
    )


def own_bytes(
    status: int,
    message: str,
    *,
    reason: str,
    outcome: Outcome = Outcome.FAILED,
    retry_after_s: float | None = None,
    keep_alive: bool = True,
    head: bool = False,
) -> bytes:
    """An answer of the agent's own."""
    fields = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Jackstay-Reason", reason.encode("ascii", "replace")),
        (b"X-Jackstay-Outcome", str(outcome).encode("ascii")),
    ]
    if retry_after_s is not None:
        # whole seconds are all that Retry-After knows (RFC 9110 10.2.3); never a moment too early
        fields.append((b"Retry-After", b"%d" % max(1, -int(-retry_after_s // 1))))
        fields.append((b"X-Jackstay-Retry-After", b"%.3f" % retry_after_s))
    text = f"jackstay: {message}\n".encode()
    return _bytes(status, b"", fields, text, keep_alive=keep_alive, head=head)


def json_bytes(document: object, *, keep_alive: bool) -> bytes:
    """A page of the agent's own."""
    fields = [(b"Content-Type", b"application/json")]
    return _bytes(200, b"OK", fields, msgspec.json.encode(document), keep_alive=keep_alive, head=False)


def response_bytes(response: Response, *, keep_alive: bool, head: bool = False) -> bytes:
    """The venue's answer, verbatim but for framing. An order that a 2xx or 3xx proves nothing about is a 504."""
    marks = [
        (b"X-Jackstay-Outcome", str(response.outcome).encode("ascii")),
        *([(b"X-Jackstay-Intent", response.intent.encode("ascii"))] if response.intent else []),
    ]
    unproven = response.outcome is Outcome.UNKNOWN and 200 <= response.status < 400
    if not response.status or unproven:
        unknown = response.outcome is Outcome.UNKNOWN
        words = response.detail or response.cause or "no answer"
        if unproven:
            words = f"HTTP {response.status} without the answer that the venue promises"
        if unknown:
            words += "; whether the order exists is unknown: ask the venue, do not send it again"
        fields = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Jackstay-Reason", response.cause.encode())]
        text = f"jackstay: {words}\n".encode()
        return _bytes(504 if unknown else 502, b"", fields + marks, text, keep_alive=keep_alive, head=head)
    fields = [(name, value) for name, value in response.headers if name.lower() not in _FRAMING]
    body = b"" if response.status in (204, 304) else response.body
    return _bytes(response.status, response.reason, fields + marks, body, keep_alive=keep_alive, head=head)


def venue_bytes(status: int, reason: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A venue's answer to an upgrade that it declined; the connection ends with it."""
    fields = [(name, value) for name, value in headers if name.lower() not in _FRAMING]
    return _bytes(status, reason, fields, body, keep_alive=False, head=False)


def _bytes(
    status: int, reason: bytes, fields: list[tuple[bytes, bytes]], body: bytes, *, keep_alive: bool, head: bool
) -> bytes:
    if not reason:
        try:
            reason = HTTPStatus(status).phrase.encode("ascii")
        except ValueError:  # 520 to 530 are Cloudflare's
            reason = b"Unknown"
    parts = [b"HTTP/1.1 %d %b\r\n" % (status, reason)]
    for name, value in fields:
        parts += (name, b": ", value, b"\r\n")
    if status not in (204, 304):
        parts.append(b"Content-Length: %d\r\n" % len(body))
    if not keep_alive:
        parts.append(b"Connection: close\r\n")
    parts.append(b"\r\n")
    if not head:
        parts.append(body)
    return b"".join(parts)
