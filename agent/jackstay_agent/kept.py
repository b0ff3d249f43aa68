"""A small file of the state folder that a restart reads again: JSON, replaced as a whole, on the disk before it counts.

For what is little and changes seldom (what an operator armed, who was here). A file that cannot be read is set aside
beside it and told of; the agent then starts as if it had none, which every user of this room makes the safe case.
Refuses to know what is in it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

BYTES_MAX = 4 * 1024 * 1024


def plain(value: Any) -> Any:
    """The same in JSON's own types; money as text."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


class Kept:
    """``name.json`` in a folder that belongs to the agent alone."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"

    def read(self) -> tuple[dict[str, Any] | None, str]:
        """What was kept (None: nothing), and in words what was wrong with it ("": nothing)."""
        try:
            if self.path.stat().st_size > BYTES_MAX:
                return None, self.set_aside(f"it has more than {BYTES_MAX} bytes")
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError) as error:
            return None, self.set_aside(f"{type(error).__name__}: {error}"[:200])
        if not isinstance(found, dict):
            return None, self.set_aside("it holds no object")
        return found, ""

    def set_aside(self, why: str) -> str:
        """Out of the way and not lost; ``why`` with where it is now."""
        aside = self.path.with_suffix(".damaged")
        try:
            self.path.replace(aside)
        except OSError as error:
            return f"{why}; it could not be set aside ({error})"
        return f"{why}; set aside as {aside.name}"

    def write(self, value: dict[str, Any]) -> None:
        """Replace it; when this returns, the disk has it. Blocking: call it off the loop. Raises OSError."""
        fresh = self.path.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(value, separators=(",", ":")).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Keeper:
    """Writes a `Kept` file off the loop, one write at a time; what changes during a write is written after it."""

    def __init__(
        self,
        kept: Kept,
        *,
        snapshot: Callable[[], dict[str, Any]],
        run_blocking: Callable[..., Awaitable[Any]],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.kept = kept
        self._snapshot = snapshot
        self._run_blocking = run_blocking
        self._on_event = on_event
        self._task: asyncio.Future[Any] | None = None
        self._again = False
        self._waiting: list[asyncio.Future[str]] = []
        self.fault = ""  # why the last write failed; the next call tries again

    def write(self) -> None:
        """Soon on the disk. A disk that refuses is an event, once until it heals."""
        if self._task is not None:
            self._again = True
            return
        self._again = False
        self._task = asyncio.ensure_future(self._run_blocking(self.kept.write, self._snapshot()))
        self._task.add_done_callback(self._written)

    def on_disk(self) -> asyncio.Future[str]:
        """Write, and hear when the disk has the state of now: "", or why it has not."""
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self.write()
        return waiter

    async def close(self) -> None:
        """The last state is on the disk, or cannot be."""
        while self._task is not None:
            await asyncio.wait([self._task])
            await asyncio.sleep(0)  # its callback may have begun the next

    def _written(self, task: asyncio.Future[Any]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.fault:
            self._on_event(
                "state.unwritten", {"file": str(self.kept.path), "error": f"{type(error).__name__}: {error}"}
            )
        self.fault = "" if error is None else str(error)
        if self._again and error is None:
            self.write()
            return
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(self.fault)
