"""What an operator may set about errors: severities, escalation, retries, breakers (CONTRACT Configuration).

Frozen values with defaults; `Config.errors` embeds `ErrorSettings`. Nothing here acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from jackstay_protocols.errors import ErrorSeverity, ValidationError

from .core.bounds import LONGEST_S, check_number, check_whole
from .core.breaker import BreakerSettings
from .core.retry import DEFAULT_POLICIES, RetrySettings

#: Mildest first: a step up is the next one.
LADDER = (ErrorSeverity.LOW, ErrorSeverity.MEDIUM, ErrorSeverity.HIGH, ErrorSeverity.CRITICAL)


@dataclass(frozen=True, slots=True)
class Escalation:
    """``repeats`` errors of one kind within ``within_s`` are one step up, told once; silence of ``within_s`` ends it.

    ``notify``: errors of this severity are told to whoever listens (`ErrorHandler.on_event`), not only recorded.
    """

    repeats: int = 10
    within_s: float = 60.0
    notify: bool = False

    def __post_init__(self) -> None:
        check_whole("Escalation", "repeats", self.repeats, 2, 1_000_000)
        check_number("Escalation", "within_s", self.within_s, 0.0, LONGEST_S, above_low=True)


DEFAULT_ESCALATION: Mapping[ErrorSeverity, Escalation] = MappingProxyType(
    {
        ErrorSeverity.LOW: Escalation(repeats=50, within_s=300.0),
        ErrorSeverity.MEDIUM: Escalation(repeats=20, within_s=120.0),
        ErrorSeverity.HIGH: Escalation(repeats=10, within_s=60.0, notify=True),
        ErrorSeverity.CRITICAL: Escalation(notify=True),
    }
)
DEFAULT_BREAKERS: Mapping[str, BreakerSettings] = MappingProxyType(
    {
        # Short at first and longer each time: a venue's hiccup must not lock a bot out (exchanges.md §2, last).
        "api_calls": BreakerSettings(
            failure_threshold=5, open_s=2.0, open_growth=2.0, open_cap_s=60.0, open_spread=0.1
        ),
        # A database restart takes longer than a venue's hiccup, and hammering it does not help.
        "database_connections": BreakerSettings(failure_threshold=3, open_s=60.0),
    }
)

#: Dials of a stream host. Short: a feed that is not dialled sees nothing, and its own pace bounds the knocking.
STREAM_DIALS = BreakerSettings(failure_threshold=5, open_s=1.0, open_growth=2.0, open_cap_s=15.0, open_spread=0.1)


@dataclass(frozen=True, slots=True)
class SeveritySettings:
    """``levels``: exception name (``TimeoutError``, or ``ccxt.NetworkError`` with its top module) -> severity; it holds
    for subclasses too, the nearest one counts. ``escalation``: policy per severity, over
    the shipped ones; CRITICAL has nowhere to go.
    """

    levels: Mapping[str, ErrorSeverity] = field(default_factory=dict)
    escalation: Mapping[ErrorSeverity, Escalation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, level in self.levels.items():
            _check_severity(f"SeveritySettings.levels[{name!r}]", level)
        for level in self.escalation:
            _check_severity("SeveritySettings.escalation", level)


@dataclass(frozen=True, slots=True)
class ErrorSettings:
    """Everything `ErrorHandler` reads. ``breakers``: name -> settings, over the shipped ones; others get defaults."""

    severity: SeveritySettings = field(default_factory=SeveritySettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    breakers: Mapping[str, BreakerSettings] = field(default_factory=dict)
    max_recovery_attempts: int = 3
    recent_max: int = 1000  # errors kept for showing
    patterns_max: int = 1000  # kinds of errors counted; the longest unseen goes first
    breakers_max: int = 1000

    def __post_init__(self) -> None:
        check_whole("ErrorSettings", "max_recovery_attempts", self.max_recovery_attempts, 0, 1000)
        for name in ("recent_max", "patterns_max", "breakers_max"):
            check_whole("ErrorSettings", name, getattr(self, name), 1, 1_000_000)


#: Tables of the [errors] section whose entries have shipped settings: where they stand, and what ships.
_SHIPPED: tuple[tuple[tuple[str, ...], Mapping[Any, Any]], ...] = (
    (("breakers",), {**DEFAULT_BREAKERS, "stream_dials": STREAM_DIALS}),
    (("severity", "escalation"), DEFAULT_ESCALATION),
    (("retry", "policies"), DEFAULT_POLICIES),
)


def over_shipped(section: Mapping[str, Any]) -> dict[str, Any]:
    """A raw [errors] section, in which a table that shares a shipped one's name says only what differs from it.

    ``[errors.breakers.api_calls] open_s = 5`` keeps the growth of the shipped breaker. What is no table is left as it
    is, for whoever checks types to complain about.
    """
    for path, shipped in _SHIPPED:
        section = _entries_over(shipped, section, path)
    return dict(section)


def _entries_over(shipped: Mapping[Any, Any], table: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    if path:
        inner = table.get(path[0])
        return {**table, path[0]: _entries_over(shipped, inner, path[1:])} if isinstance(inner, Mapping) else table
    return {name: _over(asdict(shipped[name]), told) if name in shipped else told for name, told in table.items()}


def _over(base: object, told: object) -> object:
    if not isinstance(base, Mapping) or not isinstance(told, Mapping):
        return told
    return {**base, **{key: _over(base.get(key), value) for key, value in told.items()}}


def _check_severity(owner: str, level: object) -> None:
    if level not in LADDER:
        raise ValidationError(f"{owner} is {level!r}; one of {', '.join(LADDER)} is expected")
