"""[analytics]: what counts as a pattern, how many false findings a day are borne, what is acted on, what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jackstay_protocols.errors import ValidationError

from .core.bounds import check_number, check_whole
from .core.loop_stop import LoopSettings
from .core.trend_roots import DEPENDENCY_ORDER


@dataclass(frozen=True, slots=True)
class ActSettings:
    """What the agent does about a pattern by itself. Everything else it only tells."""

    stop_loops: bool = True  # ten equal rejects in a row are stopped (DESIGN §3 rule 9)
    throttle_ahead: bool = False  # used weight that will reach its limit: new entries of that venue are held back
    rotate_connections: bool = False  # a venue's latency creeps up: its connections are replaced one after the other


@dataclass(frozen=True, slots=True)
class AnalyticsSettings:
    """Units are in the names. ``thresholds``: "component:error_type" -> errors per minute not to be reached."""

    enabled: bool = True
    # detection
    false_findings_per_day: float = 0.5  # of chance, over all kinds and series together
    loop_repeats: int = 10
    series_max: int = 256  # kinds of errors counted apart; more are counted as one
    # prediction
    threshold_per_min: float = 60.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    horizon_s: float = 6 * 3600.0  # crossings farther away are not told
    # correlation
    dependencies: list[str] = field(default_factory=lambda: list(DEPENDENCY_ORDER))  # what breaks first, first
    # reporting: a pattern that is known is told again when it has doubled, and its end after ``quiet_s``
    quiet_s: float = 900.0
    # retention
    retention_days: float = 30.0
    findings_max: int = 2_000
    act: ActSettings = field(default_factory=ActSettings)

    def __post_init__(self) -> None:
        owner = "AnalyticsSettings"
        check_number(owner, "false_findings_per_day", self.false_findings_per_day, 0.0, 1000.0, above_low=True)
        check_whole(owner, "loop_repeats", self.loop_repeats, 2, 1_000_000)
        check_whole(owner, "series_max", self.series_max, 1, 100_000)
        check_number(owner, "threshold_per_min", self.threshold_per_min, 0.0, 1e9, above_low=True)
        check_number(owner, "horizon_s", self.horizon_s, 60.0, 7 * 86_400.0)
        check_number(owner, "quiet_s", self.quiet_s, 10.0, 7 * 86_400.0)
        check_number(owner, "retention_days", self.retention_days, 0.0, 36_600.0, above_low=True)
        check_whole(owner, "findings_max", self.findings_max, 10, 1_000_000)
        for name, value in self.thresholds.items():
            check_number(owner, f"thresholds[{name!r}]", value, 0.0, 1e9, above_low=True)
            if ":" not in name:
                raise ValidationError(f"{owner}.thresholds has {name!r}; 'component:error_type' is expected")


def loop_settings(analytics: AnalyticsSettings) -> LoopSettings:
    """The loop stop as configured: switched off it counts on and never stops."""
    if not analytics.act.stop_loops:
        return LoopSettings(rejects_max=1_000_000)
    return LoopSettings(rejects_max=analytics.loop_repeats)
