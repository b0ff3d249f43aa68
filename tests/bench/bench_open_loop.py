"""The load of Dapr's published test (1 KB requests, 16 connections, 1,000 a second, open loop): what the agent adds.

Open loop: a request is due at its instant whether or not earlier ones were answered, and its latency counts from there,
so that a stall is not hidden by the pause it makes (coordinated omission). Ways in turn in one run: straight to the
venue, through the agent by its client, through the agent's http.sock by 16 plain connections, and through nginx as a C
proxy, where it is installed (Debian: nginx-light).

Published by Dapr (docs.dapr.io, service invocation performance): 1.06 ms at p50 and 2.90 ms at p99 added, 0.20 cores,
51 MB (DESIGN section 8). Requests are questions, as in that test; orders, journaled too, have a row of their own.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.bench_order_path import BODY, HEADERS
from bench.figures import Row, arguments, finish, interleaved, percentile
from bench.static_venue import static_venue
from e2e_bot import routed
from harness import AgentProcess

RATE_PER_S, CONNECTIONS, SECONDS = 1000, 16, 5.0
PAYLOAD = b"x" * 1024
QUESTION, ORDER = "/api/v3/time", "/api/v3/order"
LIMITS_OFF = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n[http]\nenabled = true\n"

Send = Callable[[], Awaitable[None]]


async def offered(send: Send) -> list[float]:
    """Seconds from when each request was due until its answer."""
    taken: list[float] = []
    free = asyncio.Semaphore(CONNECTIONS)
    loop = asyncio.get_running_loop()

    async def one(due: float) -> None:
        async with free:
            await send()
        taken.append(time.perf_counter() - due)

    for _ in range(CONNECTIONS):
        await send()  # connected and warm
    began = time.perf_counter() + 0.01
    tasks = []
    for number in range(int(RATE_PER_S * SECONDS)):
        due = began + number / RATE_PER_S
        if (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        tasks.append(loop.create_task(one(due)))
    await asyncio.gather(*tasks)
    return taken


def by_aiohttp(base: str, unix: str | None = None, host: str | None = None) -> list[float]:
    import aiohttp
    import uvloop

    async def run() -> list[float]:
        connector = aiohttp.UnixConnector(unix, limit=CONNECTIONS) if unix else aiohttp.TCPConnector(limit=CONNECTIONS)
        headers = HEADERS | ({"Host": host} if host else {})
        async with aiohttp.ClientSession(connector=connector) as session:

            async def send() -> None:
                async with session.get(base + QUESTION, data=PAYLOAD, headers=headers) as answer:
                    await answer.read()
                    assert answer.status == 200, answer.status

            return await offered(send)

    return uvloop.run(run())


def by_client(agent: AgentProcess, method: str, path: str, body: bytes) -> list[float]:
    import uvloop

    import jackstay

    async def run() -> list[float]:
        async with jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="bench") as client:

            async def send() -> None:
                url = "https://api.binance.com" + path
                assert (await client.request(method, url, headers=HEADERS, body=body)).status == 200

            return await offered(send)

    return uvloop.run(run())


def cores(pids: list[int], way: Callable[[], list[float]], used: list[float]) -> list[float]:
    """Run ``way`` and note the CPU that the processes between used for it, in cores."""
    processes = [psutil.Process(pid) for pid in pids]

    def spent() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in processes)

    before, began = spent(), time.monotonic()
    taken = way()
    used.append((spent() - before) / (time.monotonic() - began))
    return taken


class Nginx:
    """A C proxy of the same kind: one worker, kept-alive connections both ways."""

    def __init__(self, upstream: str) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="js-nginx-")
        self.port = _free_port()
        config = Path(self.folder.name) / "nginx.conf"
        config.write_text(
            f"""daemon off; worker_processes 1; pid {self.folder.name}/pid; error_log stderr crit;
            events {{ worker_connections 256; }}
            http {{ access_log off; client_body_temp_path {self.folder.name}/body; proxy_temp_path {self.folder.name}/p;
              fastcgi_temp_path {self.folder.name}/f; uwsgi_temp_path {self.folder.name}/u;
              scgi_temp_path {self.folder.name}/s;
              upstream venue {{ server {upstream}; keepalive {CONNECTIONS}; }}
              server {{ listen 127.0.0.1:{self.port}; keepalive_requests 1000000;
                location / {{ proxy_pass http://venue; proxy_http_version 1.1;
                  proxy_set_header Connection ""; }} }} }}"""
        )
        self.process = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 5
        while not (children := psutil.Process(self.process.pid).children()):
            assert time.monotonic() < until, "nginx did not start its worker"
            time.sleep(0.02)
        self.pids = [children[0].pid]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    nginx: Nginx | None = None
    used: dict[str, list[float]] = {}
    try:
        with static_venue() as base, AgentProcess(routed(base, LIMITS_OFF)) as agent:
            nginx = Nginx(base.removeprefix("http://")) if shutil.which("nginx") else None
            sock = str(agent.runtime_dir / agent.name / "http.sock")
            between: dict[str, tuple[list[int], Callable[[], list[float]]]] = {
                "straight": ([], lambda: by_aiohttp(base)),
                "agent, AsyncClient": ([agent.pid], lambda: by_client(agent, "GET", QUESTION, PAYLOAD)),
                "agent, http.sock": (
                    [agent.pid],
                    lambda: by_aiohttp("http://api.binance.com", unix=sock, host="api.binance.com"),
                ),
                "agent, AsyncClient, orders": ([agent.pid], lambda: by_client(agent, "POST", ORDER, BODY)),
            }
            if nginx is not None:
                worker = nginx
                between["nginx"] = (worker.pids, lambda: by_aiohttp(f"http://127.0.0.1:{worker.port}"))
            used = {name: [] for name in between}
            runs = interleaved(
                {
                    name: (lambda name=name, pids=pids, way=way: cores(pids, way, used[name]))  # type: ignore[misc]
                    for name, (pids, way) in between.items()
                },
                options.rounds,
            )
            agent_mb = agent.rss_mb()
    finally:
        if nginx is not None:
            nginx.stop()
    rows = added_rows(runs, used, agent_mb)
    if nginx is None:
        print("nginx is not installed (Debian: nginx-light): no row of a C proxy")
    return finish(rows, options)


def added_rows(runs: dict[str, list[list[float]]], used: dict[str, list[float]], agent_mb: float) -> list[Row]:
    """Medians over the rounds; ``added`` is against the straight way of the same round."""
    rows: list[Row] = []
    for name, rounds in runs.items():
        row: Row = {"bench": "open loop, 1,000/s", "way": name}
        for word, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
            mine = [percentile(each, share) * 1e3 for each in rounds]
            base = [percentile(each, share) * 1e3 for each in runs["straight"]]
            row[f"{word}_ms"] = round(statistics.median(mine), 3)
            if name != "straight" and word != "p99.9":
                row[f"added_{word}_ms"] = round(statistics.median(a - b for a, b in zip(mine, base, strict=True)), 3)
        row["cores"] = round(statistics.median(used[name]), 3)
        if name.startswith("agent"):
            row["rss_mb"] = round(agent_mb, 1)
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
