"""Who listens to which stream, and sending one message to all of them: a message is encoded once, framed once.

Server frames are not masked, so the same bytes go to every listener. A listener that does not keep up is cut off
at `BACKLOG_MAX_BYTES`, as a real venue does.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import orjson

from .faults import Fault, FaultBox

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


class Listener:
    """One WebSocket connection. `combined` wraps every message with its stream's name."""

    def __init__(self, transport: asyncio.Transport, connection: int, *, combined: bool) -> None:
        self.transport = transport
        self.connection = connection
        self.combined = combined
        self.streams: dict[str, None] = {}
        self.sent = 0
        self.next_subscription = 0
        # WebSocket API: private streams come wrapped with the subscription's number
        self.subscriptions: dict[str, int] = {}

    def send(self, frame: bytes) -> None:
        transport = self.transport
        if transport.is_closing():
            return
        transport.write(frame)
        self.sent += 1
        if transport.get_write_buffer_size() > BACKLOG_MAX_BYTES:
            transport.abort()


class StreamHub:
    """Subscriptions by stream name. The faults are asked before anything is sent."""

    def __init__(self, faults: FaultBox) -> None:
        self._faults = faults
        self._held: dict[str, dict[str, Any]] = {}
        self._by_stream: dict[str, dict[Listener, None]] = defaultdict(dict)
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
        if len(listener.streams) < STREAMS_PER_CONNECTION_MAX:
            listener.streams[stream] = None
            self._by_stream[stream][listener] = None

    def unsubscribe(self, listener: Listener, stream: str) -> None:
        listener.streams.pop(stream, None)
        there = self._by_stream.get(stream)
        if there is not None:
            there.pop(listener, None)
            if not there:
                del self._by_stream[stream]

    def wanted(self, stream: str) -> bool:
        return stream in self._by_stream

    def publish(self, stream: str, message: dict[str, Any]) -> None:
        """Send one message to everyone who listens to the stream, unless a fault has other plans with it."""
        listeners = self._by_stream.get(stream)
        if not listeners or self._faults.silent():
            return
        if self._faults.armed and (fault := self._faults.pick_stream(stream, self.fields_of(message))) is not None:
            self._trouble(fault, stream, message)
            return
        self._deliver(stream, message)
        held = self._held.pop(stream, None)
        if held is not None:
            self._deliver(stream, held)

    def fields_of(self, message: dict[str, Any]) -> dict[str, Any]:
        """What a fault's `match` is compared with."""
        return message

    def _trouble(self, fault: Fault, stream: str, message: dict[str, Any]) -> None:
        if fault.kind == "stream_duplicate":
            self._deliver(stream, message)
            self._deliver(stream, message)
        elif fault.kind == "stream_reorder":
            held = self._held.pop(stream, None)
            self._held[stream] = message
            if held is not None:
                self._deliver(stream, held)
        elif fault.kind == "stream_delay":
            loop = asyncio.get_running_loop()
            loop.call_later(fault.params["ms"] / 1000, self._deliver, stream, message)

    def _deliver(self, stream: str, message: dict[str, Any]) -> None:
        data = orjson.dumps(message)
        plain = wrapped = b""
        for listener in list(self._by_stream.get(stream, ())):
            if listener.combined:
                wrapped = wrapped or text_frame(b'{"stream":"%s","data":%s}' % (stream.encode(), data))
                listener.send(wrapped)
            elif listener.subscriptions.get(stream) is not None:
                number = listener.subscriptions[stream]
                listener.send(text_frame(b'{"subscriptionId":%d,"event":%s}' % (number, data)))
            else:
                plain = plain or text_frame(data)
                listener.send(plain)
            self.sent += 1
