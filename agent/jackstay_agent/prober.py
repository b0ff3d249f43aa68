"""The agent probes an open breaker itself, so that it closes while the bot is silent (DESIGN §5 Breaker).

With the profile's harmless read for that class of endpoints (`probe.orders`, `probe.account`, `probe.market_data`), in
the bot's place, when the open time is over: no order is risked to find out. A read that has to be signed needs a key of
the agent's own; without one, and at hosts without a profile, the bot's next call is the probe. Stream dials need none:
a feed dials by itself. The probe travels as any question does, under limits and gates.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from .core.breaker import Breaker, BreakerState
from .core.event_sink import EventSink
from .flight import Flight
from .transport.http import HttpAnswer, HttpFailure
from .upstreams import Upstream
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest

Ask = Callable[[str, OutgoingRequest, float, str], Awaitable["HttpAnswer | HttpFailure | None"]]
ANSWER_WITHIN_S = 5.0
AGAIN_S = 1.0  # after a probe that proved nothing (it could not be sent)


class Prober:
    """Call `tick` often; a breaker that is due is asked for once at a time."""

    def __init__(
        self,
        upstreams: Iterable[Upstream],
        *,
        operations: Callable[[str], Operations | None],
        ask: Ask,
        clock: Callable[[], float],
        on_event: EventSink,
    ) -> None:
        self._upstreams = upstreams
        self._operations = operations
        self._ask = ask
        self._clock = clock
        self._on_event = on_event
        self._asking: set[str] = set()
        self._not_before: dict[str, float] = {}

    def tick(self) -> None:
        now = self._clock()
        for upstream in list(self._upstreams):
            for name, breaker in upstream.judgement.breakers.items():
                if breaker.state is BreakerState.CLOSED or not _due(breaker, now):
                    continue
                question = self._question(upstream.profile.name, name)
                key = breaker.name
                if question is None or key in self._asking or now < self._not_before.get(key, 0.0):
                    continue
                self._asking.add(key)
                self._not_before[key] = now + AGAIN_S
                Flight(self._probe(upstream, name, breaker, question), partial(self._broken, key)).step()

    def _question(self, venue: str, name: str) -> OutgoingRequest | None:
        operations = self._operations(venue)
        if operations is None or not operations.has(f"probe.{name}"):
            return None
        if operations.profile.data.operations[f"probe.{name}"].signed and not operations.has_keys:
            return None
        return operations.request(f"probe.{name}")

    async def _probe(self, upstream: Upstream, name: str, breaker: Breaker, question: OutgoingRequest) -> None:
        try:
            answer = await self._ask(upstream.origin, question, self._clock() + ANSWER_WITHIN_S, name)
            if answer is not None:
                said = f"HTTP {answer.status}" if isinstance(answer, HttpAnswer) else str(answer.cause)
                facts = {"upstream": upstream.host, "class": name, "answer": said, "state": str(breaker.state)}
                self._on_event("breaker.probed", facts)
        finally:
            self._asking.discard(breaker.name)

    def _broken(self, key: str, error: BaseException) -> None:
        self._asking.discard(key)
        self._on_event("breaker.probe_broken", {"breaker": key, "error": f"{type(error).__name__}: {error}"})


def _due(breaker: Breaker, now: float) -> bool:
    """Its open time is over, or it is half open and nobody has found out yet."""
    if breaker.state is BreakerState.HALF_OPEN:
        return True
    return (
        breaker.state in (BreakerState.OPEN, BreakerState.FORCED_OPEN)
        and breaker.until is not None
        and now >= breaker.until
    )
