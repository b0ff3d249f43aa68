"""The tail of an order's latency while the agent keeps house: journal checkpoints, audit files rotated, the collector.

Orders at 500 a second, open loop (a latency counts from when the order was due), each journaled and audited; audit
files of 1 MB, so that one is closed every other second; the journal's checkpoints as they come. Beside it the same load
straight to the venue, which is this machine's own tail, and an agent whose collector still walks all modules.

``worst_ms``: the longest latency of a round, its median over the rounds, and the longest of all beside it;
``over_20_ms``: the share of orders.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import bench_open_loop as load
from bench.bench_order_path import BODY
from bench.figures import Row, arguments, finish, interleaved, percentile
from bench.static_venue import static_venue
from e2e_bot import routed
from harness import AgentProcess

RATE_PER_S, SECONDS = 500, 10.0
CONFIG = load.LIMITS_OFF + "[audit]\nrotate_bytes = 1048576\n"
UNFROZEN = "import gc; gc.freeze = lambda: None\nfrom jackstay_agent.cli import main; main()"


def kept_house(agent: AgentProcess) -> dict[str, Any]:
    """What the agent did beside its orders."""
    status = agent.status()
    files = [each for each in agent.runtime_dir.rglob("*.jsonl*") if "audit" in str(each)]
    return {
        "checkpoints": status["queue"].get("checkpoints", ""),
        "audit_files": len(files),
        "loop_lag_worst_ms": round(status["loop_lag_worst_s"] * 1e3, 1),
    }


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    load.RATE_PER_S, load.SECONDS = RATE_PER_S, SECONDS
    with (
        static_venue() as base,
        AgentProcess(routed(base, CONFIG)) as agent,
        AgentProcess(routed(base, CONFIG)) as walking,
    ):
        walking.stop()
        walking.program = ("-c", UNFROZEN)
        walking.start()
        runs = interleaved(
            {
                "straight": lambda: load.by_aiohttp(base),
                "agent": lambda: load.by_client(agent, "POST", load.ORDER, BODY),
                "agent, modules collected": lambda: load.by_client(walking, "POST", load.ORDER, BODY),
            },
            options.rounds,
        )
        house = {"agent": kept_house(agent), "agent, modules collected": kept_house(walking)}
    return finish([row(name, rounds) | house.get(name, {}) for name, rounds in runs.items()], options)


def row(name: str, rounds: list[list[float]]) -> Row:
    found: Row = {"bench": "tail, orders at 500/s", "way": name}
    for word, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("worst", 1.0)):
        found[f"{word}_ms"] = round(statistics.median(percentile(each, share) * 1e3 for each in rounds), 2)
    found["worst_of_all_ms"] = round(max(max(each) for each in rounds) * 1e3, 1)
    everything = [each for taken in rounds for each in taken]
    found["over_20_ms"] = f"{sum(each > 0.02 for each in everything) / len(everything):.3%}"
    return found


if __name__ == "__main__":
    main()
