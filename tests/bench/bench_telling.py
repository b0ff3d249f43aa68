"""What telling costs on the hot path: nanoseconds per order while nobody listens and with a listener that does nothing,
and an order through agents with and without audit log and analytics, in turn in one run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.bench_order_path import by_agent
from bench.figures import Row, arguments, finish, interleaved, latency_rows
from bench.static_venue import static_venue
from e2e_bot import routed
from harness import AgentProcess
from jackstay_agent.core.verdict import Cause, verdict
from jackstay_agent.metrics.tally import Tally
from jackstay_agent.telling import Listener, Telling
from jackstay_agent.transport.http import HttpAnswer
from jackstay_agent.upstreams import Way
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_protocols.messages import Request, Response

REQUEST = Request("POST", "https://api.binance.com/api/v3/order", [], b"symbol=BTCUSDT&side=BUY&signature=" + b"a" * 64)
OK = verdict(Cause.OK)
ANSWER = HttpAnswer(200, b"OK", [], b"{}", 1, 0.001, 0.001)
RESPONSE = Response(200, b"OK", [], b"{}", "ok", "ok", sent=True, attempts=1)


def way() -> Way:
    profile = shipped_profiles()["binance"]

    class Upstream:
        host, origin = "api.binance.com", "https://api.binance.com"

    Upstream.profile = profile  # type: ignore[attr-defined]
    return Way(Upstream(), b"/api/v3/order", "/api/v3/order", profile.route("POST", "/api/v3/order"))  # type: ignore[arg-type]


def journey(telling: Telling) -> Callable[[], None]:
    """Everything the pipeline and the door tell of one order."""
    there = way()

    def run() -> None:
        asked = telling.asked(REQUEST, there, "bot", 1, 0.0, account="key1", operations=None)
        telling.admitted(asked, (1,))
        telling.attempted(asked, OK, ANSWER, 0.0, 0.001)
        if telling.anybody:
            assert asked is not None
            telling.replied(asked, RESPONSE, 0.001)

    return run


def best_ns(call: Callable[[], None], calls: int) -> float:
    best = float("inf")
    for _ in range(7):
        began = time.perf_counter_ns()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter_ns() - began) / calls)
    return best


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    silent, heard = Telling(), Telling()
    counted = Telling()
    heard.listen(Listener())
    counted.listen(Tally())
    rows: list[Row] = [
        {"bench": "telling", "way": name, "ns_per_order": round(best_ns(journey(telling), options.calls * 10))}
        for name, telling in (
            ("nobody listens", silent),
            ("one listener that does nothing", heard),
            ("the metrics' tally", counted),
        )
    ]
    return finish(rows + through_agents(options.calls, options.rounds), options)


LIMITS_OFF = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"
SILENT = "[audit]\nenabled = false\n[analytics]\nenabled = false\n"


def through_agents(calls: int, rounds: int) -> list[Row]:
    with static_venue() as base:
        ways = {
            "neither": SILENT,
            "analytics": "[audit]\nenabled = false\n",
            "audit": "[analytics]\nenabled = false\n",
            "audit and analytics": "",
            "audit, analytics and metrics": '[metrics]\nlisten = "unix"\n',
        }
        agents = {name: AgentProcess(routed(base, LIMITS_OFF + more)) for name, more in ways.items()}
        for agent in agents.values():
            agent.start()
        runs = interleaved(
            {name: (lambda agent=agent: by_agent(agent, calls)) for name, agent in agents.items()},  # type: ignore[misc]
            rounds,
        )
        for agent in agents.values():
            agent.stop()
    return latency_rows("audit and analytics on the order path", runs, "neither")


if __name__ == "__main__":
    main()
