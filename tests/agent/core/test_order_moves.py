"""What may become of an order, and what a late or a fresh picture of it says."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from jackstay_agent.core.account import OVER, Heard, Order, Stage
from jackstay_agent.core.order_moves import MOVES, Move, judge

KNOWN = Order("v", "BTC", "c", "1", stage=Stage.OPEN, quantity=Decimal(10), filled=Decimal(4), seen_at=100.0)


def told(stage: Stage = Stage.OPEN, heard: Heard = Heard.STREAM, at: float = 101.0, **changes: object) -> Order:
    return replace(KNOWN, stage=stage, heard=heard, seen_at=at, **changes)  # type: ignore[arg-type]


def test_every_stage_has_its_row_and_none_leads_back_to_requested() -> None:
    """The table is whole; a request is only ever the beginning."""
    assert set(MOVES) == set(Stage)
    assert all(Stage.REQUESTED not in after for stage, after in MOVES.items() if stage is not Stage.REQUESTED)


@pytest.mark.parametrize("stage", sorted(OVER - {Stage.ABSENT}))
def test_a_stream_that_steps_back_is_late(stage: Stage) -> None:
    """ "new" after "filled" on a stream is old news, whatever its place."""
    assert judge(replace(KNOWN, stage=stage), told(Stage.OPEN), 2.0)[0] is Move.OLD


def test_a_fresh_answer_that_steps_back_is_impossible_and_a_lagging_one_is_late() -> None:
    """Only a question asked after the venue's delay can contradict."""
    done = replace(KNOWN, stage=Stage.FILLED, filled=Decimal(10))
    assert judge(done, told(Stage.OPEN, Heard.LIST, 101.9), 2.0)[0] is Move.OLD
    assert judge(done, told(Stage.OPEN, Heard.LIST, 102.0), 2.0)[0] is Move.IMPOSSIBLE


def test_filled_only_rises() -> None:
    """A smaller amount is late on a stream and impossible in a fresh answer."""
    assert judge(KNOWN, told(filled=Decimal(3)), 2.0)[0] is Move.OLD
    assert judge(KNOWN, told(heard=Heard.QUERY, at=110, filled=Decimal(3)), 2.0)[0] is Move.IMPOSSIBLE
    assert judge(KNOWN, told(filled=Decimal(5)), 2.0)[0] is Move.ON


def test_more_filled_than_ordered_is_impossible_at_any_time() -> None:
    """Even on a stream."""
    move, why = judge(KNOWN, told(filled=Decimal(11)), 2.0)
    assert move is Move.IMPOSSIBLE
    assert "11 filled of 10" in why


def test_what_says_nothing_new_is_the_same() -> None:
    """An equal picture, a word nobody knows, two words for one end."""
    assert judge(KNOWN, told(), 2.0)[0] is Move.SAME
    assert judge(KNOWN, told(Stage.OTHER), 2.0)[0] is Move.SAME
    assert judge(replace(KNOWN, stage=Stage.CANCELLED), told(Stage.EXPIRED), 2.0)[0] is Move.SAME
    assert judge(replace(KNOWN, stage=Stage.CANCELLED), told(Stage.EXPIRED, filled=Decimal(6)), 2.0)[0] is Move.ON


def test_an_id_that_was_not_known_is_news() -> None:
    """The first reply names the order at the venue."""
    assert judge(replace(KNOWN, venue_id=""), told(), 2.0)[0] is Move.ON


def test_a_picture_takes_over_what_only_the_older_one_says() -> None:
    """A stream event without a price keeps the request's."""
    bare = Order("v", "BTC", "", "1", stage=Stage.CANCELLED)
    full = bare.with_what(replace(KNOWN, bot_id="b", family="plain", side="buy", price=Decimal(5), at_ms=3))
    assert (full.client_id, full.bot_id, full.family, full.side, full.price, full.at_ms, full.filled) == (
        "c", "b", "plain", "buy", Decimal(5), 3, Decimal(4),
    )  # fmt: skip
    assert full.stage is Stage.CANCELLED
    assert full.name == "c"
    assert not full.live
