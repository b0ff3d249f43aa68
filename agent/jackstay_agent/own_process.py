"""What the agent is to the system: its memory, CPU time and descriptors. A port, so that a simulated agent has none."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable

import psutil

_USUAL = gc.get_threshold()
_NEVER = 1_000_000_000
LARGE_BYTES = 1 << 20  # a block from here on is mapped by itself
HEAP_TOP_BYTES = 4 << 20  # so much may be free at the heap's end before it is given back
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def starting() -> None:
    """No full collection until `OwnProcess.settled`: each would walk all that is being loaded, a tenth of the start.

    And large blocks stand apart from the heap for good, so that they go back to the system when they are free. Left to
    itself glibc takes the first one that is freed as a sign to put its equals into the heap (mallopt(3),
    M_MMAP_THRESHOLD): after a few answers of 16 MB an agent stayed 33 MB larger, or 160 after twenty at once.

    And all threads share one arena. Left to itself glibc gives eight of ours one each, and every one of them keeps the
    most it ever needed, also where the heap has room: for an hour's soak that was half of what memory still grew.
    Small blocks come from each thread's own cache as before.
    """
    gc.set_threshold(*_USUAL[:2], _NEVER)
    _mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    _mallopt(_M_TRIM_THRESHOLD, HEAP_TOP_BYTES)
    _mallopt(_M_ARENA_MAX, 1)


class OwnProcess:
    """This process. Cheap enough for four looks a second (about 20 µs each)."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def resident_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def fds(self) -> int:
        return int(self._process.num_fds())

    def settled(self) -> None:
        """What is there now stays as long as the process: full collections no longer walk it.

        They took 20 to 50 ms each, in which no order moved (47,000 objects: modules, classes, tables).
        """
        gc.freeze()
        gc.set_threshold(*_USUAL)

    def trim(self) -> None:
        """Give back to the system what is free: after a flood the allocator keeps it otherwise. Some milliseconds."""
        gc.collect()
        if (trim := _of_c_library("malloc_trim")) is not None:
            trim(0)


def _mallopt(parameter: int, value: int) -> None:
    if (mallopt := _of_c_library("mallopt")) is not None:
        mallopt(parameter, value)


def _of_c_library(name: str) -> Callable[..., int] | None:
    """glibc's; another C library keeps its memory as it does."""
    if sys.platform != "linux":
        return None
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    return found
