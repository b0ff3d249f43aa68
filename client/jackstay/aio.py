"""`AsyncClient`: the asyncio face, the same verbs. It beats by itself, from the bot's own loop: a loop that hangs is
silent, which is the point (DESIGN §4).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from jackstay_protocols.clock import boot_us
from jackstay_protocols.errors import AgentGone, DeadlineExceeded, ErrorSeverity, Lane, TradingBotError, ValidationError
from jackstay_protocols.limits import BEAT_WITHIN_S_MAX, DEADLINE_S_MAX
from jackstay_protocols.messages import Beat, Goodbye, Message, ReportState, StatusQuery
from jackstay_protocols.session import check_goodbye

from .aio_channel import AsyncLine
from .answer import (
    AgentEvent,
    Directive,
    FeedMessage,
    Lagged,
    LateFill,
    LateOutcome,
    Posted,
    Response,
    data_of,
    posted_of,
    response_of,
)
from .call import BodyIn, HeadersIn, deadline_of, plain, post_message, request_message, seconds
from .client import BEAT_ANSWER_S, CONTROL_S
from .fallback import fallback_of, go_direct
from .farewell import say_goodbye
from .membership import CONNECT_TIMEOUT_S_DEFAULT, Membership, Whereabouts, default_bot_id, join, leave
from .report import error_report

GOODBYE_S = 0.5


class AsyncClient:
    """A bot's line to its agent, for asyncio (and uvloop). Arguments as `Client`.

    May be made outside a loop; it lives in the loop of its first call, and moves when that loop is closed.
    """

    def __init__(
        self,
        agent: str | None = None,
        *,
        bot_id: str | None = None,
        kind: str = "primary",
        runtime_dir: str | os.PathLike[str] | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S_DEFAULT,
        beat_within_s: float = 0.0,
        fallback: str | None = None,
    ) -> None:
        self._where = Whereabouts(agent, runtime_dir, os.environ)
        self._bot_id = default_bot_id(os.environ) if bot_id is None else bot_id
        self._kind = kind
        self._connect_timeout_s = seconds("connect_timeout_s", connect_timeout_s, DEADLINE_S_MAX)
        self._beat_within_s = seconds("beat_within_s", beat_within_s, BEAT_WITHIN_S_MAX) if beat_within_s else 0.0
        self._fallback = fallback_of(fallback)
        self._closed = False
        self._line: AsyncLine | None = None
        self._settle_in()

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    # ------------------------------------------------------------------ requests

    async def request(
        self,
        method: str,
        url: str | None = None,
        *,
        venue: str | None = None,
        path: str | None = None,
        headers: HeadersIn = None,
        body: BodyIn = b"",
        lane: Lane | str | None = None,
        deadline_s: float | None = None,
        deadline: float | None = None,
        idempotency_key: str | None = None,
        sign: bool = False,
        tag: str = "",
        patient: bool = False,
    ) -> Response:
        """As `Client.request`. Cancelling it tells the agent that nobody waits; the outcome is then the journal's."""
        limit_s = deadline_of(deadline_s, deadline)
        message = request_message(
            method,
            url,
            venue=venue,
            path=path,
            headers=headers,
            body=body,
            lane=lane,
            idempotency_key=idempotency_key,
            sign=sign,
            tag=tag,
            patient=patient,
        )
        deadline_us = boot_us() + int(limit_s * 1e6)
        try:
            answer = await self._ask(message, limit_s)
        except AgentGone as gone:
            if not self._fallback:
                raise
            calls = self._membership.direct
            return response_of(await asyncio.to_thread(go_direct, message, gone, deadline_us, calls))
        self._line_here().membership.outcomes.heard(answer)
        return response_of(answer)

    async def post(
        self,
        method: str,
        url: str | None = None,
        *,
        ttl_s: float,
        venue: str | None = None,
        path: str | None = None,
        headers: HeadersIn = None,
        body: BodyIn = b"",
        lane: Lane | str | None = None,
        deadline_s: float | None = None,
        deadline: float | None = None,
        idempotency_key: str | None = None,
        sign: bool = False,
        tag: str = "",
    ) -> Posted:
        """As `Client.post`."""
        limit_s = deadline_of(deadline_s, deadline)
        request = request_message(
            method,
            url,
            venue=venue,
            path=path,
            headers=headers,
            body=body,
            lane=lane,
            idempotency_key=idempotency_key,
            sign=sign,
            tag=tag,
        )
        return posted_of(await self._ask(post_message(request, ttl_s), limit_s))

    async def outcome(self, posted: Posted | str, timeout_s: float | None = None) -> LateOutcome:
        """As `Client.outcome`; acknowledged right after the caller has it."""
        intent = posted.id if isinstance(posted, Posted) else posted
        line = self._line_here()
        box = line.membership.outcomes
        await self._wait_for(lambda: box.has(intent), timeout_s)
        news = box.take(intent)
        if news is None:
            raise DeadlineExceeded(f"no outcome of {intent} within {timeout_s} s; ask again, it is not lost")
        line.acknowledge_soon()
        return LateOutcome(news)

    async def outcomes(self, timeout_s: float | None = None) -> AsyncIterator[LateOutcome]:
        """As `Client.outcomes`."""
        line = self._line_here()
        box = line.membership.outcomes
        while await self._wait_for(lambda: box.waiting > 0, timeout_s):
            news = box.take_next()
            if news is not None:
                yield LateOutcome(news)
                line.acknowledge_soon()

    async def fills(self, timeout_s: float | None = None) -> AsyncIterator[LateFill]:
        """As `Client.fills`."""
        line = self._line_here()
        box = line.membership.outcomes
        while await self._wait_for(lambda: box.fills_waiting > 0, timeout_s):
            news = box.take_fill()
            if news is not None:
                yield LateFill(news)
                line.acknowledge_soon()

    async def directives(self, timeout_s: float | None = None) -> AsyncIterator[Directive]:
        """As `Client.directives`."""
        line = self._line_here()
        box = line.membership.directives
        while await self._wait_for(lambda: len(box) > 0, timeout_s):
            news = box.take()
            if news is not None:
                yield Directive(news.name, news.fields)
                line.acknowledge_soon()

    # ------------------------------------------------------------------ feeds

    def subscribe(
        self,
        feed: str,
        topics: Iterable[str],
        *,
        events: bool = False,
        hold_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> AsyncIterator[FeedMessage | Lagged | AgentEvent]:
        """As `Client.subscribe`: ``async for item in client.subscribe("binance", ["btcusdt@trade"])``.

        Nothing is read ahead: what the loop does not take waits in the agent, which drops the oldest and counts.
        """
        from .aio_feed import feed_items

        return feed_items(self._line_here, feed, topics, events=events, hold_s=hold_s, timeout_s=timeout_s)

    async def events(self, timeout_s: float | None = None) -> AsyncIterator[AgentEvent]:
        """As `Client.events`."""
        async for item in self.subscribe("", (), events=True, timeout_s=timeout_s):
            if isinstance(item, AgentEvent):
                yield item

    # ------------------------------------------------------------------ life signs

    async def beat(self, progress: int | None = None, *, timeout_s: float = BEAT_ANSWER_S) -> bool:
        """As `Client.beat`; needed only to ask whether the agent answers, the lease is kept without it."""
        try:
            await self._ask(Beat(-1 if progress is None else progress), seconds("timeout_s", timeout_s, DEADLINE_S_MAX))
        except (AgentGone, DeadlineExceeded):
            return False
        return True

    async def progress(self, n: int | None = None) -> bool:
        """As `Client.progress`."""
        membership = self._membership_here()
        membership.progress = membership.progress + 1 if n is None else n
        return await self.beat(membership.progress)

    async def idle(self, s: float) -> bool:
        """As `Client.idle`: for a loop that is about to be blocked for up to ``s`` seconds."""
        membership = self._membership_here()
        membership.announce(seconds("idle", s, BEAT_WITHIN_S_MAX))
        heard = await self.beat()
        membership.back_to_normal()
        return heard

    @asynccontextmanager
    async def busy(self, s: float) -> AsyncIterator[None]:
        """As `Client.busy`: ``async with client.busy(30):`` around work that may block the loop."""
        membership = self._membership_here()
        before = membership.stretch(seconds("busy", s, BEAT_WITHIN_S_MAX))
        await self.beat()
        try:
            yield
        finally:
            membership.relax(before)
            await self.beat()

    # ------------------------------------------------------------------ words with the agent

    async def status(self, *, timeout_s: float = CONTROL_S) -> dict[str, Any]:
        """As `Client.status`."""
        return data_of(await self._ask(StatusQuery(), timeout_s))

    async def report_error(
        self,
        error: BaseException | str,
        *,
        component: str,
        operation: str,
        error_type: str | None = None,
        severity: ErrorSeverity | str | None = None,
        symbol: str | None = None,
        order_id: str | None = None,
        details: Mapping[str, Any] | None = None,
        timeout_s: float = CONTROL_S,
    ) -> dict[str, Any]:
        """As `Client.report_error`."""
        report = error_report(error, component, operation, error_type, severity, symbol, order_id, details)
        return data_of(await self._ask(report, timeout_s))

    async def report_state(
        self, component: str, state: Mapping[str, Any], *, timeout_s: float = CONTROL_S
    ) -> dict[str, Any]:
        """As `Client.report_state`."""
        return data_of(await self._ask(ReportState(component, plain(state)), timeout_s))

    # ------------------------------------------------------------------ the end

    async def close(self, orders: str = "keep", *, reason: str = "", back_within_s: float = 0.0) -> None:
        """As `Client.close`. Requests still waiting end in AgentGone with outcome unknown."""
        word = Goodbye(reason, orders, back_within_s)
        check_goodbye(word)
        if self._closed:
            return
        self._closed = True
        membership, line, self._line = self._membership, self._line, None
        last = membership.pid == os.getpid() and leave(membership, word)
        try:
            if last and membership.welcome is not None and not membership.left:
                await self._say_goodbye(membership, line, membership.last_word or word)
        except TradingBotError:
            pass  # the agent is not there; it will see the process end
        finally:
            if line is not None and not line.lives_in_another_loop():
                line.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(reason="" if kind is None else kind.__name__)

    # ------------------------------------------------------------------ inside

    def _settle_in(self) -> None:
        self._membership = join(
            self._where,
            self._bot_id,
            self._kind,
            connect_timeout_s=self._connect_timeout_s,
            beat_within_s=self._beat_within_s,
        )

    async def _say_goodbye(self, membership: Membership, line: AsyncLine | None, word: Goodbye) -> None:
        if line is not None and line.usable():
            membership.left = True
            await line.ask(word, boot_us() + int(GOODBYE_S * 1e6))
        else:  # its loop is gone: a socket of another thread says it
            await asyncio.to_thread(say_goodbye, membership, word)

    def _membership_here(self) -> Membership:
        if self._closed:
            raise ValidationError("this client is closed; make a new one")
        if self._membership.pid != os.getpid():
            self._settle_in()
            self._line = None
        return self._membership

    def _line_here(self) -> AsyncLine:
        """The socket of this loop, made on first use."""
        membership = self._membership_here()
        line = self._line
        if line is not None:
            if line.usable() and (line.greeted or line.wire.path == membership.where.paths().bot):
                return line
            if line.lives_in_another_loop():
                raise ValidationError("this client lives in another event loop that is running; make one per loop")
            line.close()
        self._line = line = AsyncLine(membership, asyncio.get_running_loop())
        return line

    async def _ask(self, message: Message, limit_s: float) -> Message:
        deadline_us = boot_us() + int(limit_s * 1e6)
        return await self._line_here().ask(message, deadline_us)

    async def _wait_for(self, wanted: Callable[[], bool], timeout_s: float | None) -> bool:
        """Until ``wanted()``; the line wakes us for everything that comes unasked."""
        if wanted():
            return True
        try:
            async with asyncio.timeout(timeout_s):
                while not wanted():
                    await self._line_here().news()
        except TimeoutError:
            return wanted()
        return True
