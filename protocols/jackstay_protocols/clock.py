"""The clock both local ends share for deadlines (DESIGN §3 rule 13).

Boot time goes on during suspend, never steps with NTP, and means the same in every process of one boot; the boot id
says whether two processes are of one boot. Wall time is no good for deadlines, process-private clocks are no good
between processes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

if sys.platform == "linux":
    _BOOT_CLOCK = time.CLOCK_BOOTTIME

    def boot_s() -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(_BOOT_CLOCK)

    def boot_us() -> int:
        """Microseconds since boot, suspend included."""
        return time.clock_gettime_ns(_BOOT_CLOCK) // 1000

else:  # macOS: monotonic is system-wide there and stops during sleep; development only

    def boot_s() -> float:
        """Seconds on the system-wide monotonic clock."""
        return time.monotonic()

    def boot_us() -> int:
        """Microseconds on the system-wide monotonic clock."""
        return time.monotonic_ns() // 1000


def boot_id() -> str:
    """This boot's id, or "" where the system has none (then deadlines are taken on trust)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
