"""What two pictures of an account can disagree about, how loud that is, and what may be done about it.

A discrepancy is a plain value: kind, where, which thing, what each party says. Severity follows from the kind and the
size. The policy says per kind what the agent does on its own: tell (alert, the default), take over the venue's word
into its own picture (adopt), stop entries (halt), or cancel what is provably ours and nobody's (cancel_orphan, orphans
on an exclusive account only). It never makes up a value: adopting needs the venue's evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from jackstay_protocols.errors import ErrorSeverity, ValidationError


class Kind(StrEnum):
    MISSING_AT_VENUE = "missing_at_venue"
    UNKNOWN_TO_BOT = "unknown_to_bot"
    ORPHAN = "orphan"
    STATUS = "status"
    QUANTITY = "quantity"
    FILL_MISSING = "fill_missing"
    BALANCE = "balance"
    POSITION = "position"
    STALE_VIEW = "stale_view"
    IMPOSSIBLE_TRANSITION = "impossible_transition"
    CHECKSUM = "checksum"
    SEQUENCE_REGRESSION = "sequence_regression"
    UNVERIFIABLE = "unverifiable"


class Policy(StrEnum):
    ALERT = "alert"
    ADOPT = "adopt"
    HALT = "halt"
    CANCEL_ORPHAN = "cancel_orphan"


_E = ErrorSeverity
#: An order nobody answers for and books that contradict themselves are the loudest.
SEVERITY: Final[dict[Kind, ErrorSeverity]] = {
    Kind.MISSING_AT_VENUE: _E.HIGH,
    Kind.UNKNOWN_TO_BOT: _E.HIGH,
    Kind.ORPHAN: _E.CRITICAL,
    Kind.STATUS: _E.MEDIUM,
    Kind.QUANTITY: _E.MEDIUM,
    Kind.FILL_MISSING: _E.HIGH,
    Kind.BALANCE: _E.MEDIUM,
    Kind.POSITION: _E.HIGH,
    Kind.STALE_VIEW: _E.LOW,
    Kind.IMPOSSIBLE_TRANSITION: _E.CRITICAL,
    Kind.CHECKSUM: _E.CRITICAL,
    Kind.SEQUENCE_REGRESSION: _E.HIGH,
    Kind.UNVERIFIABLE: _E.MEDIUM,
}
LOUDER: Final = {_E.LOW: _E.MEDIUM, _E.MEDIUM: _E.HIGH, _E.HIGH: _E.CRITICAL, _E.CRITICAL: _E.CRITICAL}
LOUDEST_FIRST: Final = (_E.CRITICAL, _E.HIGH, _E.MEDIUM, _E.LOW)
LARGE_SHARE: Final = 0.1  # a difference of a tenth of the whole is one step louder

#: Kinds where the venue's word can be taken over.
ADOPTABLE: Final = frozenset(
    {
        Kind.MISSING_AT_VENUE,
        Kind.STATUS,
        Kind.QUANTITY,
        Kind.FILL_MISSING,
        Kind.BALANCE,
        Kind.POSITION,
        Kind.IMPOSSIBLE_TRANSITION,
        Kind.CHECKSUM,
        Kind.UNKNOWN_TO_BOT,
        Kind.STALE_VIEW,
        Kind.SEQUENCE_REGRESSION,
    }
)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """``subject``: the thing's name (order id, asset, symbol). ``views``: what each party says, by party.

    ``whose``: the view that is wrong: bot, agent or venue. ``share``: the size of the difference, 0 to 1 of the whole.
    """

    kind: Kind
    component: str
    venue: str
    subject: str
    why: str
    whose: str = "agent"
    symbol: str = ""
    bot_id: str = ""
    share: float = 0.0
    views: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """The same disagreement in the next check has the same key."""
        return self.kind.value, self.venue, self.symbol, self.subject, self.whose

    @property
    def severity(self) -> ErrorSeverity:
        found = SEVERITY[self.kind]
        return LOUDER[found] if self.share >= LARGE_SHARE else found

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "component": self.component,
            "venue": self.venue,
            "subject": self.subject,
            "symbol": self.symbol,
            "bot": self.bot_id,
            "whose": self.whose,
            "why": self.why,
            "severity": self.severity.value,
            "share": round(self.share, 6),
            "views": {party: dict(view) for party, view in self.views.items()},
        }


def read_discrepancy(value: Mapping[str, Any]) -> Discrepancy:
    """Back from `to_dict`. Raises ValidationError naming what is missing or wrong."""
    try:
        views = {str(party): dict(view) for party, view in dict(value.get("views", {})).items()}
        return Discrepancy(
            Kind(value["kind"]),
            str(value["component"]),
            str(value["venue"]),
            str(value["subject"]),
            str(value.get("why", "")),
            str(value.get("whose", "agent")),
            str(value.get("symbol", "")),
            str(value.get("bot", "")),
            float(value.get("share", 0.0)),
            views,
        )
    except KeyError as error:
        raise ValidationError(f"a discrepancy without {error.args[0]!r}; one from a validation is expected") from None
    except (TypeError, ValueError) as error:
        raise ValidationError(f"no discrepancy: {error}; one from a validation is expected") from None


def loudest(found: Iterable[Discrepancy]) -> ErrorSeverity:
    """The severity of a whole result; LOW where there is nothing."""
    there = {each.severity for each in found}
    return next((each for each in LOUDEST_FIRST if each in there), ErrorSeverity.LOW)


def policy_for(kind: Kind, policies: Mapping[str, str], *, exclusive: bool) -> Policy:
    """What is done about a kind without a person's word."""
    wanted = Policy(policies.get(kind.value, Policy.ALERT.value))
    if wanted is Policy.CANCEL_ORPHAN and not (kind is Kind.ORPHAN and exclusive):
        return Policy.ALERT
    if wanted is Policy.ADOPT and kind not in ADOPTABLE:
        return Policy.ALERT
    return wanted


def check_policies(policies: Mapping[str, str], *, exclusive: bool) -> list[str]:
    """What is wrong with configured policies, in words."""
    problems = []
    for kind, policy in policies.items():
        if kind not in {each.value for each in Kind}:
            problems.append(f"policies.{kind}: no such kind; {', '.join(each.value for each in Kind)} are known")
        elif policy not in {each.value for each in Policy}:
            known = ", ".join(each.value for each in Policy)
            problems.append(f"policies.{kind} = {policy!r}; one of {known} is expected")
        elif policy == Policy.CANCEL_ORPHAN and kind != Kind.ORPHAN:
            problems.append(f"policies.{kind} = 'cancel_orphan'; only orphan may be cancelled")
        elif policy == Policy.CANCEL_ORPHAN and not exclusive:
            problems.append("policies.orphan = 'cancel_orphan' needs [account] exclusive = true")
        elif policy == Policy.ADOPT and Kind(kind) not in ADOPTABLE:
            problems.append(f"policies.{kind} = 'adopt'; there is no word of the venue to take over")
    return problems
