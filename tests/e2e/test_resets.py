"""Traffic through random connection resets: every call answered once, the venue agrees, memory stays flat."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Iterator

import pytest

import jackstay
from e2e_bot import order_request, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome, TradingBotError

REQUESTS = 10_000
LIMITS_OFF = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"
# The breaker's own rule is tested elsewhere; here every request has to reach the wire.
BREAKER_OFF = "[errors.breakers.api_calls]\nfailure_threshold = 1000000\n"


@pytest.fixture(scope="module")
def quiet_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url, LIMITS_OFF + BREAKER_OFF)) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_ten_thousand_requests_through_random_resets(sandbox: SandboxProcess, quiet_agent: AgentProcess) -> None:
    """Each of 10,000 calls ends once; no order reaches the venue twice; what was told agrees with the ledger."""
    sandbox.admin.fault("reset_before", probability=0.01)
    sandbox.admin.fault("reset_after", probability=0.01)
    answered: Counter[str] = Counter()
    told: dict[str, Outcome] = {}
    rss: list[float] = []

    async def one(client: jackstay.AsyncClient, number: int, room: asyncio.Semaphore) -> None:
        async with room:
            client_id = f"r-{number}"
            if number % 2:
                method, url, headers, body = order_request(client_id, 20000 + number % 1000)
            else:
                method, url, headers, body = "GET", "https://api.binance.com/api/v3/time", [], b""
            try:
                answer = await client.request(method, url, headers=headers, body=body, deadline_s=20)
                told[client_id] = answer.verdict.outcome
            except TradingBotError as error:
                told[client_id] = error.outcome or Outcome.FAILED
            answered[client_id] += 1
            if number % 1000 == 999:
                rss.append(quiet_agent.rss_mb())

    async def run() -> None:
        room = asyncio.Semaphore(32)
        async with jackstay.AsyncClient(
            quiet_agent.name, runtime_dir=quiet_agent.runtime_dir, bot_id="resets"
        ) as client:
            await asyncio.gather(*(one(client, number, room) for number in range(REQUESTS)))

    began = time.monotonic()
    asyncio.run(run())
    gc.collect()
    assert len(answered) == REQUESTS
    assert set(answered.values()) == {1}
    rows = sandbox.admin.ledger(method="POST", path="/api/v3/order")
    arrivals = Counter(row["client_order_id"] for row in rows)
    executed = {row["client_order_id"] for row in rows if row["executed"]}
    assert max(arrivals.values()) == 1, "an order was sent twice"
    orders = {client_id: outcome for client_id, outcome in told.items() if int(client_id[2:]) % 2}
    for client_id, outcome in orders.items():
        if outcome is Outcome.OK:
            assert client_id in executed
        elif outcome in (Outcome.FAILED, Outcome.REJECTED):
            assert client_id not in executed, "told as not executed, but it was"
    unknown = sum(outcome is Outcome.UNKNOWN for outcome in orders.values())
    resets = sum(row["status"] == "reset" for row in rows)
    assert unknown == resets, "an order is unknown exactly when its connection was reset under it"
    assert all(outcome is Outcome.OK for client_id, outcome in told.items() if client_id not in orders)
    growth = rss[-1] - rss[1]
    assert growth < 8, f"agent RSS grew from {rss[1]:.1f} to {rss[-1]:.1f} MB"
    print(
        f"{REQUESTS} requests in {time.monotonic() - began:.1f} s, {resets} resets, {unknown} unknown orders,"
        f" RSS {rss[1]:.1f} -> {rss[-1]:.1f} MB"
    )
