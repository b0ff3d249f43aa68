"""The outbox on a real loop with a real worker thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jackstay_agent.outbox import Admitted, Outbox, OutboxSettings
from jackstay_agent.outbox.runner import loop_runner
from jackstay_protocols.errors import Outcome
from outbox_world import order


async def place(box: Outbox, number: int) -> int:
    """As the pipeline does it: wait for the disk if need be, send, answer."""
    durable = asyncio.get_running_loop().create_future()
    admitted = box.begin(order(number, symbol=f"S{number}"), durable.set_result)
    assert isinstance(admitted, Admitted)
    if not admitted.durable:
        assert await durable is None
    await asyncio.sleep(0)
    box.finish(admitted.seq, Outcome.OK)
    return admitted.seq


@pytest.mark.asyncio
@pytest.mark.parametrize("durability", ["process", "disk"])
async def test_orders_flow_while_checkpoints_run_on_the_worker(tmp_path: Path, durability: str) -> None:
    """Three hundred orders at once, checkpoints all the time: all are answered, written and found again."""
    settings = OutboxSettings(durability=durability, checkpoint_commits=1)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        box = Outbox.open(tmp_path / "o.db", settings, run_blocking=loop_runner(loop, pool))

        async def ticking() -> None:
            while True:
                box.tick()
                await asyncio.sleep(0)

        ticker = asyncio.create_task(ticking())
        seqs = await asyncio.gather(*(place(box, number) for number in range(300)))
        while box.stats()["checkpoints"] == 0:
            await asyncio.sleep(0)
        ticker.cancel()
        box.close()
    again = Outbox.open(tmp_path / "o.db")
    assert again.unknowns() == []
    assert sorted(seqs) == [u.seq for u in again.uncollected("bot", 1_000)]
    again.close()


def test_work_that_ends_after_its_loop_disturbs_nobody(tmp_path: Path) -> None:
    """The loop is closed while the worker is at a commit: no exception anywhere, and the row is there."""

    async def leave() -> Outbox:
        runner = loop_runner(asyncio.get_running_loop(), pool)
        box = Outbox.open(tmp_path / "o.db", OutboxSettings(durability="disk"), run_blocking=runner)
        box.begin(order())
        return box

    with ThreadPoolExecutor(1) as pool:
        box = asyncio.run(leave())
        pool.submit(lambda: None).result()
        box.close()
    again = Outbox.open(tmp_path / "o.db")
    assert len(again.unknowns()) == 1
    again.close()


@pytest.mark.asyncio
async def test_an_error_on_the_worker_comes_back(tmp_path: Path) -> None:
    """Whatever the work raises is handed to done on the loop."""
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def broken() -> None:
        raise OSError("broken")

    with ThreadPoolExecutor(1) as pool:
        loop_runner(asyncio.get_running_loop(), pool)(broken, told.set_result)
        assert isinstance(await told, OSError)
