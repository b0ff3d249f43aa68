"""The small files that a restart reads again."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.kept import BYTES_MAX, Keeper, Kept


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """The newest value, readable by the agent's user alone."""
    kept = Kept(tmp_path, "watchdog")
    assert kept.read() == (None, "")
    kept.write({"a": 1})
    kept.write({"a": [2, "x"]})
    assert Kept(tmp_path, "watchdog").read() == ({"a": [2, "x"]}, "")
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff\xfe", b" " * (BYTES_MAX + 1)])
def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path, damage: bytes) -> None:
    """Nothing is guessed, nothing is deleted, and the next write works."""
    kept = Kept(tmp_path, "watchdog")
    kept.path.write_bytes(damage)
    found, why = kept.read()
    assert found is None
    assert "set aside" in why
    assert (tmp_path / "watchdog.damaged").read_bytes() == damage
    assert kept.read() == (None, "")
    kept.write({"a": 1})
    assert kept.read() == ({"a": 1}, "")


def test_a_write_that_fails_leaves_the_last_one(tmp_path: Path) -> None:
    """A full or forbidden folder is an error, never half a file."""
    kept = Kept(tmp_path, "watchdog")
    kept.write({"a": 1})
    os.mkdir(tmp_path / "watchdog.new")  # stands in the way of the fresh file
    with pytest.raises(OSError):
        kept.write({"a": 2})
    assert kept.read() == ({"a": 1}, "")


@pytest.mark.asyncio
async def test_a_keeper_writes_the_last_state_and_tells_of_a_sick_disk_once(tmp_path: Path) -> None:
    """However often it is asked meanwhile, what stands at the end is what was last; a fault is an event, not an end."""
    value: dict[str, Any] = {"n": 0}
    events: list[str] = []

    async def run(function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.to_thread(function, *args)

    keeper = Keeper(
        Kept(tmp_path, "k"),
        snapshot=lambda: dict(value),
        run_blocking=run,
        on_event=lambda name, fields: events.append(name),
    )
    for number in range(5):
        value["n"] = number
        keeper.write()
    await keeper.close()
    assert Kept(tmp_path, "k").read() == ({"n": 4}, "")
    os.mkdir(tmp_path / "k.new")
    for _ in range(3):
        keeper.write()
        await keeper.close()
    assert events == ["state.unwritten"]
    os.rmdir(tmp_path / "k.new")
    keeper.write()
    value["n"] = 7
    keeper.write()
    value["n"] = 8
    assert await keeper.on_disk() == ""
    assert Kept(tmp_path, "k").read() == ({"n": 8}, "")
    assert keeper.fault == ""
