"""jackstay.outcomes: each late outcome once, acknowledged after it was handed over."""

from __future__ import annotations

import pytest

from jackstay import outcomes
from jackstay.outcomes import OutcomeBox
from jackstay_protocols.errors import Outcome
from jackstay_protocols.messages import FILL_CAUSE, OutcomeNews


def news(intent: str) -> OutcomeNews:
    return OutcomeNews(intent, "", Outcome.OK, 200)


def test_nothing_is_acknowledged_before_it_is_handed_over() -> None:
    """What only lies here is still the agent's to keep."""
    box = OutcomeBox()
    assert box.arrived(news("a"))
    assert box.acks_due() == []
    assert box.take("a") == news("a")
    assert box.acks_due() == ["a"]
    assert box.acks_due() == []


def test_a_repetition_is_not_handed_over_again_but_acknowledged_again() -> None:
    """The first acknowledgement may have been lost."""
    box = OutcomeBox()
    box.arrived(news("a"))
    assert not box.arrived(news("a"))
    assert box.take_next() == news("a")
    box.acks_due()
    assert not box.arrived(news("a"))
    assert box.take_next() is None
    assert box.acks_due() == ["a"]


def test_one_asked_for_by_id_can_be_asked_for_again() -> None:
    """The same value, no second acknowledgement."""
    box = OutcomeBox()
    box.arrived(news("a"))
    assert box.has("a")
    assert box.take("a") == box.take("a") == news("a")
    assert box.acks_due() == ["a"]
    assert box.take("b") is None


def test_outcomes_come_in_the_order_of_their_arrival() -> None:
    """Oldest first."""
    box = OutcomeBox()
    for intent in "cab":
        box.arrived(news(intent))
    assert [box.take_next(), box.take_next(), box.take_next(), box.take_next()] == [
        news("c"),
        news("a"),
        news("b"),
        None,
    ]


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What falls out uncollected was never acknowledged, so the agent brings it again."""
    monkeypatch.setattr(outcomes, "WAITING_MAX", 2)
    monkeypatch.setattr(outcomes, "KEPT_MAX", 1)
    monkeypatch.setattr(outcomes, "REMEMBERED_MAX", 2)
    monkeypatch.setattr(outcomes, "ACKS_PER_MESSAGE_MAX", 2)
    box = OutcomeBox()
    for intent in "abc":
        box.arrived(news(intent))
    assert box.waiting == 2
    assert box.acks_due() == []
    assert box.arrived(news("a"))
    assert box.take("a")
    assert box.take("c")
    assert not box.has("a")
    assert box.acks_due() == ["a", "c"]


def test_fills_push_out_nothing_of_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many trades come: an outcome waits, can be asked for again, and is not told a second time."""
    for bound in ("WAITING_MAX", "KEPT_MAX", "REMEMBERED_MAX"):
        monkeypatch.setattr(outcomes, bound, 2)
    box = OutcomeBox()
    box.arrived(news("old"))
    assert box.take("old") is not None
    box.arrived(news("new"))
    for number in range(5):
        assert box.arrived(OutcomeNews(f"f{number}", "", Outcome.OK, cause=FILL_CAUSE))
        if number:
            assert box.take_fill() is not None
    assert box.waiting == 1
    assert box.take("old") == news("old")
    assert not box.arrived(news("old"))
    assert not box.arrived(OutcomeNews("f3", "", Outcome.OK, cause=FILL_CAUSE))
    assert box.take_next() == news("new")
    assert box.take_next() is None
