"""Who listens to which stream, and sending one message to all of them: a message is encoded once, framed once.

Server frames are not masked, so the same bytes go to every listener. A listener that does not keep up is cut off
at `BACKLOG_MAX_BYTES`, as a real venue does.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

import orjson

from .faults import Fault, FaultBox
from .stream_log import StreamLog

BACKLOG_MAX_BYTES = 16 * 1024 * 1024
STREAMS_PER_CONNECTION_MAX = 1024


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented WebSocket text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str) -> bytes:
    """An unmasked close frame (RFC 6455, section 5.5.1); the reason has at most 123 bytes."""
    payload = code.to_bytes(2, "big") + reason.encode()[:123]
    return bytes((0x88, len(payload))) + payload


def ping_frame(payload: bytes) -> bytes:
    """At most 125 bytes of payload (RFC 6455, section 5.5)."""
    return bytes((0x89, len(payload))) + payload


def pong_frame(payload: bytes) -> bytes:
    return bytes((0x8A, len(payload))) + payload


class Listener:
    """One connection that hears streams. `combined` wraps every message with its stream's name."""

    # does it hear bare WebSocket frames, which all such listeners can share?
    shares_frames = True

    def __init__(self, transport: asyncio.Transport, connection: int, *, combined: bool, is_api: bool = False) -> None:
        self.is_api = is_api
        self.transport = transport
        self.connection = connection
        self.combined = combined
        self.streams: dict[str, None] = {}
        self.sent = 0
        self.next_subscription = 0
        # WebSocket API: private streams come wrapped with the subscription's number
        self.subscriptions: dict[str, int] = {}
        # a fault: the connection stands, and nothing passes it in either direction
        self.half_open = False

    def send(self, frame: bytes) -> None:
        transport = self.transport
        if self.half_open or transport.is_closing():
            return
        transport.write(frame)
        self.sent += 1
        if transport.get_write_buffer_size() > BACKLOG_MAX_BYTES:
            transport.abort()

    def frame(self, stream: str, data: bytes) -> bytes:
        """The bytes in which this listener hears a message."""
        if self.combined:
            return text_frame(b'{"stream":"%s","data":%s}' % (stream.encode(), data))
        number = self.subscriptions.get(stream)
        if number is not None:
            return text_frame(b'{"subscriptionId":%d,"event":%s}' % (number, data))
        return text_frame(data)

    def end(self, last: bytes) -> None:
        """Say the last word and close; a half-open connection stands, since nothing passes it."""
        if not self.half_open:
            self.send(last)
            self.transport.close()

    def fall_silent(self) -> None:
        """From now on half-open: nothing is read, nothing is written, nothing is closed."""
        self.half_open = True
        self.transport.pause_reading()


class LineListener(Listener):
    """A chunked HTTP response without end: one message a line, one line a chunk."""

    shares_frames = False

    def frame(self, stream: str, data: bytes) -> bytes:
        return chunk(b'{"stream":"%s","data":%s}\n' % (stream.encode(), data))

    def end(self, last: bytes) -> None:
        """Whatever a WebSocket would hear, this ends with the last chunk."""
        super().end(b"0\r\n\r\n")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112, section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class StreamHub:
    """Subscriptions by stream name. The faults are asked before anything is sent; everything goes into the log."""

    def __init__(self, faults: FaultBox, log: StreamLog | None = None) -> None:
        self._faults = faults
        self.log = log if log is not None else StreamLog()
        # by stream and the one connection that waits for it (0: all): a message to be told after the next one
        self._held: dict[tuple[str, int], dict[str, Any]] = {}
        self._resets = 0
        self._by_stream: dict[str, dict[Listener, None]] = defaultdict(dict)
        self._connections: dict[str, tuple[int, ...]] = {}
        self.listeners: set[Listener] = set()
        self.sent = 0

    def join(self, listener: Listener, streams: Iterable[str]) -> None:
        self.listeners.add(listener)
        for stream in streams:
            self.subscribe(listener, stream)

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)
        for stream in list(listener.streams):
            self.unsubscribe(listener, stream)

    def subscribe(self, listener: Listener, stream: str) -> None:
        if len(listener.streams) >= STREAMS_PER_CONNECTION_MAX:
            return
        listener.streams[stream] = None
        if self._faults.armed and self._faults.mutes(stream, listener.connection):
            # acknowledged, and never heard of again
            self.log.note(stream, b"null", (), "stream_mute")
            return
        self._by_stream[stream][listener] = None
        self._connections.pop(stream, None)

    def unsubscribe(self, listener: Listener, stream: str) -> None:
        listener.streams.pop(stream, None)
        there = self._by_stream.get(stream)
        if there is not None:
            there.pop(listener, None)
            self._connections.pop(stream, None)
            if not there:
                del self._by_stream[stream]

    def wanted(self, stream: str) -> bool:
        return stream in self._by_stream

    def connections(self, stream: str) -> tuple[int, ...]:
        """The numbers of the connections that listen to a stream."""
        found = self._connections.get(stream)
        if found is None:
            found = self._connections[stream] = tuple(each.connection for each in self._by_stream.get(stream, ()))
        return found

    def publish(self, stream: str, message: dict[str, Any]) -> None:
        """Send one message to everyone who listens to the stream, unless a fault has other plans with it."""
        if stream not in self._by_stream:
            return
        if self._faults.armed:
            fault = self._faults.pick_stream(stream, self.fields_of(message), self.connections(stream))
            if fault is not None:
                if fault.connection:
                    self._deliver(stream, message, skip=fault.connection)
                    self._release([each for each in self._held if each[0] == stream and each[1] != fault.connection])
                self._trouble(fault, stream, message)
                return
        self._deliver(stream, message)
        if self._held:
            self._release([each for each in self._held if each[0] == stream])

    def forget(self) -> None:
        """What was kept back is told to nobody any more: the venue begins anew."""
        self._held.clear()
        self._resets += 1

    def _release(self, held: list[tuple[str, int]]) -> None:
        for stream, only in held:
            self._deliver(stream, self._held.pop((stream, only)), only=only, fault="stream_reorder")

    def fields_of(self, message: dict[str, Any]) -> dict[str, Any]:
        """What a fault's `match` is compared with."""
        return message

    def _trouble(self, fault: Fault, stream: str, message: dict[str, Any]) -> None:
        kind, only = fault.kind, fault.connection
        if kind == "stream_duplicate":
            self._deliver(stream, message, only=only)
            self._deliver(stream, message, only=only, fault=kind)
        elif kind == "stream_reorder":
            self._release([each for each in self._held if each == (stream, only)])
            self._held[stream, only] = message
        elif kind == "stream_delay":
            late = partial(self._deliver_late, self._resets, stream, message, only)
            asyncio.get_running_loop().call_later(fault.params["ms"] / 1000, late)
        else:  # dropped or silenced
            self.log.note(stream, orjson.dumps(message), (), kind)

    def _deliver_late(self, resets: int, stream: str, message: dict[str, Any], only: int) -> None:
        if resets == self._resets:
            self._deliver(stream, message, only=only, fault="stream_delay")

    def _deliver(self, stream: str, message: dict[str, Any], *, only: int = 0, skip: int = 0, fault: str = "") -> None:
        """To every listener, or to one connection `only`, or to all but one (`skip`)."""
        data, shared, sent = orjson.dumps(message), b"", 0
        for listener in list(self._by_stream.get(stream, ())):
            if (only and listener.connection != only) or (skip and listener.connection == skip):
                continue
            if listener.shares_frames and not listener.combined and not listener.subscriptions:
                shared = shared or text_frame(data)
                listener.send(shared)
            else:
                listener.send(listener.frame(stream, data))
            sent += 1
        self.sent += sent
        self.noted(stream, data, only=only, skip=skip, fault=fault)

    def noted(self, stream: str, data: bytes, *, only: int = 0, skip: int = 0, fault: str = "") -> None:
        """Write down who heard it."""
        there = self.connections(stream)
        if only or skip:
            there = tuple(each for each in there if each != skip and only in (0, each))
        self.log.note(stream, data, there, fault)
