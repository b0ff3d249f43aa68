"""Knock at our own doors: a real client of each, so that "it answers" is seen and not believed.

A door can be deaf while the loop turns: its descriptor is edge-triggered, and a wake-up that was swallowed is gone
(gateway/door.py). So the agent asks itself as a peer would, over the same socket files, and looks for the answer one
round later. What is asked changes nothing and is counted nowhere: a beat without a hello (refused), a `ping`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import zmq

from jackstay_protocols.codec import encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.messages import Beat, Command

ANSWERS_MAX = 16  # read per look; more than one is late news of earlier knocks


class Knocking(Protocol):
    """What the lifeline needs of it."""

    def knock(self) -> None: ...

    def answered(self) -> bool: ...

    def close(self) -> None: ...


class Knock:
    """One door. `knock`, and a round later `answered`."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], path: Path, question: bytes) -> None:
        self._question = question
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.SNDHWM, 4)
        self._socket.setsockopt(zmq.RCVHWM, ANSWERS_MAX)
        self._socket.connect(ipc(path))

    def knock(self) -> None:
        try:
            self._socket.send(self._question, zmq.NOBLOCK)
        except zmq.Again:
            return  # not connected, or the door reads nothing: there will be no answer

    def answered(self) -> bool:
        heard = False
        for _ in range(ANSWERS_MAX):
            try:
                self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            heard = True
        return heard

    def close(self) -> None:
        self._socket.close(0)


def beat_question() -> bytes:
    """For bot.sock and feed.sock: refused, for nobody said hello."""
    return encode(Beat(-1), id=1)


def ping_question() -> bytes:
    """For control.sock."""
    return encode(Command("ping", {}), id=1)
