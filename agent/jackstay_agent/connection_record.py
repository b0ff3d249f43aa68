"""What a `ConnectionManager` knows of one connection: its state, its options, its queue and its record.

The state table is here; who moves a connection, and when, is the manager's. Options and credentials are checked before
anything is dialled, so that a spelling mistake is told at once and not found in an outage.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from jackstay_protocols.errors import ValidationError

from .connection_link import Link, Outgoing
from .core.health import Health
from .core.redial import Redial

CONNECTION_TYPES = ("http", "websocket")
ID_BYTES_MAX = 128


class ConnectionState(Enum):
    """Where a connection is in its life."""

    CONNECTED = "connected"
    CONNECTING = "connecting"
    DISCONNECTED = "disconnected"  # lost, or not dialled yet
    FAILED = "failed"  # the last dial or validation failed
    MAINTENANCE = "maintenance"  # held by an operator or a scenario: nothing is sent, nothing is dialled


_C = ConnectionState

MOVES: dict[ConnectionState, frozenset[ConnectionState]] = {
    _C.DISCONNECTED: frozenset({_C.CONNECTING, _C.MAINTENANCE}),
    _C.CONNECTING: frozenset({_C.CONNECTED, _C.FAILED, _C.DISCONNECTED, _C.MAINTENANCE}),
    _C.CONNECTED: frozenset({_C.DISCONNECTED, _C.FAILED, _C.CONNECTING, _C.MAINTENANCE}),
    _C.FAILED: frozenset({_C.CONNECTING, _C.MAINTENANCE}),
    _C.MAINTENANCE: frozenset({_C.DISCONNECTED}),
}


@dataclass
class ConnectionHealth:
    """Health in figures: latency in milliseconds (EWMA), loss and quality from 0 to 1 (formulas: core/health.py)."""

    last_heartbeat: datetime
    latency_ms: float
    packet_loss: float
    connection_quality: float
    uptime_seconds: int
    reconnect_count: int
    last_error: str | None

    def to_dict(self) -> dict[str, Any]:
        """All fields, the time as ISO 8601 in UTC."""
        return {**asdict(self), "last_heartbeat": self.last_heartbeat.isoformat()}


OPTIONS = (
    "headers",
    "timeout_s",
    "heartbeat_interval_s",
    "pong_timeout_s",
    "health_path",
    "ssl_context",
    "auto_reconnect",
    "queue_max",
    "message_ttl_s",
    "on_message",
    "on_answer",
)
CREDENTIALS = ("headers", "bearer_token", "api_key", "api_key_header")


class Connection:
    """One named connection: its link, its queue, its record."""

    def __init__(self, name: str, kind: str, endpoint: str, place: str) -> None:
        self.name = name
        self.kind = kind
        self.endpoint = endpoint  # may hold secrets in its path: never shown
        self.place = place
        self.state = ConnectionState.DISCONNECTED
        self.link: Link
        self.health: Health
        self.redial: Redial
        self.queue: deque[tuple[float, Outgoing]] = deque()
        self.queue_bytes = 0
        self.queue_max = 0
        self.ttl_s = 0.0
        self.auto_reconnect = True
        self.connected_at: float | None = None
        self.ever_up = False
        self.reconnects = 0
        self.last_error: str | None = None
        self.sent = self.expired = self.unknown = self.refused = 0
        self.dialling = asyncio.Lock()
        self.flushing = asyncio.Lock()
        self.tasks: set[asyncio.Task[None]] = set()
        self.retry: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        return self.state is ConnectionState.MAINTENANCE

    def move(self, state: ConnectionState) -> None:
        """Raises AssertionError on a move the table does not know: a bug of ours."""
        if state is self.state:
            return
        assert state in MOVES[self.state], f"connection {self.name} is {self.state.value} and cannot be {state.value}"
        self.state = state


def place_of(kind: str, endpoint: str) -> str:
    """Scheme, host and port: what may be shown. Raises ValidationError for an endpoint that cannot be dialled."""
    schemes = ("ws", "wss") if kind == "websocket" else ("http", "https")
    if not isinstance(endpoint, str):
        raise ValidationError(f"endpoint is a {type(endpoint).__name__}; a URL is expected")
    with contextlib.suppress(ValueError):
        parts = urlsplit(endpoint)
        clean = endpoint.isascii() and all(" " < c != "\x7f" for c in endpoint)
        if parts.scheme in schemes and parts.hostname and parts.username is None and parts.port != 0 and clean:
            return f"{parts.scheme}://{parts.netloc}"
    raise ValidationError(
        f"endpoint of a {kind} connection; {' or '.join(f'{s}://HOST[:PORT]' for s in schemes)} without spaces,"
        " user name and password is expected"
    )


def known(given: Mapping[str, Any], names: tuple[str, ...], what: str) -> dict[str, Any]:
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
            raise ValidationError(f"unknown {what} {name!r}; {hint}")
    return dict(given)


def credential_headers(credentials: Mapping[str, Any]) -> dict[str, str]:
    given = known(credentials, CREDENTIALS, "credential")
    headers = dict(given.get("headers", {}))
    if "bearer_token" in given:
        headers["Authorization"] = f"Bearer {given['bearer_token']}"
    if "api_key" in given:
        if "api_key_header" not in given:
            raise ValidationError("credentials with api_key need api_key_header: the header's name at this venue")
        headers[str(given["api_key_header"])] = str(given["api_key"])
    return headers
