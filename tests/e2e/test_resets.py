"""Traffic through random connection resets: every call answered once, the venue agrees, memory stays flat."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

import jackstay
from e2e_bot import HOST, RESOLVING, order_params, quick_profiles, routed
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome, TradingBotError

REQUESTS = 10_000
LOOKED_AT = 5_999  # thousands of orders rest open here: a look at them takes room once, whenever its time comes
LIMITS_OFF = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"
# The breaker's own rule is tested elsewhere; here every request has to reach the wire.
BREAKER_OFF = "[errors.breakers.api_calls]\nfailure_threshold = 1000000\n"


@pytest.fixture(scope="module")
def quiet_agent(sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    profiles = quick_profiles(tmp_path_factory.mktemp("profiles"))
    few = "[state]\norders_live_max = 500\norders_over_max = 100\n"  # thousands rest open here
    with AgentProcess(routed(sandbox.url, LIMITS_OFF + BREAKER_OFF + RESOLVING + few + profiles)) as running:
        yield running


def order(number: int) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """Unsigned, no two equal; four kinds, so that one unknown order makes a quarter of them wait."""
    symbol, side = ("BTCUSDT", "ETHUSDT")[number // 2 % 2], ("BUY", "SELL")[number // 4 % 2]
    price = {"BTCUSDTBUY": 20000.0, "BTCUSDTSELL": 90000.0, "ETHUSDTBUY": 1200.0, "ETHUSDTSELL": 5000.0}[symbol + side]
    fields = order_params(f"r-{number}", price + number / 100) | {"symbol": symbol, "side": side, "quantity": "0.006"}
    return "POST", f"{HOST}/api/v3/order", [], urlencode(fields).encode()


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_ten_thousand_requests_through_random_resets(sandbox: SandboxProcess, quiet_agent: AgentProcess) -> None:
    """Each of 10,000 calls ends once; no order reaches the venue twice; what was told agrees with the ledger."""
    sandbox.admin.fault("reset_before", probability=0.01)
    sandbox.admin.fault("reset_after", probability=0.01)
    answered: Counter[str] = Counter()
    told: dict[str, Outcome] = {}
    rss: list[float] = []
    door = quiet_agent.runtime_dir / quiet_agent.name / "control.sock"

    async def one(client: jackstay.AsyncClient, number: int, room: asyncio.Semaphore) -> None:
        async with room:
            client_id = f"r-{number}"
            if number % 2:
                method, url, headers, body = order(number)
            else:
                method, url, headers, body = "GET", "https://api.binance.com/api/v3/time", [], b""
            try:
                answer = await client.request(
                    method, url, headers=headers, body=body, deadline_s=60, sign=bool(number % 2)
                )
                told[client_id] = answer.verdict.outcome
            except TradingBotError as error:
                told[client_id] = error.outcome or Outcome.FAILED
            answered[client_id] += 1
            if number == LOOKED_AT:
                await asyncio.to_thread(ask, door, "state.check", timeout_s=60.0)
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
    assert resets > 20
    assert unknown == 0, "the venue was asked about each whose connection was reset under it"
    assert sum(outcome is Outcome.OK for outcome in orders.values()) == len(executed)
    assert all(outcome is Outcome.OK for client_id, outcome in told.items() if client_id not in orders)
    # the first thousands fill bounded memories: pictures of orders, rows of errors, patterns, SQLite's pages
    growth = rss[-1] - rss[6]
    assert growth < 8, f"agent RSS grew from {rss[6]:.1f} to {rss[-1]:.1f} MB in its last third"
    print(
        f"{REQUESTS} requests in {time.monotonic() - began:.1f} s, {resets} resets, {unknown} unknown orders,"
        f" RSS {rss[1]:.1f} -> {rss[-1]:.1f} MB"
    )
