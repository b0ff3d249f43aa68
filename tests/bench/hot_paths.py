"""What the hot paths execute, counted: bytecode instructions of our own code per order, question, admission and frame.

Time on a shared machine says little; the interpreter's instructions are the same on every machine and in every run, so
a change that adds work shows here exactly, and nothing else does. What C code does (parsing, SQLite, ZeroMQ) is not
counted, nor is waiting: `make bench` measures those. The paths run in the simulated world, without any fault.

    python tests/bench/hot_paths.py            # shows
    python tests/bench/hot_paths.py --record   # writes hot_paths.json, after a change that is worth its instructions
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]
RECORDED = Path(__file__).with_name("hot_paths.json")

from bench.bench_breaker import admission  # noqa: E402
from jackstay_protocols.codec import decode, encode  # noqa: E402
from jackstay_protocols.errors import Outcome  # noqa: E402
from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX  # noqa: E402
from jackstay_protocols.messages import TO_AGENT, TO_CLIENT, Request, Response  # noqa: E402
from simulation.bots import BASE, HEADERS, Bot  # noqa: E402
from simulation.client import SimClient  # noqa: E402
from simulation.run import Simulation  # noqa: E402

OURS = (str(ROOT / "agent"), str(ROOT / "protocols"))
NOT_OURS = str(ROOT / "agent" / "jackstay_agent" / "sandbox")  # the venue of the simulated world
FEW, MANY = 4, 12  # orders of two runs: the difference is theirs alone, without start and ticks


def instructions(call: Callable[[], object]) -> int:
    """Bytecode instructions that our own code executes in ``call``."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        if event == "opcode":
            count += 1
        elif event == "call":
            file = frame.f_code.co_filename
            if not file.startswith(OURS) or file.startswith(NOT_OURS):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def journeys(request: Callable[[Bot, int], Request], calls: int) -> int:
    """Instructions of so many calls, one after another, through a whole agent: bot.sock to venue and back."""
    world = Simulation("hot-paths", only=frozenset())
    bot = world.bots[0]
    done: list[Outcome] = []

    async def ask(client: SimClient) -> None:
        for number in range(calls):
            done.append((await client.ask(request(bot, number), 5.0)).outcome)

    def start() -> None:
        bot.process = world.host.spawn("bot")
        bot.client = SimClient(world.host, bot.process, "bot", reads=True)

    def run() -> None:
        assert bot.client is not None
        assert bot.process is not None
        bot.process.loop.create_task(ask(bot.client))
        world.world.run(world.world.now + 60.0, lambda: len(done) == calls, 0.05)
        world.world.run(world.world.now + 5.0)  # what is written and learned behind the answers

    world.host.start_agent()
    start()
    world.world.run(5.0, lambda: bot.client is not None and bot.client.greeted)
    counted = instructions(run)
    assert done == [Outcome.OK] * calls, done
    return counted


def order(bot: Bot, number: int) -> Request:
    body = f"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.0{number + 1}&price=30000"
    return Request("POST", f"{BASE}/api/v3/order", HEADERS, bot._signed(f"{body}&newClientOrderId=o{number}").encode())


def question(_bot: Bot, _number: int) -> Request:
    return Request("GET", f"{BASE}/api/v3/time", HEADERS, b"")


def per_call(request: Callable[[Bot, int], Request]) -> float:
    return (journeys(request, MANY) - journeys(request, FEW)) / (MANY - FEW)


def request_frame() -> object:
    frame = encode(Request("POST", f"{BASE}/api/v3/order", HEADERS, b"symbol=BTCUSDT"), id=1, when=1)
    return decode(frame, TO_AGENT, bytes_max=TO_AGENT_FRAME_BYTES_MAX)


def response_frame() -> object:
    frame = encode(Response(200, b"OK", [], b"{}", Outcome.OK, "ok", sent=True, attempts=1), id=1)
    return decode(frame, TO_CLIENT, bytes_max=TO_AGENT_FRAME_BYTES_MAX)


def measured() -> dict[str, float]:
    """Instructions per call of each path."""
    admit = admission()
    admit()
    return {
        "an order, bot.sock to venue and back, journal and evidence included": round(per_call(order)),
        "a question, bot.sock to venue and back": round(per_call(question)),
        "an admission": instructions(admit),
        "a request's frame, written and read": instructions(request_frame),
        "a response's frame, written and read": instructions(response_frame),
    }


def main() -> None:
    found = measured()
    known: dict[str, float] = json.loads(RECORDED.read_text())["instructions"] if RECORDED.exists() else {}
    for name, count in found.items():
        print(
            f"{count:8.0f}  {count / known[name]:6.3f} x recorded  {name}" if name in known else f"{count:8.0f}  {name}"
        )
    if "--record" in sys.argv:
        facts = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "instructions": found}
        RECORDED.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
