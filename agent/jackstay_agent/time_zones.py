"""Time zones by IANA name. UTC, which nearly every agent keeps to, is answered without the library."""

from __future__ import annotations

from datetime import UTC, tzinfo


def time_zone(name: str) -> tzinfo | None:
    """None when this machine knows no such zone."""
    if name == "UTC":
        return UTC
    import zoneinfo  # 0.3 MB with what it asks of the interpreter's build

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
