"""Blocking work of the outbox on a thread of an asyncio program; the core of the room knows no loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress

from .store import RunBlocking


def loop_runner(loop: asyncio.AbstractEventLoop, executor: Executor) -> RunBlocking:
    """Runs work on ``executor`` (one thread is enough, and keeps the outbox's own order) and answers on ``loop``."""

    def run(work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        def answered(future: Future[None]) -> None:
            error = future.exception()
            # a loop that is closed has nobody left to tell: the outbox was closed before it
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done, error)

        executor.submit(work).add_done_callback(answered)

    return run
