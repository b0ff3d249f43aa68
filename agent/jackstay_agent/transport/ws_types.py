"""What is said about a WebSocket by those who never touch one: settings, ends, codes.

Apart from the connection, whose library is five megabytes of an agent that may never dial one (ws_dial.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

TEXT = 1
BINARY = 2

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
NO_CODE = 1005
ABNORMAL = 1006
INVALID_TEXT = 1007
TOO_BIG = 1009

LATE_S = 0.25  # a timer this late means that this process did not run

OnMessages = Callable[[list[bytes]], None]


@dataclass(frozen=True, slots=True)
class WsSettings:
    """Bounds and rhythms of one WebSocket; 0 turns a rhythm off."""

    message_bytes_max: int = 16 * 1024 * 1024  # the largest known venue snapshots are a few megabytes
    write_bytes_max: int = 1024 * 1024  # subscriptions and orders are small; more means the peer stopped reading
    ping_interval_s: float = 15.0
    pong_timeout_s: float = 10.0
    close_wait_s: float = 1.0  # how long the peer may take to answer our close
    read_buffer_bytes: int = 64 * 1024  # one turn's batch of small messages


@dataclass(frozen=True, slots=True)
class WsClosed:
    """How a connection ended: who ended it, with which code (RFC 6455 §7.4), and why in words.

    ``by`` is "us", "peer" (a close frame came) or "network" (the line ended without one). ``reason`` is the stable word
    a program may compare: TIMEOUT (a pong is missing), PROTOCOL, RESPONSE_TOO_LARGE, RESET, or "" for an orderly end.
    """

    by: str
    code: int
    reason: str
    detail: str
