"""One signed request of a key after the other; a hanging one delays the others, and no more."""

from __future__ import annotations

from collections.abc import Callable

from jackstay_agent.flight import Flight, Reply
from jackstay_agent.nonce_turns import WAIT_DERISK_S, WAIT_S, NonceTurns


class World:
    """Requests by name, in the order in which they leave; their answers and the time are the test's."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.turns = NonceTurns(lambda after_s, call: self.timers.append((after_s, call)))
        self.left: list[str] = []
        self.answers: dict[str, Reply[None]] = {}
        self.flights: dict[str, Flight] = {}

    def request(self, name: str, key: str = "k", *, derisk: bool = False) -> None:
        async def fly() -> None:
            await self.turns.mine(key, derisk=derisk)
            self.left.append(name)
            try:
                await self.answers.setdefault(name, Reply())
            finally:
                self.turns.over(key)

        self.flights[name] = Flight(fly(), lambda error: None)
        self.flights[name].step()

    def answer(self, name: str) -> None:
        self.answers[name].set(None)

    def pass_time(self, seconds: float) -> None:
        due, self.timers = (
            [call for at, call in self.timers if at <= seconds],
            [each for each in self.timers if each[0] > seconds],
        )
        for call in due:
            call()


def test_the_next_leaves_when_the_one_before_is_answered() -> None:
    """In order, cancels first; another key's do not wait."""
    world = World()
    for name in "abc":
        world.request(name)
    world.request("other", "k2")
    world.request("cancel", derisk=True)
    assert world.left == ["a", "other"]
    world.answer("a")
    assert world.left == ["a", "other", "cancel"]
    world.answer("cancel")
    world.answer("b")
    assert world.left == ["a", "other", "cancel", "b", "c"]


def test_a_hanging_request_delays_the_others_and_no_more() -> None:
    """A cancel for a tenth of a second, what else there is for a quarter; its late answer frees nobody twice."""
    world = World()
    world.request("hangs")
    world.request("order")
    world.request("cancel", derisk=True)
    world.pass_time(WAIT_DERISK_S)
    assert world.left == ["hangs", "cancel"]
    world.pass_time(WAIT_S)
    assert world.left == ["hangs", "cancel", "order"]
    world.request("later")
    world.answer("hangs")
    world.answer("cancel")
    assert world.left[-1] == "order"
    world.answer("order")
    assert world.left[-1] == "later"
    world.answer("later")
    world.request("fresh")
    assert world.left[-1] == "fresh"


def test_one_that_is_given_up_waits_for_nobody_else() -> None:
    """A cancelled wait leaves the line, and the line goes on."""
    world = World()
    for name in "abc":
        world.request(name)
    world.flights["b"].cancel()
    world.answer("a")
    assert world.left == ["a", "c"]
    world.pass_time(WAIT_S)
    assert world.left == ["a", "c"]
