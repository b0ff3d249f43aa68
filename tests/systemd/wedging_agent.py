"""`jackstay …` with ways to hang it: SIGUSR1 its loop, SIGUSR2 bot.sock (deaf), SIGWINCH the outbox thread."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jackstay_agent.cli import main
from jackstay_agent.gateway.door import Door

doors: list[Any] = []
executors: list[ThreadPoolExecutor] = []
true_open, true_submit = Door.open, ThreadPoolExecutor.submit


def opened(door: Any) -> None:
    doors.append(door)
    true_open(door)


def submitted(executor: ThreadPoolExecutor, *work: Any, **options: Any) -> Any:
    if executor not in executors:
        executors.append(executor)
    return true_submit(executor, *work, **options)


def hang(_number: int, _frame: object) -> None:
    time.sleep(100_000)


def deaf(_number: int, _frame: object) -> None:
    for door in doors:
        if door.path.name == "bot.sock":
            door._loop.remove_reader(door._fd)


def hang_thread(_number: int, _frame: object) -> None:
    for executor in executors:
        true_submit(executor, time.sleep, 100_000)


Door.open = opened  # type: ignore[method-assign]
ThreadPoolExecutor.submit = submitted  # type: ignore[method-assign, assignment]
signal.signal(signal.SIGUSR1, hang)
signal.signal(signal.SIGUSR2, deaf)
signal.signal(signal.SIGWINCH, hang_thread)
main()
