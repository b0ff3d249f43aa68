"""One venue swallows everything; the other one's calls notice nothing (DESIGN §3 rule 11)."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from harness import AgentProcess
from jackstay import AsyncClient

PENDING, CALLS, AT_ONCE, ROUNDS = 1000, 300, 6, 3
ANSWER_AFTER_S = 0.02  # a venue's usual time; what the hanging one adds is seen against it
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(ANSWER_AFTER_S)
            writer.write(OK)
    writer.close()


async def blackhole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65536):
            pass
    writer.close()


async def p99_s(client: AsyncClient, url: str) -> float:
    took: list[float] = []

    async def one_after_another(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            assert (await client.request("GET", url, deadline_s=5)).status == 200
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(one_after_another(CALLS // AT_ONCE) for _ in range(AT_ONCE)))
    return sorted(took)[int(len(took) * 0.99)]


@pytest.mark.serial
@pytest.mark.asyncio
async def test_a_thousand_pending_calls_to_a_dead_venue_leave_the_other_alone() -> None:
    """With 1,000 calls pending at a blackholed venue the other's p99 stays within 10 % of what it is alone."""
    good = await asyncio.start_server(well, "127.0.0.1")
    dead = await asyncio.start_server(blackhole, "127.0.0.1")
    ports = {name: server.sockets[0].getsockname()[1] for name, server in (("good", good), ("dead", dead))}
    config = "\n".join(("[upstreams]", *(f'"{name}.test" = "http://127.0.0.1:{port}"' for name, port in ports.items())))
    with AgentProcess(config) as agent:
        async with AsyncClient(agent.name, runtime_dir=agent.runtime_dir) as client:
            await p99_s(client, "https://good.test/")  # warm
            alone, beside = [], []
            for _ in range(ROUNDS):
                alone.append(await p99_s(client, "https://good.test/"))
                stuck = [
                    asyncio.create_task(client.request("GET", "https://dead.test/", deadline_s=60))
                    for _ in range(PENDING)
                ]
                await asyncio.sleep(0.3)
                pools = agent.status()["upstreams"]
                pool = pools["https://dead.test"]["pool"]
                assert pool["busy"] + pool["waiting"] >= PENDING * 0.99
                beside.append(await p99_s(client, "https://good.test/"))
                for task in stuck:
                    task.cancel()
                await asyncio.gather(*stuck, return_exceptions=True)
            print(f"\np99 alone {min(alone) * 1e3:.2f} ms, beside {PENDING} pending {min(beside) * 1e3:.2f} ms")
            assert min(beside) <= 1.1 * min(alone)
    good.close()
    dead.close()
