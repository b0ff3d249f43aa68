"""Ask a running agent over control.sock: one command, one answer, with a time-out of its own.

control.sock shares the agent's loop, so "no answer in time" is a finding and not a bug of the asker: the agent is
unresponsive.
"""

from __future__ import annotations

import socket as sockets
import time
from pathlib import Path
from struct import Struct
from typing import Any

import zmq

from jackstay_protocols.codec import decode, encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.errors import AgentGone, Outcome, Refused
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Command, Done, Refusal

_EVENT = Struct("=hi")  # a monitor's first frame: which event, its value (zmq_socket_monitor)


def ask(socket_path: Path, verb: str, args: dict[str, Any] | None = None, *, timeout_s: float = 3.0) -> dict[str, Any]:
    """Raises AgentGone when nobody listens, answers in time or lives to answer; Refused with the agent's reason."""
    if not socket_path.exists():
        raise AgentGone(f"no agent at {socket_path}", outcome=Outcome.FAILED)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    # Not by IMMEDIATE: with it libzmq drops an answer that was not read yet when the agent ends right behind it
    # (session_base_t::reconnect terminates the pipe without delay).
    line = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    try:
        socket.connect(ipc(socket_path))
        timeout_ms = int(timeout_s * 1000)
        if not _happens(line, zmq.EVENT_HANDSHAKE_SUCCEEDED, timeout_ms):
            raise _absent(socket_path, timeout_s)
        socket.send(encode(Command(verb, args or {}), id=1))  # whoever has it: this socket goes with the first end
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(line, zmq.POLLIN)
        came = poller.poll(timeout_ms)
        if not socket.poll(0):  # what it said before its end counts
            raise _gone_meanwhile(socket_path) if came else _unresponsive(socket_path, timeout_s)
        _header, answer = decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
    finally:
        socket.disable_monitor()
        line.close(0)
        socket.close(0)
        context.term()
    if isinstance(answer, Refusal):
        raise Refused(answer.message, reason=answer.reason, retry_after_s=answer.retry_after_s)
    assert isinstance(answer, Done)
    return answer.data


def _unresponsive(socket_path: Path, timeout_s: float) -> AgentGone:
    return AgentGone(f"the agent behind {socket_path} gave no answer in {timeout_s:g} s: it is unresponsive")


def _gone_meanwhile(socket_path: Path) -> AgentGone:
    words = f"the agent behind {socket_path} ended before it answered: what it did of this is not known"
    return AgentGone(words, outcome=Outcome.UNKNOWN)


def _happens(line: zmq.Socket[bytes], event: int, timeout_ms: int) -> bool:
    """Whether this is told of the line in that time; other events before it are an earlier agent's."""
    until = time.monotonic() + timeout_ms / 1000
    while line.poll(max(0, int((until - time.monotonic()) * 1000))):
        number, _value = _EVENT.unpack(line.recv_multipart()[0])
        if number == event:
            return True
    return False


def listening(socket_path: Path) -> bool:
    """A file nobody listens on is a leftover; a listener that does not shake hands is alive but stuck."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        try:
            probe.connect(str(socket_path))
        except OSError:
            return False
    return True


def _absent(socket_path: Path, timeout_s: float) -> AgentGone:
    if not listening(socket_path):
        return AgentGone(f"nobody listens on {socket_path}: a leftover of a dead agent", outcome=Outcome.FAILED)
    return _unresponsive(socket_path, timeout_s)
