"""The evidence cache holds what venues said, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay_agent.account.books import Books
from jackstay_agent.core.account import OVER, ZERO, Heard, Holding, Order, Stage
from jackstay_agent.core.order_moves import Move

ORDER = Order("v", "BTC", "c-1", "1", "plain", "buy", Stage.OPEN, Decimal(10), ZERO, Decimal(5))


def books(**changes: Any) -> Books:
    now = iter(range(1, 1_000_000))
    limits: dict[str, Any] = {"live_max": 100, "over_max": 100, "settle_s": 2.0} | changes
    return Books(clock=lambda: float(next(now)), **limits)


class Venue:
    """Random lives of orders, and everything that could be told about them."""

    def __init__(self, steps: list[tuple[int, int]]) -> None:
        self.states: dict[str, list[Order]] = {}
        for number, step in steps:
            self._step(f"c-{number}", step)

    def _step(self, name: str, step: int) -> None:
        if name not in self.states:
            self.states[name] = [replace(ORDER, client_id=name, venue_id=name[2:])]
            return
        last = self.states[name][-1]
        if last.stage in OVER:
            return
        if step == 0:
            self.states[name].append(replace(last, stage=Stage.CANCELLED))
            return
        filled = min(Decimal(10), (last.filled or ZERO) + step)
        stage = Stage.FILLED if filled == 10 else Stage.OPEN
        self.states[name].append(replace(last, filled=filled, stage=stage))


STEPS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), max_size=40)
HEARD = st.sampled_from([Heard.REPLY, Heard.STREAM, Heard.QUERY, Heard.LIST])


@settings(max_examples=150, deadline=None)
@given(STEPS, st.data())
def test_the_cache_never_says_what_no_venue_said(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    """Any evidence, in any order, doubled or lost: each picture was once the venue's; at the end one word heals all."""
    venue, cache = Venue(steps), books()
    everything = [(name, state) for name, states in venue.states.items() for state in states]
    for name in data.draw(
        st.lists(st.sampled_from(sorted(venue.states)), unique=True) if venue.states else st.just([])
    ):
        cache.request(replace(ORDER, client_id=name, venue_id="", filled=None, bot_id="b"))
    told = data.draw(st.lists(st.sampled_from(everything), max_size=60) if everything else st.just([]))
    for at, (_name, state) in enumerate(told, 1):
        cache.hear(replace(state, heard=data.draw(HEARD), seen_at=float(at)))
    for entry in cache.entries():
        order = entry.order
        if order.stage is Stage.REQUESTED:
            continue
        facts = {(each.stage, each.filled) for each in venue.states[order.client_id]}
        assert (order.stage, order.filled) in facts
        assert order.bot_id == "b", "nobody's order is kept"
    for states in venue.states.values():
        cache.hear(replace(states[-1], heard=Heard.STREAM, seen_at=1e6))
    for entry in cache.entries():
        last = venue.states[entry.order.client_id][-1]
        assert entry.order.filled == last.filled
        assert entry.order.stage is last.stage


def test_a_stream_may_be_faster_than_the_reply() -> None:
    """What it told of a stranger counts once the reply has made it ours."""
    cache = books()
    cache.hear(replace(ORDER, client_id="auto", filled=Decimal(3), heard=Heard.STREAM))
    assert cache.live("v") == []
    cache.adopt(replace(ORDER, client_id="auto", bot_id="b"))
    (order,) = cache.live("v")
    assert (order.filled, order.bot_id) == (Decimal(3), "b")


def test_ids_that_are_free_again_name_another_order() -> None:
    """The venue's own id tells two lives of one client id apart."""
    cache = books()
    cache.request(replace(ORDER, venue_id="", bot_id="b"))
    cache.hear(replace(ORDER, stage=Stage.FILLED, filled=Decimal(10)))
    cache.request(replace(ORDER, venue_id="", bot_id="b"))
    assert cache.hear(replace(ORDER, venue_id="2")) is Move.ON
    assert {(each.venue_id, each.stage) for each in cache.of_bot("v", "b")} == {("1", Stage.FILLED), ("2", Stage.OPEN)}


def test_an_event_without_a_symbol_is_known_by_the_venues_id() -> None:
    """Kraken tells of a cancel by the order's id alone."""
    cache = books()
    cache.adopt(replace(ORDER, bot_id="b"))
    cache.hear(Order("v", "?", "", "1", "plain", stage=Stage.CANCELLED, heard=Heard.STREAM))
    (order,) = cache.of_bot("v", "b")
    assert (order.symbol, order.stage) == ("BTC", Stage.CANCELLED)


def test_what_is_kept_is_bounded() -> None:
    """The oldest that are over go first; live ones only at their own bound."""
    cache = books(live_max=3, over_max=2)
    for number in range(10):
        cache.adopt(replace(ORDER, client_id=f"o-{number}", venue_id=str(number), stage=Stage.CANCELLED, bot_id="b"))
    assert [each.client_id for each in cache.of_bot("v", "b")] == ["o-8", "o-9"]
    for number in range(10):
        cache.request(replace(ORDER, client_id=f"l-{number}", venue_id="", bot_id="b"))
    assert len(cache.live("v")) == 3
    assert cache.facts()["evicted"] == 7


def test_an_impossible_step_is_kept_for_the_next_look() -> None:
    """More filled than ordered is not taken, and is said."""
    cache = books()
    cache.adopt(replace(ORDER, bot_id="b"))
    assert cache.hear(replace(ORDER, filled=Decimal(11), heard=Heard.STREAM)) is Move.IMPOSSIBLE
    (found,) = cache.impossible.values()
    assert (found.subject, found.bot_id) == ("c-1", "b")
    assert cache.live("v")[0].filled == ZERO


def test_a_refused_request_is_over_and_an_answered_one_is_not_reopened() -> None:
    """Only what was under way is answered."""
    cache = books()
    cache.request(replace(ORDER, venue_id="", bot_id="b"))
    cache.answered("c-1", "v", Stage.REJECTED)
    cache.answered("c-1", "v", Stage.OPEN)
    assert cache.of_bot("v", "b")[0].stage is Stage.REJECTED


def test_holdings_are_replaced_as_a_whole_or_by_name() -> None:
    """A snapshot empties what it does not name."""
    cache = books()
    cache.hold(
        "balance",
        "v",
        [Holding("balance", "v", "BTC", Decimal(1)), Holding("balance", "v", "ETH", Decimal(2))],
        whole=True,
    )
    cache.hold("balance", "v", [Holding("balance", "v", "BTC", Decimal(3))], whole=False)
    assert {key[0]: each.total for key, each in cache.holdings["balance", "v"].items()} == {"BTC": 3, "ETH": 2}
    cache.hold("balance", "v", [], whole=True)
    assert cache.holdings["balance", "v"] == {}


def test_an_amount_that_was_overtaken_is_not_taken() -> None:
    """By the venue's own order of its messages; what was asked for is newer than what came before it."""
    cache = books()

    def told(total: int, at: int | None, whole: bool = False) -> Decimal:
        cache.hold("balance", "v", [Holding("balance", "v", "BTC", Decimal(total), at=at)], whole=whole)
        return cache.holdings["balance", "v"]["BTC", ""].total

    assert told(1, 10) == 1
    assert told(2, 30) == 2
    assert told(3, 20) == 2, "it was told before"
    assert told(4, 30) == 4, "two of one instant: the later one to come"
    assert told(5, None, whole=True) == 5, "asked for"
    assert told(6, 29) == 5, "and what was on its way comes too late"
    assert told(7, 31, whole=True) == 7
