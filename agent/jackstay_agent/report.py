"""What an incident was, gathered from the audit log: states, requests, latencies, patterns, orders, people.

Plain values out of files; no running agent is needed, and nothing is drawn here (cli/report_page.py). What the log does
not hold the report does not claim: its span and the number of its lines are part of it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .audit.reading import records_of

BINS = 60
ORDERS_MAX, EVENTS_MAX = 1_000, 2_000
OUTCOMES = ("ok", "rejected", "failed", "unknown", "refused")
#: Where an event belongs, by the beginning of its name; the first that fits counts.
BANDS = (
    ("modes", ("mode.", "state.", "watchdog.", "deadman.", "bot.", "barrier.", "would.")),
    ("breakers", ("breaker.", "limit.", "loop.stopped")),
    ("connections", ("pool.", "feed.", "user_stream.", "venue.", "loop.lagged")),
    ("patterns", ("pattern.",)),
    ("operators", ("operator.",)),
)
#: Events after which a state is over, by their whole name.
ENDS = frozenset(
    {
        *("mode.released", "mode.expired", "state.cleared", "barrier.passed", "deadman.disarmed"),
        *("bot.back", "bot.hello", "bot.goodbye", "bot.hold_over", "breaker.closed", "limit.gate_opened"),
        *("pool.up", "feed.connected", "feed.resumed", "feed.rotated", "user_stream.connected"),
        *("user_stream.replaced", "pattern.ended"),
    }
)


def gathered(folder: Path, agent: str, since_us: int, until_us: int) -> dict[str, Any]:
    """The facts of one agent. Times are UTC microseconds."""
    report = _Report(agent, since_us, until_us)
    for record in records_of(folder, since_us, until_us):
        report.take(record)
    return report.facts()


class _Report:
    def __init__(self, agent: str, since_us: int, until_us: int) -> None:
        self.agent, self.since_us, self.until_us = agent, since_us, until_us
        self.lines = 0
        self.first_us = self.last_us = 0
        self.outcomes: list[tuple[int, str]] = []
        self.latencies: list[tuple[int, float]] = []
        self.refusals: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.events: list[dict[str, Any]] = []
        self.cut = 0
        self.orders: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def take(self, record: dict[str, Any]) -> None:
        at_us = record["at_us"]
        self.lines += 1
        self.first_us, self.last_us = self.first_us or at_us, at_us
        kind = record["kind"]
        if kind == "decision" and record.get("decision") == "refused":
            self.outcomes.append((at_us, "refused"))
            self.refusals[record.get("reason", "")] += 1
        elif kind in ("outcome", "own"):
            self.outcomes.append((at_us, record.get("outcome", "")))
            if record.get("sent", True):
                self.latencies.append((at_us, record.get("elapsed_us", 0) / 1000))
            if record.get("outcome") != "ok":
                self.causes[record.get("cause", "")] += 1
        if kind in ("decision", "outcome", "settled") and record.get("route") not in ("query", "order_query", "other"):
            self._order(record)
        if kind == "event" or kind.startswith("audit."):
            self._event(record)

    def _event(self, record: dict[str, Any]) -> None:
        name = record.get("event", record["kind"])
        band = next((band for band, names in BANDS if name.startswith(names)), "other")
        if len(self.events) >= EVENTS_MAX:
            self.cut += 1
            return
        fields = record.get("fields", {})
        self.events.append(
            {"at_us": record["at_us"], "band": band, "name": name, "uid": record.get("uid"), "fields": fields}
        )

    def _order(self, record: dict[str, Any]) -> None:
        """One row per order, its story in a few words."""
        for item in _items_of(record):
            key = _key_of(item, record)
            row = self.orders.get(key)
            if row is None:
                if len(self.orders) >= ORDERS_MAX:
                    self.cut += 1
                    return
                row = self.orders[key] = {"order": key, "first_us": record["at_us"], "story": []}
            for name in ("bot", "venue", "symbol", "side", "type", "price", "quantity", "venue_id"):
                value = item.get(name, record.get(name))
                if value not in (None, "", []):
                    row.setdefault(name, value)
            if len(row["story"]) < 20:
                row["story"].append(_words(record))

    def facts(self) -> dict[str, Any]:
        begin = max(self.since_us, self.first_us)  # the axis begins where the log does
        end = max(self.until_us if self.until_us <= self.last_us + 60_000_000 else self.last_us, begin + 1_000_000)
        width_us = max(1, (end - begin) // BINS)
        return {
            "agent": self.agent,
            "since": _shown(begin),
            "until": _shown(end),
            "since_us": begin,
            "until_us": end,
            "bin_s": width_us / 1e6,
            "audit_lines": self.lines,
            "left_out": self.cut,
            "requests": _binned(self.outcomes, begin, width_us),
            "totals": dict(Counter(outcome for _at, outcome in self.outcomes)),
            "refusals": dict(self.refusals.most_common()),
            "causes": dict(self.causes.most_common(50)),
            "latency_ms": _percentiles(self.latencies, begin, width_us),
            "modes": [each for each in self.events if each["band"] == "modes"],
            "breakers": [each for each in self.events if each["band"] == "breakers"],
            "connections": [each for each in self.events if each["band"] == "connections"],
            "patterns": [each for each in self.events if each["band"] == "patterns"],
            "operators": [each for each in self.events if each["band"] == "operators"],
            "timeline": self.events,
            "orders": list(self.orders.values()),
        }


def _items_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """One per order: a batch's decision holds them whole, its outcome only their ids."""
    orders: list[dict[str, Any]] = record.get("orders") or []
    ids = record.get("client_id")
    if orders or not isinstance(ids, list):
        return orders or [record]
    places = record.get("venue_id")
    places = places if isinstance(places, list) and len(places) == len(ids) else [""] * len(ids)
    return [{"client_id": each, "venue_id": place} for each, place in zip(ids, places, strict=True)]


def _key_of(item: dict[str, Any], record: dict[str, Any]) -> str:
    """What an order is called in the report: its own id, the venue's, the outbox's number, the request's."""
    intents = record.get("intent", [])
    first = intents[0] if isinstance(intents, list) and intents else intents or record.get("request", "")
    return str(item.get("client_id") or item.get("venue_id") or first)


def spans(events: Iterable[dict[str, Any]], until_us: int) -> dict[str, list[tuple[int, int, str]]]:
    """Subject -> (from, to, state): a state lasts until the next event of its subject, or until it is ended."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    open_: dict[str, tuple[int, str]] = {}
    for each in events:
        fields = each["fields"]
        subject = next(
            (
                str(fields[name])
                for name in ("venue", "upstream", "host", "feed", "bot", "component", "id")
                if fields.get(name)
            ),
            each["name"].partition(".")[0],
        )
        if fields.get("class"):
            subject = f"{subject} {fields['class']}"  # a breaker per class of endpoints
        word = str(fields.get("kind", "")) if each["name"] == "pattern.found" else each["name"].partition(".")[2]
        state = str(fields.get("mode", word)) if each["name"].startswith("mode.") else word
        before = open_.pop(subject, None)
        if before is not None:
            found.setdefault(subject, []).append((before[0], each["at_us"], before[1]))
        if each["name"] in ENDS:
            found.setdefault(subject, []).append((each["at_us"], each["at_us"], word))
        else:
            open_[subject] = (each["at_us"], state)
    for subject, (at_us, state) in open_.items():
        found.setdefault(subject, []).append((at_us, until_us, state))
    return found


def _words(record: dict[str, Any]) -> str:
    if record["kind"] == "decision":
        reason = f" ({record['reason']})" if record.get("reason") else ""
        return f"{record.get('route', '')} {record.get('decision', '')}{reason}".strip()
    if record["kind"] == "settled":
        return f"settled {record.get('state', '')}"
    return f"{record.get('outcome', '')} {record.get('cause', '')}".strip()


def _binned(values: list[tuple[int, str]], begin: int, width_us: int) -> dict[str, list[int]]:
    found = {name: [0] * BINS for name in OUTCOMES}
    for at_us, name in values:
        row = found.setdefault(name, [0] * BINS)
        row[min(BINS - 1, max(0, (at_us - begin) // width_us))] += 1
    return found


def _percentiles(values: list[tuple[int, float]], begin: int, width_us: int) -> dict[str, list[float | None]]:
    bins: list[list[float]] = [[] for _ in range(BINS)]
    for at_us, ms in values:
        bins[min(BINS - 1, max(0, (at_us - begin) // width_us))].append(ms)
    found: dict[str, list[float | None]] = {}
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        found[name] = [
            round(sorted(each)[min(len(each) - 1, int(len(each) * share))], 3) if each else None for each in bins
        ]
    return found


def _shown(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
