"""The scenes: what is broken, what the agent has to do about it, and how the venue's ledger proves it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .stage import Stage

FROZEN_S = 3.5  # beyond twice the demo bot's lease of one second


@dataclass(slots=True)
class Scene:
    """What one scene showed. ``held`` None: not built yet."""

    title: str
    happened: str
    did: list[str] = field(default_factory=list)
    proof: str = ""
    held: bool | None = None
    took_s: float = 0.0


def play(scene: Callable[[Stage], Scene], stage: Stage) -> Scene:
    """One scene with its duration; faults of the scene are disarmed after it."""
    began = time.monotonic()
    shown = scene(stage)
    shown.took_s = time.monotonic() - began
    stage.sandbox.admin.clear()
    return shown


def everyday(stage: Stage) -> Scene:
    shown = Scene("Everyday life", "an unmodified ccxt bot places and cancels five orders")
    answer = stage.bot.do("trade", count=5)
    ids = _ids(answer["orders"])
    arrivals = stage.arrivals(ids)
    shown.did = ["carried every call over pooled connections; ccxt kept its own URLs, signatures and errors"]
    shown.held = set(arrivals.values()) == {1} and stage.executed(ids) == set(ids) and _all_ok(answer)
    shown.proof = f"ledger: {len(ids)} orders intended, {sum(arrivals.values())} received, each once"
    return shown


def resets(stage: Stage) -> Scene:
    shown = Scene("Connections reset in mid-order", "4 of 10 orders lose their connection: 2 after, 2 before execution")
    stage.sandbox.admin.fault("reset_after", route="POST /api/v3/order", count=2)
    stage.sandbox.admin.fault("reset_before", route="POST /api/v3/order", count=2)
    orders = stage.bot.do("place", count=10)["orders"]
    ids = _ids(orders)
    placed = {order["client_id"] for order in orders if order["result"] == "ok"}
    hurt = [order for order in orders if order["result"] != "ok"]
    arrivals, executed = stage.arrivals(ids), stage.executed(ids)
    shown.did = [
        "asked the venue by client id: the two that were executed came back as the bot's own, normal answers",
        f"told the bot that the other two were not executed ({_words(hurt)})",
        "sent none of them a second time; replaced the dead connections",
    ]
    shown.held = len(hurt) == 2 and set(arrivals.values()) == {1} and executed == placed and len(executed) == 8
    shown.proof = (
        f"ledger: 10 intended, {len(arrivals)} received, {sum(count > 1 for count in arrivals.values())} twice,"
        f" {len(executed)} executed, {len(placed)} told as placed"
    )
    return shown


def restart(stage: Stage) -> Scene:
    shown = Scene("The exchange restarts", "its process is killed and is back after a second, while the bot asks on")
    stage.bot.do("watch", feed="binance", topic="btcusdt@bookTicker")
    stage.bot.do("ask", seconds=0.7)
    stage.bot.begin("ask", seconds=4.0)
    stage.sandbox.kill()
    time.sleep(1.0)  # how long the exchange is away
    stage.sandbox.start()
    back_at = time.time()
    answer = stage.bot.read()
    times = stage.bot.do("heard", since=back_at, wait_s=5.0)["times"]
    first_ms = 1000 * (times[0] - back_at) if times else None
    shown.did = [
        f"held the bot's questions until the exchange was back (slowest {answer['worst_ms'] / 1000:.1f} s)",
        f"{len(answer['errors'])} exceptions reached the bot",
        f"redialled and subscribed again; first market data {first_ms or 0:.0f} ms after the return",
    ]
    shown.held = not answer["errors"] and first_ms is not None
    shown.proof = f"{answer['count']} questions asked and answered, {len(times)} stream messages since the return"
    return shown


def lost_reply(stage: Stage) -> Scene:
    shown = Scene("A reply is lost", "an order is executed, its answer never comes")
    stage.sandbox.admin.fault("drop_reply", route="POST /api/v3/order", count=1)
    (order,) = stage.bot.do("place", count=1)["orders"]
    arrivals = stage.arrivals(_ids([order]))
    shown.did = [
        f"stopped waiting in time to ask the venue; the bot's call returned the truth ({order['ms'] / 1000:.1f} s)",
        "did not resend; the connection is never used again",
    ]
    shown.held = order["result"] == "ok" and set(arrivals.values()) == {1}
    shown.proof = f"ledger: received once; the bot has order {order.get('id', 'none')}"
    return shown


def storm(stage: Stage) -> Scene:
    shown = Scene("A 429 storm", "the venue says 'too many requests, come back in 2 seconds'")
    stage.sandbox.admin.fault("rate_limit", route="GET /api/v3/time", count=1, duration_s=2)
    answer = stage.bot.do("ask", seconds=3.0)
    rows = stage.sandbox.admin.ledger()
    told = next(row for row in reversed(rows) if row["status"] == 429)
    early = [row for row in rows if row["seq"] > told["seq"] and row["at"] < told["at"] + 2]
    saw = _count(answer["errors"]) or "nothing"
    shown.did = [
        "closed the gate for every lane until the server's instant, then came back on a ramp",
        f"the bot saw {saw}; its other questions waited (slowest {answer['worst_ms'] / 1000:.1f} s)",
    ]
    shown.held = not early and answer["worst_ms"] >= 1500
    shown.proof = f"ledger: {len(early)} requests before the instant"
    return shown


def frozen(stage: Stage) -> Scene:
    shown = Scene("The bot freezes", f"SIGSTOP for {FROZEN_S:g} s, with orders on the book")
    before = len(stage.agent.events("bot.late", "bot.stalled", "bot.back"))
    os.kill(stage.bot.pid, signal.SIGSTOP)
    time.sleep(FROZEN_S)  # the freeze itself
    os.kill(stage.bot.pid, signal.SIGCONT)
    stage.bot.do("ask", seconds=0.8)
    told = [event["event"] for event in stage.agent.events("bot.late", "bot.stalled", "bot.back")][before:]
    touched = stage.sandbox.admin.ledger(method="DELETE", path="/api/v3/openOrders")
    shown.did = [f"noticed by its lease: {' → '.join(told)}", "observe before act: reported, touched nothing"]
    shown.held = told == ["bot.late", "bot.stalled", "bot.back"] and not touched
    shown.proof = f"ledger: {len(touched)} cancels of the agent's own"
    return shown


def protection(stage: Stage) -> Scene:
    shown = Scene("A frozen bot's entries are cancelled", "armed by the operator; SIGSTOP with entries and a stop open")
    placed = _ids(stage.bot.do("place", count=4)["orders"])
    stop = _ids(stage.bot.do("protect")["orders"])
    before = stage.open_orders()
    stage.arm("directional", silence_s=2.0)
    began = time.monotonic()
    os.kill(stage.bot.pid, signal.SIGSTOP)
    while stage.open_orders() & set(placed) and time.monotonic() - began < 10.0:
        time.sleep(0.02)  # until the venue shows none of them
    took_s = time.monotonic() - began
    left = stage.open_orders()
    stage.arm("observe")
    os.kill(stage.bot.pid, signal.SIGCONT)
    stage.bot.do("ask", seconds=0.3)
    shown.did = [
        f"cancelled its entries, nearest the market first, {took_s:.1f} s after the freeze (silence armed: 2 s)",
        "left its stop order where it protects",
    ]
    shown.held = set(placed) <= before and not left & set(placed) and set(stop) <= left
    entries, kept = len(before & set(placed)), len(left & set(stop))
    shown.proof = f"venue: {entries} entries and {len(stop)} stop open before, {kept} stop after"
    return shown


def outbox(stage: Stage) -> Scene:
    shown = Scene("Agent and bot die with an order under way", "its answer is lost; kill -9 of both; both come back")
    stage.sandbox.admin.fault("drop_reply", route="POST /api/v3/order", count=1)
    before = len(stage.sandbox.admin.ledger(path="/api/v3/order", method="POST"))
    stage.bot.begin("place", count=1, price=19_000)
    while len(stage.sandbox.admin.ledger(path="/api/v3/order", method="POST")) == before:
        time.sleep(0.02)  # until it is at the venue
    stage.both_die()
    again = stage.bot.do("place", count=1, price=19_000)["orders"][0]
    told = stage.bot.do("outcomes", seconds=0.5 if again["result"] == "ok" else 5.0)["outcomes"]
    rows = stage.sandbox.admin.ledger(path="/api/v3/order", method="POST")[before:]
    shown.did = [
        "found the order in its journal as sent without an answer, asked the venue, and never sent it again",
        f"refused the equal order the new bot tried meanwhile ({again['result']})"
        if again["result"] != "ok"
        else "answered the equal order the new bot tried with the first one's outcome",
        *([f"told the new bot what became of it: {', '.join(told)}"] if told else []),
    ]
    shown.held = len(rows) == 1 and (told == ["ok"] or again["result"] == "ok")
    shown.proof = f"ledger: {len(rows)} such order received, by two lives of the bot that both wanted it"
    return shown


SCENES = (everyday, resets, restart, lost_reply, storm, frozen, outbox, protection)


def _ids(orders: list[dict[str, Any]]) -> list[str]:
    return [order["client_id"] for order in orders]


def _all_ok(answer: dict[str, Any]) -> bool:
    return all(order["result"] == "ok" for order in answer["orders"])


def _words(orders: list[dict[str, Any]]) -> str:
    return _count(order["result"] for order in orders)


def _count(words: Any) -> str:
    counted: dict[str, int] = {}
    for word in words:
        counted[word] = counted.get(word, 0) + 1
    return ", ".join(f"{count} × {word}" for word, count in counted.items())
