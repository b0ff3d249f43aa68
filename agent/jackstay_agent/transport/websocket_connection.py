"""One WebSocket to a venue: complete messages out, typed ends, nothing unbounded (DESIGN §5 Connections).

picows below is a *frame* layer. What a correct client needs beyond it is here, each point measured as missing there:
reassembly of fragments with one bound for the whole message, refusal of orphan continuations and of reserved bits (no
extension is ever negotiated, so a compressed frame is a protocol error), the UTF-8 check of text (RFC 6455 §8.1), an
answer to pings that cannot be made to pile up, a ping of our own whose missing pong ends the connection even while data
flows, sends that refuse past a bound, and a close that ends in bounded time.

This file refuses to know what a message means: topics, subscriptions and redialling live above. A pong is proof that
the *transport* lives, never that data flows; `heard_at` is fed by every frame, and nothing here feeds a data clock.

The callback contract: ``on_messages(payloads)`` runs on the loop once per read of the socket, with the complete
messages that it brought, in order: a call for each would cost a feed as much as what it does with one.
``on_close(closed)`` runs exactly once, after the last message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import Reason

from .ws_types import (
    ABNORMAL,
    BINARY,
    INVALID_TEXT,
    LATE_S,
    NO_CODE,
    NORMAL,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    OnMessages,
    WsClosed,
    WsSettings,
)

_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY
_CONTINUATION = WSMsgType.CONTINUATION
_PING = WSMsgType.PING
_PONG = WSMsgType.PONG
_CLOSE = WSMsgType.CLOSE

PONG_GRACE_S = 1.0
FRAGMENTS_MAX = 16 * 1024  # an endless row of empty fragments costs memory too
READ_MESSAGES_MAX = 256  # handed on at once: payloads of a read of megabytes would all be alive at once, on fresh pages
CLOSE_TEXT_BYTES_MAX = 123  # a control frame carries 125 bytes, two of them the code (RFC 6455 §5.5)


class WsConnection(WSListener):
    """An open WebSocket; made by `websocket.ws_connect`."""

    def __init__(
        self,
        *,
        settings: WsSettings,
        on_messages: OnMessages,
        on_close: Callable[[WsClosed], None],
        clock: Callable[[], float] = boot_s,
    ) -> None:
        self.settings = settings
        self.opened_at = clock()
        self.heard_at = self.opened_at
        self.latency_s: float | None = None  # of the last answered ping
        self.pings_sent = 0
        self.pings_missed = 0
        self.closed: WsClosed | None = None
        self.subprotocol: str = ""
        self.peer: str = ""
        self._clock = clock
        self._on_messages = on_messages
        self._on_close = on_close
        self._bytes_max = settings.message_bytes_max
        self._loop = asyncio.get_running_loop()
        self._transport: WSTransport | None = None
        self._read: list[bytes] = []  # complete messages of the read under way
        self._parts: list[bytes] | None = None
        self._parts_kind = TEXT
        self._parts_bytes = 0
        self._ending: WsClosed | None = None
        self._ping_timer: asyncio.TimerHandle | None = None
        self._ping_sent_at: float | None = None
        self._pong_excused = False
        self._pong_waiters: list[asyncio.Future[float]] = []
        self._abort_timer: asyncio.TimerHandle | None = None
        self._owed_pong: bytes | None = None
        self._drain_waiters: list[asyncio.Future[bool]] = []
        self._ended: asyncio.Future[WsClosed] = self._loop.create_future()

    # ------------------------------------------------------------ what the owner calls

    @property
    def is_open(self) -> bool:
        return self._transport is not None and self._ending is None and self.closed is None

    def send(self, payload: bytes | str, kind: int = TEXT) -> bool:
        """Hand one message to the socket. False, and nothing sent, when closed or past ``write_bytes_max``."""
        transport = self._transport
        if transport is None or self._ending is not None or self.closed is not None:
            return False
        data = payload.encode() if isinstance(payload, str) else payload
        if self.unsent_bytes + len(data) > self.settings.write_bytes_max:
            return False
        transport.send(_TEXT if kind == TEXT else _BINARY, data)
        return True

    @property
    def unsent_bytes(self) -> int:
        """Bytes accepted from us that the system's socket has not taken yet."""
        transport = self._transport
        if transport is None or self.closed is not None:
            return 0
        return int(transport.underlying_transport.get_write_buffer_size())

    async def drained(self) -> bool:
        """Wait until the system's socket took everything sent so far; False when the connection ended first."""
        if not self.is_open:
            return False
        if not self.unsent_bytes:
            return True
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._drain_waiters.append(waiter)
        try:
            return await waiter
        finally:
            if waiter in self._drain_waiters:
                self._drain_waiters.remove(waiter)

    def close(self, code: int = NORMAL, detail: str = "", *, reason: str = "") -> None:
        """Start the closing handshake; the line is cut after ``close_wait_s`` at the latest."""
        self._end(WsClosed("us", code, reason, detail))

    def abort(self, detail: str = "", *, reason: str = "") -> None:
        """Cut the line now, without a closing handshake: for a peer that is believed dead."""
        if self._ending is None:
            self._ending = WsClosed("us", ABNORMAL, reason, detail)
        if self._transport is not None:
            self._transport.disconnect(False)

    async def wait_closed(self) -> WsClosed:
        return await asyncio.shield(self._ended)

    def ping(self) -> bool:
        """Ask for a pong now, besides the rhythm; False when one is still awaited or the connection is closed."""
        if not self.is_open or self._ping_sent_at is not None or self._transport is None:
            return False
        self._ping_sent_at = self._clock()
        self.pings_sent += 1
        self._transport.send_ping(self._ping_payload())
        self._set_ping_timer(self.settings.pong_timeout_s, self._pong_due)
        return True

    async def round_trip(self) -> float:
        """Ask for a pong and wait for it; seconds. Raises ConnectionError when the connection ends first."""
        if not self.is_open:
            raise ConnectionError("the websocket is closed")
        waiter: asyncio.Future[float] = self._loop.create_future()
        self._pong_waiters.append(waiter)
        self.ping()  # one that is under way serves as well
        return await waiter

    # ------------------------------------------------------------ picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.heard_at = self._clock()
        under = transport.underlying_transport
        # Low = high = 0: pause_writing the moment something waits, resume_writing when all of it left.
        under.set_write_buffer_limits(high=0)
        self.peer = _peer_text(under.get_extra_info("peername"))
        response = transport.response
        self.subprotocol = response.headers.get("Sec-WebSocket-Protocol", "") if response is not None else ""
        self._plan_ping()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # The hot path: every attribute of a frame costs some 20 ns here, its kind four times that.
        if transport.is_close_frame_sent or self._ending is not None:
            self._on_frame_after_close(frame)
            return
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._violation(PROTOCOL_ERROR, "a frame with a reserved bit, though no extension was negotiated")
        elif self._parts is None and frame.fin and (kind is _TEXT or kind is _BINARY):
            payload = frame.get_payload_as_bytes()
            if kind is _BINARY or payload.isascii() or _is_utf8(payload):
                read = self._read
                read.append(payload)
                if frame.last_in_buffer or len(read) == READ_MESSAGES_MAX:
                    self._deliver()
            else:
                self._violation(INVALID_TEXT, "a text message that is not UTF-8")
        else:
            self._on_rare_frame(kind, frame)

    def _deliver(self) -> None:
        """Hand on what this read has brought so far."""
        if self._read:
            payloads, self._read = self._read, []
            self._on_messages(payloads)

    def _on_frame_after_close(self, frame: WSFrame) -> None:
        """Nothing is delivered any more; picows itself would go on after a frame it has already refused."""
        self._deliver()  # what came before it
        if self._ending is None and self._transport is not None:
            self._end(_network_end(self._transport))
        if frame.msg_type is _CLOSE:
            self._transport_gone_soon()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._deliver()
        self._cancel_timers()
        self.closed = closed = self._ending or _network_end(transport)
        self._loop.call_soon(_consume_picows_error, transport)
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(False)
        self._drain_waiters.clear()
        for pong in self._pong_waiters:
            if not pong.done():
                pong.set_exception(ConnectionError(f"the websocket ended: {closed.detail or closed.code}"))
        self._pong_waiters.clear()
        self._parts = None
        if not self._ended.done():
            self._ended.set_result(closed)
        self._on_close(closed)

    def pause_writing(self) -> None:
        """Something waits for the socket; `send` looks at the amount itself."""

    def resume_writing(self) -> None:
        """Everything left for the system's socket."""
        owed, self._owed_pong = self._owed_pong, None
        if owed is not None and self.is_open and self._transport is not None:
            self._transport.send_pong(owed)
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(True)
        self._drain_waiters.clear()

    # ------------------------------------------------------------ messages

    def _on_rare_frame(self, kind: WSMsgType, frame: WSFrame) -> None:
        self._deliver()
        if self._ending is not None:  # whoever got them closed the connection
            self._on_frame_after_close(frame)
        elif kind is _PING:
            self._answer_ping(frame.get_payload_as_bytes())
        elif kind is _PONG:
            self._on_pong(frame.get_payload_as_bytes())
        elif kind is _CLOSE:
            self._on_peer_close(frame)
        elif kind is _CONTINUATION:
            if self._parts is None:
                self._violation(PROTOCOL_ERROR, "a continuation frame without a message to continue")
            else:
                self._add_part(frame)
        elif self._parts is not None:
            self._violation(PROTOCOL_ERROR, "a new message inside an unfinished one")
        else:
            self._parts = []
            self._parts_kind = TEXT if kind is _TEXT else BINARY
            self._parts_bytes = 0
            self._add_part(frame)

    def _add_part(self, frame: WSFrame) -> None:
        parts = self._parts
        assert parts is not None, "the caller opened the message"
        self._parts_bytes += frame.payload_size
        if self._parts_bytes > self._bytes_max or len(parts) >= FRAGMENTS_MAX:
            self._violation(TOO_BIG, f"a message over {self._bytes_max} bytes or {FRAGMENTS_MAX} fragments")
            return
        parts.append(frame.get_payload_as_bytes())
        if not frame.fin:
            return
        payload = b"".join(parts)
        self._parts = None
        if self._parts_kind == TEXT and not _is_utf8(payload):
            self._violation(INVALID_TEXT, "a text message that is not UTF-8")
        else:
            self._on_messages([payload])

    # ------------------------------------------------------------ ping and pong

    def _answer_ping(self, payload: bytes) -> None:
        """Answer at once, or remember the latest while the socket is full (RFC 6455 §5.5.3 asks for no more)."""
        self.heard_at = self._clock()
        if self.unsent_bytes:
            self._owed_pong = payload
        elif self._transport is not None:
            self._transport.send_pong(payload)

    def _on_pong(self, payload: bytes) -> None:
        self.heard_at = now = self._clock()
        if self._ping_sent_at is None or payload != self._ping_payload():
            return  # unsolicited pongs are legal and prove nothing about our ping
        self.latency_s = now - self._ping_sent_at
        waiters, self._pong_waiters = self._pong_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(self.latency_s)
        self._ping_sent_at = None
        self._pong_excused = False
        self._plan_ping()

    def _ping_payload(self) -> bytes:
        return b"jackstay-%d" % self.pings_sent

    def _plan_ping(self) -> None:
        if self.settings.ping_interval_s > 0:
            self._set_ping_timer(self.settings.ping_interval_s, self._ping_due)

    def _set_ping_timer(self, delay_s: float, callback: Callable[[], Any]) -> None:
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        self._ping_timer = self._loop.call_later(delay_s, callback)

    def _ping_due(self) -> None:
        self.ping()

    def _pong_due(self) -> None:
        late_s = self._clock() - (self._ping_sent_at or 0.0) - self.settings.pong_timeout_s
        if late_s > LATE_S and not self._pong_excused:
            # We did not run meanwhile; the pong may wait in the socket. Once, then it counts (DESIGN §3 rule 13).
            self._pong_excused = True
            self._set_ping_timer(min(self.settings.pong_timeout_s, PONG_GRACE_S), self._pong_due)
            return
        self.pings_missed += 1
        self.abort(f"no pong within {self.settings.pong_timeout_s:g} s", reason=Reason.TIMEOUT)

    # ------------------------------------------------------------ endings

    def _violation(self, code: int, what: str) -> None:
        self._deliver()
        reason = Reason.RESPONSE_TOO_LARGE if code == TOO_BIG else Reason.PROTOCOL
        self._end(WsClosed("us", code, reason, f"the peer sent {what}"))

    def _on_peer_close(self, frame: WSFrame) -> None:
        assert self._transport is not None, "a frame came"
        received = self._transport.close_handshake.recv
        assert received is not None, "picows notes a close frame before it hands it on"
        self._end(WsClosed("peer", _code(received.code) or NO_CODE, "", received.reason or ""))
        self._transport_gone_soon()

    def _end(self, closed: WsClosed) -> None:
        transport = self._transport
        if transport is None or self._ending is not None or self.closed is not None:
            return
        self._ending = closed
        self._parts = None
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        echo = closed.code if closed.by == "us" else (NORMAL if closed.code == NO_CODE else closed.code)
        text = closed.detail if closed.by == "us" else ""
        # Private codes (4000 and up) are no members of the enum, and picows takes the number.
        code: Any = echo
        transport.send_close(code, text.encode()[:CLOSE_TEXT_BYTES_MAX].decode(errors="ignore"))
        self._abort_timer = self._loop.call_later(self.settings.close_wait_s, transport.disconnect, False)

    def _transport_gone_soon(self) -> None:
        """Both closes are through: close the line once what is buffered left; the abort timer bounds that."""
        if self._transport is not None:
            self._transport.disconnect(True)

    def _cancel_timers(self) -> None:
        for timer in (self._ping_timer, self._abort_timer):
            if timer is not None:
                timer.cancel()


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _code(value: Any) -> int:
    return int(getattr(value, "value", value))


def _peer_text(peername: Any) -> str:
    return f"{peername[0]}:{peername[1]}" if isinstance(peername, tuple) and len(peername) >= 2 else ""


def _network_end(transport: WSTransport) -> WsClosed:
    """picows ended it (a frame that does not parse), or the line did."""
    handshake = transport.close_handshake
    if handshake is not None and handshake.sent is not None and not handshake.recv_then_sent:
        code = _code(handshake.sent.code)
        reason = Reason.RESPONSE_TOO_LARGE if code == TOO_BIG else Reason.PROTOCOL
        return WsClosed("us", code, reason, handshake.sent.reason or "")
    return WsClosed("network", ABNORMAL, Reason.RESET, "the connection ended without a close frame")


def _consume_picows_error(transport: WSTransport) -> None:
    """picows keeps its parse error in a future nobody awaits; read it, or asyncio reports it as forgotten."""
    waiting = transport.wait_disconnected()
    try:
        waiting.send(None)
    except BaseException:  # StopIteration on an orderly end, else the error already told through on_close
        pass
    finally:
        waiting.close()
