"""What was found, told once: a known pattern is told again only when it has doubled, and once more when it is over.

A book of findings, bounded in number and in age. It knows nothing of how they are found.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from jackstay_protocols.errors import ErrorSeverity

FOUND, GREW, ENDED = "found", "grew", "ended"


@dataclass(slots=True)
class Finding:
    """One pattern. ``first_at`` and ``last_at`` are UTC seconds; ``frequency`` counts the errors it is made of."""

    id: str
    kind: str
    component: str
    error_type: str
    first_at: float
    last_at: float
    frequency: int
    severity: ErrorSeverity
    confidence: float
    action: str
    evidence: dict[str, Any] = field(default_factory=dict)
    ended: bool = False
    part_of: str = ""  # the root cause it follows from
    told: int = 0  # its frequency when it was told last
    acknowledged: bool = False


class Findings:
    """By id; the oldest make room."""

    def __init__(self, *, quiet_s: float, retention_s: float, findings_max: int) -> None:
        self.quiet_s, self.retention_s, self.findings_max = quiet_s, retention_s, findings_max
        self._kept: OrderedDict[str, Finding] = OrderedDict()
        self.suppressed = 0

    def note(self, finding: Finding, *, changed: bool = False) -> str:
        """FOUND for a new one (or one that was over), GREW when it doubled or ``changed``, "" for what is known."""
        known = self._kept.get(finding.id)
        if known is None or known.ended:
            self._kept[finding.id] = finding
            self._kept.move_to_end(finding.id)
            finding.told = finding.frequency
            while len(self._kept) > self.findings_max:
                self._kept.popitem(last=False)
            return FOUND
        known.last_at = max(known.last_at, finding.last_at)
        known.frequency = max(known.frequency, finding.frequency)
        known.evidence, known.confidence = finding.evidence, finding.confidence
        known.part_of = finding.part_of or known.part_of
        if changed:
            known.component, known.error_type = finding.component, finding.error_type
        if not known.acknowledged and (changed or known.frequency >= 2 * max(known.told, 1)):
            known.told = known.frequency
            return GREW
        self.suppressed += 1
        return ""

    def get(self, finding_id: str) -> Finding | None:
        return self._kept.get(finding_id)

    def acknowledge(self, finding_id: str) -> bool:
        """An operator knows: it is not told again while it lasts."""
        known = self._kept.get(finding_id)
        if known is None:
            return False
        known.acknowledged = True
        return True

    def sweep(self, now: float) -> list[Finding]:
        """Those that are over since the last time; what retention lets go is gone."""
        over = []
        for finding in list(self._kept.values()):
            if not finding.ended and now - finding.last_at > self.quiet_s:
                finding.ended = True
                over.append(finding)
            elif finding.ended and now - finding.last_at > self.retention_s:
                del self._kept[finding.id]
        return over

    def all(self) -> list[Finding]:
        return list(self._kept.values())
