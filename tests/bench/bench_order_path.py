"""An order through the agent against the same order by the bot's own library (DESIGN §8 rows 2 and 3)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.bare_relay import bare_relay
from bench.figures import Row, arguments, finish, interleaved, latency_rows
from bench.static_venue import static_venue
from e2e_bot import client_for, routed
from harness import AgentProcess

HEADERS = {"X-MBX-APIKEY": "k" * 64, "Content-Type": "application/x-www-form-urlencoded"}
BODY = b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=0.01&price=50000&timestamp=1690000000000&signature=" + b"a" * 64
PATH = "/api/v3/order"


def timed(call: Callable[[], None], calls: int) -> list[float]:
    for _ in range(calls // 10):
        call()
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def by_requests(url: str, calls: int) -> list[float]:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return timed(lambda: session.post(url, data=BODY, headers=HEADERS).raise_for_status(), calls)


def by_httpx(url: str, calls: int) -> list[float]:
    import httpx

    with httpx.Client(trust_env=False) as session:

        def call() -> None:
            session.post(url, content=BODY, headers=HEADERS).raise_for_status()

        return timed(call, calls)


def by_aiohttp(url: str, calls: int) -> list[float]:
    import aiohttp
    import uvloop

    async def run() -> list[float]:
        times = []
        async with aiohttp.ClientSession() as session:
            for number in range(calls + calls // 10):
                began = time.perf_counter()
                async with session.post(url, data=BODY, headers=HEADERS) as answer:
                    await answer.read()
                if number >= calls // 10:
                    times.append(time.perf_counter() - began)
        return times

    return uvloop.run(run())


def by_relay(address: str, calls: int) -> list[float]:
    """The same two sockets and nothing between them (bare_relay.py): a floor, not a way to trade."""
    import zmq

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    frame = PATH.encode() + BODY

    def call() -> None:
        socket.send(frame)
        socket.recv()

    times = timed(call, calls)
    socket.close(0)
    context.term()
    return times


def by_agent(agent: AgentProcess, calls: int) -> list[float]:
    with client_for(agent, bot_id="bench") as client:

        def call() -> None:
            answer = client.request("POST", "https://api.binance.com" + PATH, headers=HEADERS, body=BODY)
            assert answer.status == 200

        return timed(call, calls)


def a_question(agent: AgentProcess, calls: int) -> list[float]:
    """Everything on but what an order brings: journal, evidence, rule 1."""
    with client_for(agent, bot_id="bench") as client:
        return timed(lambda: client.request("GET", "https://api.binance.com/api/v3/time", headers=HEADERS).ok, calls)


def by_agent_async(agent: AgentProcess, calls: int) -> list[float]:
    import uvloop

    import jackstay

    async def run() -> list[float]:
        times = []
        async with jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="bench") as client:
            for number in range(calls + calls // 10):
                began = time.perf_counter()
                await client.request("POST", "https://api.binance.com" + PATH, headers=HEADERS, body=BODY)
                if number >= calls // 10:
                    times.append(time.perf_counter() - began)
        return times

    return uvloop.run(run())


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    limits_off = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"
    with static_venue() as base, bare_relay(base) as relay, AgentProcess(routed(base, limits_off)) as agent:
        runs = interleaved(
            {
                "requests.Session": lambda: by_requests(base + PATH, options.calls),
                "httpx.Client": lambda: by_httpx(base + PATH, options.calls),
                "aiohttp on uvloop": lambda: by_aiohttp(base + PATH, options.calls),
                "a relay that decides nothing": lambda: by_relay(relay, options.calls),
                "agent, Client": lambda: by_agent(agent, options.calls),
                "agent, Client, a question": lambda: a_question(agent, options.calls),
                "agent, AsyncClient": lambda: by_agent_async(agent, options.calls),
            },
            options.rounds,
        )
    rows = latency_rows("order path", runs, "aiohttp on uvloop")
    by_way = {row["way"]: row["p50_us"] for row in rows}
    for row in rows:
        row["ratio_to_requests"] = round(row["p50_us"] / by_way["requests.Session"], 3)
    return finish(rows, options)


if __name__ == "__main__":
    main()
