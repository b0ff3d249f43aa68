"""No false alarm: trading as it is, with latency, reordering, neighbours and people, is no divergence."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from state_world import StateWorld, kinds

OFTEN = (
    "settle_s = 0.6\ncheck_every_s = 0.4\ncheck_every_streamed_s = 0.4\n"
    "fills_every_streamed_s = 0.5\nfills_every_s = 0.5\n"
)


async def trade(world: StateWorld, prefix: str, seconds: float, per_s: float, chance: random.Random) -> int:
    """Place, cancel, trade at the market and report, as a bot does; how many orders."""
    placed: list[str] = []
    pending: set[asyncio.Task[Any]] = set()
    count, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        count += 1
        name = f"{prefix}{count}"
        draw = chance.random()
        if draw < 0.2:
            side = chance.choice(["BUY", "SELL"])
            order = {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": f"{0.001 + count / 1e5:.5f}"}
            work = world.call("POST", "/api/v3/order", order | {"newClientOrderId": name})
        elif draw < 0.5 and placed:
            work = world.cancel(placed.pop(chance.randrange(len(placed))))
        else:
            work = world.place(name, side="BUY", quantity="0.001")
            placed.append(name)
        task = asyncio.ensure_future(work)
        pending.add(task)
        task.add_done_callback(pending.discard)
        if count % 25 == 0:
            live = [each for each in world.agent.state.books.of_bot("binance", world.bot_id) if each.live]
            as_of_ms = int(time.time() * 1000)  # the picture's age: a loaded machine may carry it late
            task = asyncio.ensure_future(world.report(*(each.client_id for each in live), as_of_ms=as_of_ms))
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.sleep(max(0.0, began + count / per_s - time.monotonic()))
    await asyncio.gather(*pending, return_exceptions=True)
    return count


async def no_alarm(sandbox: SandboxProcess, seconds: float, *, per_s: float = 50.0) -> dict[str, int]:
    sandbox.admin.fault("latency", route="* /api/v3/", ms=20, jitter_ms=60)
    sandbox.admin.fault("stream_delay", probability=0.3, ms=150)
    sandbox.admin.fault("stream_reorder", probability=0.1)
    sandbox.admin.fault("stream_duplicate", probability=0.1)
    async with StateWorld(sandbox, stream=True, state=OFTEN, account='client_id_prefixes = ["t-"]') as world:
        count = await trade(world, "t-", seconds, per_s, random.Random(7))
        await asyncio.sleep(1.0)
        checks = world.agent.state.monitor.checks
        assert world.said("state.discrepancy") == [], kinds(world.said("state.discrepancy"))
        assert await world.fills(0.3) == [], "no fill is told that the stream told"
        assert world.agent.state.intake.dropped == 0
        assert not world.said("state.broken")
        return {"orders": count, "checks": checks}


@pytest.mark.serial  # so many orders a second
@pytest.mark.asyncio
async def test_busy_trading_under_latency_and_reordering_is_no_discrepancy(sandbox: SandboxProcess) -> None:
    """Seconds of it, looked at all the time."""
    told = await no_alarm(sandbox, 3.0)
    assert told["orders"] >= 90
    assert told["checks"] >= 2


@pytest.mark.soak
@pytest.mark.timeout(2400)
@pytest.mark.asyncio
async def test_thirty_minutes_of_trading_are_no_discrepancy(sandbox: SandboxProcess) -> None:
    """The full figure, at 50 orders a second."""
    told = await no_alarm(sandbox, float(os.environ.get("SOAK_S", "1800")))
    print(told)


@pytest.mark.asyncio
async def test_two_bots_and_a_person_on_one_account(sandbox: SandboxProcess) -> None:
    """Each agent sees its own bot's orders; the others' are counted, never discrepancies, and never touched."""
    one = StateWorld(sandbox, stream=True, state=OFTEN, account='client_id_prefixes = ["a-"]', bot_id="a")
    two = StateWorld(sandbox, stream=True, state=OFTEN, account='client_id_prefixes = ["b-"]', bot_id="b")
    async with one, two:
        people = [await one.hand_order(f"web-{number}") for number in range(3)]
        await asyncio.gather(
            trade(one, "a-", 3.0, 20.0, random.Random(1)), trade(two, "b-", 3.0, 20.0, random.Random(2))
        )
        await one.settled()
        for world in (one, two):
            assert await world.check() == []
            assert world.said("state.discrepancy") == []
            assert world.agent.state.checks.foreign["binance"] > 3
        there = one.venue_orders()
        assert all(there[each["clientOrderId"]]["status"] == "NEW" for each in people)
        assert sandbox.admin.checks()["foreign_order_touched"] == []
        mine = {each.client_id[:2] for each in one.agent.state.books.of_bot("binance", "a")}
        assert mine == {"a-"}


@pytest.mark.asyncio
@pytest.mark.serial
async def test_a_divergence_is_told_within_two_seconds(sandbox: SandboxProcess) -> None:
    """From the moment in which the venue shows it: an orphan on the stream, a bot's wrong report, a silent stream."""
    async with StateWorld(sandbox, stream=True, state=OFTEN, account='client_id_prefixes = ["a-"]') as world:

        async def told(kind: str) -> float:
            began = time.monotonic()
            await world.until(lambda: kind in kinds(world.said("state.discrepancy")), kind, 5)
            return time.monotonic() - began

        await world.hand_order("a-nobody")
        assert await told("orphan") < 2.0
        await world.place("a-mine")
        await world.settled()
        await asyncio.sleep(0.5)
        await world.report()
        assert await told("unknown_to_bot") < 2.0
        sandbox.admin.fault("stream_drop")
        await world.hand_cancel("a-mine")
        assert await told("status") < 2.0
