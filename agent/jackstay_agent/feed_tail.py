"""Read a running agent's feed.sock from the command line: a reader like any other, for `jackstay feeds tail`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zmq

from jackstay_protocols.clock import boot_s
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.errors import AgentGone, Outcome, Refused
from jackstay_protocols.limits import BEAT_WITHIN_S_MAX, TO_CLIENT_FRAME_BYTES_MAX, WIRE_VERSION
from jackstay_protocols.messages import (
    TO_CLIENT,
    Beat,
    Event,
    Feed,
    Goodbye,
    Hello,
    Lagged,
    Message,
    Refusal,
    Subscribe,
)

BEAT_S = 20.0
POLL_MS = 500


def tail(
    path: Path, feed: str, topics: Sequence[str], *, events: bool = False, version: str = "0", silent_s: float = 0.0
) -> Iterator[tuple[str, int, bytes] | Lagged | Event]:
    """(topic, sequence, payload), `Lagged` and `Event` as they come; ends after ``silent_s`` without any (0: never).

    Raises AgentGone when nobody is there, Refused with the agent's reason.
    """
    if not path.exists():
        raise AgentGone(f"no agent at {path}", outcome=Outcome.FAILED)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 200)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    try:
        socket.connect(ipc(path))
        if not socket.poll(3000, zmq.POLLOUT):
            raise AgentGone(f"nobody listens on {path}", outcome=Outcome.FAILED)
        hello = Hello(
            f"tail-{os.getpid()}",
            "reader",
            os.getpid(),
            version,
            WIRE_VERSION,
            WIRE_VERSION,
            beat_within_s=BEAT_WITHIN_S_MAX,
        )
        socket.send(encode(hello, id=1))
        socket.send(encode(Subscribe(feed, list(topics), events), id=2))
        yield from _items(socket, silent_s)
    finally:
        if socket.poll(0, zmq.POLLOUT):
            socket.send(encode(Goodbye("tail ended"), id=0))
        socket.close()
        context.term()


def _items(socket: Any, silent_s: float) -> Iterator[tuple[str, int, bytes] | Lagged | Event]:
    heard_at = beat_at = boot_s()
    while True:
        now = boot_s()
        if now - beat_at > BEAT_S:
            beat_at = now
            socket.send(encode(Beat(), id=0))
        if not socket.poll(POLL_MS):
            if silent_s > 0 and now - heard_at > silent_s:
                return
            continue
        header, message = decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
        for item in _told(header.when, message):
            heard_at = boot_s()
            yield item


def _told(first: int, message: Message) -> Iterator[tuple[str, int, bytes] | Lagged | Event]:
    if isinstance(message, Refusal):
        raise Refused(message.message, reason=message.reason, retry_after_s=message.retry_after_s)
    if isinstance(message, Feed):
        for offset, payload in enumerate(message.payloads):
            yield message.topic, first + offset, payload
    elif isinstance(message, Lagged | Event):
        yield message
