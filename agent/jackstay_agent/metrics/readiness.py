"""/ready: may a bot count on this agent now? Pure: facts in, reasons out (none: yes).

Being alive is another question (/live): an agent whose venue is down is well, and restarting it would only add to the
trouble. So nothing but an answer at all stands for /live.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

SHUT = frozenset({"open", "forced_open"})
SHEDS_ORDERS = 3


def reasons(status: Mapping[str, Any], *, counted: Collection[str], missing: Collection[str]) -> list[str]:
    """Why not. ``counted``: profiles and hosts the configuration names, the others are nobody's promise; ``missing``:
    doors whose sockets are gone.
    """
    found = [f"door: {name} is gone from the agent's folder, no bot can come in: restart the agent" for name in missing]
    if status["state"] != "running":
        found.append(f"agent: {status['state']}")
    if status["queue"]["degraded"]:
        found.append(f"outbox: {status['queue']['degraded']}")
    if status["overload"]["level"] >= SHEDS_ORDERS:
        found.append("agent: overloaded, new orders are refused")
    for origin, upstream in status["upstreams"].items():
        host = origin.partition("://")[2]
        if upstream["profile"] in counted or host in counted or host.partition(":")[0] in counted:
            found += [f"venue: {host}: {why}" for why in _troubles(upstream)]
    return found


def _troubles(upstream: Mapping[str, Any]) -> list[str]:
    found = []
    if upstream["pool"]["live"] == 0:
        found.append(f"no connection ({upstream['pool']['last_error'] or 'never dialled'})")
    if upstream["breakers"]["orders"]["state"] in SHUT:
        found.append("the breaker of orders is open")
    found += [
        f"the venue refuses this address for {gate['left_s']:.0f} s: {gate['why']}"
        for gate in upstream["limits"]["gates"]
        if gate["scope"] == "ip"
    ]
    return found
