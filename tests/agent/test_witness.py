"""What the user stream said before anybody knew that a reply was lost: it settles the order, at little cost."""

from __future__ import annotations

import json
import time

import pytest

from jackstay_agent.core.intent import State
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_agent.witness import LATELY_MAX, Witness
from jackstay_protocols.errors import Outcome
from outbox_world import World, order, seq_of


def event(client_id: str, number: int) -> bytes:
    """An order's acceptance, as Binance's user stream tells it."""
    return json.dumps(
        {
            "subscriptionId": 0,
            "event": {
                "e": "executionReport", "E": 1, "s": "BTCUSDT", "c": client_id, "C": "", "S": "BUY", "o": "LIMIT",
                "f": "GTC", "q": "0.01", "p": "50001.00", "P": "0", "x": "NEW", "X": "NEW", "i": number, "z": "0",
                "Z": "0", "T": 1_700_000_000_000,
            },
        }
    ).encode()  # fmt: skip


@pytest.fixture
def witness(world: World) -> Witness:
    operations = Operations(shipped_profiles()["binance"], Credentials("k", "s", origin="test"), wall_ms=lambda: 1)
    return Witness(lambda: world.box, lambda _venue: operations)


def sent(world: World, number: int, client_id: str) -> int:
    return seq_of(world.box.begin(order(number, client_order_id=client_id, family="plain", venue="binance")))


@pytest.mark.parametrize("client_id", ["js-7", "odd id/7"])
def test_an_event_that_came_first_settles_the_order(world: World, witness: Witness, client_id: str) -> None:
    """Heard before the order was known to be unknown, it proves that it exists; another order's event does not."""
    seq = sent(world, 7, client_id)
    witness.stream_message("binance", event("js-8", 8))
    witness.stream_message("binance", event(client_id, 7))
    world.box.finish(seq, Outcome.UNKNOWN)
    witness.look_back("binance", "js-9")
    assert world.box.state(seq) is State.UNKNOWN
    witness.look_back("binance", client_id)
    assert world.box.state(seq) is State.DONE
    assert witness.settled == 1


@pytest.mark.serial
def test_hundreds_that_become_unknown_at_once_do_not_stop_the_loop(world: World, witness: Witness) -> None:
    """A venue goes away under 300 orders: looking back for all of them costs less than one late tick."""
    for number in range(LATELY_MAX):
        witness.stream_message("binance", event(f"other-{number}", number))
    orders = [f"js-{number}" for number in range(1, 301)]
    for seq in [sent(world, number, client_id) for number, client_id in enumerate(orders, start=1)]:
        world.box.finish(seq, Outcome.UNKNOWN)
    began = time.perf_counter()
    for client_id in orders:
        witness.look_back("binance", client_id)
    took_s = time.perf_counter() - began
    print(f"\n{len(orders)} times {LATELY_MAX} events in {took_s * 1000:.0f} ms")
    assert took_s < 0.25  # reading each event for each order took 10 s and more
