"""The ledger: every request the venue received, written on receipt, before any fault, and what became of it.

Tests judge the agent by this and never by the agent's word. Rows hold no secrets: API keys are aliases, signatures are
not kept.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

ROWS_MAX = 500_000
_PLACING = {("POST", "/api/v3/order"), ("POST", "/api/v3/order/cancelReplace")}


class Ledger:
    """Rows by arrival. ``status``: the HTTP status answered, "reset", "none", or "open" while undecided."""

    def __init__(self) -> None:
        self.rows: deque[dict[str, Any]] = deque(maxlen=ROWS_MAX)
        self._serial = 0

    def receive(
        self,
        *,
        connection: int,
        method: str,
        path: str,
        params: dict[str, str],
        api_key: str,
    ) -> dict[str, Any]:
        self._serial += 1
        row: dict[str, Any] = {
            "seq": self._serial,
            "at": time.monotonic(),
            "wall": time.time(),
            "connection": connection,
            "method": method,
            "path": path,
            "symbol": params.get("symbol"),
            "client_order_id": params.get("newClientOrderId") or params.get("origClientOrderId"),
            "side": params.get("side"),
            "type": params.get("type"),
            "quantity": params.get("quantity"),
            "price": params.get("price"),
            "timestamp": params.get("timestamp"),
            "api_key": api_key,
            "lane": lane_guess(method, path),
            "fault": None,
            "status": "open",
            "executed": False,
            "order_id": None,
        }
        self.rows.append(row)
        return row

    def query(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        """Rows that match all filters; ``since`` is a sequence number."""
        since = int(filters.get("since", 0))
        wanted = {key: value for key, value in filters.items() if key != "since"}
        return [
            row
            for row in self.rows
            if row["seq"] > since and all(str(row.get(key)) == value for key, value in wanted.items())
        ]

    def checks(self) -> dict[str, Any]:
        """Ready answers to the questions tests ask most; empty lists are good news."""
        placed: Counter[tuple[str, str]] = Counter()
        executed: Counter[tuple[str, str]] = Counter()
        after_gate = []
        gated_until = 0.0
        for row in self.rows:
            if row["at"] < gated_until:
                after_gate.append(row["seq"])
            if row["status"] in (418, 429) and row.get("retry_after_s"):
                gated_until = max(gated_until, row["at"] + row["retry_after_s"])
            if (row["method"], row["path"]) in _PLACING and row["client_order_id"]:
                who = (row["api_key"], row["client_order_id"])
                placed[who] += 1
                executed[who] += bool(row["executed"])
        return {
            "sent_twice": [client_id for (_key, client_id), count in placed.items() if count > 1],
            "executed_twice": [client_id for (_key, client_id), count in executed.items() if count > 1],
            "after_gate": after_gate,
            "requests": len(self.rows),
            "executed": sum(1 for row in self.rows if row["executed"]),
        }

    def clear(self) -> None:
        self.rows.clear()


def lane_guess(method: str, path: str) -> str:
    """The lane a careful agent would use, as the venue sees it."""
    if method == "GET":
        return "query"
    if method == "DELETE":
        return "derisk"
    return "order" if "order" in path.lower() else "other"
