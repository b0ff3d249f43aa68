"""What the agent is to the system: its memory, CPU time and descriptors. A port, so that a simulated agent has none."""

from __future__ import annotations

import ctypes
import gc
import sys

import psutil

_USUAL = gc.get_threshold()
_NEVER = 1_000_000_000


def starting() -> None:
    """No full collection until `OwnProcess.settled`: each would walk all that is being loaded, a tenth of the start."""
    gc.set_threshold(*_USUAL[:2], _NEVER)


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
        if sys.platform == "linux":
            try:
                ctypes.CDLL(None).malloc_trim(0)
            except (AttributeError, OSError):
                pass  # another C library: it keeps what it keeps
