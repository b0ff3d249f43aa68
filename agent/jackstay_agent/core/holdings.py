"""Balances and positions of two views, compared (DESIGN §5 State monitor).

Both are amounts under a name. A difference counts only if it is still there after a pause, because a trade changes
both views one after the other. Balances and a bot's positions say something only where the account is the bot's alone:
who asks decides that (state_watch.py). Refuses to know where the amounts come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from .account import ZERO, Holding
from .discrepancy import Discrepancy, Kind

Held = Mapping[tuple[str, str], Holding]
COMPONENTS = {"balance": "balances", "position": "positions"}
KINDS = {"balance": Kind.BALANCE, "position": Kind.POSITION}


def differing(mine: Held, theirs: Held, tolerance: Decimal, *, complete: bool = True) -> set[tuple[str, str]]:
    """The names whose amounts differ by more than ``tolerance`` (a share of the larger one; 0: at all).

    ``complete``: what ``mine`` does not name it holds nothing of; otherwise only what it names is compared.
    """
    names = set(mine) | (set(theirs) if complete else set())
    return {name for name in names if _gap(mine.get(name), theirs.get(name)) > tolerance * _larger(mine, theirs, name)}


def described(kind: str, name: tuple[str, str], mine: Held, theirs: Held, *, whose: str, bot_id: str) -> Discrepancy:
    """The discrepancy of one name."""
    own, true = mine.get(name), theirs.get(name)
    some = true or own
    assert some is not None, "one of both names it"
    have, there = _total(own), _total(true)
    larger = _larger(mine, theirs, name)
    subject = name[0] if not name[1] else f"{name[0]} {name[1]}"
    return Discrepancy(
        KINDS[kind],
        COMPONENTS[kind],
        some.venue,
        subject,
        f"the {whose} has {have}, the venue {there}",
        whose,
        name[0] if kind == "position" else "",
        bot_id,
        float(abs(have - there) / larger) if larger else 0.0,
        {whose: {"total": str(have)}, "venue": {"total": str(there)}},
    )


def _total(holding: Holding | None) -> Decimal:
    return ZERO if holding is None else holding.total


def _gap(mine: Holding | None, theirs: Holding | None) -> Decimal:
    return abs(_total(mine) - _total(theirs))


def _larger(mine: Held, theirs: Held, name: tuple[str, str]) -> Decimal:
    return max(abs(_total(mine.get(name))), abs(_total(theirs.get(name))))
