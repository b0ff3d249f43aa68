"""Ask a running agent over control.sock: one command, one answer, with a time-out of its own.

control.sock shares the agent's loop, so "no answer in time" is a finding and not a bug of the asker: the agent is
unresponsive.
"""

from __future__ import annotations

import socket as sockets
from pathlib import Path
from typing import Any

import zmq

from jackstay_protocols.codec import decode, encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.errors import AgentGone, Outcome, Refused
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Command, Done, Refusal


def ask(socket_path: Path, verb: str, args: dict[str, Any] | None = None, *, timeout_s: float = 3.0) -> dict[str, Any]:
    """Raises AgentGone when nobody listens or answers in time, Refused with the agent's reason."""
    if not socket_path.exists():
        raise AgentGone(f"no agent at {socket_path}", outcome=Outcome.FAILED)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IMMEDIATE, 1)  # never queue for an agent that may come later
    try:
        socket.connect(ipc(socket_path))
        timeout_ms = int(timeout_s * 1000)
        if not socket.poll(timeout_ms, zmq.POLLOUT):
            raise _absent(socket_path, timeout_s)
        socket.send(encode(Command(verb, args or {}), id=1))
        if not socket.poll(timeout_ms):
            raise _unresponsive(socket_path, timeout_s)
        _header, answer = decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
    finally:
        socket.close(0)
        context.term()
    if isinstance(answer, Refusal):
        raise Refused(answer.message, reason=answer.reason, retry_after_s=answer.retry_after_s)
    assert isinstance(answer, Done)
    return answer.data


def _unresponsive(socket_path: Path, timeout_s: float) -> AgentGone:
    return AgentGone(f"the agent behind {socket_path} gave no answer in {timeout_s:g} s: it is unresponsive")


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
