"""An unmodified ccxt bot that answers every NetworkError by placing the order again: the venue has the intended ones.

Each try has a new client id, a new timestamp and a new signature, and the bot knows no word of ours. On Binance and
OKX ccxt names its orders; on Bybit and Kraken the attachment does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt.async_support
import pytest

import jackstay
from harness import AgentProcess
from intended import FULL, sized
from jackstay_agent.sandbox import SandboxProcess
from venue_shapes import AGENTS_KEY, LOGIN, SHAPES, Shape, config_of


async def bot(shape: Shape, runtime_dir: Path, prices: list[float], told: Counter[str]) -> dict[float, str]:
    """What create_order returned for each price."""
    exchange = getattr(ccxt.async_support, shape.name)({**LOGIN, **shape.options})
    placed: dict[float, str] = {}
    waiting = iter(prices)

    async def worker() -> None:
        for price in waiting:
            while price not in placed:
                try:
                    order = await exchange.create_order(
                        shape.symbol, "limit", "buy", 0.001, price, {"timeInForce": "IOC"}
                    )
                except ccxt.NetworkError as error:  # at once, and nothing else: any other error ends this bot
                    reason = getattr(error.__cause__, "reason", None)
                    told[f"{type(error).__name__}{f' ({reason})' if reason else ''}"] += 1
                    continue
                placed[price] = order["id"]

    async with jackstay.AsyncClient("t", runtime_dir=runtime_dir, bot_id="retry") as client:
        jackstay.attach(exchange, client)
        try:
            await exchange.load_markets()
            exchange.timeout = shape.timeout_ms
            await asyncio.gather(*(worker() for _ in range(shape.at_once)))
        finally:
            await exchange.close()
    return placed


def price_of(order: dict[str, Any]) -> float:
    """As intended: Kraken's price beside the description is the average of the fills."""
    return float(Decimal(order.get("descr", order)["price"]))


#: In `make test` one venue where ccxt names its orders and one where it does not.
CHOSEN = [shape for shape in SHAPES if FULL or shape.name in ("binance", "kraken")]


@pytest.mark.parametrize("shape", CHOSEN, ids=lambda shape: shape.name)
def test_a_bot_that_retries_every_network_error_has_exactly_what_it_intended(shape: Shape, tmp_path: Path) -> None:
    """A tenth of the replies lost, some requests too: every intended order once at the venue, none besides, and
    create_order returned the venue's own id of each.
    """
    count = sized(shape.full, 60 if shape.at_once > 1 else 25)
    prices = [30_000 + n for n in range(count)]
    told: Counter[str] = Counter()
    with (
        SandboxProcess(seed=12, quiet=True, extra_args=AGENTS_KEY) as venue,
        AgentProcess(config_of(shape, venue, tmp_path / "p")) as agent,
    ):
        for kind, share in (("reset_after", 0.05), ("drop_reply", 0.05), ("reset_before", 0.02)):
            venue.admin.fault(kind, route=shape.route, probability=share)
        placed = asyncio.run(bot(shape, agent.runtime_dir, prices, told))
        struck = {fault["kind"]: fault["struck"] for fault in venue.admin.faults()}
        orders = venue.admin.orders(shape.market)
        queue = agent.status()["queue"]
    at_venue = Counter(price_of(order) for order in orders)
    assert at_venue == Counter(prices)
    assert set(placed) == set(prices)
    assert all(placed.values()), "an order without an id"
    assert len(set(placed.values())) == count
    assert queue["open"]["unknown"] == 0
    assert sum(struck.values()) > count / 40
    print(f"\n{shape.name}: {count} intended, {len(orders)} at the venue; faults {struck}; the bot saw {dict(told)}")


def test_a_batch_that_holds_an_order_that_exists_is_not_sent_again(tmp_path: Path) -> None:
    """Its first sending was unknown and did happen: a bot that repeats on network errors alone is stopped, told which
    orders exist, and the venue has each once.
    """
    (shape,) = [each for each in SHAPES if each.name == "bybit"]
    wanted = [
        {"symbol": shape.symbol, "type": "limit", "side": "buy", "amount": 0.001, "price": 30_000 + n}
        for n in range(2)
    ]  # fmt: skip

    async def bot(runtime_dir: Path) -> tuple[int, str]:
        exchange = ccxt.async_support.bybit({**LOGIN, **shape.options})
        async with jackstay.AsyncClient("t", runtime_dir=runtime_dir, bot_id="batch") as client:
            jackstay.attach(exchange, client)
            try:
                await exchange.load_markets()
                exchange.timeout = shape.timeout_ms
                for tries in range(1_000):
                    try:
                        await exchange.create_orders(wanted)
                    except ccxt.NetworkError:
                        continue
                    except ccxt.BaseError as error:
                        return tries, f"{type(error).__name__}: {error}"
            finally:
                await exchange.close()
        return tries, "placed"

    with (
        SandboxProcess(seed=14, quiet=True, extra_args=AGENTS_KEY) as venue,
        AgentProcess(config_of(shape, venue, tmp_path / "p")) as agent,
    ):
        venue.admin.fault("reset_after", route="POST /v5/order/create-batch", count=1)
        tries, told = asyncio.run(bot(agent.runtime_dir))
        orders = venue.admin.orders(shape.market)
    assert tries > 0
    assert told.startswith("InvalidOrder"), told
    assert "was unknown and exists" in told
    assert sorted(price_of(order) for order in orders) == [each["price"] for each in wanted]
