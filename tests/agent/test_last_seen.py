"""What an agent last said of itself: written at once, again and again, once more in order; read by anybody."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent import last_seen
from jackstay_agent.last_seen import BYTES_MAX, FILE, STOPPED, LastSeen, read


def told(folder: Path) -> dict[str, Any]:
    found = read(folder)
    assert found is not None
    return found


def test_it_is_there_before_the_agent_is_ready_and_follows_it(tmp_path: Path) -> None:
    """The first word when `begin` returns, newer ones after it, and at the end that it stopped in order."""

    async def life() -> list[dict[str, Any]]:
        looks = iter(range(1, 1000))
        seen = LastSeen(
            tmp_path,
            lambda: {"n": next(looks), "state": "running", "at_us": 1},
            loop=asyncio.get_running_loop(),
            wall=lambda: 7.0,
            every_s=0.01,
        )
        seen.begin()
        first = told(tmp_path)
        while told(tmp_path)["n"] < 3:
            await asyncio.sleep(0.005)
        await seen.end()
        return [first, told(tmp_path)]

    first, last = asyncio.run(life())
    assert first == {"n": 1, "state": "running", "at_us": 1}
    assert (last["state"], last["at_us"]) == (STOPPED, 7_000_000)
    assert [path.name for path in tmp_path.iterdir()] == [FILE], "nothing half-written is left"
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_news_is_written_soon_and_a_storm_of_it_no_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One write for all that happens until it; none after the last word."""
    monkeypatch.setattr(last_seen, "SOON_S", 0.05)

    async def life() -> tuple[int, int]:
        looks = 0

        def status() -> dict[str, Any]:
            nonlocal looks
            looks += 1
            return {"n": looks, "at_us": 1}

        seen = LastSeen(tmp_path, status, loop=asyncio.get_running_loop(), wall=time.time, every_s=3600)
        seen.begin()
        for _ in range(1000):
            seen.soon()
        while told(tmp_path)["n"] < 2:
            await asyncio.sleep(0.005)
        for _ in range(1000):
            seen.soon()
        await seen.end()
        seen.soon()
        await asyncio.sleep(0.1)
        return looks, told(tmp_path)["n"]

    assert asyncio.run(life()) == (2, 2)


def test_news_during_a_slow_write_is_in_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the usual turn because the disk was busy when it came."""
    monkeypatch.setattr(last_seen, "SOON_S", 0.02)
    held = threading.Event()
    write = last_seen.write
    begun = 0

    def slowly(path: Path, facts: dict[str, Any]) -> None:
        nonlocal begun
        begun += 1
        if begun == 2:  # the first after `begin`
            held.wait(10.0)
        write(path, facts)

    monkeypatch.setattr(last_seen, "write", slowly)

    async def life() -> None:
        bots: list[str] = []
        loop = asyncio.get_running_loop()
        seen = LastSeen(tmp_path, lambda: {"bots": list(bots), "at_us": 1}, loop=loop, wall=time.time, every_s=3600)
        seen.begin()
        seen.soon()
        while begun < 2:
            await asyncio.sleep(0.005)
        bots.append("late1")
        seen.soon()
        await asyncio.sleep(0.1)  # more than one turn comes while the disk is busy
        held.set()
        async with asyncio.timeout(5.0):
            while told(tmp_path)["bots"] != ["late1"]:
                await asyncio.sleep(0.005)
        await seen.end()

    asyncio.run(life())


def test_a_disk_that_hangs_holds_up_no_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last word is waited for a second at most, then the agent ends without it."""
    monkeypatch.setattr(last_seen, "LAST_WORD_S", 0.05)

    async def life() -> float:
        loop = asyncio.get_running_loop()
        seen = LastSeen(tmp_path, lambda: {"at_us": 1}, loop=loop, wall=time.time, every_s=60)
        seen.begin()
        slow: asyncio.Future[None] = loop.create_future()
        monkeypatch.setattr(loop, "run_in_executor", lambda *_args: slow, raising=False)
        began = time.monotonic()
        await seen.end()
        slow.cancel()
        return time.monotonic() - began

    assert asyncio.run(life()) < 5.0
    assert told(tmp_path) == {"at_us": 1}


def test_a_disk_that_refuses_is_no_fault_of_the_agent(tmp_path: Path) -> None:
    """A folder that went: nothing is raised, others tell of the disk."""
    last_seen.write(tmp_path / "gone" / FILE, {"at_us": 1})
    assert read(tmp_path / "gone") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "running"}', "x" * (BYTES_MAX + 1)])
def test_what_cannot_be_read_is_no_last_state(tmp_path: Path, text: str) -> None:
    """Empty after a power cut, torn, foreign, or far too long: there is none, and no crash."""
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert read(tmp_path) is None
