"""What an HTTP library's caller has to be told when jackstay says something that the library has no word for.

Pure, and the same for every adapter: the agent's errors fall into kinds that bots already handle, headers that
belong to one hop stay off the next, and an order whose 2xx or 3xx proves nothing becomes a time-out, because an
unmodified client would report it as placed (adapters.md 2.4: ccxt returns an order whose id is None).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from enum import Enum

from jackstay.answer import Response
from jackstay.fallback import DIRECT
from jackstay_protocols.errors import (
    AgentGone,
    DeadlineExceeded,
    NotYet,
    Outcome,
    ProtocolError,
    Reason,
    Refused,
    SecurityError,
    TradingBotError,
    ValidationError,
)
from jackstay_protocols.limits import DEADLINE_S_DEFAULT, DEADLINE_S_MAX

# RFC 9110 7.6.1, and what the sender of the next hop writes itself
_HOP = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)


class Kind(Enum):
    """What a bot does about it: the refusal table's rows, the same for every adapter (docs/CLIENT.md)."""

    TIMEOUT = "timeout"  # nobody knows, of this order or of its unknown equal: ask, or ask again
    CONNECTION = "connection"  # the way to the venue broke, and nothing happened: try again later
    NOT_NOW = "not now"  # the agent did not take it, or it was proved absent: try again later
    RATE = "rate"  # too much at this time: wait
    MAINTENANCE = "maintenance"  # a mode, a hold or the venue's maintenance: wait for its end
    SAME = "same"  # the same order again, and what became of the first is known: trying again would make a second one
    TLS = "tls"  # the venue is not who it should be
    FINAL = "final"  # trying again changes nothing: fix the call or the agent's configuration


_RATE = frozenset({Reason.RATE_LIMITED, Reason.GATED})
_SAME = frozenset({Reason.DUPLICATE, Reason.LOOP_STOPPED})
_FINAL_REASONS = frozenset(
    {Reason.UPSTREAM_NOT_ALLOWED, Reason.NO_SIGNER, Reason.TOO_LARGE, Reason.NOT_PERMITTED, Reason.SESSION_TAKEN}
)
ABSENT = "absent"  # the cause of an order that was unknown and is proved not to exist


def kind_of(error: TradingBotError) -> Kind:
    """The kind of one of jackstay's errors."""
    if error.reason in _SAME:
        return Kind.SAME
    if isinstance(error, (ValidationError, ProtocolError, SecurityError, NotYet)) or error.reason in _FINAL_REASONS:
        return Kind.FINAL
    if error.reason == Reason.TLS:
        return Kind.TLS
    # Of an order whose equal is unknown nobody knows whether it exists: it is the same wish. Asked again, the agent
    # gives the truth once there is one and never sends it a second time before.
    if error.outcome is Outcome.UNKNOWN or error.reason == Reason.EQUAL_PENDING:
        return Kind.TIMEOUT
    if isinstance(error, Refused) or error.reason == Reason.EXPIRED:  # an expired call was never sent
        if error.reason in _RATE:
            return Kind.RATE
        return Kind.MAINTENANCE if error.reason == Reason.MODE else Kind.NOT_NOW
    if isinstance(error, DeadlineExceeded):
        return Kind.TIMEOUT
    return Kind.NOT_NOW if isinstance(error, AgentGone) or error.reason == ABSENT else Kind.CONNECTION


def proves_nothing(response: Response) -> bool:
    """True for a 2xx or 3xx after which the agent does not know whether the order exists. An answer that came directly
    was judged by nobody: the library reads it itself, and it is never an order's.
    """
    if response.verdict.cause == DIRECT:
        return False
    return 200 <= response.status < 400 and response.verdict.outcome is Outcome.UNKNOWN


def unproven(response: Response) -> str:
    """What to say of such an answer."""
    return f"HTTP {response.status} without the answer that the venue promises; whether the order exists is unknown"


def end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs that travel on to the venue, in order and as they were written."""
    return [(name, value) for name, value in headers if name.lower() not in _HOP]


def deadline_s(timeout: object) -> float:
    """A library's time-out as ours: the longest of a (connect, read) pair, at most ten minutes."""
    if isinstance(timeout, (tuple, list)):
        numbers = [each for each in timeout if isinstance(each, (int, float))]
        timeout = max(numbers) if numbers else None
    if isinstance(timeout, (int, float)) and timeout > 0:
        return min(float(timeout), DEADLINE_S_MAX)
    return DEADLINE_S_DEFAULT


def decoded(response: Response) -> bytes:
    """The body as the library would show it: unpacked, if it still is packed the way its header says."""
    body = response.body
    coding = (response.header("content-encoding") or "").lower()
    try:
        if coding in ("gzip", "x-gzip") and body[:2] == b"\x1f\x8b":
            return zlib.decompress(body, zlib.MAX_WBITS | 16)
        if coding == "deflate" and body[:1] == b"\x78":
            return zlib.decompress(body)
    except zlib.error:
        pass  # the caller sees what came
    return body
