"""Is the agent itself at its limits, and which lanes does it turn away first? (journey step 4, before everything)

Three measures, each as a share of its limit in `[overload]`: memory, how late the event loop is, requests under way.
The worst one decides. Shedding goes up at once and comes down a step at a time, after a calm in which the pressure was
well below what had raised it, so that it does not flap. The de-risking lane is never shed (DESIGN §3 rule 4), neither
are the agent's own questions about unknown orders: they are how load of this kind ends.

Prior art: Envoy's overload manager (pressures of resource monitors, scaled triggers); its answer to overload, too, is
never retried by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from jackstay_protocols.errors import Lane, ValidationError

#: Level -> lanes that are turned away, and the pressure that brings it. Lowest lanes first.
SHED: tuple[frozenset[Lane], ...] = (
    frozenset(),
    frozenset({Lane.OTHER}),
    frozenset({Lane.OTHER, Lane.QUERY}),
    frozenset({Lane.OTHER, Lane.QUERY, Lane.ORDER}),
)
RAISED_AT = (0.0, 0.6, 0.8, 1.0)
CALM_SHARE = 0.75  # of what raised a level: below it for calm_s, and the level falls by one
MEASURES = ("memory", "lag", "in_flight")


class OverloadSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[overload]``: the limits; shedding begins at six tenths of one of them."""

    enabled: bool = True
    memory_mb_max: float = 512.0  # ten times an idle agent; all bounded memories full are about 200
    lag_s_max: float = 0.5  # the loop, smoothed over a second: one long pause of the machine is no overload
    in_flight_max: int = 4_000  # requests of bots without an answer; one socket may have 4,096
    calm_s: float = 5.0

    def __post_init__(self) -> None:
        def need(holds: bool, what: str) -> None:
            if not holds:
                raise ValidationError(what)

        need(64 <= self.memory_mb_max <= 1e6, "memory_mb_max: 64 to 1000000 is expected (an idle agent has about 50)")
        need(0.05 <= self.lag_s_max <= 60, "lag_s_max: 0.05 to 60 seconds are expected")
        need(100 <= self.in_flight_max <= 1_000_000, "in_flight_max: 100 to 1000000 is expected")
        need(0.25 <= self.calm_s <= 3600, "calm_s: 0.25 to 3600 seconds are expected")


class Overload:
    """The level, by what is measured. ``level`` indexes `SHED`."""

    __slots__ = ("_calm_since", "_settings", "level", "pressures", "why")

    def __init__(self, settings: OverloadSettings) -> None:
        self._settings = settings
        self._calm_since: float | None = None
        self.level = 0
        self.pressures: dict[str, float] = dict.fromkeys(MEASURES, 0.0)
        self.why = ""  # the worst measure

    def judge(self, now: float, measured: Mapping[str, float]) -> int:
        """The level from now on. ``measured``: memory in MB, lag in seconds, in_flight in requests."""
        settings = self._settings
        limits = {
            "memory": settings.memory_mb_max,
            "lag": settings.lag_s_max,
            "in_flight": float(settings.in_flight_max),
        }
        self.pressures = {name: measured[name] / limits[name] for name in MEASURES}
        worst = max(self.pressures, key=self.pressures.__getitem__)
        pressure = self.pressures[worst]
        wanted = max(level for level, at in enumerate(RAISED_AT) if pressure >= at)
        if wanted > self.level:
            self.level, self.why, self._calm_since = wanted, worst, None
        elif self.level and pressure < RAISED_AT[self.level] * CALM_SHARE:
            if self._calm_since is None:
                self._calm_since = now
            elif now - self._calm_since >= settings.calm_s:
                self.level -= 1
                self._calm_since = now
        else:
            self._calm_since = None
        return self.level
