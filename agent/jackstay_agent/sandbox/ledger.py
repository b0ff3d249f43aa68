"""The judge's memory: every request as the venue received it, and what became of it as the engine knows it.

A row is written on receipt, before any fault is applied, so that a request the venue swallowed is still on record.
Administration requests are never in here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

ROWS_KEPT_MAX = 500_000


@dataclass(slots=True)
class Row:
    """One request. `at` is monotonic seconds, `wall` seconds since the epoch; `status` is an HTTP status or what
    happened instead: "reset" (the connection was reset), "none" (never answered), "" (not decided yet)."""

    seq: int
    at: float
    wall: float
    connection: int
    method: str
    path: str
    client_order_id: str
    symbol: str
    api_key: str
    lane: str
    digest: str = ""
    fault: str = ""
    status: int | str = ""
    executed: bool = False
    order_id: int | str | None = None
    # what the order asks for, in words, so that equal orders under different names can be told
    intent: str = ""
    # how old the request says it is, in milliseconds; and how old it may become (recvWindow)
    age_ms: int | None = None
    ttl_ms: int | None = None
    # for how much of that age the venue's own loop stood still (counted where the request came too late)
    stalled_ms: int = 0
    # what the engine noticed: "foreign" (another key's order), "protective" (a stop), "enlarged" (a position grew),
    # "unknown" (its answer left open what became of it), "refused" (a no in an answer of status 200)
    notes: list[str] = field(default_factory=list)


class Ledger:
    """Rows by sequence number, oldest forgotten first; `touched` collects rows not yet saved."""

    def __init__(self) -> None:
        self._rows: deque[Row] = deque(maxlen=ROWS_KEPT_MAX)
        self.touched: list[Row] = []
        self.next_seq = 1

    def receive(self, row: Row) -> Row:
        self._rows.append(row)
        self.touched.append(row)
        self.next_seq = row.seq + 1
        return row

    def decided(self, row: Row, status: int | str, *, executed: bool, order_id: int | str | None) -> None:
        """What became of the request; also called for requests whose answer never left."""
        row.status, row.executed, row.order_id = status, executed, order_id
        self.touched.append(row)

    def clear(self) -> None:
        self._rows.clear()
        self.touched.clear()
        self.next_seq = 1

    def rows(self) -> list[Row]:
        return list(self._rows)

    def query(
        self, since: int = 0, path: str = "", method: str = "", client_order_id: str = "", limit: int = ROWS_KEPT_MAX
    ) -> list[dict[str, Any]]:
        """The latest `limit` rows after number `since`, of exactly this path (`/api/*`: of all that begin so)."""
        found = [
            row
            for row in self._rows
            if row.seq > since
            and (not path or row.path == path or (path.endswith("*") and row.path.startswith(path[:-1])))
            and (not method or row.method == method)
            and (not client_order_id or row.client_order_id == client_order_id)
        ]
        return [asdict(row) for row in found[-limit:]]
