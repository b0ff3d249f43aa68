"""The agent is down, or stopped: no order of that time is ever sent."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import ccxt
import pytest

import jackstay
from e2e_bot import KEY, SECRET, client_for, order_params, place, release, routed, signed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import AgentGone, DeadlineExceeded, Outcome


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url)) as running:
        yield running


def test_agent_down_then_back(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """100 order calls without an agent all end in AgentGone; the agent that comes later sends none of them."""
    with client_for(own_agent) as client:
        assert place(client, sandbox, "warm").status == 200
        own_agent.kill()
        failures = []
        for number in range(100):
            with pytest.raises((AgentGone, DeadlineExceeded)) as caught:
                place(client, sandbox, f"down-{number}", deadline_s=0.05)
            failures.append(caught.value)
        own_agent.start()
        release(own_agent)  # a kill can take the row that says how "warm" ended along: it is unknown then
        assert place(client, sandbox, "after", deadline_s=5.0).status == 200
    sent = {row["client_order_id"] for row in sandbox.admin.ledger(method="POST", path="/api/v3/order")}
    assert sent == {"warm", "after"}
    assert all(failure.outcome is not Outcome.OK for failure in failures)


def test_agent_stopped_then_continued(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """100 order calls into a SIGSTOPped agent end at their deadline; on SIGCONT it refuses every one as expired."""
    with client_for(own_agent) as client:
        assert place(client, sandbox, "warm").status == 200
        own_agent.signal(signal.SIGSTOP)
        try:
            for number in range(100):
                with pytest.raises((AgentGone, DeadlineExceeded)):
                    place(client, sandbox, f"stopped-{number}", deadline_s=0.03)
        finally:
            os.kill(own_agent.pid, signal.SIGCONT)
        assert place(client, sandbox, "after", deadline_s=5.0).status == 200
    deadline = time.monotonic() + 5
    while own_agent.status()["gateway"]["refused_expired"] < 100:
        assert time.monotonic() < deadline, own_agent.status()["gateway"]
    sent = {row["client_order_id"] for row in sandbox.admin.ledger(method="POST", path="/api/v3/order")}
    assert sent == {"warm", "after"}


def asked(url: str, method: str, client_id: str, *, place: bool = False) -> dict[str, Any]:
    """A signed request about an order, by the venue's own address, since nothing leads it elsewhere."""
    params = order_params(client_id) if place else {"symbol": "BTCUSDT", "origClientOrderId": client_id}
    text = signed(params)
    target, body = (f"{url}/api/v3/order", text) if place else (f"{url}/api/v3/order?{text}", "")
    headers = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}
    return {"method": method, "url": target, "headers": headers, "body": body}


@pytest.mark.parametrize("flavour", ["blocking", "asyncio"])
def test_cancels_and_questions_have_a_way_past_a_dead_agent(
    sandbox: SandboxProcess, own_agent: AgentProcess, flavour: str
) -> None:
    """With fallback="derisk": an order is refused all the same, a cancel by id and a question reach the venue, and the
    agent that comes back is told; without it nothing passes."""
    known = {"runtime_dir": own_agent.runtime_dir, "bot_id": "past"}

    async def scene(client: Any, ask: Any) -> None:
        answer = await ask(**asked(sandbox.url, "POST", "mine", place=True), deadline_s=5)
        assert (answer.status, answer.verdict.outcome, answer.verdict.cause == "direct") == (200, "ok", False)
        own_agent.kill()
        with pytest.raises(AgentGone):
            await ask(**asked(sandbox.url, "POST", "other", place=True), deadline_s=5)
        found = await ask(**asked(sandbox.url, "GET", "mine"), deadline_s=5)
        assert (found.json()["status"], found.verdict.outcome, found.verdict.cause) == ("NEW", "ok", "direct")
        gone = await ask(**asked(sandbox.url, "DELETE", "mine"), deadline_s=5)
        assert (gone.json()["status"], gone.verdict.outcome, gone.verdict.cause) == ("CANCELED", "ok", "direct")
        again = await ask(**asked(sandbox.url, "DELETE", "mine"), deadline_s=5)
        assert (again.status, again.verdict.outcome) == (400, "rejected")
        own_agent.start()
        while True:  # a blocking client sees it with its next call, an asyncio one by itself
            answer = await ask(**asked(sandbox.url, "GET", "mine"), deadline_s=5)
            if answer.verdict.cause != "direct":
                break

    async def asyncio_scene() -> None:
        async with jackstay.AsyncClient(own_agent.name, fallback="derisk", **known) as client:
            await scene(client, client.request)

    if flavour == "asyncio":
        asyncio.run(asyncio_scene())
    else:
        with jackstay.Client(own_agent.name, fallback="derisk", **known) as client:

            async def ask(**options: Any) -> Any:
                return client.request(**options)

            asyncio.run(scene(client, ask))
    (told,) = own_agent.events("bot.went_direct")
    assert told["bot"] == "past"
    lines = [line.partition(" ")[0] + line.rpartition(":")[2] for line in told["calls"][:3]]
    assert lines == ["GET HTTP 200", "DELETE HTTP 200", "DELETE HTTP 400"]
    assert "signature" not in str(told)
    sent = [row["client_order_id"] for row in sandbox.admin.ledger(method="POST", path="/api/v3/order")]
    assert sent == ["mine"]


def test_without_the_word_nothing_passes_a_dead_agent(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """Off by default: not even a question."""
    with client_for(own_agent) as client:
        assert place(client, sandbox, "warm").status == 200
        own_agent.kill()
        before = len(sandbox.admin.ledger())
        for method in ("GET", "DELETE"):
            with pytest.raises(AgentGone):
                client.request(**asked(sandbox.url, method, "warm"), deadline_s=2)
    assert len(sandbox.admin.ledger()) == before


def test_an_attached_bot_cancels_past_a_dead_agent(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """ccxt reads the venue's own answer; an order is ExchangeNotAvailable, as ever."""
    settings = {"apiKey": KEY, "secret": SECRET, "options": {"fetchCurrencies": False, "fetchMargins": False,
                                                             "fetchMarkets": {"types": ["spot"]}}}  # fmt: skip
    with jackstay.Client(own_agent.name, runtime_dir=own_agent.runtime_dir, bot_id="past", fallback="derisk") as client:
        exchange = ccxt.binance(settings)
        exchange.urls["api"] = {
            name: url.replace("https://api.binance.com", sandbox.url) for name, url in exchange.urls["api"].items()
        }
        jackstay.attach(exchange, client)
        placed = exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 40000)
        own_agent.kill()
        with pytest.raises(ccxt.ExchangeNotAvailable):
            exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 40000)
        assert exchange.cancel_order(placed["id"], "BTC/USDT")["status"] == "canceled"
        with pytest.raises(ccxt.OrderNotFound):
            exchange.cancel_order(placed["id"], "BTC/USDT")
        assert exchange.fetch_open_orders("BTC/USDT") == []
