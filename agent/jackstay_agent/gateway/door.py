"""One local socket: a ROUTER on an ipc path, driven by the event loop through its file descriptor.

This file owns what is awkward about ZeroMQ on a loop and nothing else; it knows no message. The traps it closes were
all measured (see docs/ARCHITECTURE.md, Doors):

* ``zmq.FD`` is edge-triggered: after every send the socket is looked at again, or requests wait for ever.
* A drain is bounded per loop turn and goes on with ``call_soon``, so a flooding peer delays others by one bound only.
* A send never blocks (NOBLOCK) and never vanishes in silence (ROUTER_MANDATORY): the caller hears OK, SLOW or GONE.
  OK is no proof of delivery; only a peer's own message is.
* A second bind on a path steals it without a word: the caller holds the instance lock before `open`.
* A short LINGER: last words leave, and closing never waits longer for a stopped peer.
"""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import zmq

from jackstay_protocols.endpoints import ipc

DRAIN_MAX_DEFAULT = 64  # 64 frames of work kept control.sock under 16 ms p99 in a flood; 1000 gave 21 ms
CLOSE_LINGER_MS = 200
VETTED_MAX = 4096

# Plain numbers: combining and passing enum members costs more than the call they are for.
_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE = int(zmq.SNDMORE | zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_RCVMORE = int(zmq.RCVMORE)


class Sent(Enum):
    """What became of a send."""

    OK = "ok"
    SLOW = "slow"  # the peer's queue is full: keep it, or drop it knowingly
    GONE = "gone"  # no such peer any more


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who is on the other end, by the kernel's word (SO_PEERCRED); pid 0 when it lives in another pid namespace."""

    uid: int
    gid: int
    pid: int


class DoorLike(Protocol):
    """What the gateways need of a door; the simulation brings its own."""

    path: Path
    frames_in: int
    frames_out: int
    bad_parts: int

    def open(self) -> None: ...
    def send(self, identity: bytes, frame: bytes) -> Sent: ...
    def send_together(self, identity: bytes, frames: Sequence[bytes]) -> Sent: ...
    def credentials(self, identity: bytes) -> PeerCredentials | None: ...
    def close(self) -> None: ...


class Door:
    """A bound ROUTER. ``on_frame(identity, frame)`` is called for every single-frame message of a peer."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        path: Path,
        *,
        loop: AbstractEventLoop,
        on_frame: Callable[[bytes, bytes], None],
        recv_bytes_max: int,
        sndhwm: int = 1000,
        rcvhwm: int = 1000,
        drain_max: int = DRAIN_MAX_DEFAULT,
        mode: int = 0o600,
    ) -> None:
        self.path = path
        self.frames_in = 0
        self.frames_out = 0
        self.bad_parts = 0
        self._context = context
        self._loop = loop
        self._on_frame = on_frame
        self._drain_max = drain_max
        self._mode = mode
        self._options = {
            zmq.LINGER: 0,
            zmq.ROUTER_MANDATORY: 1,
            zmq.MAXMSGSIZE: recv_bytes_max,
            zmq.SNDHWM: sndhwm,
            zmq.RCVHWM: rcvhwm,
        }
        self._socket: zmq.Socket[bytes] | None = None
        self._fd = -1
        self._draining = False
        self._scheduled = False
        self._looking = False
        self._current: tuple[bytes, Any] | None = None
        self._vetted: dict[bytes, PeerCredentials] = {}  # peers whose credentials were asked for and do not change

    def open(self) -> None:
        """Bind and start reading. Raises OSError when the path cannot be bound."""
        socket = self._context.socket(zmq.ROUTER)
        try:
            for option, value in self._options.items():
                socket.setsockopt(option, value)
            self.path.unlink(missing_ok=True)  # left over from a crash; the lock says nobody owns it
            socket.bind(ipc(self.path))
            os.chmod(self.path, self._mode)
        except (zmq.ZMQError, OSError) as error:
            socket.close(0)
            raise OSError(error.errno, f"cannot bind {self.path}: {error}") from error
        self._socket = socket
        self._fd = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._drain)
        self._schedule()

    def send(self, identity: bytes, frame: bytes) -> Sent:
        socket = self._socket
        if socket is None:
            return Sent.GONE
        try:
            socket.send(identity, _SNDMORE)
            socket.send(frame, _NOBLOCK)
        except zmq.Again:
            return Sent.SLOW
        except zmq.ZMQError as error:
            return self._unsent(identity, error)
        self._sent(1)
        return Sent.OK

    def send_together(self, identity: bytes, frames: Sequence[bytes]) -> Sent:
        """All of ``frames`` (at least one) or none, as the parts of one ZeroMQ message: a quarter of the work of
        as many messages. The peer reads part by part and never needs to know. The caller bounds the bytes: the
        high-water mark counts this as one.
        """
        socket = self._socket
        if socket is None:
            return Sent.GONE
        try:
            socket.send(identity, _SNDMORE)  # the only part that can be refused
            for frame in frames[:-1]:
                socket.send(frame, _SNDMORE)
            socket.send(frames[-1], _NOBLOCK)
        except zmq.Again:
            return Sent.SLOW
        except zmq.ZMQError as error:
            return self._unsent(identity, error)
        self._sent(len(frames))
        return Sent.OK

    def _unsent(self, identity: bytes, error: zmq.ZMQError) -> Sent:
        if error.errno == zmq.EHOSTUNREACH:
            self._vetted.pop(identity, None)
            return Sent.GONE
        raise error

    def _sent(self, frames: int) -> None:
        self.frames_out += frames
        # Inside a drain the loop below reads on by itself; outside, the send may have swallowed the wake-up. Once a
        # turn is enough: the look costs as much as a send, and a turn of market data is many.
        if not self._draining and not self._looking:
            self._looking = True
            self._loop.call_soon(self._look)

    def credentials(self, identity: bytes) -> PeerCredentials | None:
        """The sender's credentials; answers only while its frame is being handled."""
        if self._current is None or self._current[0] != identity:
            return None
        known = self._vetted.get(identity)
        if known is not None:
            return known
        try:
            _host, uid, gid, pid = self._current[1].get("Peer-Address").split(":")
            found = PeerCredentials(int(uid), int(gid), int(pid))
        except (zmq.ZMQError, ValueError):
            return None
        # An identity that starts with a zero byte is ZeroMQ's own and belongs to one connection for ever; one that a
        # peer chose may be another process's next time, so it is asked anew.
        if identity[:1] == b"\0" and len(self._vetted) < VETTED_MAX:
            self._vetted[identity] = found
        return found

    def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is None:
            return
        self._loop.remove_reader(self._fd)
        socket.close(CLOSE_LINGER_MS)  # what was just said still leaves; a peer that does not read costs no more
        self.path.unlink(missing_ok=True)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain_scheduled)

    def _look(self) -> None:
        self._looking = False
        if self._readable():
            self._drain()

    def _drain_scheduled(self) -> None:
        self._scheduled = False
        self._drain()

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        try:
            for _ in range(self._drain_max):
                # Asking first is several times cheaper than running into EAGAIN, which is an exception.
                if not self._take_one() or not self._readable():
                    return
            self._schedule()
        finally:
            self._draining = False

    def _readable(self) -> bool:
        return self._socket is not None and bool(int(self._socket.getsockopt(_EVENTS)) & _POLLIN)

    def _take_one(self) -> bool:
        """Hand one message on; False when there is none (or the door closed under us)."""
        socket = self._socket
        if socket is None:
            return False
        try:
            identity = socket.recv(_NOBLOCK)
            if identity in self._vetted:
                frame, carrier = socket.recv(_NOBLOCK), None
            else:
                carrier = socket.recv(_NOBLOCK, copy=False)  # the frame object carries the peer's credentials
                frame = carrier.bytes
        except zmq.Again:
            return False
        if socket.getsockopt(_RCVMORE):
            self._skip_rest(socket)
            return True
        self.frames_in += 1
        self._current = (identity, carrier)
        try:
            self._on_frame(identity, frame)
        finally:
            self._current = None
        return True

    def _skip_rest(self, socket: zmq.Socket[bytes]) -> None:
        self.bad_parts += 1
        while socket.getsockopt(zmq.RCVMORE):
            socket.recv(zmq.NOBLOCK, copy=False)
