"""The life of one venue's user stream, as a table: the private WebSocket with an account's own events.

It decides which moves are legal. When they are due, and doing them, is `user_streams`. An illegal move is our bug.

    IDLE       nobody listens
    OPENING    token, dial, login, subscriptions: any of them under way
    LIVE       the venue said yes to all of it: what it tells is heard
    BACKOFF    no connection; the next attempt has its time
    CLOSED     for good

A planned replacement (make before break) happens inside LIVE: listeners notice nothing.
"""

from __future__ import annotations

from enum import StrEnum

from .moves import moved


class StreamState(StrEnum):
    IDLE = "idle"
    OPENING = "opening"
    LIVE = "live"
    BACKOFF = "backoff"
    CLOSED = "closed"


class StreamMove(StrEnum):
    OPEN = "open"
    READY = "ready"  # the venue said yes to all of it
    LOST = "lost"  # an attempt failed, or the connection ended
    UNWANTED = "unwanted"  # the last listener went
    CLOSE = "close"


_S, _M = StreamState, StreamMove

MOVES: dict[StreamState, dict[StreamMove, StreamState]] = {
    _S.IDLE: {_M.OPEN: _S.OPENING, _M.CLOSE: _S.CLOSED},
    _S.OPENING: {_M.READY: _S.LIVE, _M.LOST: _S.BACKOFF, _M.UNWANTED: _S.IDLE, _M.CLOSE: _S.CLOSED},
    _S.LIVE: {_M.LOST: _S.BACKOFF, _M.UNWANTED: _S.IDLE, _M.CLOSE: _S.CLOSED},
    _S.BACKOFF: {_M.OPEN: _S.OPENING, _M.UNWANTED: _S.IDLE, _M.CLOSE: _S.CLOSED},
    _S.CLOSED: {},
}


def move(venue: str, state: StreamState, by: StreamMove) -> StreamState:
    """The next state. Raises IllegalMove."""
    return moved(MOVES, f"user stream of {venue}", state, by)
