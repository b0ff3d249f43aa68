"""What this machine takes for the things an agent is made of: waking up, handing over to another process, syncing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SLEEP_S = 0.002
SLEEPS, SWAPS, SYNCS = 250, 1_000, 25
SYNC_BYTES = 4096  # a page of the journal

_ECHO = "import os\nwhile data := os.read(0, 1):\n    os.write(1, data)"


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def late_by_s() -> list[float]:
    """How late sleeps end."""
    found = []
    for _ in range(SLEEPS):
        began = time.perf_counter()
        time.sleep(SLEEP_S)
        found.append(max(0.0, time.perf_counter() - began - SLEEP_S))
    return found


def swaps_s() -> list[float]:
    """A byte through a pipe to another process and back."""
    found = []
    with subprocess.Popen([sys.executable, "-c", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as echo:
        assert echo.stdin is not None
        assert echo.stdout is not None
        there, back = echo.stdin.fileno(), echo.stdout.fileno()
        for number in range(SWAPS + 1):
            began = time.perf_counter()
            os.write(there, b"x")
            if not os.read(back, 1):
                raise OSError("the other process ended")
            if number:  # the first waits until it has started
                found.append(time.perf_counter() - began)
        echo.stdin.close()
    return found


def syncs_s(folder: Path) -> list[float]:
    """A page written to a file of ``folder`` and synced. Raises OSError."""
    found = []
    path = folder / "sync.probe"
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(SYNCS):
                began = time.perf_counter()
                file.write(b"x" * SYNC_BYTES)
                os.fsync(file.fileno())
                found.append(time.perf_counter() - began)
    finally:
        path.unlink(missing_ok=True)
    return found


def described() -> dict[str, object]:
    """What a reader of the figures wants to know of the machine."""
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": model,
        "cores": usable,
        "load": round(os.getloadavg()[0], 2),
        "python": sys.version.split()[0],
    }
