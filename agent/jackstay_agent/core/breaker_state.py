"""The words of a breaker: its states, what may follow what, and the values it hands out.

The table `LEGAL` is the state machine; `breaker.py` moves through it and nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jackstay_protocols.errors import Reason, ValidationError


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    # operator modes
    FORCED_OPEN = "forced_open"  # refuses until released
    DISABLED = "disabled"  # admits everything, records nothing
    METRICS_ONLY = "metrics_only"  # admits everything, records, says when it would have opened


# Plain names: reaching a member through its Enum class costs several times more.
CLOSED: Final = BreakerState.CLOSED
OPEN: Final = BreakerState.OPEN
HALF_OPEN: Final = BreakerState.HALF_OPEN
FORCED: Final = BreakerState.FORCED_OPEN
DISABLED: Final = BreakerState.DISABLED
METRICS: Final = BreakerState.METRICS_ONLY

_OPERATOR = {CLOSED, OPEN, FORCED, DISABLED, METRICS}
#: from -> what may follow. Half-open is reached only from a state in which the way was shut.
LEGAL: Final[dict[BreakerState, frozenset[BreakerState]]] = {
    CLOSED: frozenset(_OPERATOR),
    OPEN: frozenset(_OPERATOR | {HALF_OPEN}),
    HALF_OPEN: frozenset(_OPERATOR),
    FORCED: frozenset(_OPERATOR | {HALF_OPEN}),
    DISABLED: frozenset(_OPERATOR),
    METRICS: frozenset(_OPERATOR),
}


#: The way is shut in these, and half-open comes after them.
SHUT: Final = frozenset({OPEN, FORCED})


def check_move(name: str, was: BreakerState, to: BreakerState) -> None:
    """Raise, naming subject, from and to, if the table knows no such move."""
    if to not in LEGAL[was]:
        raise ValidationError(
            f"breaker {name} is {was} and cannot become {to}; from here it may become {', '.join(sorted(LEGAL[was]))}",
            reason="illegal_transition",
        )


class Permit:
    """Leave to make one call; hand it back with success, failure or ignore."""

    __slots__ = ("bypass", "generation", "lease_until")

    def __init__(self, generation: int, lease_until: float, bypass: bool) -> None:
        self.generation = generation
        self.lease_until = lease_until
        self.bypass = bypass  # a de-risking call that passed a shut breaker: its result changes nothing


class Refusal:
    """No, and when to ask again. ``reason`` is BREAKER_OPEN or HALF_OPEN_FULL; ``retry_after_s`` is None if unknown."""

    __slots__ = ("breaker", "reason", "retry_after_s", "state")

    def __init__(self, breaker: str, state: BreakerState, reason: Reason, retry_after_s: float | None) -> None:
        self.breaker = breaker
        self.state = state
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class BreakerEvent:
    """A fact about a breaker: ``kind`` is moved, would_open or probe_lost."""

    breaker: str
    kind: str
    at: float
    from_state: BreakerState
    to_state: BreakerState
    why: str
    until: float | None = None
