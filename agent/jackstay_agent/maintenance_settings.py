"""``[venues.NAME.maintenance]``: what is known beforehand of a venue's maintenance, and how often it is asked."""

from __future__ import annotations

import msgspec

from jackstay_protocols.errors import ValidationError

from .core.windows import Windows
from .time_zones import time_zone


class MaintenanceCalendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One venue's. What happens in a window is `[recovery.exchange_maintenance]`'s."""

    windows: list[str] = []  # 'wed 02:00-02:30', '2026-12-01 06:00-08:00', '2026-12-01 22:00 - 2026-12-02 02:00'
    timezone: str = "UTC"  # IANA name, in which the venue announced them
    lead_s: float = 60.0  # no new entries from so long before a window
    watch_s: float = 60.0  # between two looks at the venue's status; 0: it is not asked, answers alone tell

    def made(self) -> Windows:
        """Raises ValidationError naming the key that is wrong."""
        for name, most in (("lead_s", 86_400.0), ("watch_s", 86_400.0)):
            if not 0.0 <= getattr(self, name) <= most:
                raise ValidationError(f"{name} = {getattr(self, name)}; 0 to {most:g} seconds are expected")
        if 0.0 < self.watch_s < 5.0:
            raise ValidationError(f"watch_s = {self.watch_s:g}; 0 (never) or 5 seconds and more are expected")
        zone = time_zone(self.timezone)
        if zone is None:
            raise ValidationError(f"timezone = {self.timezone!r}; an IANA name like 'Asia/Tokyo' is expected")
        try:
            return Windows(self.windows, zone)
        except ValidationError as error:
            raise ValidationError(f"windows: {error}") from None
