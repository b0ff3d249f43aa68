"""A way past an agent that is gone, for what only takes risk away: cancels by id, and questions (off by default).

``Client(fallback="derisk")`` lets these two, and nothing else, go to the venue directly when a call ends in
`AgentGone`. There is no full fallback: a second way for orders would race the agent's journal, and an order could exist
twice. Which requests these are is a list of the shipped venues' own paths, not the caller's word; the tests hold it
against the profiles. A cancel by id may be repeated, so it may also follow one whose fate is unknown.

What goes direct is told to the agent with the next HELLO. Nobody judges its answer: the verdict says ``direct``. It
uses none of the agent's limits, clock or keys: what the agent would have signed stays refused. One connection each, no
redirects, no proxy.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jackstay_protocols.clock import boot_us
from jackstay_protocols.errors import AgentGone, Outcome, Reason, ValidationError
from jackstay_protocols.messages import Request, Response

if TYPE_CHECKING:
    import http.client

DERISK = "derisk"
DIRECT = "direct"  # the verdict's cause: the agent was gone, nobody judged this answer
BODY_BYTES_MAX = 48 * 1024 * 1024
TOLD_MAX = 100  # direct calls that the next HELLO names; more are counted

#: One order, or several by their ids; never "all", which may mean other orders than the ones that were meant.
CANCELS = frozenset(
    {
        ("DELETE", "/api/v3/order"),
        ("DELETE", "/api/v3/orderList"),
        ("DELETE", "/fapi/v1/order"),
        ("DELETE", "/fapi/v1/batchOrders"),
        ("DELETE", "/fapi/v1/algoOrder"),
        ("POST", "/v5/order/cancel"),
        ("POST", "/v5/order/cancel-batch"),
        ("POST", "/api/v5/trade/cancel-order"),
        ("POST", "/api/v5/trade/cancel-batch-orders"),
        ("POST", "/api/v5/trade/cancel-algos"),
        ("POST", "/api/v5/trade/cancel-advance-algos"),
        ("POST", "/0/private/CancelOrder"),
        ("POST", "/0/private/CancelOrderBatch"),
    }
)
#: Questions that a venue wants as POST.
POSTED_READS = frozenset(
    {
        f"/0/private/{name}"
        for name in (
            "OpenOrders", "ClosedOrders", "QueryOrders", "OrderAmends", "TradesHistory", "QueryTrades", "OpenPositions",
            "Balance", "BalanceEx", "TradeBalance", "TradeVolume", "Ledgers", "QueryLedgers", "GetWebSocketsToken",
            "GetApiKeyInfo",
        )
    }
)  # fmt: skip
#: Where a GET is a question. Elsewhere nobody has looked.
READ_PREFIXES = ("/api/v3/", "/sapi/v1/", "/fapi/v1/", "/fapi/v2/", "/fapi/v3/", "/v5/", "/api/v5/", "/0/public/")


def fallback_of(given: str | None, env: Mapping[str, str] = os.environ) -> bool:
    """Is it on? ``given``, else $JACKSTAY_FALLBACK; "" and "off" are off. Raises ValidationError for other words."""
    word = env.get("JACKSTAY_FALLBACK", "") if given is None else given
    if word not in ("", "off", DERISK):
        raise ValidationError(
            f"fallback is {word!r}; 'derisk' (cancels by id and questions) or 'off' is expected: there is no full"
            " fallback, it would race the agent's journal",
            reason=Reason.BAD_REQUEST,
        )
    return word == DERISK


def kind_of(request: Request) -> str:
    """ "cancel", "read", or "" for what may not go direct."""
    if request.sign or request.venue:
        return ""  # the agent's key, or an address that only the agent knows
    path = urlsplit(request.target).path
    if (request.method, path) in CANCELS:
        return "cancel"
    asks = request.method == "GET" and path.startswith(READ_PREFIXES)
    return "read" if asks or (request.method == "POST" and path in POSTED_READS) else ""


class DirectCalls:
    """What went direct since the agent was last told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[str] = []
        self._more = 0

    def note(self, request: Request, came_of_it: str) -> None:
        parts = urlsplit(request.target)  # never its query: signatures stand there
        with self._lock:
            if len(self._calls) < TOLD_MAX:
                self._calls.append(f"{request.method} {parts.hostname}{parts.path}: {came_of_it}"[:200])
            else:
                self._more += 1

    def told(self) -> list[str]:
        """For a HELLO. It stays until a WELCOME says that it arrived (`heard`)."""
        with self._lock:
            return [*self._calls, *([f"and {self._more} more"] if self._more else [])]

    def heard(self, told: list[str]) -> None:
        """The agent has these; what went direct meanwhile is for the next time."""
        with self._lock:
            if told:
                self._calls, self._more = self._calls[len(told) :], 0


def go_direct(request: Request, gone: AgentGone, deadline_us: int, calls: DirectCalls) -> Response:
    """The request to its venue, by a connection of its own; blocks. Raises ``gone`` where this may not, or cannot, be.

    The verdict's cause is `DIRECT`. Of a cancel it says ok for a plain yes, rejected for a 4xx, else unknown.
    """
    kind = kind_of(request)
    left_s = (deadline_us - boot_us()) / 1e6
    if not kind or left_s <= 0:
        raise gone
    began_us = boot_us()
    sent = False
    try:
        line = _dial(request.target, left_s)
        try:
            _write(line, request)
            sent = True
            answer = line.getresponse()
            body = answer.read(BODY_BYTES_MAX)
            headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.getheaders()]
        finally:
            line.close()
    except Exception as error:  # whatever a library raises: the bot asked for one thing, that the agent is gone
        came_of_it = f"no answer ({type(error).__name__})"
        calls.note(request, came_of_it)
        outcome = Outcome.UNKNOWN if sent and kind == "cancel" else Outcome.FAILED
        if gone.outcome is Outcome.UNKNOWN and kind == "cancel":
            outcome = Outcome.UNKNOWN
        raise AgentGone(f"{gone}; directly: {came_of_it}", reason=gone.reason, outcome=outcome) from error
    calls.note(request, f"HTTP {answer.status}")
    return Response(
        answer.status,
        answer.reason.encode("latin-1", "replace"),
        headers,
        body,
        _outcome(kind, answer.status, body),
        cause=DIRECT,
        elapsed_us=boot_us() - began_us,
        detail=f"the agent is gone: sent directly (fallback={DERISK!r}), and nobody judged the answer",
    )


def _dial(url: str, timeout_s: float) -> http.client.HTTPConnection:
    import http.client

    parts = urlsplit(url)
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    import ssl

    return http.client.HTTPSConnection(
        parts.hostname or "", parts.port or 443, timeout=timeout_s, context=ssl.create_default_context()
    )


def _write(line: http.client.HTTPConnection, request: Request) -> None:
    """The bytes as the bot made them: its signature covers target and body."""
    parts = urlsplit(request.target)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    line.putrequest(request.method, target, skip_accept_encoding=True)
    for name, value in request.headers:
        if name.lower() not in (b"host", b"content-length", b"connection", b"transfer-encoding"):
            line.putheader(name.decode("latin-1"), value)
    if request.body or request.method != "GET":
        line.putheader("Content-Length", str(len(request.body)))
    line.endheaders(request.body or None)


def _outcome(kind: str, status: int, body: bytes) -> Outcome:
    if kind == "read":
        return Outcome.OK if 200 <= status < 300 else Outcome.FAILED
    if 400 <= status < 500 and status != 408:
        return Outcome.REJECTED
    return Outcome.OK if 200 <= status < 300 and _is_plain_yes(body) else Outcome.UNKNOWN


def _is_plain_yes(body: bytes) -> bool:
    """A JSON object in which no venue of the list would say no."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return False
    if isinstance(told, list):
        return all(isinstance(each, dict) and "code" not in each for each in told)
    return (
        isinstance(told, dict) and not told.get("error") and not _no(told.get("code")) and not _no(told.get("retCode"))
    )


def _no(code: object) -> bool:
    return code not in (None, 0, "0", 200)
