"""The life of one upstream market data socket, as a table (DESIGN §5 Connections).

It decides which moves are legal and nothing else; when a move is due is `heartbeat` and `redial`, doing it is the feed
manager. An illegal move is a bug of ours and raises with subject, state and move. The documentation's diagram is drawn
from `MOVES`.

    IDLE         nobody wants a topic: no socket
    CONNECTING   a dial is under way
    SUBSCRIBING  connected; no data yet
    LIVE         data came in on this socket
    STALE        a data deadline passed: the socket is being replaced
    BACKOFF      no socket; the next dial has its time
    CLOSED       for good
"""

from __future__ import annotations

from enum import StrEnum

from .moves import moved


class FeedState(StrEnum):
    IDLE = "idle"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    LIVE = "live"
    STALE = "stale"
    BACKOFF = "backoff"
    CLOSED = "closed"


class FeedMove(StrEnum):
    DIAL = "dial"  # topics are wanted, or the backoff is over
    CONNECTED = "connected"
    DATA = "data"  # the first application message on this socket
    SILENT = "silent"  # a data deadline passed
    LOST = "lost"  # the dial failed, or the connection ended
    UNWANTED = "unwanted"  # the last topic went
    CLOSE = "close"


_S, _M = FeedState, FeedMove

MOVES: dict[FeedState, dict[FeedMove, FeedState]] = {
    _S.IDLE: {_M.DIAL: _S.CONNECTING, _M.CLOSE: _S.CLOSED},
    _S.CONNECTING: {_M.CONNECTED: _S.SUBSCRIBING, _M.LOST: _S.BACKOFF, _M.CLOSE: _S.CLOSED},
    _S.SUBSCRIBING: {
        _M.DATA: _S.LIVE,
        _M.SILENT: _S.STALE,
        _M.LOST: _S.BACKOFF,
        _M.UNWANTED: _S.IDLE,
        _M.CLOSE: _S.CLOSED,
    },
    _S.LIVE: {_M.SILENT: _S.STALE, _M.LOST: _S.BACKOFF, _M.UNWANTED: _S.IDLE, _M.CLOSE: _S.CLOSED},
    _S.STALE: {_M.LOST: _S.BACKOFF, _M.UNWANTED: _S.IDLE, _M.CLOSE: _S.CLOSED},
    _S.BACKOFF: {_M.DIAL: _S.CONNECTING, _M.UNWANTED: _S.IDLE, _M.CLOSE: _S.CLOSED},
    _S.CLOSED: {},
}


def move(subject: str, state: FeedState, by: FeedMove) -> FeedState:
    """The next state. Raises IllegalMove."""
    return moved(MOVES, f"feed socket {subject}", state, by)
