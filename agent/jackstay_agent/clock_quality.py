"""How good this machine's clock is by its own kernel's word: adjtimex(2), what an NTP daemon keeps up to date."""

from __future__ import annotations

import ctypes
import sys

_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
_TIMEX_BYTES = 208  # struct timex on 64-bit Linux


def kernel_offset() -> tuple[float | None, str]:
    """(offset from true time in ms, source): "kernel" while something disciplines the clock, else "unsynchronised".

    ``(None, "unknown")`` where there is no such call. The offset is the kernel's remaining correction, an estimate.
    """
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) != 8:
        return None, "unknown"
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: only read
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return None, "unknown"
    if state < 0:
        return None, "unknown"
    offset = ctypes.c_long.from_buffer(buffer, 8).value
    status = ctypes.c_int.from_buffer(buffer, 40).value
    if status & _STA_UNSYNC:
        return None, "unsynchronised"
    return offset / (1e6 if status & _STA_NANO else 1e3), "kernel"
