"""Three pictures of the orders of one account, compared: the bot's, the agent's, the venue's (DESIGN §5 State monitor).

Nothing is called a discrepancy at first sight. A difference between the agent's picture and a list of the venue is a
`Doubt`: the request may be under way, the list may lag, the stream may be a moment behind. After a pause and a question
about the order itself `settle` decides: nothing, news (the agent had no way to know: it learns), or a discrepancy. The
bot's picture is compared with what is proven; whatever changed around the moment of its report does not count.

Orders of others are no business of this file: they are neither missed nor found. Refuses to know how anything is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .account import OVER, Order, Stage
from .discrepancy import Discrepancy, Kind
from .order_moves import Move, judge

ORDERS = "orders"


@dataclass(frozen=True, slots=True)
class Look:
    """``asked_at``: when the question left. ``settle_s``: how long pictures may differ without meaning anything.

    ``lag_s``: how long the venue's own lists and queries may not show an order (the profile's visibility delay).
    ``told``: a user stream was up all the time, so that the agent should have heard of every change.
    """

    asked_at: float
    settle_s: float
    lag_s: float
    told: bool


@dataclass(frozen=True, slots=True)
class Doubt:
    """The agent knows ``known``; the venue's list shows ``listed``, or does not show it (None)."""

    known: Order
    listed: Order | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of a doubt: the venue's word to learn, or a discrepancy with what the venue says, or neither."""

    learn: Order | None = None
    found: Discrepancy | None = None
    evidence: Order | None = None


@dataclass(frozen=True, slots=True)
class BotView:
    """What a bot reported. ``complete``: orders it does not list are not open to its knowledge. ``at``: boot clock."""

    bot_id: str
    venue: str
    orders: tuple[Order, ...]
    at: float
    complete: bool = True


def doubts(known: Iterable[Order], listed: Iterable[Order], look: Look) -> list[Doubt]:
    """Where the agent's own live orders and a complete list of the venue's open orders differ.

    ``listed`` are the venue's pictures, each with the identity of the known one it belongs to (same ids).
    """
    there = {_id(each): each for each in listed}
    found = []
    for order in known:
        if order.stage is Stage.REQUESTED:
            continue  # under way: its outcome is the resolver's to find
        shown = there.get(_id(order))
        if shown is None:
            if order.live and order.changed_at < look.asked_at - look.lag_s:
                found.append(Doubt(order, None))
            continue
        move, _why = judge(order, shown, look.settle_s)
        if move in (Move.ON, Move.IMPOSSIBLE):
            found.append(Doubt(order, shown))
    return found


def settle(doubt: Doubt, now_known: Order | None, answer: Order | None, look: Look) -> Settled:
    """``now_known``: the agent's picture after the pause; ``answer``: what the venue says when asked about it.

    An answer whose stage is ABSENT says that the venue has no such order (weighed before: several times, late enough).
    """
    if now_known is None or answer is None:
        return Settled()
    if answer.stage is Stage.ABSENT:
        if now_known.stage in OVER:
            return Settled()
        why = "the venue says that it has no such order"
        return Settled(found=_order(Kind.MISSING_AT_VENUE, now_known, answer, why), evidence=answer)
    move, why = judge(now_known, doubt.listed or answer, look.settle_s)
    if move is Move.IMPOSSIBLE:
        words = f"impossible: {why}"
        return Settled(found=_order(Kind.IMPOSSIBLE_TRANSITION, now_known, answer, words), evidence=answer)
    latest, latest_why = judge(now_known, answer, look.settle_s)
    if latest is Move.IMPOSSIBLE:
        words = f"impossible: {latest_why}"
        return Settled(found=_order(Kind.IMPOSSIBLE_TRANSITION, now_known, answer, words), evidence=answer)
    if move is not Move.ON:
        return Settled()  # the stream brought it meanwhile, or the list was behind
    if not look.told:
        return Settled(learn=answer)
    kind = Kind.STATUS if now_known.stage is not answer.stage else Kind.QUANTITY
    return Settled(found=_order(kind, now_known, answer, f"the stream never told: {why}"), evidence=answer)


def compare_bot(view: BotView, proven: Sequence[Order], look: Look) -> tuple[list[Discrepancy], list[Order]]:
    """The bot's orders against what is proven of its own; and those orders of the bot that nobody knows here.

    ``look.asked_at`` is of no account: the bot's picture is as old as its report.
    """
    by_client = {each.client_id: each for each in proven if each.client_id}
    by_venue = {(each.symbol, each.venue_id): each for each in proven if each.venue_id}
    found: list[Discrepancy] = []
    strangers: list[Order] = []
    listed: set[int] = set()
    for claimed in view.orders:
        true = by_client.get(claimed.client_id) or by_venue.get((claimed.symbol, claimed.venue_id))
        if true is None:
            if claimed.live:
                strangers.append(claimed)
            continue
        listed.add(id(true))
        if _just_changed(true, view.at, look.settle_s):
            continue
        wrong = _claim(claimed, true)
        if wrong is not None:
            found.append(wrong)
    if view.complete:
        for true in proven:
            if id(true) in listed or true.stage is not Stage.OPEN or true.bot_id != view.bot_id:
                continue
            if not _just_changed(true, view.at, look.settle_s):
                why = "open at the venue, the bot does not list it"
                found.append(_order(Kind.UNKNOWN_TO_BOT, None, true, why, whose="bot"))
    return found, strangers


def _just_changed(true: Order, at: float, settle_s: float) -> bool:
    return true.stage is Stage.REQUESTED or true.changed_at > at - settle_s


def _claim(claimed: Order, true: Order) -> Discrepancy | None:
    if true.stage is Stage.OTHER:
        return None
    if claimed.live and true.stage is Stage.ABSENT:
        return _order(Kind.MISSING_AT_VENUE, claimed, true, "the venue has no such order", whose="bot")
    if claimed.live is not (true.stage is Stage.OPEN):
        why = f"the bot says {claimed.stage}, the venue {true.stage}"
        return _order(Kind.STATUS, claimed, true, why, whose="bot")
    for name in ("quantity", "filled", "price"):
        mine, theirs = getattr(claimed, name), getattr(true, name)
        if mine is not None and theirs is not None and mine != theirs:
            why = f"the bot's {name} is {mine}, the venue's {theirs}"
            return _order(Kind.QUANTITY, claimed, true, why, whose="bot")
    return None


def orphan(order: Order) -> Discrepancy:
    """Ours by its client id, and in nobody's journal."""
    return _order(Kind.ORPHAN, None, order, "its client id is this bot's, and no request of this bot placed it")


def lost_at_venue(claimed: Order, view: BotView) -> Discrepancy:
    """The bot lists it as open, nobody placed it through here, and the venue does not know it."""
    return _order(Kind.MISSING_AT_VENUE, claimed, None, "the venue has no such order", whose="bot", bot_id=view.bot_id)


def picture(order: Order) -> dict[str, Any]:
    """An order as plain values, for people."""
    found = {
        "client_id": order.client_id,
        "venue_id": order.venue_id,
        "side": order.side,
        "status": order.stage.value,
        "quantity": order.quantity,
        "filled": order.filled,
        "price": order.price,
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _order(
    kind: Kind, mine: Order | None, theirs: Order | None, why: str, *, whose: str = "agent", bot_id: str = ""
) -> Discrepancy:
    named = theirs if theirs is not None and theirs.name else mine
    assert named is not None, "a discrepancy is about an order"
    views = {whose: picture(mine)} if mine is not None else {}
    if theirs is not None:
        views["venue"] = picture(theirs)
    share = 0.0
    if mine is not None and theirs is not None and theirs.quantity and mine.filled is not None:
        share = float(abs((theirs.filled or 0) - mine.filled) / theirs.quantity)
    owner = bot_id or named.bot_id or (mine.bot_id if mine is not None else "")
    return Discrepancy(kind, ORDERS, named.venue, named.name, why, whose, named.symbol, owner, min(share, 1.0), views)


def _id(order: Order) -> tuple[str, str, str, str]:
    """Ids are unique per venue, family and symbol at most."""
    return order.venue, order.family, order.symbol, order.venue_id or f"c:{order.client_id}"
