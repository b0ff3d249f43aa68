"""Three pictures of the orders of one account, compared."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from jackstay_agent.core.account import Heard, Order, Stage
from jackstay_agent.core.discrepancy import Kind
from jackstay_agent.core.reconcile import (
    BotView,
    Doubt,
    Look,
    compare_bot,
    doubts,
    lost_at_venue,
    orphan,
    picture,
    settle,
)

KNOWN = Order(
    "v", "BTC", "c-1", "1", "plain", "buy", Stage.OPEN, Decimal(10), Decimal(0), Decimal(5), bot_id="b", changed_at=10.0
)  # fmt: skip
LOOK = Look(asked_at=100.0, settle_s=2.0, lag_s=20.0, told=True)
UNTOLD = replace(LOOK, told=False)


def listed(**changes: object) -> Order:
    return replace(KNOWN, bot_id="", heard=Heard.LIST, seen_at=100.0, **changes)  # type: ignore[arg-type]


def asked(stage: Stage = Stage.OPEN, **changes: object) -> Order:
    return replace(KNOWN, stage=stage, heard=Heard.QUERY, seen_at=103.0, **changes)  # type: ignore[arg-type]


def test_agreement_is_no_doubt() -> None:
    """The same order on both sides."""
    assert doubts([KNOWN], [listed()], LOOK) == []


def test_what_a_list_does_not_show_is_in_doubt_unless_it_is_fresh_under_way_or_over() -> None:
    """Visibility delays and requests in flight are no differences."""
    assert doubts([KNOWN], [], LOOK) == [Doubt(KNOWN, None)]
    assert doubts([replace(KNOWN, changed_at=80.0)], [], LOOK) == []
    assert doubts([replace(KNOWN, stage=Stage.REQUESTED)], [], LOOK) == []
    assert doubts([replace(KNOWN, stage=Stage.FILLED)], [], LOOK) == []


def test_what_a_list_shows_otherwise_is_in_doubt_unless_it_is_older() -> None:
    """More filled is news; less is a list that lags."""
    more = listed(filled=Decimal(3))
    assert doubts([KNOWN], [more], LOOK) == [Doubt(KNOWN, more)]
    assert doubts([replace(KNOWN, filled=Decimal(5), seen_at=99.0)], [more], LOOK) == []


def test_an_order_without_the_venues_id_is_known_by_its_own() -> None:
    """It stands under its client id on both sides."""
    assert doubts([replace(KNOWN, venue_id="")], [listed(venue_id="")], LOOK) == []


def test_the_stream_caught_up() -> None:
    """What was a difference is none after the pause."""
    doubt = Doubt(KNOWN, listed(filled=Decimal(3)))
    assert settle(doubt, replace(KNOWN, filled=Decimal(3)), asked(filled=Decimal(3)), LOOK).found is None
    assert settle(Doubt(KNOWN, None), replace(KNOWN, stage=Stage.FILLED), asked(Stage.FILLED), LOOK).found is None
    assert settle(doubt, None, asked(), LOOK).found is None
    assert settle(doubt, KNOWN, None, LOOK).found is None


@pytest.mark.parametrize(
    ("doubt", "answer", "kind"),
    [
        (Doubt(KNOWN, None), asked(Stage.CANCELLED), Kind.STATUS),
        (Doubt(KNOWN, listed(filled=Decimal(3))), asked(filled=Decimal(3)), Kind.QUANTITY),
        (Doubt(KNOWN, listed(price=Decimal(6))), asked(price=Decimal(6)), Kind.QUANTITY),
        (Doubt(KNOWN, None), asked(Stage.ABSENT), Kind.MISSING_AT_VENUE),
        (Doubt(KNOWN, listed(filled=Decimal(30))), asked(filled=Decimal(30)), Kind.IMPOSSIBLE_TRANSITION),
    ],
)
def test_what_the_stream_should_have_told(doubt: Doubt, answer: Order, kind: Kind) -> None:
    """Each difference by its name."""
    found = settle(doubt, KNOWN, answer, LOOK).found
    assert found is not None
    assert (found.kind, found.subject, found.bot_id, found.whose) == (kind, "c-1", "b", "agent")


def test_without_a_stream_the_agent_learns() -> None:
    """It had no way to know; but an order that is not there is missing all the same."""
    answer = asked(Stage.CANCELLED)
    settled = settle(Doubt(KNOWN, None), KNOWN, answer, UNTOLD)
    assert (settled.learn, settled.found) == (answer, None)
    missing = settle(Doubt(KNOWN, None), KNOWN, asked(Stage.ABSENT), UNTOLD).found
    assert missing is not None
    assert missing.kind is Kind.MISSING_AT_VENUE


def test_a_list_that_lagged_is_nothing() -> None:
    """The order is open, as it was known."""
    assert settle(Doubt(KNOWN, None), KNOWN, asked(), LOOK) == settle(Doubt(KNOWN, None), None, None, LOOK)


def test_an_answer_that_contradicts_what_is_over_is_impossible() -> None:
    """Asked long after the end was known."""
    over = replace(KNOWN, stage=Stage.FILLED, filled=Decimal(10))
    found = settle(Doubt(over, listed()), over, asked(), LOOK).found
    assert found is not None
    assert found.kind is Kind.IMPOSSIBLE_TRANSITION
    nothing = settle(Doubt(KNOWN, None), over, asked(Stage.ABSENT), LOOK)
    assert nothing.found is None, "the venue has forgotten what is over"
    known, early = replace(KNOWN, filled=Decimal(5)), replace(listed(), heard=Heard.STREAM)
    shrunk = settle(Doubt(KNOWN, early), known, asked(filled=Decimal(4)), LOOK)
    assert shrunk.found is not None
    assert shrunk.found.kind is Kind.IMPOSSIBLE_TRANSITION


def view(*orders: Order, **changes: object) -> BotView:
    return replace(BotView("b", "v", orders, 100.0), **changes)  # type: ignore[arg-type]


CLAIM = Order("v", "BTC", "c-1", heard=Heard.BOT, bot_id="b")


def test_a_bot_that_is_right_has_no_discrepancy() -> None:
    """Also where it says less than the venue."""
    assert compare_bot(view(CLAIM), [KNOWN], LOOK) == ([], [])
    by_venue_id = replace(CLAIM, client_id="", venue_id="1")
    assert compare_bot(view(by_venue_id), [KNOWN], LOOK) == ([], [])


@pytest.mark.parametrize(
    ("claim", "true", "kind"),
    [
        (CLAIM, replace(KNOWN, stage=Stage.CANCELLED), Kind.STATUS),
        (replace(CLAIM, stage=Stage.FILLED), KNOWN, Kind.STATUS),
        (CLAIM, replace(KNOWN, stage=Stage.ABSENT), Kind.MISSING_AT_VENUE),
        (replace(CLAIM, quantity=Decimal(9)), KNOWN, Kind.QUANTITY),
        (replace(CLAIM, filled=Decimal(9)), KNOWN, Kind.QUANTITY),
    ],
)
def test_a_bot_that_is_wrong(claim: Order, true: Order, kind: Kind) -> None:
    """Each difference by its name, and it is the bot's."""
    (found,), _strangers = compare_bot(view(claim), [true], LOOK)
    assert (found.kind, found.whose, found.bot_id) == (kind, "bot", "b")


def test_what_changed_around_the_report_does_not_count() -> None:
    """Nor what is under way, nor a word nobody knows."""
    for true in (
        replace(KNOWN, stage=Stage.CANCELLED, changed_at=98.5),
        replace(KNOWN, stage=Stage.REQUESTED),
        replace(KNOWN, stage=Stage.OTHER),
    ):
        assert compare_bot(view(CLAIM), [true], LOOK) == ([], [])


def test_an_open_order_that_the_bot_does_not_list() -> None:
    """Unknown to it, if it said that its list is complete, and if it is its own."""
    (found,), _ = compare_bot(view(), [KNOWN], LOOK)
    assert found.kind is Kind.UNKNOWN_TO_BOT
    assert compare_bot(view(complete=False), [KNOWN], LOOK) == ([], [])
    for other in (
        replace(KNOWN, bot_id="x"),
        replace(KNOWN, stage=Stage.FILLED),
        replace(KNOWN, changed_at=99.0),
    ):
        assert compare_bot(view(), [other], LOOK) == ([], [])


def test_what_only_the_bot_knows_has_to_be_asked() -> None:
    """An order nobody placed through here; one that is over is of no interest."""
    assert compare_bot(view(CLAIM, replace(CLAIM, client_id="x", stage=Stage.FILLED)), [], LOOK) == ([], [CLAIM])
    lost = lost_at_venue(CLAIM, view())
    assert (lost.kind, lost.whose, lost.bot_id) == (Kind.MISSING_AT_VENUE, "bot", "b")


def test_an_orphan_shows_what_the_venue_has() -> None:
    """For whoever decides about it."""
    found = orphan(listed())
    assert (found.kind, found.subject) == (Kind.ORPHAN, "c-1")
    assert found.views["venue"] == picture(KNOWN)
    assert picture(CLAIM) == {"client_id": "c-1", "status": "open"}


def test_the_share_of_a_difference() -> None:
    """Of the ordered quantity."""
    (found,), _ = compare_bot(view(replace(CLAIM, filled=Decimal(5))), [KNOWN], LOOK)
    assert found.share == 0.5
