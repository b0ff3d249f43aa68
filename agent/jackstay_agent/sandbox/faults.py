"""What may go wrong on request: which fault strikes which request, decided by route, probability and count.

Only the decision is made here; `fault_effects` carries it out on the connection. All chance comes from one seeded
`Random`, so that a run can be repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .answers import Answer, json_answer
from .faces.meanings import MEANINGS
from .weights import Limits

# Each kind with the parameters it takes and their defaults; None means the parameter must be given.
KINDS: dict[str, dict[str, Any]] = {
    "latency": {"ms": 100.0, "jitter_ms": 0.0, "distribution": "uniform"},
    "reset_before": {},
    "reset_after": {},
    "drop_reply": {},
    "stall": {},
    "answer": {
        "status": 200,
        "reason": "",
        "headers": [["Content-Type", "application/json"]],
        "body": "",
        "body_b64": "",
        "execute": False,
    },
    "rate_limit": {"duration_s": 10.0, "ban": False, "ban_s": 120.0},
    "truncate": {"missing_bytes": 10, "execute": True},
    "drip": {"delay_ms": 5.0},
    "endless_headers": {"execute": True},
    "endless_body": {"execute": True},
    "oversize": {"bytes": 64 * 1024 * 1024, "execute": True},
    "reply_twice": {},
    "venue_error": {"name": None, "execute_probability": 0.5},
    "content_type": {"type": "text/html"},
    "half_open": {},
    "hidden": {"ms": 1000.0},
    "lag": {"ms": 1000.0},
    "reject": {"reason": "insufficient_balance"},
    "partial_fill": {"fraction": 0.5},
    "late_fills": {"ms": 1000.0},
    "missing_end": {},
    "stream_silence": {"stream": ""},
    "stream_mute": {"stream": ""},
    "stream_reset": {},
    "stream_half_open": {},
    "server_shutdown": {"after_s": 10.0},
    "switches_fire": {},
    "stream_drop": {"stream": "", "match": {}},
    "stream_duplicate": {"stream": "", "match": {}},
    "stream_reorder": {"stream": "", "match": {}},
    "stream_delay": {"stream": "", "match": {}, "ms": 500.0},
}
# what each kind strikes: single stream messages, subscriptions, order events; or it happens once, when it is armed
STREAM_KINDS = frozenset({"stream_silence", "stream_drop", "stream_duplicate", "stream_reorder", "stream_delay"})
EVENT_KINDS = frozenset({"late_fills", "missing_end"})
IMMEDIATE_KINDS = frozenset({"stream_reset", "stream_half_open", "server_shutdown", "switches_fire"})
NO_REQUEST_KINDS = STREAM_KINDS | EVENT_KINDS | IMMEDIATE_KINDS | {"latency", "stream_mute"}
# the engine's reasons, which a face puts into its venue's own words where the venue knows such a refusal
REASONS = (
    "insufficient_balance", "insufficient_margin", "would_match", "would_trigger", "duplicate_client_id",
    "market_closed", "cancel_only", "reduce_only",
)  # fmt: skip
DISTRIBUTIONS = ("uniform", "exponential", "lognormal")
FAULTS_MAX = 1000


@dataclass(slots=True)
class Fault:
    """One armed fault. `count` is how often it may still strike; None means for ever."""

    id: str
    kind: str
    method: str = ""
    path: str = ""
    probability: float = 1.0
    count: int | None = None
    symbol: str = ""
    connection: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    struck: int = 0
    armed_at: int = 0

    def view(self) -> dict[str, Any]:
        route = f"{self.method} {self.path}".strip()
        return {"id": self.id, "kind": self.kind, "route": route, "probability": self.probability, "count": self.count,
                "symbol": self.symbol, "connection": self.connection, "struck": self.struck, **self.params}  # fmt: skip


class FaultBox:
    """All armed faults. The earliest armed one that matches and strikes wins; latency may come on top."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(f"faults-{seed}")
        self._faults: dict[str, Fault] = {}
        self._next_id = 1

    def arm(self, spec: dict[str, Any], now: int) -> Fault:
        """Arm a fault from its JSON form. ValueError says what is wrong with it."""
        if len(self._faults) >= FAULTS_MAX:
            raise ValueError(f"{FAULTS_MAX} faults are armed already: clear some first")
        spec = dict(spec)
        kind = spec.pop("kind", None)
        if kind not in KINDS:
            raise ValueError(f"unknown fault kind {kind!r}: expected one of {', '.join(sorted(KINDS))}")
        fault = Fault(id=f"f{self._next_id}", kind=kind, armed_at=now)
        fault.method, fault.path = _route(spec.pop("route", None))
        fault.probability = _between(spec.pop("probability", 1.0), 0.0, 1.0, "probability")
        count = spec.pop("count", None)
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ValueError(f"count is {count!r}: expected a whole number from 1, or none")
        fault.count = count
        fault.symbol = str(spec.pop("symbol", "") or "")
        fault.connection = int(spec.pop("connection", 0) or 0)
        unknown = set(spec) - set(KINDS[kind])
        if unknown:
            raise ValueError(f"unknown parameter {sorted(unknown)[0]!r} for {kind}: expected {sorted(KINDS[kind])}")
        fault.params = {**KINDS[kind], **spec}
        _check_params(fault)
        self._next_id += 1
        self._faults[fault.id] = fault
        return fault

    def clear(self, fault_id: str | None = None) -> int:
        """Disarm one fault, or all; returns how many there were."""
        if fault_id is not None:
            return 1 if self._faults.pop(fault_id, None) else 0
        gone = len(self._faults)
        self._faults.clear()
        return gone

    def views(self) -> list[dict[str, Any]]:
        return [fault.view() for fault in self._faults.values()]

    @property
    def armed(self) -> bool:
        return bool(self._faults)

    def silent(self) -> bool:
        """Are the streams to say nothing at all?"""
        return any(
            fault.kind == "stream_silence" and not (fault.params["stream"] or fault.symbol or fault.connection)
            for fault in self._faults.values()
        )

    def mutes(self, stream: str, connection: int) -> bool:
        """Is this subscription to be acknowledged and then forgotten?"""
        return any(
            fault.kind == "stream_mute" and self._strikes_stream(fault, stream, (connection,))
            for fault in list(self._faults.values())
        )

    def pick_event(self, symbol: str, *, is_fill: bool, is_end: bool) -> Fault | None:
        """The fault that strikes this order event, on whichever face's streams it would be told."""
        for fault in list(self._faults.values()):
            wanted = (fault.kind == "late_fills" and is_fill) or (fault.kind == "missing_end" and is_end)
            if wanted and fault.symbol in ("", symbol) and self._happens(fault):
                return fault
        return None

    def delay_ms(self, method: str, path: str, symbol: str, connection: int) -> tuple[float, str]:
        """How long this request must wait, and the id of the fault that says so."""
        for fault in list(self._faults.values()):
            if fault.kind == "latency" and self._strikes(fault, method, path, symbol, connection):
                return float(fault.params["ms"]) + self._jitter(fault), fault.kind
        return 0.0, ""

    def _jitter(self, fault: Fault) -> float:
        """A drawn delay on top: uniform up to the jitter, or exponential or log-normal around it (long tails)."""
        jitter = float(fault.params["jitter_ms"])
        if not jitter:
            return 0.0
        if fault.params["distribution"] == "exponential":
            return self._chance.expovariate(1 / jitter)
        if fault.params["distribution"] == "lognormal":
            return self._chance.lognormvariate(math.log(jitter), 1.0)
        return self._chance.uniform(0, jitter)

    def chance(self, probability: float) -> bool:
        return self._chance.random() < probability

    def pick_stream(self, stream: str, message: dict[str, Any], connections: tuple[int, ...]) -> Fault | None:
        """The fault that strikes this stream message on its way to these connections, or none."""
        for fault in list(self._faults.values()):
            if fault.kind not in STREAM_KINDS:
                continue
            wanted: dict[str, Any] = fault.params.get("match", {})
            if any(message.get(k) != v for k, v in wanted.items()):
                continue
            if self._strikes_stream(fault, stream, connections):
                return fault
        return None

    def _strikes_stream(self, fault: Fault, stream: str, connections: tuple[int, ...]) -> bool:
        """By the beginning of the stream's name, by symbol (in the venue's spelling or another), by connection."""
        if not stream.startswith(fault.params["stream"]):
            return False
        if fault.connection and fault.connection not in connections:
            return False
        if fault.symbol and _bare(fault.symbol) not in _bare(stream):
            return False
        return self._happens(fault)

    def pick(self, method: str, path: str, symbol: str, connection: int, now: int) -> Fault | None:
        """The fault that strikes this request, or none. Counts it."""
        for fault in list(self._faults.values()):
            if fault.kind == "rate_limit" and now >= fault.armed_at + fault.params["duration_s"] * 1000:
                del self._faults[fault.id]
                continue
            if fault.kind in NO_REQUEST_KINDS:
                continue
            if self._strikes(fault, method, path, symbol, connection):
                return fault
        return None

    def limited(self, fault: Fault, limits: Limits, now: int) -> Answer:
        """The answer of a rate limit: 429 until its time is over; with `ban`, who comes again gets 418 everywhere."""
        left_ms = fault.armed_at + fault.params["duration_s"] * 1000 - now
        if fault.params["ban"] and fault.struck > 1:
            ban_ms = int(fault.params["ban_s"] * 1000)
            limits.ban(now, ban_ms)
            message = f"Way too much request weight used; IP banned until {now + ban_ms}."
            answer, wait_s = json_answer({"code": -1003, "msg": message}, 418), ban_ms / 1000
        else:
            message = "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."
            answer, wait_s = json_answer({"code": -1003, "msg": message}, 429), left_ms / 1000
        answer.headers.append(("Retry-After", str(max(1, math.ceil(wait_s)))))
        return answer

    def _strikes(self, fault: Fault, method: str, path: str, symbol: str, connection: int) -> bool:
        if fault.method and fault.method != method:
            return False
        if not route_matches(fault.path, path, exact=bool(fault.method)) or (fault.symbol and fault.symbol != symbol):
            return False
        if fault.connection and fault.connection != connection:
            return False
        return self._happens(fault)

    def _happens(self, fault: Fault) -> bool:
        """Chance and count have the last word."""
        if fault.probability < 1.0 and self._chance.random() >= fault.probability:
            return False
        fault.struck += 1
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                del self._faults[fault.id]
        return True


def _check_params(fault: Fault) -> None:
    """What can be wrong with a kind's own parameters. ValueError says what was expected."""
    given = fault.params
    if fault.kind == "venue_error" and given["name"] not in MEANINGS:
        raise ValueError(f"name is {given['name']!r}: expected one of {', '.join(MEANINGS)}")
    if given.get("distribution", "uniform") not in DISTRIBUTIONS:
        raise ValueError(f"distribution is {given['distribution']!r}: expected one of {', '.join(DISTRIBUTIONS)}")
    if fault.kind == "reject" and given["reason"] not in REASONS:
        raise ValueError(f"reason is {given['reason']!r}: expected one of {', '.join(REASONS)}")
    if fault.kind == "partial_fill":
        _between(given["fraction"], 0.0, 1.0, "fraction")
    if not isinstance(given.get("match", {}), dict):
        raise ValueError(f"match is {given['match']!r}: expected an object of message fields and their values")


def _bare(name: str) -> str:
    """A symbol or a stream without what venues put between base and quote."""
    return name.replace("/", "").replace("-", "").lower()


def route_matches(wanted: str, path: str, *, exact: bool) -> bool:
    """A path named with its method must be met exactly, unless it ends in `*` or `/`; a bare path is a prefix."""
    if wanted.endswith("*"):
        return path.startswith(wanted[:-1])
    if exact and wanted and not wanted.endswith("/"):
        return path == wanted
    return path.startswith(wanted)


def _route(text: str | None) -> tuple[str, str]:
    """`POST /api/v3/order`, or a path prefix or a method alone, as (method, path prefix)."""
    if not text:
        return "", ""
    method, _, path = text.strip().partition(" ")
    if method.startswith("/"):
        return "", method
    return method.upper(), path.strip()


def _between(value: Any, low: float, high: float, name: str) -> float:
    if not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}: expected a number from {low} to {high}")
    return float(value)
