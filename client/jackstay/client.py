"""`Client`: the blocking face. Any thread of any process may use it; each gets its own socket, all share one session.

It speaks for the bot from the calling thread only — any call, or `beat()` — and never from a helper thread that would
keep smiling while the strategy hangs (DESIGN §4).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from weakref import WeakSet

from jackstay_protocols.clock import boot_us
from jackstay_protocols.errors import AgentGone, DeadlineExceeded, ErrorSeverity, Lane, ValidationError
from jackstay_protocols.limits import BEAT_WITHIN_S_MAX, DEADLINE_S_MAX
from jackstay_protocols.messages import Beat, Goodbye, Message, ReportState, StatusQuery
from jackstay_protocols.session import check_goodbye

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
from .channel import SLICE_MS, Line
from .fallback import fallback_of, go_direct
from .farewell import say_goodbye
from .membership import CONNECT_TIMEOUT_S_DEFAULT, Membership, Whereabouts, default_bot_id, join, leave
from .report import error_report

CONTROL_S = 2.0  # status, reports and posts without a word of the caller: the agent answers these from memory
BEAT_ANSWER_S = 0.25


class Client:
    """A bot's line to its agent.

    ``agent`` names it (else $JACKSTAY_AGENT, else the only one there is); ``bot_id`` is this bot's name (else
    $JACKSTAY_BOT, else the script's name); ``kind`` "primary" or "reader"; ``beat_within_s`` the lease in seconds
    (0: the agent's default). ``fallback`` "derisk" (else $JACKSTAY_FALLBACK; off by default): while the agent is gone,
    cancels by id and questions go to the venue directly, orders never. Nothing is sent before the first call. Raises
    ValidationError when several agents are there and none is named.
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
        self._settle_in()

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    # ------------------------------------------------------------------ requests

    def request(
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
        """One HTTP exchange with a venue, answered within ``deadline_s`` seconds (``deadline`` for short).

        Returns the `Response` whatever its status, with the agent's verdict. Raises DeadlineExceeded, OutcomeUnknown
        or ExchangeError when no HTTP answer came, AgentGone, Refused (see its ``reason`` and ``retry_after_s``) and
        ValidationError; each carries ``outcome``: what is known about the venue's side. ``patient``: an order whose
        equal is unknown waits for that one's outcome, and gets it, instead of being refused at once (equal_pending).
        """
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
            answer = self._ask(message, limit_s)
        except AgentGone as gone:
            if not self._fallback:
                raise
            return response_of(go_direct(message, gone, deadline_us, self._membership_here().direct))
        self._membership_here().outcomes.heard(answer)
        return response_of(answer)

    def post(
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
        """Queue a request: accepted into the agent's journal now, its outcome later (`outcome`).

        ``ttl_s`` bounds its age when it is sent; ``deadline_s`` the wait for the acceptance. Raises as `request`.
        """
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
        return posted_of(self._ask(post_message(request, ttl_s), limit_s))

    def outcome(self, posted: Posted | str, timeout_s: float | None = None) -> LateOutcome:
        """Wait for a posted request's outcome, at most ``timeout_s`` seconds (None: as long as it takes).

        It is acknowledged with the next call, when the bot's code has it. Raises DeadlineExceeded when the time is
        over first; the outcome is not lost by that.
        """
        intent = posted.id if isinstance(posted, Posted) else posted
        box = self._membership_here().outcomes
        news = box.take(intent)
        if news is None:
            self._wait_for(lambda: box.has(intent), timeout_s)
            news = box.take(intent)
        if news is None:
            raise DeadlineExceeded(f"no outcome of {intent} within {timeout_s} s; ask again, it is not lost")
        return LateOutcome(news)

    def outcomes(self, timeout_s: float | None = None) -> Iterator[LateOutcome]:
        """Outcomes nobody asked for by id, oldest first (also those of an earlier life of this bot).

        Ends when none came for ``timeout_s`` seconds; each is acknowledged when the next is asked for.
        """
        box = self._membership_here().outcomes
        while True:
            if not box.waiting and not self._wait_for(lambda: box.waiting > 0, timeout_s):
                return
            news = box.take_next()
            if news is not None:
                yield LateOutcome(news)

    def fills(self, timeout_s: float | None = None) -> Iterator[LateFill]:
        """Trades of this bot's orders that its own traffic did not show, oldest first, each once.

        Ends when none came for ``timeout_s`` seconds; each is acknowledged when the next is asked for.
        """
        box = self._membership_here().outcomes
        while True:
            if not box.fills_waiting and not self._wait_for(lambda: box.fills_waiting > 0, timeout_s):
                return
            news = box.take_fill()
            if news is not None:
                yield LateFill(news)

    def directives(self, timeout_s: float | None = None) -> Iterator[Directive]:
        """What the agent leaves to the bot's judgement, oldest first; ends after ``timeout_s`` silent seconds.

        Each comes once; it is acknowledged when the next is asked for, or with the next call.
        """
        box = self._membership_here().directives
        while True:
            if not box and not self._wait_for(lambda: len(box) > 0, timeout_s):
                return
            news = box.take()
            if news is not None:
                yield Directive(news.name, news.fields)

    # ------------------------------------------------------------------ feeds

    def subscribe(
        self,
        feed: str,
        topics: Iterable[str],
        *,
        events: bool = False,
        hold_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> Iterator[FeedMessage | Lagged | AgentEvent]:
        """Messages of these topics in order, and `Lagged` where some are missing.

        ``events`` mixes in the agent's events; the iterator ends after ``timeout_s`` silent seconds (None: never),
        and it goes on by itself after an agent restart. The thread that iterates is the one that beats.

        ``hold_s`` lets the agent collect market data so many seconds (0 to 0.1; 0: at once) and wake the bot once for
        all of it: less of the bot's processor time, that much more latency. Order, numbers and `Lagged` are the same.
        Events and answers are not held. An agent that is older sends at once.
        """
        from .feed import FeedLine

        return FeedLine(self, feed, topics, events=events, hold_s=hold_s).items(timeout_s)

    def events(self, timeout_s: float | None = None) -> Iterator[AgentEvent]:
        """The agent's events from now on; ends after ``timeout_s`` silent seconds (None: never)."""
        for item in self.subscribe("", (), events=True, timeout_s=timeout_s):
            if isinstance(item, AgentEvent):
                yield item

    # ------------------------------------------------------------------ life signs

    def beat(self, progress: int | None = None, *, timeout_s: float = BEAT_ANSWER_S) -> bool:
        """Say that the bot lives, from this thread; True when the agent answered within ``timeout_s`` seconds.

        An agent that is not there is no reason for a bot to stop: False then, no exception.
        """
        try:
            self._ask(Beat(-1 if progress is None else progress), seconds("timeout_s", timeout_s, DEADLINE_S_MAX))
        except (AgentGone, DeadlineExceeded):
            return False
        return True

    def progress(self, n: int | None = None) -> bool:
        """Say that the bot's work moved on: to ``n``, or one step further. Returns as `beat`."""
        membership = self._membership_here()
        membership.progress = membership.progress + 1 if n is None else n
        return self.beat(membership.progress)

    def idle(self, s: float) -> bool:
        """Announce that nothing will be heard for up to ``s`` seconds; the next call ends it. Returns as `beat`."""
        membership = self._membership_here()
        membership.announce(seconds("idle", s, BEAT_WITHIN_S_MAX))
        heard = self.beat()
        membership.back_to_normal()
        return heard

    @contextmanager
    def busy(self, s: float) -> Iterator[None]:
        """``with client.busy(30):`` around work that may keep this thread away for up to ``s`` seconds at a time.

        Calls inside keep that lease; the end of the block brings the earlier one back.
        """
        membership = self._membership_here()
        before = membership.stretch(seconds("busy", s, BEAT_WITHIN_S_MAX))
        self.beat()
        try:
            yield
        finally:
            membership.relax(before)
            self.beat()

    # ------------------------------------------------------------------ words with the agent

    def status(self, *, timeout_s: float = CONTROL_S) -> dict[str, Any]:
        """The agent's own account of itself, as `jackstay status --json` shows it."""
        return data_of(self._ask(StatusQuery(), timeout_s))

    def report_error(
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
        """Hand an error the bot met to the agent, for classification, analytics and audit."""
        report = error_report(error, component, operation, error_type, severity, symbol, order_id, details)
        return data_of(self._ask(report, timeout_s))

    def report_state(self, component: str, state: Mapping[str, Any], *, timeout_s: float = CONTROL_S) -> dict[str, Any]:
        """The bot's own picture of a component (orders, positions, balances); Decimals travel as text."""
        return data_of(self._ask(ReportState(component, plain(state)), timeout_s))

    # ------------------------------------------------------------------ the end

    def close(self, orders: str = "keep", *, reason: str = "", back_within_s: float = 0.0) -> None:
        """Say GOODBYE and release the sockets: ``orders`` "keep" or "cancel", back within so many seconds (0: unsaid).

        The last of several clients of one process says it, with the strongest of their words. Never raises for an
        agent that is not there.
        """
        word = Goodbye(reason, orders, back_within_s)
        check_goodbye(word)
        if self._closed:
            return
        self._closed = True
        membership = self._membership
        if membership.pid == os.getpid() and leave(membership, word):
            say_goodbye(membership, membership.last_word or word)
        for line in list(self._lines):
            # a thread in mid-call keeps its socket until the call ends; it then finds the client closed
            if line.lock.acquire(timeout=0.05):
                line.close()
                line.lock.release()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(reason="" if kind is None else kind.__name__)

    # ------------------------------------------------------------------ inside

    def _settle_in(self) -> None:
        """Join this process's session; again after a fork."""
        self._local = threading.local()
        self._lines: WeakSet[Line] = WeakSet()
        self._membership = join(
            self._where,
            self._bot_id,
            self._kind,
            connect_timeout_s=self._connect_timeout_s,
            beat_within_s=self._beat_within_s,
        )

    def _membership_here(self) -> Membership:
        if self._closed:
            raise ValidationError("this client is closed; make a new one")
        if self._membership.pid != os.getpid():
            self._settle_in()
        return self._membership

    def _line(self) -> Line:
        """This thread's socket, made on first use."""
        membership = self._membership_here()
        line: Line | None = getattr(self._local, "line", None)
        if line is not None and not line.closed:
            if line.greeted or line.wire.path == membership.where.paths().bot:
                return line
            line.close()  # the agent turned up elsewhere
        line = Line(membership)
        self._local.line = line
        self._lines.add(line)
        return line

    def _ask(self, message: Message, limit_s: float) -> Message:
        deadline_us = boot_us() + int(limit_s * 1e6)
        line = self._line()
        if not line.lock.acquire(blocking=False):
            # A signal handler of the bot's calls in the middle of this thread's own call: it gets its own socket.
            return self._ask_aside(message, deadline_us)
        try:
            return line.ask(message, deadline_us)
        finally:
            line.lock.release()

    def _ask_aside(self, message: Message, deadline_us: int) -> Message:
        line = Line(self._membership_here())
        try:
            return line.ask(message, deadline_us)
        finally:
            line.close()

    def _beat_in_passing(self) -> None:
        """For this thread's other waits: keep the lease, if there is a session."""
        line: Line | None = getattr(self._local, "line", None)
        if line is not None and not line.closed and line.greeted and line.lock.acquire(blocking=False):
            try:
                line.beat_if_due()
            finally:
                line.lock.release()

    def _wait_for(self, wanted: Any, timeout_s: float | None) -> bool:
        """Listen on this thread's socket; another thread's socket may bring it too, so look often."""
        until_us = boot_us() + int((1e9 if timeout_s is None else max(0.0, timeout_s)) * 1e6)
        while not wanted():
            if boot_us() >= until_us:
                return False
            try:
                line = self._line()
            except AgentGone:
                time.sleep(SLICE_MS / 1000)
                continue
            if not line.lock.acquire(blocking=False):
                raise ValidationError("a signal handler cannot wait for news in the middle of another call")
            try:
                line.listen(until_us, wanted)
            finally:
                line.lock.release()
        return True
