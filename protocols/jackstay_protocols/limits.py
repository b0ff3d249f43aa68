"""Every maximum of the wire in one place, the unit in the name, the reason beside it (DESIGN §3 rule 11).

A peer is told these in WELCOME; a client refuses a message past them before it is sent, because ZeroMQ can only cut
an oversize frame off together with the connection.
"""

from __future__ import annotations

WIRE_VERSION = 1
WIRE_VERSION_MIN = 1  # N-1 from version 2 on; the first version has no predecessor

# One order or query with its signature is under 4 KB; the largest legitimate bodies are batch orders and report_state.
TO_AGENT_FRAME_BYTES_MAX = 4 * 1024 * 1024
# Binance's exchangeInfo is over 10 MB of JSON; the agent's reply carries it in one frame.
TO_CLIENT_FRAME_BYTES_MAX = 64 * 1024 * 1024

REQUEST_BODY_BYTES_MAX = 2 * 1024 * 1024
RESPONSE_BODY_BYTES_MAX = 48 * 1024 * 1024
URL_BYTES_MAX = 16 * 1024  # servers commonly stop at 8 KB; Binance signs long queries
METHOD_BYTES_MAX = 16
HEADERS_MAX = 128
HEADER_BYTES_MAX = 64 * 1024  # all names and values of one message
NESTING_DEPTH_MAX = 16  # details and states are shallow; deeper is an attack or a mistake
IDEMPOTENCY_KEY_BYTES_MAX = 128
BOT_ID_BYTES_MAX = 64
AGENT_NAME_BYTES_MAX = 48
TOPIC_BYTES_MAX = 256
TOPICS_PER_SUBSCRIBE_MAX = 1024  # Binance's own limit of streams per socket
ACKS_PER_MESSAGE_MAX = 1024
TEXT_BYTES_MAX = 8 * 1024  # reasons, error messages

DEADLINE_S_MAX = 600.0  # nothing waits longer than ten minutes for an answer
DEADLINE_S_DEFAULT = 10.0  # ccxt's own default timeout
QUEUED_TTL_S_MAX = 24 * 3600.0

HOLD_S_MAX = 0.1  # what a reader may let its market data be collected; older than that is no market data

BEAT_WITHIN_S_DEFAULT = 3.0
BEAT_WITHIN_S_MIN = 0.1
BEAT_WITHIN_S_MAX = 3600.0  # a bot that announces an hour of silence has said so; longer is not a lease

SOCKET_PATH_BYTES_MAX = 107  # sun_path is 108 bytes with its terminating zero (unix(7))

REQUESTS_IN_FLIGHT_PER_PEER_MAX = 4096
PEERS_MAX = 1024
