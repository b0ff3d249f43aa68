"""What may become of an order at a venue, and what a new picture of it says about the old one.

Pictures arrive late and out of order: a stream may tell "new" after "filled", a list may lag behind a reply. So a step
back is at first only old news. It is impossible only in an answer that was asked for after the later state was known
and the venue's delay was over: then somebody's books are wrong. More filled than ordered is impossible at any time.

The table `MOVES` is the whole decision about stages. Knows nothing of bots and policies (core/reconcile).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from .account import OVER, Heard, Order, Stage


class Move(StrEnum):
    SAME = "same"  # nothing new
    ON = "on"  # the order went on
    OLD = "old"  # old news: what is known already is later
    IMPOSSIBLE = "impossible"  # cannot be, in this order of events


_S = Stage
_ENDS: Final = frozenset({_S.CANCELLED, _S.REJECTED, _S.EXPIRED})

#: stage -> stages that may follow. Ends that differ only in the venue's words (cancelled, expired) are one end.
MOVES: Final[dict[Stage, frozenset[Stage]]] = {
    _S.REQUESTED: frozenset(Stage),
    _S.OPEN: frozenset(Stage) - {_S.REQUESTED, _S.ABSENT},
    _S.OTHER: frozenset(Stage) - {_S.REQUESTED},
    _S.FILLED: frozenset({_S.FILLED, _S.OTHER}),
    _S.CANCELLED: _ENDS | {_S.OTHER},
    _S.REJECTED: _ENDS | {_S.OTHER},
    _S.EXPIRED: _ENDS | {_S.OTHER},
    _S.ABSENT: frozenset(Stage) - {_S.REQUESTED},  # "no such order" is the venue's word, not a proof
}
#: Sources that were asked, so that their answer is of a known age.
ASKED: Final = frozenset({Heard.QUERY, Heard.LIST})


def judge(known: Order, told: Order, settle_s: float) -> tuple[Move, str]:
    """What ``told`` says after ``known``, and why. ``settle_s``: how long the venue's own pictures may lag."""
    if told.quantity is not None and told.filled is not None and told.filled > told.quantity > 0:
        return Move.IMPOSSIBLE, f"{told.filled} filled of {told.quantity}"
    late = told.heard not in ASKED or told.seen_at < known.seen_at + settle_s
    if told.stage not in MOVES[known.stage]:
        words = f"{known.stage} -> {told.stage}"
        return (Move.OLD, words) if late else (Move.IMPOSSIBLE, words)
    if known.filled is not None and told.filled is not None and told.filled < known.filled:
        words = f"filled {known.filled} -> {told.filled}"
        return (Move.OLD, words) if late else (Move.IMPOSSIBLE, words)
    if told.stage in (known.stage, Stage.OTHER) and not _says_more(known, told):
        return Move.SAME, ""
    if known.stage in OVER and told.stage in OVER and told.filled in (None, known.filled):
        return Move.SAME, ""
    return Move.ON, f"{known.stage} -> {told.stage}"


def _says_more(known: Order, told: Order) -> bool:
    pairs = ((known.filled, told.filled), (known.quantity, told.quantity), (known.price, told.price))
    return any(new is not None and new != old for old, new in pairs) or bool(told.venue_id and not known.venue_id)
