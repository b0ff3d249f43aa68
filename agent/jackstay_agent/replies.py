"""Step 12 as values: what a bot is told about a request, by what is known of it.

An answer or a failure as it came; what the venue showed when it was asked; what became of the first request of a key.
Knows no socket and decides nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jackstay_protocols.errors import Outcome
from jackstay_protocols.messages import Response

from .core.classify import Verdict
from .news import OUTCOMES
from .outbox import Duplicate, Ending
from .transport.http import HttpAnswer, HttpFailure

RESOLVED_HEADER = (b"x-jackstay-outcome", b"resolved")


def response_of(result: HttpAnswer | HttpFailure, verdict: Verdict, elapsed_s: float, attempts: int) -> Response:
    common: dict[str, Any] = {
        "outcome": verdict.outcome,
        "cause": str(verdict.cause),
        "severity": str(verdict.severity),
        "retryable": verdict.retryable,
        "attempts": attempts,
        "retry_after_s": verdict.retry_after_s,
        "elapsed_us": int(elapsed_s * 1e6),
        "detail": verdict.detail,
    }
    if isinstance(result, HttpFailure):
        return Response(0, b"", [], b"", sent=result.sent, **common)
    return Response(result.status, result.reason, result.headers, result.body, **common)


def found_response(unknown: Response, seq: int, ending: Ending) -> Response:
    """What the venue showed when it was asked, as the answer to the order."""
    return msgspec.structs.replace(
        unknown,
        status=ending.status or 200,
        reason=b"OK",
        headers=[(b"content-type", b"application/json"), RESOLVED_HEADER],
        body=ending.reply,
        outcome=Outcome.OK,
        cause="resolved",
        detail=ending.why,
        retryable=False,
        intent=str(seq),
    )


def repeated_response(found: Duplicate) -> Response:
    """What became of the first request with this key."""
    ending = found.ending
    if ending is None:
        return Response(0, b"", [], b"", Outcome.UNKNOWN, cause="unknown", intent=str(found.seq), detail="same key")
    return Response(
        ending.status or 0,
        b"",
        [(b"x-jackstay-outcome", b"repeated")],
        ending.reply,
        OUTCOMES[found.state],
        cause=ending.cause or str(found.state),  # as the first call would have heard it: "absent", "expired", ...
        detail=ending.why,
        intent=str(found.seq),
    )
