"""One request at a pool (journey step 7): its bytes, its deadline, who hears of its end.

Its bytes may be made anew at the moment they leave: a signature says when it was made, and a venue refuses one that is
older than its window, which a wait for a connection to a slow venue can be (found by the soak).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jackstay_protocols.errors import Lane

if TYPE_CHECKING:
    from .http import Done, HttpPool
    from .http_connection import HttpConnection

#: Target, headers and body, signed at the moment of the call.
Sealed = Callable[[], tuple[bytes, list[tuple[bytes, bytes]], bytes]]


class Ticket:
    """One submitted request; the caller may `abandon` it."""

    __slots__ = (
        "connection",
        "data",
        "deadline_at",
        "decode",
        "done",
        "head",
        "idempotent",
        "lane",
        "pool",
        "repeated",
        "seal",
        "submitted_at",
        "written",
    )

    def __init__(
        self, pool: HttpPool, data: bytes, deadline_at: float, done: Done, *, idempotent: bool, head: bool, decode: bool
    ) -> None:
        self.pool = pool
        self.data = data
        self.deadline_at = deadline_at
        self.done: Done | None = done
        self.idempotent = idempotent
        self.lane = Lane.OTHER  # where it waits (waiting.py)
        self.seal: Callable[[], bytes] | None = None  # its bytes as they have to be when it leaves later
        self.head = head
        self.decode = decode
        self.connection: HttpConnection | None = None
        self.written = False
        self.repeated = False
        self.submitted_at = pool.clock()

    def abandon(self) -> None:
        """The caller no longer waits and will not be called back; a written request costs its connection."""
        if self.done is None:
            return
        self.done = None
        self.pool.abandoned(self)
