"""Repeated errors are louder than single ones: N of a kind within T are one step up.

One event when the step is taken, one when it is over (no error of the kind for T). Bounded by kinds. Time is an
argument.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from jackstay_protocols.errors import ErrorSeverity

_LADDER = (ErrorSeverity.LOW, ErrorSeverity.MEDIUM, ErrorSeverity.HIGH, ErrorSeverity.CRITICAL)


class Told(StrEnum):
    NOTHING = "nothing"
    ESCALATED = "escalated"
    CALMED = "calmed"


@dataclass(frozen=True, slots=True)
class Step:
    """The severity that counts now, what is worth telling, and how many errors of the kind stood within its time."""

    severity: ErrorSeverity
    told: Told
    repeats: int


class _Kind:
    __slots__ = ("at", "raised")

    def __init__(self, repeats: int) -> None:
        self.at: deque[float] = deque(maxlen=repeats)
        self.raised = False


class Escalator:
    """``policies``: severity -> (repeats, within_s)."""

    def __init__(self, policies: Mapping[ErrorSeverity, tuple[int, float]], *, keys_max: int = 1000) -> None:
        self._policies = dict(policies)
        self._keys_max = keys_max
        self._kinds: OrderedDict[tuple[Hashable, ErrorSeverity], _Kind] = OrderedDict()

    def seen(self, key: Hashable, severity: ErrorSeverity, now: float) -> Step:
        """An error of this kind happened."""
        policy = self._policies.get(severity)
        if policy is None or severity is _LADDER[-1]:
            return Step(severity, Told.NOTHING, 1)
        repeats, within_s = policy
        kind = self._kinds.get((key, severity))
        if kind is None:
            kind = self._kinds[(key, severity)] = _Kind(repeats)
            if len(self._kinds) > self._keys_max:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end((key, severity))
        calmed = kind.raised and now - kind.at[-1] >= within_s
        if calmed:
            kind.raised = False
        while kind.at and now - kind.at[0] >= within_s:
            kind.at.popleft()
        kind.at.append(now)
        up = _LADDER[_LADDER.index(severity) + 1]
        if kind.raised:
            return Step(up, Told.NOTHING, len(kind.at))
        if len(kind.at) == repeats:
            kind.raised = True
            return Step(up, Told.ESCALATED, repeats)
        return Step(severity, Told.CALMED if calmed else Told.NOTHING, len(kind.at))
