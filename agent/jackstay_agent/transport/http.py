"""The HTTP/1.1 pool of one endpoint: submit a request, hear back by callback exactly once.

It is the hot path: no task, no future and one write per request. What it promises:

* a request is written at most once, except that one which may be repeated (``idempotent``) and met a connection that
  died under it without a byte of answer is written once more, on another connection, inside its deadline;
* ``sent`` in a failure is False only when provably no byte left;
* a connection whose request timed out or was abandoned is never used again.

An endpoint that was never up fails its waiters at once (a wrong name or port should be told quickly); one that was up
lets them wait for its return until their deadline, while it is dialled with jittered backoff inside a dial budget.
"""

from __future__ import annotations

import asyncio
import random as chance
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from jackstay_protocols.errors import Lane, Reason

from ..core.health import Health
from ..core.pool import ConnState, DialPlan, PoolSettings, move
from .dial import DialError
from .endpoint import Endpoint
from .http_care import PoolCare
from .http_connection import HttpConnection
from .http_request import serialise
from .http_ticket import Sealed, Ticket
from .waiting import URGENT_CONNECTIONS, WaitingLine

EARLY_S = 0.001  # uvloop timers may fire this much early: look at the clock again
_COUNTERS = (
    *("requests", "answers", "failures", "timeouts", "repeats", "abandoned"),
    *("dials", "dial_failures", "replaced", "probes", "dns_stale"),
)


class HttpAnswer:
    """A whole HTTP answer. Headers are verbatim pairs; times in seconds since the request was submitted."""

    __slots__ = ("body", "connection_id", "first_byte_s", "headers", "reason", "status", "total_s")

    def __init__(
        self,
        status: int,
        reason: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        connection_id: int,
        first_byte_s: float,
        total_s: float,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.connection_id = connection_id
        self.first_byte_s = first_byte_s
        self.total_s = total_s


class HttpFailure:
    """No whole answer. ``sent``: a byte of the request may have left this process."""

    __slots__ = ("cause", "connection_id", "detail", "elapsed_s", "sent")

    def __init__(
        self, cause: Reason | str, *, sent: bool, detail: str, connection_id: int | None, elapsed_s: float
    ) -> None:
        self.cause = cause
        self.sent = sent
        self.detail = detail
        self.connection_id = connection_id
        self.elapsed_s = elapsed_s


Done = Callable[[HttpAnswer | HttpFailure], None]


class HttpPool:
    """All connections to one endpoint. Times are boot-time seconds of ``clock``."""

    def __init__(
        self,
        endpoint: Endpoint,
        settings: PoolSettings,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        random: chance.Random,
        dial: Callable[..., Awaitable[Any]],
        resolve: Callable[..., Awaitable[Any]],
        ssl_context: ssl.SSLContext | None = None,
        on_event: Callable[[str, dict[str, Any]], None] = lambda name, fields: None,
        probe_path: str = "",
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self.endpoint = endpoint
        self.settings = settings
        self.clock = clock
        self._loop = loop
        self._random = random
        self._dial = dial
        self.resolve = resolve
        self._ssl_context = ssl_context
        self._on_event = on_event
        self._plan = DialPlan(settings)
        self._host_header = endpoint.host_header
        self._ready: list[HttpConnection] = []  # used last-in first-out
        self._live: set[HttpConnection] = set()
        self._connecting = 0
        self._waiting = WaitingLine()
        self._in_flight: set[Ticket] = set()
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._dial_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._serial = 0
        self._last_dial_error: DialError | None = None
        self._up = False
        self.answered_at = -float("inf")  # when the last whole answer came
        self.probe_target = b""  # the bytes of a harmless request, for connections that are kept open
        if probe_path and settings.probe_s > 0:
            self.probe_target = serialise(b"GET", probe_path.encode(), self._host_header, [], b"")[0]
        self.is_open = is_open
        self.health = Health(settings.probe_s if self.probe_target else 0.0)
        self.counters = dict.fromkeys(_COUNTERS, 0)
        self._last_error = ""
        self._idle: asyncio.Future[None] | None = None  # close() waits here
        self.care = PoolCare(self, loop)

    # ------------------------------------------------------------ submit

    def submit(
        self,
        method: bytes,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        *,
        deadline_at: float,
        done: Done,
        idempotent: bool,
        lane: Lane = Lane.OTHER,
        sealed: Sealed | None = None,
    ) -> Ticket:
        """Send now or as soon as a connection is there, lane by lane. ``done`` is called exactly once unless abandoned.

        ``sealed`` gives target, headers and body anew when it leaves after a wait: a signature's time should be young.
        Raises ValidationError when the request cannot be put into HTTP; then ``done`` is not called.
        """
        data, decode = serialise(method, target, self._host_header, headers, body)
        ticket = Ticket(self, data, deadline_at, done, idempotent=idempotent, head=method == b"HEAD", decode=decode)
        ticket.lane = lane
        if sealed is not None:
            ticket.seal = lambda: self._bytes_of(method, *sealed())
        self.counters["requests"] += 1
        if self._draining:
            self._finish_failed(ticket, Reason.DRAINING, "the pool is closing", sent=False)
            return ticket
        if deadline_at <= ticket.submitted_at:
            self._finish_failed(ticket, Reason.TIMEOUT, "the deadline was over before it could be sent", sent=False)
            return ticket
        connection = self._pick() if lane is Lane.DERISK or self._beyond < 0 else None
        if connection is not None:
            self._in_flight.add(ticket)
            self._watch_deadline(deadline_at)
            connection.send(ticket)
            return ticket
        if not self._waiting.has_room(lane, self.settings.waiters_max):
            self._finish_failed(
                ticket,
                Reason.QUEUE_FULL,
                f"{self.settings.waiters_max} requests already wait for a connection to {self.endpoint.host}",
                sent=False,
            )
            return ticket
        self._waiting.add(ticket)
        self._watch_deadline(deadline_at)
        self._dial_as_needed()
        return ticket

    def _bytes_of(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        return serialise(method, target, self._host_header, headers, body)[0]

    @property
    def is_live(self) -> bool:
        """Whether a connection is there, idle or busy."""
        return bool(self._live)

    def reach(self) -> bool:
        """Whether a connection is there; if not one is dialled, as soon as backoff and dial budget allow."""
        if not self._live and not self._connecting:
            self._dial_as_needed(wanted_at_least=1)
        return bool(self._live)

    @property
    def _beyond(self) -> int:
        """Busy connections beyond connections_max; from there on they are kept for what reduces risk."""
        return len(self._live) - len(self._ready) - self.settings.connections_max

    def _pick(self) -> HttpConnection | None:
        while self._ready:
            connection = self._ready.pop()
            if connection.state is ConnState.READY and not connection.is_closing():
                return connection
        return None

    # ------------------------------------------------------------ what connections tell

    def answered(
        self,
        connection: HttpConnection,
        ticket: Ticket,
        status: int,
        reason: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        first_byte_at: float,
        *,
        keep: bool,
    ) -> None:
        self._land(ticket)
        now = connection.used_at
        took_s = now - ticket.submitted_at
        self.counters["answers"] += 1
        self.answered_at = now
        self.health.answered(now, took_s)
        self._plan.healthy()
        if keep:
            self._give(connection)
        done, ticket.done = ticket.done, None
        if done is not None:
            done(
                HttpAnswer(
                    status, reason, headers, body, connection.number, first_byte_at - ticket.submitted_at, took_s
                )
            )

    def failed(self, connection: HttpConnection, ticket: Ticket, cause: Reason, detail: str, *, any_byte: bool) -> None:
        """The connection ended under a written request."""
        self._land(ticket)
        self.health.missed()
        self._last_error = detail
        may_repeat = ticket.idempotent and not ticket.repeated and not any_byte and connection.served > 0
        if may_repeat and ticket.done is not None and not self._draining and self.clock() < ticket.deadline_at:
            self.counters["repeats"] += 1
            ticket.repeated = True
            ticket.written = False
            ticket.connection = None
            self._waiting.add_first(ticket)
            self._hand_out()
            return
        self._finish_failed(ticket, cause, detail, sent=True)

    def connection_closed(self, connection: HttpConnection) -> None:
        self._live.discard(connection)
        if connection in self._ready:
            self._ready.remove(connection)
        if self.clock() - connection.opened_at >= self.settings.healthy_after_s:
            self._plan.healthy()
        if not self._draining:
            self._dial_as_needed()

    def distrust(self, number: int) -> None:
        """An answer of this connection was another request's, so will be all that follow: it is not used again."""
        for connection in [each for each in self._live if each.number == number]:
            connection.close()

    def abandoned(self, ticket: Ticket) -> None:
        self.counters["abandoned"] += 1
        self._in_flight.discard(ticket)
        if ticket.connection is not None and ticket.connection.ticket is ticket:
            ticket.connection.drop()
        elif not ticket.written:
            self._waiting.remove(ticket)

    def _land(self, ticket: Ticket) -> None:
        self._in_flight.discard(ticket)
        if self._idle is not None and not self._in_flight and not self._idle.done():
            self._idle.set_result(None)

    def _finish_failed(self, ticket: Ticket, cause: Reason, detail: str, *, sent: bool) -> None:
        self.counters["failures"] += 1
        done, ticket.done = ticket.done, None
        if done is not None:
            number = ticket.connection.number if ticket.connection else None
            elapsed_s = self.clock() - ticket.submitted_at
            done(HttpFailure(cause, sent=sent, detail=detail, connection_id=number, elapsed_s=elapsed_s))

    def _give(self, connection: HttpConnection) -> None:
        """A connection is free: the longest waiter first, else it rests at the warm end."""
        now = self.clock()
        while self._waiting and (self._waiting.urgent or self._beyond <= 0):
            ticket = self._waiting.pop()
            if ticket.done is None:
                continue
            if ticket.deadline_at <= now:
                self._finish_failed(ticket, Reason.TIMEOUT, "no connection became free in time", sent=False)
                continue
            if ticket.seal is not None and not self._sealed(ticket, ticket.seal):
                continue
            self._in_flight.add(ticket)
            connection.send(ticket)
            return
        self._ready.append(connection)

    def _sealed(self, ticket: Ticket, seal: Callable[[], bytes]) -> bool:
        """It waited: its signature is made anew. False: it cannot be, and its caller has heard of it."""
        try:
            ticket.data = seal()
        except Exception as error:  # a nonce that cannot be written down, for one
            words = f"it could not be signed when it was to leave: {type(error).__name__}: {error}"
            self._finish_failed(ticket, Reason.INTERNAL, words, sent=ticket.repeated)
            return False
        return True

    def _hand_out(self) -> None:
        while self._waiting and (self._waiting.urgent or self._beyond < 0):
            connection = self._pick()
            if connection is None:
                self._dial_as_needed()
                return
            self._give(connection)

    # ------------------------------------------------------------ deadlines: one timer for all

    def _watch_deadline(self, deadline_at: float) -> None:
        delay_s = max(0.0, deadline_at - self.clock()) + EARLY_S
        if self._deadline_timer is not None:
            # Asked of the loop, not of our clock: after a suspend its timers are late by the time that was slept.
            if self._deadline_timer.when() <= self._loop.time() + delay_s:
                return
            self._deadline_timer.cancel()
        self._deadline_timer = self._loop.call_later(delay_s, self._deadlines_due)

    def _deadlines_due(self) -> None:
        self._deadline_timer = None
        now = self.clock()
        late = [ticket for ticket in self._in_flight if ticket.deadline_at <= now]
        waited = self._waiting.take_late(now)
        for ticket in late:
            self.health.missed()
            self.counters["timeouts"] += 1
            self._in_flight.discard(ticket)
            if ticket.connection is not None:
                ticket.connection.drop()
            self._finish_failed(ticket, Reason.TIMEOUT, "no whole answer before the deadline", sent=True)
        for ticket in waited:
            self.counters["timeouts"] += 1
            self._fail_waiter(ticket)
        following = min(
            (ticket.deadline_at for group in (self._in_flight, self._waiting) for ticket in group), default=None
        )
        if following is not None:
            self._watch_deadline(following)

    def _fail_waiter(self, ticket: Ticket) -> None:
        """Its deadline came without a connection; the reason is why there was none."""
        error = self._last_dial_error
        if error is not None and not self._live:
            self._finish_failed(ticket, error.cause, error.detail, sent=ticket.repeated)
        else:
            self._finish_failed(
                ticket, Reason.TIMEOUT, "no connection became free before the deadline", sent=ticket.repeated
            )

    # ------------------------------------------------------------ dialling

    def _dial_as_needed(self, wanted_at_least: int = 0) -> None:
        if self._draining or self._dial_timer is not None:
            return
        live = len(self._live)
        waiting = max(wanted_at_least, len(self._waiting))
        wanted = self._plan.wanted(live=live, connecting=self._connecting, waiting=waiting, minimum=self.minimum)
        if not wanted and self._waiting.urgent > self._connecting:
            most = self.settings.connections_max + URGENT_CONNECTIONS
            wanted = max(0, min(self._waiting.urgent - self._connecting, most - live - self._connecting))
        for _ in range(wanted):
            wait_s = self._plan.wait_s(self.clock())
            if wait_s > 0:
                self._dial_timer = self._loop.call_later(wait_s + EARLY_S, self._dial_timer_due)
                return
            self._start_dial()

    def _start_dial(self) -> None:
        self._plan.started(self.clock())
        self.counters["dials"] += 1
        self._connecting += 1
        self.task(self._dial_one())

    def _dial_timer_due(self) -> None:
        self._dial_timer = None
        self._dial_as_needed()

    async def _dial_one(self) -> None:
        self._serial += 1
        number = self._serial
        connection: HttpConnection | None = None
        endpoint = self.endpoint
        try:
            addresses = await self.care.resolve()
            _transport, connection = await self._dial(
                lambda: HttpConnection(self, number),
                addresses,
                ssl_context=self._ssl_context if endpoint.tls else None,
                server_hostname=endpoint.server_hostname,
                local_address=self.settings.local_address,
                timeout_s=self.settings.dial_timeout_s,
            )
        except DialError as error:
            self._connecting -= 1
            self._dial_failed(error)
            return
        except Exception as error:  # whatever a dial raises, those who wait for it hear of it
            self._connecting -= 1
            self._dial_failed(DialError(Reason.REFUSED, f"{type(error).__name__}: {error}"))
            return
        except BaseException:
            self._connecting -= 1
            raise
        self._connecting -= 1
        assert connection is not None
        self._connected(connection)

    def _connected(self, connection: HttpConnection) -> None:
        if self._draining or connection.is_closing():
            connection.close()
            return
        connection.state = move(connection.state, "connected")
        self._live.add(connection)
        self._plan.succeeded()
        if not self._up:
            self._up = True
            self._on_event("pool.up", {"host": self.endpoint.host, "after_failures": self._plan.failures})
        self._last_dial_error = None
        self.care.connected(connection)
        self._give(connection)
        self._dial_as_needed()

    def _dial_failed(self, error: DialError) -> None:
        self.counters["dial_failures"] += 1
        self._last_dial_error = error
        self._last_error = error.detail
        pause_s = self._plan.failed(self.clock(), self._random.random())
        if self._up or self._plan.failures == 1:
            self._on_event(
                "pool.dial_failed",
                {"host": self.endpoint.host, "cause": str(error.cause), "detail": error.detail},
            )
        self._up = self._up and bool(self._live)
        hopeless = error.cause is Reason.TLS or not self._plan.ever_up
        if hopeless and not self._live:
            for ticket in self._waiting.take_all():
                self._finish_failed(ticket, error.cause, error.detail, sent=ticket.repeated)
            return
        wanted = len(self._waiting) or self._plan.wanted(
            live=len(self._live), connecting=self._connecting, waiting=0, minimum=self.minimum
        )
        if wanted and self._dial_timer is None:
            self._dial_timer = self._loop.call_later(pause_s + EARLY_S, self._dial_timer_due)

    # ------------------------------------------------------------ what its care needs (http_care.py)

    @property
    def minimum(self) -> int:
        """How many are kept open: none outside the market's hours."""
        return self.settings.connections_min if self.is_open() else 0

    @property
    def live(self) -> set[HttpConnection]:
        return self._live

    @property
    def ready(self) -> list[HttpConnection]:
        return self._ready

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def random(self) -> float:
        return self._random.random()

    def let_go(self, connection: HttpConnection) -> None:
        """Close one that nobody uses."""
        if connection in self._ready:
            self._ready.remove(connection)
        connection.close()

    def dial_ahead(self, count: int) -> None:
        """Dial although nobody waits, within the bounds of time and number."""
        room = self.settings.connections_max + self.settings.connections_min - len(self._live) - self._connecting
        for _ in range(min(count - self._connecting, room)):
            if self._draining or self._plan.wait_s(self.clock()) > 0:
                return
            self._start_dial()

    def ask_on(self, connection: HttpConnection, data: bytes, deadline_at: float, done: Done) -> None:
        """One question on this very connection, which is ready."""
        self._ready.remove(connection)
        ticket = Ticket(self, data, deadline_at, done, idempotent=False, head=False, decode=False)
        self._in_flight.add(ticket)
        self._watch_deadline(deadline_at)
        connection.send(ticket)

    def drain(self) -> int:
        """Close what is open, each once its request is through; the minimum is dialled anew. How many there were."""
        live = list(self._live)
        for connection in live:
            self.care.let_finish(connection)
        return len(live)

    def task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Until every dial that is under way is through."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def warm(self) -> None:
        """Open the minimum ahead of the first request; waits until one try each is through."""
        await self.care.warm()

    # ------------------------------------------------------------ status, end

    def status(self) -> dict[str, Any]:
        """Counts by state, latencies in milliseconds, counters; plain values."""
        health = self.health
        return {
            "live": len(self._live),
            "ready": len(self._ready),
            "busy": len(self._in_flight),
            "connecting": self._connecting,
            "waiting": len(self._waiting),
            "latency_ewma_ms": round(health.latency_s * 1000, 3),
            "latency_p50_ms": round(health.percentile_s(0.5) * 1000, 3),
            "latency_p99_ms": round(health.percentile_s(0.99) * 1000, 3),
            "loss": round(health.loss, 4),
            "quality": round(health.quality(self.clock(), connected=bool(self._live)), 4),
            "routed_to": f"{self.endpoint.dial_scheme}://{self.endpoint.dial_host}:{self.endpoint.dial_port}"
            if self.endpoint.routed_elsewhere
            else "",
            "last_error": self._last_error,
            **self.counters,
        }

    async def close(self, timeout_s: float) -> None:
        """Refuse, let what is in flight finish for ``timeout_s``, then fail the rest and close everything."""
        self._draining = True
        self.care.stop()
        if self._dial_timer is not None:
            self._dial_timer.cancel()
        for ticket in self._waiting.take_all():
            self._finish_failed(ticket, Reason.DRAINING, "the agent is stopping", sent=ticket.repeated)
        if self._in_flight:
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=timeout_s)
        for ticket in list(self._in_flight):
            self._in_flight.discard(ticket)
            if ticket.connection is not None:
                ticket.connection.drop()
            self._finish_failed(ticket, Reason.DRAINING, "the agent stopped before the answer", sent=True)
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        for connection in list(self._live):
            connection.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
