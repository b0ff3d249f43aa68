"""Faults on demand: by route, probability and count, drawn from the seed.

A fault decides what happens to a request (or a stream) instead of, before or after the honest answer. The first fault
in order of arrival that fits is used; a count that is used up removes it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

REQUEST_KINDS = {
    "latency": "wait ms (+ up to jitter_ms) before processing",
    "reset_before": "reset the connection, nothing processed",
    "reset_after": "process, then reset without a byte of answer",
    "drop_reply": "process, keep the connection open, never answer",
    "stall": "neither process nor answer, keep the connection open",
    "answer": "answer status, reason, headers (pairs, verbatim), body; execute=true processes first",
    "rate_limit": "429 with Retry-After; further requests before that instant: 418",
    "truncate": "process, answer with a Content-Length beyond the body, then close",
    "drip": "process, answer a few bytes at a time (delay_ms)",
    "endless_headers": "headers without end",
    "endless_body": "a chunked body without end",
    "oversize": "a body of so many bytes",
    "garbage": "bytes that are not HTTP",
    "twice": "process, answer two times on the same connection",
}
STREAM_KINDS = {
    "stream_silence": "no stream messages; pings are still answered",
    "stream_drop": "lose each stream message with the probability",
    "stream_twice": "send each stream message twice with the probability",
}
KINDS = REQUEST_KINDS | STREAM_KINDS


class FaultError(ValueError):
    """The description of a fault is wrong."""


@dataclass(slots=True)
class Fault:
    id: str
    kind: str
    route: str = ""  # "" all; "POST /api/v3/order"; "/api/v3" prefix
    probability: float = 1.0
    count: int | None = None
    api_key: str = ""
    symbol: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    used: int = 0

    def fits(self, method: str, path: str, symbol: str, api_key: str) -> bool:
        if (self.symbol and self.symbol != symbol) or (self.api_key and self.api_key != api_key):
            return False
        if not self.route:
            return True
        wanted_method, _, wanted_path = self.route.rpartition(" ")
        if wanted_method:
            return wanted_method == method and wanted_path == path
        return path.startswith(wanted_path)


class FaultBook:
    """The faults that are armed, in order of arrival."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._faults: dict[str, Fault] = {}
        self._serial = 0

    def arm(self, description: dict[str, Any]) -> str:
        """From JSON. Raises FaultError saying what was found and what is expected."""
        given = dict(description)
        kind = given.pop("kind", None)
        if kind not in KINDS:
            raise FaultError(f"fault kind {kind!r}; one of {', '.join(sorted(KINDS))} is expected")
        probability = given.pop("probability", 1.0)
        if not isinstance(probability, int | float) or not 0 <= probability <= 1:
            raise FaultError(f"probability {probability!r}; 0 to 1 is expected")
        count = given.pop("count", None)
        if count is not None and (not isinstance(count, int) or count < 1):
            raise FaultError(f"count {count!r}; a whole number above 0, or none, is expected")
        self._serial += 1
        fault = Fault(
            f"f{self._serial}",
            kind,
            given.pop("route", "") or "",
            float(probability),
            count,
            given.pop("api_key", "") or "",
            given.pop("symbol", "") or "",
            given,
        )
        self._faults[fault.id] = fault
        return fault.id

    def clear(self, fault_id: str | None = None) -> int:
        if fault_id is None:
            count = len(self._faults)
            self._faults.clear()
            return count
        return 1 if self._faults.pop(fault_id, None) else 0

    def draw(self, method: str, path: str, symbol: str, api_key: str) -> Fault | None:
        """The fault for this request, if one strikes; uses up its count."""
        for fault in list(self._faults.values()):
            if fault.kind not in REQUEST_KINDS or not fault.fits(method, path, symbol, api_key):
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            self._use(fault)
            return fault
        return None

    def stream(self, kind: str, symbol: str) -> bool:
        """Does a stream fault of this kind strike this message?"""
        for fault in list(self._faults.values()):
            if fault.kind == kind and (not fault.symbol or fault.symbol == symbol):
                if fault.probability < 1 and self._random.random() >= fault.probability:
                    continue
                self._use(fault)
                return True
        return False

    def jitter(self) -> float:
        return self._random.random()

    def armed(self) -> list[dict[str, Any]]:
        return [
            {"id": fault.id, "kind": fault.kind, "route": fault.route, "count": fault.count, "used": fault.used}
            for fault in self._faults.values()
        ]

    def _use(self, fault: Fault) -> None:
        fault.used += 1
        if fault.count is not None and fault.used >= fault.count:
            self._faults.pop(fault.id, None)
