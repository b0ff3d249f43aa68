"""What an agent's death costs: kill -9 under traffic, started again at once, until the bot's next call is answered.

A supervisor's pause comes on top: 0.1 s under ``jackstay exec`` (first death), 1 s under the systemd unit.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jackstay
from bench.figures import Row, arguments, finish
from bench.static_venue import static_venue
from harness import AgentProcess
from jackstay_protocols.errors import TradingBotError

HOST = "bench.invalid"
WARM_CALLS = 50
PAUSE_S = 0.001
LIMIT_S = 30.0


def one_death(agent: AgentProcess) -> tuple[float, float]:
    """Seconds from the kill until the next call ends (answered, or refused as AgentGone), and until one is answered."""
    with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="bench") as client:

        def ask() -> bool:
            try:
                return client.request("GET", f"http://{HOST}/", deadline_s=5.0).status == 200
            except TradingBotError:
                return False

        for _ in range(WARM_CALLS):
            assert ask()
        agent.kill()
        killed_at = time.monotonic()
        supervisor = threading.Thread(target=agent.start)
        supervisor.start()
        known_at = 0.0
        while time.monotonic() - killed_at < LIMIT_S:
            if ask():
                break
            known_at = known_at or time.monotonic()
            time.sleep(PAUSE_S)  # a bot that tries again at once
        answered_at = time.monotonic()
        supervisor.join()
    return (known_at or answered_at) - killed_at, answered_at - killed_at


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    with static_venue() as base, AgentProcess(f'[upstreams]\n"{HOST}" = "{base}"\n') as agent:
        deaths = [one_death(agent) for _ in range(max(3, options.rounds))]
    words = ("kill -9 until the next call ends, answered or AgentGone, ms", "kill -9 until a call is answered, ms")
    rows: list[Row] = [
        {
            "bench": "agent death",
            "what": what,
            "median": round(statistics.median(death[at] for death in deaths) * 1000, 1),
            "worst": round(max(death[at] for death in deaths) * 1000, 1),
            "deaths": len(deaths),
        }
        for at, what in enumerate(words)
    ]
    return finish(rows, options)


if __name__ == "__main__":
    main()
