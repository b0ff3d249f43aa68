"""A hundred thousand orders of history cost a look next to nothing, and no memory."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from concurrent.futures import Future
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from e2e_bot import RESOLVING, routed
from harness import AgentProcess
from jackstay_agent.account.file import AccountFile
from jackstay_agent.core.account import Order, Stage
from jackstay_agent.sandbox import SandboxProcess
from state_world import StateWorld

ORDERS = 100_000


def filled_file(path: Path) -> None:
    """What many days leave behind."""

    def run(work):  # type: ignore[no-untyped-def]
        future = Future()  # type: ignore[var-annotated]
        future.set_result(work())
        return future

    path.parent.mkdir(parents=True, exist_ok=True)
    file = AccountFile(path, sqlite3.connect, run, "x")
    file.open()
    one = Order(
        "binance", "BTCUSDT", stage=Stage.FILLED, quantity=Decimal("0.01"), filled=Decimal("0.01"), bot_id="bot"
    )
    now = time.time()
    orders = [
        (number, replace(one, client_id=f"old-{number}", venue_id=str(10**9 + number), family="plain", side="buy"))
        for number in range(1, ORDERS + 1)
    ]
    file.write_orders(orders, now)
    file.close()


@pytest.mark.asyncio
@pytest.mark.serial
async def test_a_look_over_a_large_history_is_cheap(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """A full check takes at most 200 ms of CPU, an incremental one 5 ms, with 500 live orders."""
    filled_file(tmp_path / "t" / "state" / "state.sqlite")
    state = "enabled = false\norders_over_max = 1000\n"
    async with StateWorld(sandbox, stream=True, state=state, folder=tmp_path) as world:
        rows = await world.agent.state.wait(
            world.agent.state._file._submit(  # type: ignore[union-attr]
                lambda: world.agent.state._file._open_conn().execute("SELECT count(*) FROM orders").fetchone()[0]  # type: ignore[union-attr]
            )
        )
        assert rows >= ORDERS
        for number in range(150):
            assert (await world.place(f"live-{number}")).status == 200
        await world.settled()
        costs, small = [], []
        for _ in range(3):
            began = time.process_time()
            assert await world.check() == []
            costs.append(time.process_time() - began)
        names = [each.client_id for each in world.agent.state.books.live("binance")]
        await world.report(*names)
        for _ in range(5):
            began = time.process_time()
            assert world.agent.state.checks.compare_now("binance") == []
            small.append(time.process_time() - began)
        print(f"full {min(costs) * 1000:.0f} ms CPU, incremental {min(small) * 1000:.2f} ms")
        assert min(costs) <= 0.2
        assert min(small) <= 0.005


@pytest.mark.soak
def test_a_large_history_stays_on_the_disk(sandbox: SandboxProcess) -> None:
    """The agent's memory with it is within a few MB of one without."""
    sizes = []
    config = routed(sandbox.url, f'"ws-api.binance.com:443" = "{sandbox.url}"\n{RESOLVING}')
    for full in (False, True):
        with tempfile.TemporaryDirectory(prefix="js-") as folder:
            if full:
                filled_file(Path(folder) / "t" / "state" / "state.sqlite")
            with AgentProcess(config, runtime_dir=Path(folder)) as agent:
                end = time.monotonic() + 15
                while agent.status()["state_monitor"]["checks"] < 1 and time.monotonic() < end:
                    time.sleep(0.2)
                facts = agent.status()["state_monitor"]
                assert facts["file"] == "open"
                assert (facts["books"]["orders_kept"] >= 1000) is full
                sizes.append(agent.rss_mb())
    print(f"RSS without {sizes[0]:.1f} MB, with {ORDERS} orders {sizes[1]:.1f} MB")
    assert sizes[1] <= sizes[0] + 8
