"""What of an agent's status asks for a person's attention, in words, with the command to go on with.

`jackstay status` says 1 for an agent that answers and is not well (DESIGN §7); this is where "not well" is decided. A
WARN is something that keeps requests back, or that nobody may rely on; a NOTE is worth knowing and leaves an agent
healthy: mostly an operator's own word. Reads the plain values of `status`, of this version or an older one: what is
missing is no finding.

Refuses to know how it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Facts = Mapping[str, Any]


class Level(StrEnum):
    WARN = "warn"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Attention:
    """``see``: the command that shows more, or mends it; without the agent's name."""

    level: Level
    what: str
    see: str

    def command(self, agent: str) -> str:
        """To type, for the agent of that name."""
        how = agent if self.see.split()[0] in _POSITIONAL else f"-a {agent}"
        return f"jackstay {self.see} {how}"


_POSITIONAL: Final = frozenset({"logs", "doctor", "patterns"})
_UNWELL: Final = frozenset({"late", "stalled", "dead"})
_SHUT: Final = frozenset({"open", "half_open", "forced_open"})
_LOOSE: Final = frozenset({"disabled", "metrics_only"})


def attention(facts: Facts) -> list[Attention]:
    """Everything, what keeps requests back first."""
    found = [
        *_agent(facts),
        *_bots(facts),
        *_orders(facts),
        *_venues(facts),
        *_streams(facts),
        *_records(facts),
    ]
    return sorted(found, key=lambda each: each.level is Level.NOTE)


def healthy(found: list[Attention]) -> bool:
    return all(each.level is Level.NOTE for each in found)


def warn(what: str, see: str) -> Attention:
    return Attention(Level.WARN, what, see)


def note(what: str, see: str) -> Attention:
    return Attention(Level.NOTE, what, see)


def _agent(facts: Facts) -> Iterator[Attention]:
    if facts.get("state") == "draining":
        yield warn("the agent is draining: it was told to stop", "logs")
    broken = facts.get("requests", {}).get("broken", 0)
    if broken:
        yield note(f"{broken} calls were answered with an error of the agent itself", "logs --level error")


def _bots(facts: Facts) -> Iterator[Attention]:
    watchdog, preset = facts.get("watchdog", {}), facts.get("preset", "observe")
    for each in facts.get("powers", {}).get("problems", ()) if preset != "observe" else ():
        yield warn(f"preset {preset} is armed, and {each}", "watchdog")
    for bot, each in watchdog.get("bots", {}).items():
        state, why = each.get("state"), each.get("why") or "no reason told"
        if state in _UNWELL:
            yield warn(f"bot {bot} is {state}: {why}", "bot list")
        hold = each.get("hold")
        if hold:
            yield note(f"bot {bot} is held by {hold['by']}: {hold['why']}", "bot list")
    for bot, names in watchdog.get("cancelling", {}).items():
        if names:
            yield warn(f"orders of {bot} are being cancelled", "bot list")
    for each in facts.get("barriers", ()):
        yield warn(f"entries of {each['bot']} wait for its unknown orders", "barrier")


def _orders(facts: Facts) -> Iterator[Attention]:
    queue = facts.get("queue", {})
    unknown = queue.get("open", {}).get("unknown", 0)
    if unknown:
        age_s = queue.get("oldest_unknown_s") or 0.0
        word = "order is" if unknown == 1 else "orders are"
        yield warn(f"{unknown} {word} unknown, the oldest for {age_s:.0f} s", "orders unknown")
    if queue.get("degraded"):
        yield warn(f"the journal cannot be written, orders are refused: {queue['degraded']}", "doctor")
    for origin, line in queue.get("lines", {}).items():
        if line.get("phase") in ("unproven", "proving"):
            yield warn(f"what is queued for {_host(origin)} waits for the venue", "queue list")
    for each in facts.get("deadman", ()):
        if each.get("state") == "lapsed":
            where = " ".join(filter(None, (each["venue"], each["symbol"])))
            yield warn(f"the dead-man switch of {where} was not renewed in time", "deadman status")


def _venues(facts: Facts) -> Iterator[Attention]:
    for each in facts.get("modes", ()):
        if each.get("mode") != "normal":
            where = "every venue" if each["venue"] == "*" else each["venue"]
            yield warn(f"{where} is {each['mode']} by {each['by']}: {each['why']}", "mode")
    for origin, each in facts.get("upstreams", {}).items():
        host = _host(origin)
        for kind, breaker in each.get("breakers", {}).items():
            state = breaker.get("state")
            why = f": {breaker['why']}" if breaker.get("why") else ""
            if state in _SHUT:
                yield warn(f"breaker {host} {kind} is {state}{why}", "breakers")
            elif state in _LOOSE:
                yield note(f"breaker {host} {kind} is {state}{why}", "breakers")
        for gate in each.get("limits", {}).get("gates", ()):
            kind = "ban" if gate.get("ban") else "gate"
            yield warn(
                f"{kind} at {host} for {gate['scope']} {gate['whose']}, {gate['left_s']:.0f} s left: {gate['why']}",
                "limits",
            )
        pool = each.get("pool", {})
        if pool.get("last_error") and not pool.get("live"):
            yield warn(f"{host} is not reached: {pool['last_error']}", "connections list")


def _streams(facts: Facts) -> Iterator[Attention]:
    for venue, each in facts.get("user_streams", {}).items():
        if each.get("state") == "backoff":
            yield warn(f"{venue} does not tell of this account: {each.get('last_error', '')}", "connections list")
    for feed, each in facts.get("feeds", {}).items():
        sockets = [one for one in each.get("sockets", ()) if one.get("topics")]
        down = [one for one in sockets if not one.get("quality")]
        if sockets and len(down) == len(sockets):
            yield warn(f"feed {feed} has no data: {down[0].get('last_error') or 'not connected'}", f"feeds show {feed}")
        elif down:
            yield note(f"feed {feed}: {len(down)} of {len(sockets)} sockets are down", f"feeds show {feed}")


def _records(facts: Facts) -> Iterator[Attention]:
    audit = facts.get("audit", {}).get("state", "writing")
    if audit.startswith("degraded"):
        yield warn(f"the audit log is {audit}", "doctor")
    monitor = facts.get("state_monitor", {})
    if monitor.get("standing"):
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(monitor.get("kinds", {}).items()))
        yield warn(f"pictures of the account differ: {kinds}", "state diff")
    for each in facts.get("recovery", {}).get("running", ()):
        yield note(f"{each.get('scenario', 'a scenario')} is recovering {each.get('what', '')}".rstrip(), "recover")
    patterns = facts.get("patterns", {}).get("open", 0)
    if patterns:
        yield note(f"{patterns} patterns stand", "patterns list")


def _host(origin: str) -> str:
    return origin.partition("://")[2] or origin
