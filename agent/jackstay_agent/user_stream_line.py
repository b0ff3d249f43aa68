"""One connection of a user stream, from its token to the last yes; then its events, its heartbeats, its end.

The venue's words are data (`venues/user_stream_data.py`). A refusal is told with the venue's own text, without our
secrets: login and token are never part of an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from jackstay_protocols.errors import ExchangeError, Reason

from .feed_socket import WsDial, WsLike
from .redact import redact_text
from .transport.http import HttpAnswer, HttpFailure
from .transport.ws_types import WsClosed, WsSettings
from .venues.answers import Broken, as_text, compiled, decode
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest
from .venues.user_stream_data import TokenData, UserStreamData

WORDS_WITHIN_BYTES = 1024
SILENT_BEATS = 2.5  # heartbeats without any message after them: the connection is dead
ANSWER_WITHIN_S = 5.0

Ask = Callable[[str, OutgoingRequest, float], Awaitable["HttpAnswer | HttpFailure | None"]]


class StreamLine:
    """``on_event(line, payload)`` gets every event from `release` on, ``on_word(line)`` is told when ``word`` was set:
    "over" (nothing more comes here, it is cut) or "notice" (the venue will end it).
    """

    def __init__(
        self,
        label: str,
        data: UserStreamData,
        operations: Operations,
        *,
        clock: Callable[[], float],
        ws_dial: WsDial,
        ask: Ask,
        open_within_s: float,
        on_event: Callable[[StreamLine, bytes], None],
        on_word: Callable[[StreamLine], None],
    ) -> None:
        self.label = label
        self.heard_at = self.opened_at = clock()
        self.beat_at = clock()
        self.kept_at = clock()
        self.word = ""
        self._early: list[bytes] | None = []  # what came before the last yes
        self._data = data
        self._operations = operations
        self._clock = clock
        self._ws_dial = ws_dial
        self._ask = ask
        self._open_within_s = open_within_s
        self._on_event = on_event
        self._on_word = on_word
        self._control = tuple(text.encode() for text in data.control)
        self._over = tuple(text.encode() for text in data.over)
        self._notices = tuple(text.encode() for text in data.notices)
        self._token = ""
        self._ws: WsLike | None = None
        self._yes: tuple[list[str], asyncio.Future[None]] | None = None

    # ------------------------------------------------------------ opening

    async def open(self) -> None:
        """Returns when the venue said yes to everything. Raises ExchangeError; then nothing is left open."""
        data = self._data
        try:
            async with asyncio.timeout(self._open_within_s):
                if data.token is not None:
                    self._token = await self._fetch(data.token)
                self._ws = await self._ws_dial(
                    data.url.replace("$token", self._token),
                    on_messages=self._on_messages,
                    on_close=self._on_close,
                    headers=None,
                    timeout_s=self._open_within_s,
                    settings=WsSettings(),
                )
                login = self._operations.stream_login(data.login)
                if login:
                    await self._say(login, data.login_ok, "the login")
                for text in data.subscribe:
                    await self._say(text.replace("$token", self._token), data.subscribed, "a subscription")
        except TimeoutError:
            await self.close()
            raise ExchangeError(
                f"{self.label}: no yes from the venue within {self._open_within_s:g} s", reason=Reason.TIMEOUT
            ) from None
        except BaseException:
            await self.close()
            raise
        self.opened_at = self.heard_at = self.beat_at = self.kept_at = self._clock()

    async def _fetch(self, token: TokenData) -> str:
        answer = await self._request(token, token.method)
        try:
            found = as_text("the token", compiled(token.at).search(decode(answer)))
        except Broken as error:
            raise ExchangeError(
                f"{self.label}: no token in the venue's answer: {error}", reason=Reason.PROTOCOL
            ) from None
        if not found:
            raise ExchangeError(f"{self.label}: the venue's answer holds no token", reason=Reason.PROTOCOL)
        return found

    async def _request(self, token: TokenData, method: str) -> bytes:
        operations = self._operations
        if token.how == "keyed":
            request = OutgoingRequest(method, token.path, operations.key_headers())
        else:
            request = operations.sign(OutgoingRequest(method, token.path))
        answer = await self._ask(operations.profile.base_url, request, self._clock() + ANSWER_WITHIN_S)
        if not isinstance(answer, HttpAnswer):
            what = answer.detail if isinstance(answer, HttpFailure) else "refused by a local limit"
            raise ExchangeError(f"{self.label}: {method} {token.path}: {what}", reason=Reason.TIMEOUT)
        if answer.status != 200:
            said = redact_text(answer.body[:200].decode(errors="replace"))
            raise ExchangeError(
                f"{self.label}: {method} {token.path} answered {answer.status}: {said}", reason=Reason.PROTOCOL
            )
        return answer.body

    async def _say(self, text: str, yes: list[str], what: str) -> None:
        assert self._ws is not None, "dialled before anything is said"
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._yes = (yes, waiter)
        try:
            if not self._ws.send(text):
                raise ExchangeError(f"{self.label}: the venue does not read {what}", reason=Reason.TIMEOUT)
            await waiter
        except ExchangeError as error:
            raise ExchangeError(f"{self.label}: {what} failed: {error}", reason=error.reason) from None
        finally:
            self._yes = None

    # ------------------------------------------------------------ messages

    def _on_messages(self, payloads: list[bytes]) -> None:
        self.heard_at = self._clock()
        for payload in payloads:
            self._on_message(payload)

    def _on_message(self, payload: bytes) -> None:
        head = payload[:WORDS_WITHIN_BYTES]
        if self._control and payload.startswith(self._control):
            self._on_control(head)
        elif any(word in head for word in self._over):
            self._announced("over")
            self.abort("the venue ended the stream")
        elif any(word in head for word in self._notices):
            self._announced("notice")
        elif self._early is not None:
            self._early.append(payload)
        else:
            self._on_event(self, payload)

    def release(self) -> None:
        """Hand on what came meanwhile, and from now on everything at once."""
        early, self._early = self._early, None
        for payload in early or ():
            self._on_event(self, payload)

    def _announced(self, word: str) -> None:
        self.word = word
        self._on_word(self)

    def _on_control(self, head: bytes) -> None:
        if any(word in head for word in self._notices):
            self._announced("notice")
            return
        if self._yes is None or self._yes[1].done():
            return
        yes, waiter = self._yes
        text = head.decode(errors="replace")
        if any(word in text for word in self._data.refused):
            waiter.set_exception(
                ExchangeError(f"the venue says {redact_text(text[:200])}", reason=Reason.NOT_PERMITTED)
            )
        elif all(word in text for word in yes):
            waiter.set_result(None)

    def _on_close(self, closed: WsClosed) -> None:
        if self._yes is not None and not self._yes[1].done():
            what = closed.detail or closed.reason or f"code {closed.code}"
            self._yes[1].set_exception(ExchangeError(f"the connection ended: {what}", reason=Reason.RESET))

    # ------------------------------------------------------------ its time

    def beat(self, now: float) -> None:
        """Send the heartbeat that is due; end a connection on which even its answers are missing."""
        every_s = self._data.heartbeat_every_s
        if not self._data.heartbeat or self._ws is None:
            return
        if now - self.heard_at > SILENT_BEATS * every_s:
            self._ws.abort(f"no message for {now - self.heard_at:.3g} s", reason=Reason.TIMEOUT)
        elif now - self.beat_at >= every_s:
            self.beat_at = now
            self._ws.send(self._data.heartbeat)

    def keep_due(self, now: float) -> bool:
        token = self._data.token
        return token is not None and bool(token.keep) and now - self.kept_at >= token.keep_every_s

    async def keep(self) -> None:
        """Keep the token alive. Raises ExchangeError when the venue does not say yes."""
        assert self._data.token is not None, "only a token is kept"
        await self._request(self._data.token, self._data.token.keep)
        self.kept_at = self._clock()

    @property
    def is_open(self) -> bool:
        return self._ws is not None and self._ws.is_open

    @property
    def latency_s(self) -> float | None:
        return self._ws.latency_s if self._ws is not None else None

    async def wait_closed(self) -> WsClosed:
        assert self._ws is not None, "opened before it is waited for"
        return await self._ws.wait_closed()

    def abort(self, why: str) -> None:
        if self._ws is not None:
            self._ws.abort(why, reason=Reason.TIMEOUT)

    async def close(self) -> None:
        if self._ws is not None and self._ws.is_open:
            self._ws.close()
            try:
                async with asyncio.timeout(2.0):
                    await self._ws.wait_closed()
            except TimeoutError:
                self._ws.abort("the peer does not close")


def status_of(line: StreamLine | None, now: float) -> dict[str, Any]:
    """What an operator sees of a connection."""
    if line is None:
        return {"up_s": 0.0, "heard_s": None, "latency_ms": None}
    latency_s = line.latency_s
    return {
        "up_s": round(now - line.opened_at, 3),
        "heard_s": round(now - line.heard_at, 3),
        "latency_ms": None if latency_s is None else round(latency_s * 1e3, 3),
    }
