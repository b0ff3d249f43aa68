"""The guardian over a small venue of its own: what it cancels, in which order, and when it stops."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from jackstay_agent.core.intent import State
from jackstay_agent.core.protection import HoldScope, OpenOrder
from jackstay_agent.flight import Reply
from jackstay_agent.guardian import AT_ONCE_MAX, LOOK_AGAIN_S, Found, Guardian
from jackstay_protocols.errors import Lane, ValidationError
from jackstay_protocols.types import OrderClass

ENTRY, EXIT, STOP = OrderClass.ENTRY, OrderClass.EXIT, OrderClass.PROTECTIVE
HEDGE, UNKNOWN = OrderClass.HEDGE, OrderClass.UNKNOWN


def order(name: str, kind: OrderClass = ENTRY, price: str = "100", bot: str = "b") -> OpenOrder:
    return OpenOrder("v", "plain", "BTCUSDT", "buy", f"{bot}-{name}", name, kind, Decimal(price))


class Timer:
    def __init__(self) -> None:
        self.off = False

    def cancel(self) -> None:
        self.off = True


class World:
    """A venue with a book, a clock whose timers run when told, and a guardian in between."""

    def __init__(self, *orders: OpenOrder) -> None:
        self.now = 0.0
        self.book = {each.name: each for each in orders}
        self.asked: list[str] = []
        self.deny: dict[str, int] = {}
        self.silent = 0
        self.slow = False
        self.pending: list[tuple[OpenOrder, Reply[str]]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._timers: list[tuple[float, int, Callable[[], None], Timer]] = []
        self._count = 0
        self.broken = False
        self.queue: list[Any] = []
        self.dropped: list[tuple[int, str, str]] = []
        self.guardian = Guardian(
            lambda: self,  # type: ignore[arg-type,return-value]
            self,
            clock=lambda: self.now,
            wake=self.wake,
            on_event=lambda name, fields: self.events.append((name, fields)),
        )

    # ---- the clock

    def wake(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer, self._count = Timer(), self._count + 1
        heapq.heappush(self._timers, (self.now + seconds, self._count, callback, timer))
        return timer

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _number, callback, timer = heapq.heappop(self._timers)
            if not timer.off:
                callback()
        self.now = until

    # ---- own orders

    async def find(self, bot_id: str) -> Found:
        if self.broken:
            self.broken = False
            raise ZeroDivisionError
        if self.silent:
            self.silent -= 1
            return Found(self.known(bot_id), {"v": "no answer"})
        return Found([each for each in self.book.values() if each.client_id.startswith(f"{bot_id}-")])

    def known(self, bot_id: str) -> list[OpenOrder]:
        return [each for each in self.book.values() if each.client_id.startswith(f"{bot_id}-")][:1]

    async def cancel(self, each: OpenOrder) -> str:
        self.asked.append(each.name)
        if self.slow:
            reply: Reply[str] = Reply()
            self.pending.append((each, reply))
            return await reply
        if self.deny.get(each.name, 0):
            self.deny[each.name] -= 1
            return "503"
        self.book.pop(each.name, None)
        return ""

    # ---- outbox

    def open_intents(self) -> list[Any]:
        return self.queue

    def hold(self, seq: int, held: bool) -> bool:
        self.queue[seq].held = held
        return True

    def drop(self, seq: int, *, who: str, why: str) -> Any:
        self.dropped.append((seq, who, why))
        return object()

    def queued(self, kind: OrderClass, bot: str = "b", *, held: bool = False) -> None:
        intent = SimpleNamespace(
            bot_id=bot, lane=Lane.ORDER, is_entry=True, order_class=kind, client_order_id=f"q{len(self.queue)}"
        )
        self.queue.append(SimpleNamespace(seq=len(self.queue), state=State.RECORDED, held=held, intent=intent))

    def held(self) -> list[int]:
        return [each.seq for each in self.queue if each.held]

    def told(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]


def go(world: World, classes: set[OrderClass] | None = None, *, act: bool = True) -> None:
    world.guardian.cancel("b", frozenset(classes or {ENTRY}), "stalled", act=act)


def test_exactly_the_asked_classes_of_this_bot_go_and_the_rest_is_listed() -> None:
    """8 entries go; exits, stops and a neighbour's orders stay; the venue's own list is the proof."""
    entries = [order(f"e{i}", price=str(90 + i)) for i in range(8)]
    kept = [order("x", EXIT), order("s", STOP), order("n", bot="c")]
    world = World(*entries, *kept)
    go(world)
    world.run(1.0)
    assert sorted(world.book) == sorted(each.name for each in kept)
    assert world.asked == [f"b-e{i}" for i in reversed(range(8))], "the highest bid first"
    (done,) = world.told("protect.done")
    assert done["count"] == 8
    assert sorted(done["listed"]) == ["b-s", "b-x"]
    assert done["took_s"] < 0.5


def test_under_observe_one_look_tells_what_it_would_be() -> None:
    """Nothing is asked of the venue but its list."""
    world = World(order("e"), order("s", STOP))
    go(world, act=False)
    world.run(60)
    assert world.asked == []
    (would,) = world.told("would.cancel")
    assert (would["ids"], would["listed"]) == (["b-e"], ["b-s"])


def test_what_the_venue_refuses_is_tried_again_and_told() -> None:
    """With growing pauses, until it is gone."""
    world = World(order("e1"), order("e2"))
    world.deny = {"b-e1": 3}
    go(world)
    world.run(10)
    assert world.book == {}
    assert world.asked.count("b-e1") == 4
    assert world.told("protect.refused")
    assert len(world.told("protect.done")) == 1


def test_a_venue_that_does_not_show_its_book_gets_cancels_for_what_is_known() -> None:
    """Not done before it has shown it again."""
    world = World(order("e1"), order("e2"))
    world.silent = 3
    go(world)
    assert world.asked == ["b-e1"]
    assert not world.told("protect.done")
    world.run(10)
    assert world.book == {}
    assert len(world.told("protect.done")) == 1


def test_an_order_that_arrives_late_is_found_by_the_next_look() -> None:
    """What was under way when the bot stalled."""
    world = World(order("e1"))
    go(world)
    world.run(1)
    world.book["b-e9"] = order("e9")
    world.run(LOOK_AGAIN_S + 1)
    assert world.book == {}
    assert len(world.told("protect.done")) == 2


def test_a_bot_that_is_back_keeps_what_is_not_cancelled_yet() -> None:
    """At most a handful is under way at once; the rest is never sent."""
    world = World(*[order(f"e{i:02}") for i in range(50)])
    world.slow = True
    go(world)
    assert len(world.pending) == AT_ONCE_MAX
    world.guardian.stop_cancelling("b")
    for each, reply in list(world.pending):
        world.book.pop(each.name)
        reply.set("")
    world.run(60)
    assert len(world.asked) == AT_ONCE_MAX
    assert len(world.book) == 50 - AT_ONCE_MAX
    (stopped,) = world.told("protect.stopped")
    assert len(stopped["cancelled"]) == AT_ONCE_MAX, "what was under way counts, also what was answered afterwards"
    assert world.guardian.status() == {}


def test_other_classes_replace_the_ones_before() -> None:
    """The preset was changed while it was at work."""
    world = World(order("e"), order("x", EXIT))
    go(world, {ENTRY})
    world.run(1)
    go(world, {ENTRY, EXIT})
    world.run(1)
    assert world.book == {}


@pytest.mark.parametrize("kind", [STOP, OrderClass.HEDGE, OrderClass.UNKNOWN])
def test_protective_hedge_and_unknown_orders_outlive_any_caller(kind: OrderClass) -> None:
    """DESIGN §3 rule 7, even if somebody asked for all classes."""
    world = World(order("s", kind))
    go(world, set(OrderClass))
    world.run(30)
    assert list(world.book) == ["b-s"]


def test_a_fault_of_ours_is_told_and_tried_again() -> None:
    """The bot's orders are still there, so the guardian does not give up on them."""
    world = World(order("e"))
    world.broken = True
    go(world)
    assert world.told("protect.broken")
    world.run(6)
    assert world.book == {}


def test_open_orders_are_counted_by_class() -> None:
    """For the history of silences, from the evidence alone."""
    assert World(order("e")).guardian.open_orders("b") == {ENTRY: 1}


def test_a_venue_whose_list_is_away_is_not_asked_again_for_what_it_took() -> None:
    """The evidence goes on showing them: one cancel each, a refused one again; the list, once it is there, decides."""
    orders = [order(f"e{number}") for number in range(20)]
    world = World(*orders)
    world.known = lambda _bot: list(orders)  # type: ignore[method-assign]
    world.silent, world.deny = 5, {"b-e3": 2}
    go(world)
    world.run(4.0)
    assert sorted(world.asked) == sorted([each.name for each in orders] + ["b-e3", "b-e3"])
    assert not world.told("protect.done")
    world.book["b-e7"] = orders[7]  # its cancel was no proof of its end
    world.run(30.0)
    assert world.asked.count("b-e7") == 2
    assert not world.book
    assert world.told("protect.done")[-1]["count"] == 20


def test_queued_entries_wait_and_ways_out_go_on() -> None:
    """What nobody can class counts as an entry; another bot's are not touched; an operator's hold outlives ours."""
    world = World()
    for kind in (ENTRY, EXIT, STOP, HEDGE, UNKNOWN):
        world.queued(kind)
    world.queued(ENTRY, "c")
    world.queued(ENTRY, held=True)
    world.guardian.hold("b", HoldScope.BOT, "late")
    assert world.held() == [0, 4, 6]
    assert world.told("protect.held")[0]["entries"] == 2
    world.guardian.release("b")
    assert world.held() == [6]


def test_what_would_be_cancelled_is_not_sent_first() -> None:
    """A market maker's queued exits wait like its entries once it is stalled, and go when it is back."""
    world = World()
    for kind in (ENTRY, EXIT, STOP):
        world.queued(kind)
    world.guardian.hold("b", HoldScope.BOT, "late")
    go(world, {ENTRY, EXIT})
    assert world.held() == [0, 1]
    world.guardian.stop_cancelling("b")
    world.guardian.release("b")
    assert world.held() == []
    go(world, {ENTRY}, act=False)
    assert world.held() == []


def test_what_is_dropped_are_the_queued_ones_of_these_classes() -> None:
    """A bot's own last word; nothing that protects, whatever is asked for."""
    world = World()
    for kind in (ENTRY, EXIT, STOP, HEDGE, UNKNOWN):
        world.queued(kind)
    world.queued(ENTRY, "c")
    world.guardian.drop("b", frozenset(OrderClass), "it said goodbye")
    assert world.dropped == [(0, "b", "it said goodbye"), (1, "b", "it said goodbye")]
    assert world.told("protect.dropped")[0]["ids"] == ["q0", "q1"]


def test_what_is_held_is_known_to_the_next_agent() -> None:
    """The queue's mark does not say by whom; a damaged list is an error and holds nothing."""
    world, later = World(), World()
    world.queued(ENTRY)
    later.queued(ENTRY, held=True)
    world.guardian.hold("b", HoldScope.BOT, "late")
    later.guardian.restore(world.guardian.snapshot())
    assert later.guardian.holds("b")
    later.guardian.release("b")
    assert later.held() == []
    assert not later.guardian.holds("b")
    for damaged in ([1], {"b": 3}, {"b": ["x"]}):
        with pytest.raises(ValidationError, match="damaged"):
            later.guardian.restore(damaged)
