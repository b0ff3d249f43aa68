"""A fill that nobody told of is found, written down, and handed to its bot's code once."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from jackstay_agent.sandbox import SandboxProcess
from state_world import StateWorld, kinds

QUIETLY = "enabled = false\n"
INSIDE = "49998"  # the sandbox quotes 49995 and 50005: whoever sells at this price meets the bot first


async def resting(world: StateWorld, client_id: str, quantity: str) -> None:
    """The bot's limit order, the best bid there is."""
    order = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity,
        "price": INSIDE, "newClientOrderId": client_id,
    }  # fmt: skip
    answer = await world.call("POST", "/api/v3/order", order)
    assert answer.status == 200, answer.text


async def eaten(world: StateWorld, quantity: str = "0.001", times: int = 1) -> None:
    """Somebody else sells to it, so many trades."""
    for _ in range(times):
        order = {
            "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "IOC", "quantity": quantity,
            "price": INSIDE,
        }  # fmt: skip
        await world.by_hand("POST", "/api/v3/order", order)


@pytest.mark.asyncio
async def test_four_of_eighteen_fills_are_told_and_the_other_fourteen_are_found(sandbox: SandboxProcess) -> None:
    """The stream lives and is silent; each missed fill reaches the bot's code exactly once, also after a hello."""
    async with StateWorld(sandbox, stream=True, state=QUIETLY) as world:
        await resting(world, "maker-1", "0.018")
        await eaten(world, times=4)
        await world.settled()
        entry = world.agent.state.books.entry(world.books("maker-1"))
        assert entry is not None
        assert entry.filled == Decimal("0.004")
        sandbox.admin.fault("stream_drop")
        await eaten(world, times=14)
        assert world.agent.user_streams.connected("binance"), "its heartbeats continue"
        found = await world.check()
        assert kinds(found) == ["fill_missing"] * 14 + ["status"], "and that it is filled by now"
        fills = await world.fills()
        assert len(fills) == 14
        assert len({each.trade_id for each in fills}) == 14
        assert sum(each.quantity for each in fills) == Decimal("0.014")
        assert {(each.client_order_id, each.side, each.price) for each in fills} == {
            ("maker-1", "buy", Decimal(INSIDE))
        }
        assert await world.reconcile(found)
        assert await world.check() == []
        assert await world.fills(0.2) == []
        await world.bot.close()
        world.bot = world.client("bot")
        assert await world.fills(0.3) == [], "acknowledged fills are not told again"


@pytest.mark.asyncio
async def test_an_unacknowledged_fill_survives_the_agent_and_the_bot(sandbox: SandboxProcess) -> None:
    """It is on the disk before it is told, and told until the bot's code has it."""
    async with StateWorld(sandbox, stream=True, state=QUIETLY) as world:
        await resting(world, "maker-2", "0.002")
        sandbox.admin.fault("stream_drop")
        await eaten(world)
        assert "fill_missing" in kinds(await world.check())
        await world.stop()
        world.others.clear()
        await world.start()
        (fill,) = await world.fills(2.0)
        assert (fill.client_order_id, fill.quantity) == ("maker-2", Decimal("0.001"))
        await eaten(world)
        await world.check()
        later = await world.fills(1.0)
        assert [each.trade_id for each in later if each.trade_id == fill.trade_id] == [], "never twice"


@pytest.mark.asyncio
async def test_late_and_doubled_stream_events_make_no_fill_of_their_own(sandbox: SandboxProcess) -> None:
    """A stream that stutters and lags is still the same trades."""
    async with StateWorld(sandbox, stream=True, state=QUIETLY) as world:
        await resting(world, "maker-3", "0.005")
        sandbox.admin.fault("stream_duplicate")
        sandbox.admin.fault("stream_delay", ms=100)
        await eaten(world, times=5)
        await world.settled()
        await world.check()
        assert await world.fills(0.3) == []
        entry = world.agent.state.books.entry(world.books("maker-3"))
        assert entry is not None
        assert entry.filled == Decimal("0.005")


@pytest.mark.asyncio
async def test_what_the_bots_own_traffic_showed_is_not_told_again(sandbox: SandboxProcess) -> None:
    """Its order's reply said how much was filled; without a stream nothing else is needed."""
    async with StateWorld(sandbox, state=QUIETLY) as world:
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001", "newClientOrderId": "m-1"}
        assert (await world.call("POST", "/api/v3/order", order)).status == 200
        assert await world.check() == []
        assert await world.fills(0.3) == []
        assert world.agent.state.fills.counters["pulled"] >= 1


@pytest.mark.asyncio
async def test_all_fills_are_told_where_that_is_configured(sandbox: SandboxProcess) -> None:
    """For a bot without a stream of its own."""
    async with StateWorld(sandbox, stream=True, state=QUIETLY + 'deliver_fills = "all"\n') as world:
        await resting(world, "maker-4", "0.002")
        await eaten(world, times=2)
        assert len(await world.fills(1.0)) == 2
        await world.check()
        assert await world.fills(0.3) == []


@pytest.mark.asyncio
async def test_after_a_reconnect_the_missed_fills_are_pulled_by_themselves(sandbox: SandboxProcess) -> None:
    """Nobody asks for a check: the stream came back, and what happened meanwhile is news, not an alarm."""
    async with StateWorld(sandbox, stream=True) as world:
        await resting(world, "maker-5", "0.002")
        await world.settled()
        sandbox.admin.fault("reset_before", route="WS /ws-api/v3")
        sandbox.admin.fault("stream_reset")
        await world.until(lambda: not world.agent.user_streams.connected("binance"), "the stream's end")
        await eaten(world)
        sandbox.admin.clear()
        await world.until(lambda: world.agent.user_streams.connected("binance"), "the stream's return", 15)
        (fill,) = await world.fills(5.0)
        assert fill.client_order_id == "maker-5"
        assert world.said("state.discrepancy") == []


@pytest.mark.asyncio
async def test_a_stream_that_is_behind_is_waited_for(sandbox: SandboxProcess) -> None:
    """Its events come later than usual, by more than the pause: they are late, not missing."""
    async with StateWorld(sandbox, stream=True, state=QUIETLY) as world:
        await resting(world, "maker-6", "0.05")
        await eaten(world, times=2)
        await world.settled()
        sandbox.admin.fault("stream_delay", ms=800)

        async def trading() -> None:
            for _ in range(30):
                await eaten(world)
                await asyncio.sleep(0.05)

        task = asyncio.create_task(trading())
        await asyncio.sleep(1.2)
        assert world.agent.state.intake.behind("binance", 0.15)
        assert await world.check() == []
        await task
        await asyncio.sleep(1.0)
        assert await world.check() == []
        assert await world.fills(0.3) == []
