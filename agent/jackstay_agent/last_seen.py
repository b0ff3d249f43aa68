"""What an agent last said of itself, in a file: so that a dead one is GONE with its last known state, not just missing.

The whole of `status`, written every few seconds off the loop, soon after a bot came, went or changed its state, and
once more when the agent was stopped in order. It is for people who look afterwards; no agent reads it again, so it is
replaced in one step but never forced onto the disk (a fsync every few seconds would be in the journal's way). Losing it
to a power cut loses a convenience.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = "last_seen.json"
EVERY_S = 5.0
SOON_S = 0.25  # after news; also the least between two writes, however often there is some
BYTES_MAX = 4 * 1024 * 1024
LAST_WORD_S = 1.0  # a stop does not wait longer for a disk that hangs
STOPPED = "stopped"


class LastSeen:
    """Writes ``status()`` into the state folder until `end`; one write at a time, and nothing waits for the disk."""

    def __init__(
        self,
        folder: Path,
        status: Callable[[], dict[str, Any]],
        *,
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float],
        every_s: float = EVERY_S,
    ) -> None:
        self._path = folder / FILE
        self._status = status
        self._loop = loop
        self._wall = wall
        self._every_s = every_s
        self._facts: dict[str, Any] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._soon = False
        self._writing: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """The first one before anybody is told that the agent is ready: nobody waits for its loop yet."""
        self._facts = self._status()
        write(self._path, self._facts)
        self._timer = self._loop.call_later(self._every_s, self._again)

    def soon(self) -> None:
        """Something is news: it is written without waiting for the next turn."""
        if self._timer is not None and not self._soon:
            self._soon = True
            self._timer.cancel()
            self._timer = self._loop.call_later(SOON_S, self._again)

    def _again(self) -> None:
        self._soon = self._writing is not None and not self._writing.done()  # what is news now is not in that one
        if not self._soon:
            self._facts = self._status()
            self._writing = self._loop.run_in_executor(None, write, self._path, self._facts)
        self._timer = self._loop.call_later(SOON_S if self._soon else self._every_s, self._again)

    async def end(self) -> None:
        """The last word: stopped in order, by whom the log says."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        last = self._facts | {"state": STOPPED, "at_us": int(self._wall() * 1e6)}
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=LAST_WORD_S)
        await asyncio.wait([self._loop.run_in_executor(None, write, self._path, last)], timeout=LAST_WORD_S)


def log_place() -> str:
    """Where this process's standard error goes: a path, or what the kernel calls it; "" where it does not tell."""
    try:
        return os.readlink("/proc/self/fd/2")
    except OSError:
        return ""


def write(path: Path, facts: dict[str, Any]) -> None:
    """Replace the file. A disk that refuses is told by others (outbox, audit); here it only leaves an older word."""
    fresh = path.with_suffix(".new")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(facts, default=str, separators=(",", ":")).encode())
        fresh.replace(path)
    except OSError:
        return


def read(folder: Path) -> dict[str, Any] | None:
    """What the agent of that state folder last said; None where nothing can be read."""
    path = folder / FILE
    try:
        if path.stat().st_size > BYTES_MAX:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("at_us"), int) else None
