"""Continuous faults: always a little latency and loss, and on top a spell that changes every few seconds.

A storm is the spells at their worst, one after the other. The warm-up has several: what the agent ever needs at once it
has then needed, and memory that grows later grows for another reason than that the worst minute came late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

from intended import ORDER
from jackstay_agent.sandbox import SandboxProcess

ANY_ORDER = f"POST {ORDER}"
#: always there: (kind, what it takes)
CLIMATE: list[tuple[str, dict[str, Any]]] = [
    ("reset_after", {"route": ANY_ORDER, "probability": 0.002}),
    ("reset_before", {"route": ANY_ORDER, "probability": 0.002}),
    ("drop_reply", {"route": ANY_ORDER, "probability": 0.0005}),
    ("truncate", {"route": "/api/", "probability": 0.001}),
    ("answer", {"route": "/api/", "probability": 0.001, "status": 503, "body": "<html>busy</html>"}),
    ("latency", {"ms": 3.0, "jitter_ms": 4.0}),
]
#: one of them at a time: (kind, what it takes); "maintenance" and "clock" are not faults of single requests
SPELLS: list[tuple[str, dict[str, Any]]] = [
    ("fair", {}),
    ("latency", {"ms": 80.0, "jitter_ms": 100.0, "distribution": "exponential"}),
    ("reset_after", {"route": "/api/", "probability": 0.05}),
    ("stall", {"route": ANY_ORDER, "probability": 0.005}),
    ("half_open", {"route": ANY_ORDER, "probability": 0.002}),
    ("hidden", {"ms": 100.0}),  # within the visibility delay that the profile states
    ("rate_limit", {"route": ANY_ORDER, "count": 1, "duration_s": 1.0}),
    ("reject", {"route": ANY_ORDER, "probability": 0.05, "reason": "insufficient_balance"}),
    ("content_type", {"route": ANY_ORDER, "probability": 0.02}),
    ("oversize", {"route": "GET /api/v3/ticker/price", "count": 1, "bytes": 16 * 1024 * 1024}),
    ("drip", {"route": "GET /api/v3/ticker/price", "count": 20, "delay_ms": 2.0}),
    ("stream_reset", {}),
    ("stream_half_open", {}),
    ("maintenance", {}),
    ("clock", {"offset_ms": 300}),  # inside the window a signature has here, or the venue itself would call it stale
]
#: nearly every order waits for its deadline, the largest bodies come in a row
STORM: list[tuple[str, dict[str, Any]]] = [
    ("stall", {"route": ANY_ORDER, "probability": 0.95}),
    ("oversize", {"route": "GET /api/v3/ticker/price", "count": 20, "bytes": 16 * 1024 * 1024}),
    ("latency", {"ms": 1500.0, "jitter_ms": 500.0}),
    ("reset_after", {"route": "/api/", "probability": 0.5}),
    ("half_open", {"route": ANY_ORDER, "probability": 0.2}),
    ("stall", {"route": ANY_ORDER, "probability": 0.95}),
    ("fair", {}),
]
STRUCK_AT_ONCE = frozenset({"stream_reset", "stream_half_open"})


class Weather:
    """Changes when told to; counts what it did."""

    def __init__(self, venue: SandboxProcess, seed: int) -> None:
        self._venue = venue
        self._chance = Random(seed)
        self._storm: Iterator[tuple[str, dict[str, Any]]] = iter(())
        self.spells: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()

    def storm(self) -> None:
        """The next spells are a storm's."""
        self._storm = iter(STORM)

    def change(self) -> str:
        """The next spell; its name."""
        self.calm()
        admin = self._venue.admin
        for kind, params in CLIMATE:
            admin.fault(kind, **params)
        kind, params = next(self._storm, None) or self._chance.choice(SPELLS)
        self.spells[kind] += 1
        if kind == "maintenance":
            admin.mode("maintenance", for_s=2.0)
        elif kind == "clock":
            admin.clock(int(params["offset_ms"]) * self._chance.choice((-1, 1)))
        elif kind in STRUCK_AT_ONCE:
            self.struck[kind] += admin.strike(kind)
        elif kind != "fair":
            admin.fault(kind, **params)
        return kind

    def calm(self) -> None:
        admin = self._venue.admin
        for each in admin.faults():
            self.struck[str(each["kind"])] += int(each["struck"])
        admin.clear()
        admin.clock(0)
