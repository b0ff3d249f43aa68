"""`[recovery.*]`: how far each of the six scenarios goes on its own (CONTRACT recovery_scenarios).

``within_s`` bounds a whole plan. ``enabled``: the agent starts it when it detects its case; a bot or an operator may
always. Defaults hold, ask, and suggest; what cancels or places anything again has to be switched on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from jackstay_protocols.errors import ValidationError


def _check(owner: Any) -> None:
    for name in owner.__dataclass_fields__:
        value = getattr(owner, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not isfinite(value) or value < 0 or (name == "within_s" and value == 0):
            raise ValidationError(f"{type(owner).__name__}.{name} is {value!r}; a finite number from 0 up is expected")


@dataclass(frozen=True, slots=True)
class PartialFillSettings:
    """Automatic only with both an age and a fraction: without them every market maker's order would be cancelled."""

    enabled: bool = False
    within_s: float = 60.0
    poll_s: float = 0.25  # between two looks whether the order is terminal
    age_s: float = 0.0  # automatic: partly filled and open for so long
    fraction: float = 0.0  # automatic: at least this share filled
    classes: list[str] = field(default_factory=lambda: ["entry"])  # never protective: refused

    def __post_init__(self) -> None:
        _check(self)
        if self.enabled and not (self.age_s > 0 and 0 < self.fraction < 1):
            raise ValidationError(
                "PartialFillSettings.enabled needs age_s above 0 and fraction between 0 and 1: otherwise it would"
                " cancel every order that fills in parts"
            )
        wrong = sorted(set(self.classes) - {"entry", "exit"})
        if wrong:
            raise ValidationError(f"PartialFillSettings.classes has {', '.join(wrong)}; entry and exit are possible")


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    enabled: bool = True
    within_s: float = 300.0
    retry_s: float = 1.0  # between two tries to reconnect, where the one who reconnects does not wait itself

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class MaintenanceSettings:
    """``alternatives``: venues or accounts the bot may move capital to; named in the directive."""

    enabled: bool = True
    within_s: float = 6 * 3600.0
    poll_s: float = 15.0  # status endpoints are cheap and limited (OKX: one in five seconds)
    disarm_switch: bool = True  # a switch that fires into a venue that takes no cancels only loses the stops
    alternatives: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class DataFeedSettings:
    """``fallbacks``: feed -> sources in order (none: only the mode); the agent starts it for these feeds only.
    ``return_within_s``: how long to wait for the primary; 0: do not."""

    enabled: bool = True
    within_s: float = 120.0
    return_within_s: float = 0.0
    poll_s: float = 5.0
    fallbacks: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class RejectionSettings:
    """``resubmit``: place the adjusted order; otherwise it is only suggested. ``price_worse_max``: as a share."""

    enabled: bool = True
    within_s: float = 15.0
    resubmit: bool = False
    price_worse_max: str = "0"
    repeats_max: int = 10  # identical rejects: then the bot is told to stop

    def __post_init__(self) -> None:
        _check(self)
        if not 0 <= self.worse < 1:
            raise ValidationError(
                f"RejectionSettings.price_worse_max is {self.price_worse_max!r}; a share from 0 to 1 is expected"
            )

    @property
    def worse(self) -> Decimal:
        try:
            found = Decimal(self.price_worse_max)
        except InvalidOperation:
            found = Decimal("NaN")
        if not found.is_finite():
            raise ValidationError(
                f"RejectionSettings.price_worse_max is {self.price_worse_max!r}; a share as text is expected"
            )
        return found


@dataclass(frozen=True, slots=True)
class RateLimitSettings:
    enabled: bool = True
    within_s: float = 3600.0
    default_wait_s: float = 10.0  # where the venue named no instant
    margin_s: float = 0.25  # never a moment before it

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """One table per scenario."""

    partial_fill: PartialFillSettings = PartialFillSettings()
    network_disconnection: NetworkSettings = NetworkSettings()
    exchange_maintenance: MaintenanceSettings = MaintenanceSettings()
    data_feed_interruption: DataFeedSettings = DataFeedSettings()
    order_rejection: RejectionSettings = RejectionSettings()
    api_rate_limit: RateLimitSettings = RateLimitSettings()
