"""The judge's memory of streams: every message a stream carried, to which connections, and what a fault made of it.

A message the venue kept back has a row too, with the fault's name and without connections.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import orjson

ROWS_KEPT_MAX = 200_000
BYTES_KEPT_MAX = 64 * 1024 * 1024
SHOWN_MAX = 10_000


class StreamLog:
    """Rows of (seq, monotonic seconds, stream, payload, connections, fault), oldest forgotten first."""

    def __init__(self) -> None:
        self._rows: deque[tuple[int, float, str, bytes, tuple[int, ...], str]] = deque()
        self._bytes = 0
        self.next_seq = 1

    def note(self, stream: str, data: bytes, connections: tuple[int, ...], fault: str) -> None:
        kept = bytes(memoryview(data))  # a copy of its own size: orjson keeps its whole buffer behind each message
        self._rows.append((self.next_seq, time.monotonic(), stream, kept, connections, fault))
        self.next_seq += 1
        self._bytes += len(data)
        while self._bytes > BYTES_KEPT_MAX or len(self._rows) > ROWS_KEPT_MAX:
            self._bytes -= len(self._rows.popleft()[3])

    def clear(self) -> None:
        self._rows.clear()
        self._bytes = 0

    def query(
        self, *, stream: str = "", connection: int = 0, fault: str = "", since: int = 0, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """The latest `limit` rows after number `since`, of streams that begin with `stream`; `fault` "*" means any."""
        offset = time.time() - time.monotonic()
        found: list[dict[str, Any]] = []
        for seq, at, name, data, connections, struck in reversed(self._rows):
            if seq <= since or len(found) >= min(limit, SHOWN_MAX):
                break
            if not name.startswith(stream) or (connection and connection not in connections):
                continue
            if fault and fault != struck and not (fault == "*" and struck):
                continue
            row = {"seq": seq, "at": at, "wall": at + offset, "stream": name, "connections": connections}
            found.append(row | {"fault": struck, "message": orjson.loads(data)})
        return found[::-1]
