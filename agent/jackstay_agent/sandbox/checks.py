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
        ("POST", "/fapi/v1/algoOrder"),
        ("POST", "/api/v3/order/cancelReplace"),
        ("POST", "/api/v3/order/oco"),
        ("POST", "/api/v3/orderList/oco"),
        ("WS", "order.place"),
        ("WS", "usdm/order.place"),
        ("WS", "usdm/algoOrder.place"),
        ("WS", "order.cancelReplace"),
        ("POST", "/v5/order/create"),
        ("POST", "/v5/order/create-batch"),
        ("POST", "/0/private/AddOrder"),
        ("POST", "/0/private/AddOrderBatch"),
        ("WS", "kraken/add_order"),
        ("WS", "kraken/batch_add"),
        ("POST", "/api/v5/trade/order"),
        ("POST", "/api/v5/trade/batch-orders"),
        ("POST", "/api/v5/trade/order-algo"),
        ("WS", "okx/order"),
        ("WS", "okx/batch-orders"),
        ("WS", "bybit/order.create"),
        ("WS", "bybit/order.create-batch"),
    }
)


def is_placing(row: Row) -> bool:
    return (row.method, row.path) in PLACING


UNKNOWN = frozenset({"reset", "none", 408, 500, 502, 503, 504, 520})
MARK = "MARK"


def run(rows: Iterable[Row]) -> dict[str, list[dict[str, Any]]]:
    """Every check by name; an empty list means nothing was found."""
    everything = list(rows)
    placing = [row for row in everything if is_placing(row)]
    twice = _sent_twice(placing)
    return {
        "sent_twice": twice,
        "executed_twice": [found for found in twice if found["executed"] > 1],
        "equal_while_unknown": _equal_while_unknown(everything),
        "after_gate": _after_gate(everything),
        "older_than_ttl": [_brief(row) | {"age_ms": row.age_ms} for row in everything if _stale(row)],
        "foreign_order_touched": [_brief(row) for row in everything if "foreign" in row.notes],
        "protective_order_cancelled": [_brief(row) for row in everything if "protective" in row.notes],
        "position_enlarged": [_brief(row) for row in everything if "enlarged" in row.notes],
    }


def _brief(row: Row) -> dict[str, Any]:
    return {"seq": row.seq, "method": row.method, "path": row.path, "client_order_id": row.client_order_id}


def _stale(row: Row) -> bool:
    """Received later than its own recvWindow allows: somebody held it back too long, and it was not the venue."""
    return row.age_ms is not None and row.ttl_ms is not None and row.age_ms - row.stalled_ms > row.ttl_ms


def _after_gate(rows: list[Row]) -> list[dict[str, Any]]:
    """Placements received after a `gate` mark and before an `open` mark (marks are set over the administration)."""
    found, shut = [], False
    for row in rows:
        if row.method == MARK:
            shut = {"gate": True, "open": False}.get(row.path, shut)
        elif shut and is_placing(row):
            found.append(_brief(row))
    return found


def _equal_while_unknown(rows: list[Row]) -> list[dict[str, Any]]:
    """An equal order under another name while nobody had asked what became of the first one."""
    unknown: dict[tuple[str, str, str], Row] = {}
    found = []
    for row in rows:
        if is_placing(row) and row.intent:
            name = (row.api_key, row.symbol, row.intent)
            first = unknown.get(name)
            if first is not None and first.client_order_id != row.client_order_id:
                found.append(_brief(row) | {"unknown_seq": first.seq, "executed": [first.executed, row.executed]})
            if row.status in UNKNOWN or "unknown" in row.notes:
                unknown[name] = row
        elif row.status == 200 and row.lane == "query" and "refused" not in row.notes:
            # any answered look at orders settles what was unknown for that key and symbol
            for key in [k for k in unknown if k[0] == row.api_key and row.symbol in ("", k[1])]:
                del unknown[key]
    return found


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
