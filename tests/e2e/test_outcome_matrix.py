"""Every shape of order whose reply or request is lost: what the journal says of it is right, or honestly unknown.

Four venues, an order with and without an id of its own, an agent with and without a key, single orders, batches and
stops; each once with its reply lost and once lost before it was processed. The judge is the venue's ledger.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import ccxt.async_support
import pytest

import jackstay
from e2e_bot import release
from harness import AgentProcess
from intended import FULL
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from venue_shapes import AGENTS_KEY, LOGIN, SHAPES, Shape, config_of

KINDS = ("single", "batch", "stop")
LOST = ("reset_after", "reset_before")
BATCHES = {
    "okx": "POST /api/v5/trade/batch-orders",
    "bybit": "POST /v5/order/create-batch",
    "kraken": "POST /0/private/AddOrderBatch",
}
STOPS = {"okx": "POST /api/v5/trade/order-algo"}
#: An unmodified ccxt names orders on Binance and OKX by its broker options.
NAMELESS = {"binance": {"broker": None}, "okx": {"brokerId": None}}
CELLS = list(itertools.product(SHAPES, (True, False), (True, False), KINDS))
SMALL = {("okx", False, True, "batch"), ("bybit", False, False, "single")}


class Cell(NamedTuple):
    shape: Shape
    named: bool
    keyed: bool
    kind: str


class Row(NamedTuple):
    """What became of a cell's orders, in words, and what the ccxt caller saw meanwhile."""

    cell: Cell
    said: dict[str, str]
    saw: dict[str, str]


def name_of(cell: Cell) -> str:
    return f"{cell.shape.name}-{'id' if cell.named else 'no id'}-{'key' if cell.keyed else 'no key'}-{cell.kind}"


WANTED = [Cell(*cell) for cell in CELLS if not (cell[0].name == "binance" and cell[3] == "batch")]
CHOSEN = [cell for cell in WANTED if FULL or (cell.shape.name, *cell[1:]) in SMALL]


@pytest.fixture(scope="module")
def table() -> Iterator[list[Row]]:
    """Filled cell by cell, printed at the end."""
    rows: list[Row] = []
    yield rows
    width = max((len(name_of(row.cell)) for row in rows), default=0)
    print(f"\n{'':{width}}  {'reply lost':20}{'ccxt saw':26}{'request lost':20}ccxt saw")
    for row in rows:
        lost = "".join(f"{row.said[fault]:20}{row.saw[fault]:26}" for fault in LOST)
        print(f"{name_of(row.cell):{width}}  {lost}")
    counts = Counter(said.split()[0] for row in rows for said in row.said.values())
    print(f"{len(rows)} cells, {2 * len(rows)} losses: {dict(counts)}; none wrong, none sent twice")


def exchange_of(cell: Cell) -> Any:
    exchange = getattr(ccxt.async_support, cell.shape.name)({**LOGIN, "timeout": 1500, **cell.shape.options})
    if not cell.named:
        exchange.options |= NAMELESS.get(cell.shape.name, {})
    return exchange


async def place(exchange: Any, cell: Cell, price: float) -> str:
    """What the ccxt caller saw."""
    if cell.named and (cell.shape.name, cell.kind) == ("okx", "stop"):
        exchange.options |= NAMELESS["okx"]  # ccxt's own name goes where an algo order has none
        return await _placed(exchange, cell, price, {"algoClOrdId": f"cell{int(price)}"})
    named = {} if not cell.named or cell.shape.name in NAMELESS else {"clientOrderId": f"cell{int(price)}"}
    return await _placed(exchange, cell, price, named)


async def _placed(exchange: Any, cell: Cell, price: float, named: dict[str, str]) -> str:
    symbol = cell.shape.symbol
    try:
        if cell.kind == "batch":
            orders = [
                {"symbol": symbol, "type": "limit", "side": "buy", "amount": 0.001, "price": price + n / 10,
                 "params": {key: f"{each}x{n}" for key, each in named.items()}}
                for n in range(2)
            ]  # fmt: skip
            found = await exchange.create_orders(orders)
            return f"{len(found)} orders, ids {'known' if all(each['id'] for each in found) else 'MISSING'}"
        extra = {"triggerPrice": price + 20_000} if cell.kind == "stop" else {}
        order = await exchange.create_order(symbol, "limit", "buy", 0.001, price, {**named, **extra})
        return "an order" if order["id"] else "an order WITHOUT ID"
    except ccxt.BaseError as error:
        return type(error).__name__


def journal(agent: AgentProcess) -> dict[float, str]:
    """State of every intent, by its price."""
    rows = ask(agent.runtime_dir / agent.name / "control.sock", "queue.export")["intents"]
    return {
        float(Decimal(row["intent"]["fields"]["price"])): row["state"]
        for row in rows
        if "price" in row["intent"]["fields"]
    }


def unknown(agent: AgentProcess) -> int:
    return int(agent.status()["queue"]["open"]["unknown"])


@pytest.mark.parametrize("cell", CHOSEN, ids=name_of)
def test_what_is_said_of_a_lost_order_is_right_or_unknown(cell: Cell, tmp_path: Path, table: list[Row]) -> None:
    """One order (two in a batch) whose reply is lost, one that is lost before it was processed."""
    shape, config = cell.shape, ""
    route = (BATCHES if cell.kind == "batch" else STOPS if cell.kind == "stop" else {}).get(shape.name, shape.route)
    prices = dict(zip(LOST, (30_100.0, 30_200.0), strict=True))
    with SandboxProcess(seed=13, quiet=True, extra_args=AGENTS_KEY) as venue:
        config = config_of(shape, venue, tmp_path / "p")
        if not cell.keyed:
            config = config.replace(f"[venues.{shape.name}.keys]\nenv = ", "# ")
        with AgentProcess(config) as agent:

            async def run() -> dict[str, str]:
                exchange, saw = exchange_of(cell), {}
                async with jackstay.AsyncClient("t", runtime_dir=agent.runtime_dir, bot_id="matrix") as client:
                    jackstay.attach(exchange, client)
                    try:
                        await exchange.load_markets()
                        for fault, price in prices.items():
                            venue.admin.fault(fault, route=route, count=1)
                            saw[fault] = await place(exchange, cell, price)
                            await asyncio.to_thread(settle, agent, cell)
                    finally:
                        await exchange.close()
                return saw

            states: dict[float, str] = {}

            def settle(agent: AgentProcess, cell: Cell) -> None:
                until = time.monotonic() + (10.0 if cell.keyed else 0.0)
                while unknown(agent) and time.monotonic() < until:
                    time.sleep(0.05)
                states.update({price: state for price, state in journal(agent).items() if price not in states})
                release(agent)  # what stays unknown must not hold up the next order

            saw = asyncio.run(run())
            rows = [row for row in venue.admin.ledger() if f"{row['method']} {row['path']}" == route]
    each = 2 if cell.kind == "batch" else 1
    assert len(rows) == 2 * each, [(row["fault"], row["status"], row["notes"]) for row in rows]
    assert {row["fault"] for row in rows} == set(LOST), "what was to be lost was lost"
    truth = {"reset_after": "done", "reset_before": "absent"}
    said = {fault: {states[price + n / 10] for n in range(each)} for fault, price in prices.items()}
    assert all(found <= {"unknown", truth[fault]} for fault, found in said.items()), (said, json.dumps(saw))
    if cell.keyed and cell.named:
        assert set(states.values()) == {"done", "absent"}, "it could be asked by its id"
    if not cell.keyed:
        assert set(states.values()) == {"unknown"}
    assert "MISSING" not in str(saw)
    assert "WITHOUT" not in str(saw)
    words = {
        fault: f"right ({truth[fault]})" if found == {truth[fault]} else " and ".join(sorted(found))
        for fault, found in said.items()
    }
    table.append(Row(cell, words, saw))
