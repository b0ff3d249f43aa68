"""What `jackstay watch` shows, fitted to a terminal: sections of lines from what an agent says of itself.

Values and a size in, lines out, so that 80x24 and 200x60 are two calls. Nothing is wrapped: a line that is too long is
cut with an ellipsis, a section that is too long says how much it leaves out, and what matters least goes first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..core.attention import Level, attention
from .duration import shown
from .fleet import Presence, Seen
from .status import fleet_lines, last_known

TWO_COLUMNS_FROM = 140
ATTENTION_MAX = 6
Line = tuple[str, str]  # style, text


@dataclass
class Look:
    """One look at one agent. ``rates``: per second, since the look before."""

    seen: Seen
    connections: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)


@dataclass
class Section:
    """``least``: rows it keeps when room is short."""

    title: str
    rows: list[Line]
    least: int = 1


def screen(look: Look, width: int, height: int) -> list[list[Line]]:
    """Rows of a screen, each of one or two cells; never more than ``height``, nothing wider than its cell."""
    head = [[(style, cut(text, width))] for style, text in header(look)[: max(1, height - 1)]]
    room = height - len(head)
    left, right = sections(look)
    if width < TWO_COLUMNS_FROM:
        return head + [[(style, cut(text, width))] for style, text in fitted([*left, *right], room)]
    half = width // 2
    first, second = fitted(left, room), fitted(right, room)
    blank: Line = ("", "")
    pairs = [
        (first[n] if n < len(first) else blank, second[n] if n < len(second) else blank)
        for n in range(max(len(first), len(second)))
    ]
    return head + [[(a[0], f"{cut(a[1], half - 2):<{half}}"), (b[0], cut(b[1], width - half))] for a, b in pairs]


def cut(text: str, width: int) -> str:
    text = " ".join(text.splitlines())
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def fitted(found: list[Section], room: int) -> list[Line]:
    """Lines of the sections in at most ``room`` rows: everyone's least first, then what is left from top to bottom."""
    found = [each for each in found if each.rows]
    keep = [min(each.least, len(each.rows)) for each in found]
    while found and sum(keep) + len(found) > room:
        found, keep = found[:-1], keep[:-1]
    spare = room - sum(keep) - len(found)
    for n, each in enumerate(found):
        more = min(spare, len(each.rows) - keep[n])
        keep[n], spare = keep[n] + more, spare - more
    lines: list[Line] = []
    for each, count in zip(found, keep, strict=True):
        left_out = len(each.rows) - count
        lines.append(("bold", f"{each.title}{f'  (+{left_out} more)' if left_out else ''}"))
        lines += [(style, f"  {text}") for style, text in each.rows[:count]]
    return lines


def header(look: Look) -> list[Line]:
    seen, facts = look.seen, look.seen.facts
    clock = time.strftime("%H:%M:%SZ", time.gmtime())
    if seen.presence is not Presence.UP:
        last = seen.agent.last()
        rows = [("bold red", f"{seen.agent.name}  {seen.presence.upper()}  {clock}  {seen.why}")]
        return [*rows, *([("", last_known(last))] if last else [])]
    first = (
        f"{facts['agent']}  {facts['state']}  {clock}  up {shown(facts['uptime_s'])}  pid {facts['pid']}"
        f"  grade {facts['grade']}  preset {facts['preset']}  {facts['version']}  {facts['answered_ms']} ms"
    )
    rows = [("bold", first)]
    found = attention(facts)
    for one in found[:ATTENTION_MAX]:
        rows.append(
            ("yellow" if one.level is Level.WARN else "cyan", f"! {one.what}  →  {one.command(facts['agent'])}")
        )
    if not found:
        rows.append(("green", "nothing asks for attention"))
    return rows


def sections(look: Look) -> tuple[list[Section], list[Section]]:
    facts = look.seen.facts
    if look.seen.presence is not Presence.UP:
        return [Section("latest errors", [], 0)], []
    left = [
        Section("bots", list(_bots(facts))),
        Section("requests", list(_requests(facts, look.rates))),
        Section("queue", list(_queue(facts))),
        Section("modes", list(_modes(facts))),
        Section("breakers", list(_breakers(facts))),
    ]
    right = [
        Section("connections", list(_connections(look.connections))),
        Section("limits", list(_limits(facts))),
        Section("feeds", list(_feeds(facts))),
        Section("latest errors", list(_errors(look.errors)), 2),
    ]
    return left, right


def _bots(facts: dict[str, Any]) -> Iterator[Line]:
    watched = facts.get("watchdog", {}).get("bots", {})
    here = {each["bot"]: each for each in facts["bots"]}
    for name in sorted({*watched, *here}):
        each, state = here.get(name, {}), watched.get(name, {}).get("state", "well")
        why = watched.get(name, {}).get("why") or ""
        silent = (
            f"silent {each['silent_s']:.1f} of {each['lease_s']:g} s, {each['in_flight']} in flight" if each else ""
        )
        style = {"well": "green", "left": "", "held": "cyan", "late": "yellow"}.get(state, "red")
        yield style, "  ".join(filter(None, (f"{name:<16} {state:<8}", silent, why)))
    if not here and not watched:
        yield "", "none yet"


def _requests(facts: dict[str, Any], rates: dict[str, float]) -> Iterator[Line]:
    counters = facts["requests"]
    yield "", f"{rates.get('requests', 0.0):.1f}/s   " + "  ".join(f"{key} {value}" for key, value in counters.items())


def _queue(facts: dict[str, Any]) -> Iterator[Line]:
    queue = facts["queue"]
    held = queue["open"]
    style = "yellow" if held["unknown"] or queue["degraded"] else ""
    counts = (
        f"queued {held['recorded']}  in flight {held['in_flight']}  unknown {held['unknown']}"
        f"  uncollected {sum(queue['uncollected'].values())}  journal {queue['degraded'] or 'ok'}"
    )
    yield style, counts


def _modes(facts: dict[str, Any]) -> Iterator[Line]:
    for each in facts["modes"]:
        where = "every venue" if each["venue"] == "*" else each["venue"]
        left = f", {shown(each['left_s'])} left" if each["left_s"] is not None else ""
        yield "yellow", f"{where} {each['mode']}{left}  by {each['by']}: {each['why']}"
    if not facts["modes"]:
        yield "", "normal everywhere"


def _breakers(facts: dict[str, Any]) -> Iterator[Line]:
    closed = []
    for origin, each in facts["upstreams"].items():
        host = origin.partition("://")[2]
        for kind, breaker in each.get("breakers", {}).items():
            if breaker["state"] == "closed":
                closed.append(f"{host} {kind}")
                continue
            left = f", {shown(breaker['left_s'])} left" if breaker["left_s"] is not None else ""
            yield "red", f"{host} {kind} {breaker['state']}{left}  {breaker['why']}"
    if closed:
        yield "", f"closed: {', '.join(closed)}"
    elif not facts["upstreams"]:
        yield "", "no upstream was asked yet"


def _connections(rows: list[dict[str, Any]]) -> Iterator[Line]:
    for each in rows:
        latency = "" if each["latency_ms"] is None else f"{each['latency_ms']:.3g} ms"
        quality = "" if each["quality"] is None else f"quality {each['quality']:.2f}"
        style = {"up": "green", "live": "green"}.get(each["state"], "yellow")
        words = (f"{each['id']:<28} {each['state']:<8}", latency, quality, each["detail"], each["last_error"])
        yield style, "  ".join(filter(None, words))
    if not rows:
        yield "", "none"


def _limits(facts: dict[str, Any]) -> Iterator[Line]:
    for origin, each in facts["upstreams"].items():
        host, limits = origin.partition("://")[2], each.get("limits", {})
        for gate in limits.get("gates", ()):
            kind = "ban" if gate["ban"] else "gate"
            yield "red", f"{host} {kind} {gate['scope']}  {shown(gate['left_s'])} left  {gate['why']}"
        for one in limits.get("budgets", ()):
            share = one["used"] / one["limit"] if one["limit"] else 0.0
            style = "red" if share > 0.9 else "yellow" if share > 0.7 else ""
            yield style, f"{host} {one['budget']:<14} {bar(share)} {share:4.0%}  {one['used']:g} of {one['limit']:g}"

    if not any(each.get("limits", {}).get("budgets") for each in facts["upstreams"].values()):
        yield "", "nothing spent yet"


def bar(share: float, width: int = 12) -> str:
    full = round(min(1.0, max(0.0, share)) * width)
    return "█" * full + "░" * (width - full)


def _feeds(facts: dict[str, Any]) -> Iterator[Line]:
    for feed, each in facts["feeds"].items():
        sockets = [one for one in each["sockets"] if one["topics"]]
        up = sum(bool(one["quality"]) for one in sockets)
        ages = [one["data_age_s"] for one in sockets if one["data_age_s"] is not None]
        age = f", data {min(ages):.1f} s old" if ages else ""
        yield (
            "" if up == len(sockets) else "yellow",
            f"{feed}  {len(each['topics'])} topics  {up}/{len(sockets)} up{age}",
        )


def _errors(rows: list[dict[str, Any]]) -> Iterator[Line]:
    for each in reversed(rows):
        style = {"critical": "bold red", "high": "red", "medium": "yellow"}.get(each["severity"], "")
        yield (
            style,
            f"{each['at'][11:19]} {each['severity']:<8} {each['component']}: {each['error_type']} {each['message']}",
        )
    if not rows:
        yield "", "none"


def fleet_screen(seen: list[Seen], width: int, height: int) -> list[list[Line]]:
    """Every agent of the host, those in trouble first when not all fit."""
    import click

    name_width = max((len(each.agent.name) for each in seen), default=0)
    blocks = []
    for each in seen:
        up = each.presence is Presence.UP
        style = "red" if not up else "yellow" if any(a.level is Level.WARN for a in attention(each.facts)) else "green"
        blocks.append([(style, click.unstyle(line)) for line in fleet_lines(each, name_width)])
    if sum(map(len, blocks)) + 1 > height:
        blocks.sort(key=lambda block: block[0][0] == "green")
    away = sum(each.presence is not Presence.UP for each in seen)
    clock = time.strftime("%H:%M:%SZ", time.gmtime())
    rows: list[Line] = [("bold", f"{len(seen)} agents, {away} do not answer  {clock}")]
    rows += [line for block in blocks for line in block]
    if len(rows) > height:
        rows = [*rows[: height - 1], ("bold", f"+{len(rows) - height + 1} more lines: a higher terminal shows them")]
    return [[(style, cut(text, width))] for style, text in rows]
