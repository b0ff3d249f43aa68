"""Where an order's time goes inside the agent, stage by stage, beside the same code run without a pause.

    python tests/bench/bench_order_stages.py [--rounds N] [--calls N] [--json FILE]

One blocking client, one order after the other, as in bench_order_path.py. ``us`` is the median of a stage inside the
agent under that load: the loop sleeps while the venue and the bot work, so each stage begins with cold caches. ``warm``
is the journal's stage called in a row in one process, which is what the same work costs a loop that never sleeps.
The clocks around the stages add one or two microseconds to each.
"""

from __future__ import annotations

import atexit
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

OUT = "ORDER_STAGES_OUT"


# ---------------------------------------------------------------- inside the agent


class Stages:
    """Wraps the steps of the journey with clocks; what a step took goes to the file named in the environment."""

    def __init__(self) -> None:
        self.took: dict[str, list[int]] = {}
        self.at: dict[str, int] = {}
        atexit.register(self.write)

    def add(self, name: str, ns: int) -> None:
        self.took.setdefault(name, []).append(ns)

    def mark(self, name: str) -> None:
        self.at[name] = time.perf_counter_ns()

    def since(self, name: str, begun: str) -> None:
        if begun in self.at:
            self.add(name, time.perf_counter_ns() - self.at.pop(begun))

    def around(self, owner: type, method: str, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **more: Any) -> Any:
            began = time.perf_counter_ns()
            try:
                return inner(*args, **more)
            finally:
                self.add(name, time.perf_counter_ns() - began)

        setattr(owner, method, timed)

    def before(self, owner: type, method: str, act: Callable[[], None]) -> None:
        inner: Callable[..., Any] = getattr(owner, method)

        def told(*args: Any, **more: Any) -> Any:
            act()
            return inner(*args, **more)

        setattr(owner, method, told)

    def after(self, owner: type, method: str, act: Callable[[], None]) -> None:
        inner: Callable[..., Any] = getattr(owner, method)

        def told(*args: Any, **more: Any) -> Any:
            found = inner(*args, **more)
            act()
            return found

        setattr(owner, method, told)

    def write(self) -> None:
        medians = {name: statistics.median(took) / 1e3 for name, took in self.took.items() if len(took) > 100}
        Path(os.environ[OUT]).write_text(json.dumps(medians), encoding="utf-8")


def agent() -> None:
    """`jackstay`, with clocks."""
    from jackstay_agent.cli import main as cli
    from jackstay_agent.gateway.bot_door import BotDoor
    from jackstay_agent.gateway.call import Call
    from jackstay_agent.intents import Intents
    from jackstay_agent.outbox import Outbox
    from jackstay_agent.pipeline import Pipeline
    from jackstay_agent.telling import Telling
    from jackstay_agent.transport.http import HttpPool
    from jackstay_agent.transport.http_connection import HttpConnection

    stages = Stages()
    stages.around(Intents, "read", "the order is read: what it is, equal to what")
    stages.around(Outbox, "begin_batch", "rule 1 and the journal, before the first byte")
    stages.around(HttpPool, "submit", "into HTTP and to the socket")
    stages.around(Pipeline, "_classify", "what the answer means")
    stages.around(Pipeline, "_finished", "evidence in the answer, the journal's end")
    stages.around(Pipeline, "_record", "breaker, budgets, listeners")
    stages.around(Call, "deliver", "the answer into ZeroMQ")
    stages.around(Telling, "replied", "told afterwards, while the answer travels")
    stages.before(BotDoor, "on_frame", lambda: stages.mark("frame"))
    stages.before(HttpPool, "submit", lambda: stages.mark("sending"))
    stages.after(HttpConnection, "send", lambda: (stages.since(INWARD, "frame"), stages.mark("sent"))[0])
    stages.before(HttpConnection, "data_received", lambda: (stages.since(VENUE, "sent"), stages.mark("answer"))[0])
    stages.after(Call, "deliver", lambda: stages.since(OUTWARD, "answer"))
    sys.argv = ["jackstay", *sys.argv[2:]]
    cli()


INWARD = "= a frame's arrival until the request is at the socket"
VENUE = "= the venue, with both ways of the loopback"
OUTWARD = "= the venue's answer until the bot's is in ZeroMQ"


# ---------------------------------------------------------------- outside


def staged(calls: int) -> dict[str, float]:
    from bench.bench_order_path import by_agent
    from bench.static_venue import static_venue
    from e2e_bot import routed
    from harness import AgentProcess

    with tempfile.TemporaryDirectory() as folder, static_venue() as base:
        out = Path(folder) / "stages.json"
        running = AgentProcess(routed(base, "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"))
        running.program = (str(Path(__file__).resolve()), "--agent")
        running.more_env = {OUT: str(out)}
        with running:
            times = by_agent(running, calls)
            running.stop()
            found: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
        return found | {"= the whole, as the bot sees it": statistics.median(times) * 1e6}


def warm_journal(calls: int) -> float:
    """begin_batch called in a row: microseconds."""
    from decimal import Decimal

    from jackstay_agent.outbox import Intent, Outbox
    from jackstay_protocols.errors import Lane, Outcome

    fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": Decimal("0.01"), "price": Decimal(50000)}
    body = (
        b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=0.01&price=50000&timestamp=1690000000000&signature=" + b"a" * 64
    )
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox.open(Path(folder) / "outbox.sqlite")
        took = []
        for number in range(calls):
            intent = Intent(
                bot_id="bench",
                lane=Lane.ORDER,
                connection_id="https://api.binance.com",
                method="POST",
                target="/api/v3/order",
                body=body,
                request_id=str(number),
                venue="binance",
                operation="place",
                symbol="BTCUSDT",
                side="BUY",
                fields=fields,
            )
            began = time.perf_counter_ns()
            begun = outbox.begin_batch((intent,))
            took.append(time.perf_counter_ns() - began)
            assert isinstance(begun, tuple), begun
            outbox.finish(begun[0].seq, Outcome.OK, status=200, reply=b"{}")
        outbox.close()
        return statistics.median(took) / 1e3


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    from bench.figures import arguments, finish

    options = arguments(argv)
    runs = [staged(options.calls) for _ in range(options.rounds)]
    warm = {"rule 1 and the journal, before the first byte": warm_journal(options.calls * 2)}
    rows = [
        {
            "bench": "order stages",
            "stage": stage,
            "us": round(statistics.median(run[stage] for run in runs), 1),
            "warm_us": round(warm[stage], 1) if stage in warm else "",
        }
        for stage in runs[0]
        if all(stage in run for run in runs)
    ]
    return finish(rows, options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--agent"]:
        agent()
    else:
        main()
