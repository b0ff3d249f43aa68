"""What an operator may set on the connection manager; values only, so that a configuration imports no socket."""

from __future__ import annotations

import msgspec


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds and rhythms of the manager; times in seconds."""

    connections_max: int = 256
    connect_timeout_s: float = 10.0
    send_timeout_s: float = 10.0
    probe_timeout_s: float = 5.0
    heartbeat_interval_s: float = 15.0
    pong_timeout_s: float = 10.0
    queue_max: int = 1000  # messages per connection
    queue_bytes_max: int = 8 * 1024 * 1024
    message_ttl_s: float = 60.0  # what waits longer is reported expired, not sent (DESIGN §3 rule 3)
    reconnect_attempts_max: int = 5  # of one reconnect_connection call; the automatic reconnect goes on
    backoff_min_s: float = 0.25
    backoff_max_s: float = 30.0
    healthy_s: float = 10.0
    dials_max: int = 60  # per dial_window_s and host
    dial_window_s: float = 60.0
