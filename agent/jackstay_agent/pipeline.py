"""The journey of a request, steps 4 to 12 (DESIGN §2). Read `_journey` from top to bottom: that is the order.

Every request is one coroutine, resumed by callbacks (flight.py). Decisions are the core's; bytes are the transport's;
this file only puts them in order. What it promises: each call is answered exactly once; a request that may have had an
effect is sent at most once; an expired one is not sent at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackstay_protocols.errors import Outcome, Reason, ValidationError
from jackstay_protocols.messages import Post, Response

from .core.classify import Verdict, classify_answer, classify_failure
from .flight import Flight, Reply
from .gateway.bot_door import Call
from .transport.http import HttpAnswer, HttpFailure
from .upstreams import Upstreams, Way

EventSink = Callable[[str, dict[str, Any]], None]


class Pipeline:
    """Takes calls from the gateway and sees each one through."""

    def __init__(self, upstreams: Upstreams, *, clock: Callable[[], float], on_event: EventSink) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self._on_event = on_event
        self.counters = dict.fromkeys(("requests", "ok", "rejected", "failed", "unknown", "refused", "broken"), 0)

    def take(self, call: Call) -> None:
        """Steps 4 to 12 for one call; returns at its first wait."""
        self.counters["requests"] += 1
        Flight(self._journey(call), lambda error: self._broken(call, error)).step()

    async def _journey(self, call: Call) -> None:
        request = call.message
        try:
            way = self._upstreams.way(request.method, request.target, request.venue)
        except ValidationError as error:
            self._refuse(call, Reason(error.reason or Reason.BAD_REQUEST), str(error))
            return
        if not self._admit(call, way):  # 4
            return
        result = await self._send(call, way)  # 6, 7, 8
        verdict = self._classify(way, result)  # 9
        self._record(way, verdict)  # 10
        call.reply(_response(result, verdict, self._clock() - call.arrived_at))  # 12

    # ---- 4

    def _admit(self, call: Call, way: Way) -> bool:
        if isinstance(call.message, Post):
            self._refuse(call, Reason.NOT_YET, "queued requests come with the durable outbox; use request()")
            return False
        if call.message.sign:
            self._refuse(call, Reason.NO_SIGNER, "the agent holds no keys in this version; sign in the bot")
            return False
        return True

    # ---- 6, 7, 8

    async def _send(self, call: Call, way: Way) -> HttpAnswer | HttpFailure:
        request = call.message
        reply: Reply[HttpAnswer | HttpFailure] = Reply()
        changes = way.route.changes
        try:
            ticket = way.upstream.pool.submit(
                request.method.encode("ascii", "replace"),
                way.target,
                request.headers,
                request.body,
                deadline_at=call.deadline_at,
                done=reply.set,
                idempotent=not changes,
            )
        except ValidationError as error:
            return HttpFailure(Reason.BAD_REQUEST, sent=False, detail=str(error), connection_id=None, elapsed_s=0.0)
        if not changes:
            # A question nobody waits for is dropped; what may have an effect is seen through for the record.
            call.cancel = ticket.abandon
        return await reply

    # ---- 9

    def _classify(self, way: Way, result: HttpAnswer | HttpFailure) -> Verdict:
        route, profile = way.route, way.upstream.profile
        if isinstance(result, HttpFailure):
            return classify_failure(result.cause, sent=result.sent, is_order=route.changes, detail=result.detail)
        return classify_answer(
            result.status,
            result.headers,
            result.body,
            table=profile.table,
            expects_json=profile.expects_json(route),
            is_order=route.changes,
        )

    # ---- 10

    def _record(self, way: Way, verdict: Verdict) -> None:
        self.counters[verdict.outcome] += 1

    # ---- 12

    def _refuse(self, call: Call, reason: Reason, message: str, retry_after_s: float | None = None) -> None:
        self.counters["refused"] += 1
        call.refuse(reason, message, retry_after_s=retry_after_s)

    def _broken(self, call: Call, error: BaseException) -> None:
        self.counters["broken"] += 1
        self._on_event(
            "request.broken",
            {
                "bot": call.peer.session.bot_id,
                "error": f"{type(error).__name__}: {error}",
                "url": call.message.target[:80],
            },
        )
        call.refuse(Reason.INTERNAL, f"a fault of the agent: {type(error).__name__}; its log has the details")


def _response(result: HttpAnswer | HttpFailure, verdict: Verdict, elapsed_s: float) -> Response:
    answered = isinstance(result, HttpAnswer)
    return Response(
        status=result.status if answered else 0,
        reason=result.reason if answered else b"",
        headers=result.headers if answered else [],
        body=result.body if answered else b"",
        outcome=verdict.outcome,
        cause=str(verdict.cause or ""),
        severity=str(verdict.severity),
        retryable=verdict.retryable,
        sent=answered or result.sent,
        retry_after_s=verdict.retry_after_s,
        elapsed_us=int(elapsed_s * 1e6),
        detail=verdict.detail,
    )


assert set(Outcome) == {"ok", "rejected", "failed", "unknown"}  # the counters above have a place for each
