"""Ready verdicts over the ledger: what no well-behaved client (and no agent) should ever have done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from .ledger import Row

PLACING = frozenset(
    {
        ("POST", "/api/v3/order"),
        ("POST", "/fapi/v1/order"),
        ("WS", "order.place"),
        ("POST", "/v5/order/create"),
        ("POST", "/0/private/AddOrder"),
        ("POST", "/api/v5/trade/order"),
        ("POST", "/api/v5/trade/batch-orders"),
    }
)


def is_placing(row: Row) -> bool:
    return (row.method, row.path) in PLACING


def run(rows: Iterable[Row]) -> dict[str, list[dict[str, Any]]]:
    """Every check by name; an empty list means nothing was found."""
    placing = [row for row in rows if is_placing(row)]
    return {
        "sent_twice": _sent_twice(placing),
        "executed_twice": [found for found in _sent_twice(placing) if found["executed"] > 1],
    }


def _sent_twice(placing: list[Row]) -> list[dict[str, Any]]:
    """Placements received more than once: the same client order id, or byte for byte the same signed request."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in placing:
        name = ("client_order_id", row.client_order_id) if row.client_order_id else ("request", row.digest)
        groups[(row.symbol, *name)].append(row)
    return [
        {
            "by": by,
            "client_order_id": rows[0].client_order_id,
            "symbol": symbol,
            "seqs": [row.seq for row in rows],
            "executed": sum(row.executed for row in rows),
        }
        for (symbol, by, name), rows in groups.items()
        if name and len(rows) > 1
    ]
