"""Which of the venue's orders is ours, when ours has no id: exactly one that fits and is nobody else's, or no word."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from jackstay_agent.core.evidence import Finding, Source
from jackstay_agent.list_search import ListSearch
from jackstay_agent.outbox import Unknown
from jackstay_agent.transport.http import HttpAnswer, HttpFailure
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_protocols.errors import Outcome, Reason
from outbox_world import World, order, seq_of

pytestmark = pytest.mark.asyncio

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "50001"}


class Venue:
    """Answers list questions: by path, one answer a page, the last one again and again."""

    def __init__(self) -> None:
        self.pages: dict[str, list[list[dict[str, Any]]]] = {}
        self.failing = ""
        self.asked: list[str] = []

    async def ask(self, _origin: str, question: OutgoingRequest, _deadline_at: float) -> HttpAnswer | HttpFailure:
        self.asked.append(question.target)
        if question.path == self.failing:
            return HttpFailure(Reason.RESET, sent=True, detail="", connection_id=None, elapsed_s=0.0)
        pages = self.pages.get(question.path, [[]])
        page = pages.pop(0) if len(pages) > 1 else pages[0]
        return HttpAnswer(200, b"OK", [], json.dumps(page).encode(), 1, 0.0, 0.0)


def listed(venue_id: int, world: World, **changes: Any) -> dict[str, Any]:
    """An order as Binance lists it."""
    return {
        "symbol": "BTCUSDT", "orderId": venue_id, "clientOrderId": "", "price": "50001.00", "origQty": "0.01000",
        "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW", "type": "LIMIT", "side": "BUY",
        "stopPrice": "0", "time": int(world.wall * 1000), **changes,
    }  # fmt: skip


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def operations(world: World) -> Operations:
    """The venue's clock is measured, and ours is right."""
    world.box.venue_at = lambda _venue, boot_s: world.wall - world.now + boot_s
    keys = Credentials("key", "secret", origin="test")
    return Operations(shipped_profiles()["binance"], keys, wall_ms=lambda: int(world.wall * 1000))


async def search(world: World, venue: Venue, operations: Operations, unknown: Unknown) -> tuple[Finding, str]:
    finder = ListSearch(
        lambda: world.box, ask=venue.ask, clock=lambda: world.now, wall=lambda: world.wall, on_answer=lambda *_: None
    )
    evidence, found = await finder.search(unknown, operations, operations.lookup("plain"))
    assert evidence.source is Source.LISTS
    assert (found is not None) == (evidence.finding is Finding.EXISTS)
    return evidence.finding, evidence.venue_order_id


def unknown_one(world: World, number: int = 1, **changes: Any) -> Unknown:
    """An order without an id of which nobody knows."""
    values = {"client_order_id": "", "family": "plain", "venue": "binance", "fields": ORDER} | changes
    seq = seq_of(world.box.begin(order(number, **values)))
    world.box.finish(seq, Outcome.UNKNOWN)
    (found,) = [each for each in world.box.unknowns() if each.seq == seq]
    return found


async def test_the_only_order_that_fits_is_ours(world: World, venue: Venue, operations: Operations) -> None:
    """Open or in the history; others of another price, size, side or time are looked past."""
    unknown = unknown_one(world)
    venue.pages["/api/v3/allOrders"] = [
        [
            listed(1, world, price="50002.00"),
            listed(2, world, origQty="0.02"),
            listed(3, world, side="SELL"),
            listed(4, world, time=int(world.wall * 1000) - 60_000),
            listed(5, world),
        ]
    ]
    assert await search(world, venue, operations, unknown) == (Finding.EXISTS, "5")


async def test_none_that_fits_is_told_as_such(world: World, venue: Venue, operations: Operations) -> None:
    """Read to its end and not there: not found; what that proves is another room's rule."""
    assert await search(world, venue, operations, unknown_one(world)) == (Finding.NOT_FOUND, "")
    assert [target.partition("?")[0] for target in venue.asked] == ["/api/v3/openOrders", "/api/v3/allOrders"]


async def test_none_that_fits_means_nothing_while_the_time_is_in_doubt(
    world: World, venue: Venue, operations: Operations
) -> None:
    """An hour ahead our clock looks for the order where it cannot be; measured later, the venue's finds it."""
    true_s, world.wall = world.wall, world.wall + 3_600.0
    world.box.venue_at = lambda _venue, _boot_s: None
    unknown = unknown_one(world)
    venue.pages["/api/v3/allOrders"] = [[listed(5, world, time=int(true_s * 1000))]]
    assert await search(world, venue, operations, unknown) == (Finding.NO_ANSWER, "")
    then_s = world.now
    world.box.venue_at = lambda _venue, boot_s: true_s + boot_s - then_s
    (unknown,) = world.box.unknowns()
    assert await search(world, venue, operations, unknown) == (Finding.EXISTS, "5")


async def test_after_a_reboot_a_wrong_clock_looks_nowhere(world: World, venue: Venue, operations: Operations) -> None:
    """By our clock it was sent later than now: no order is looked for, and none is called absent."""
    world.wall += 3_600.0
    world.box.venue_at = lambda _venue, _boot_s: None
    unknown_one(world)
    world.kill()
    world.boot_id, world.wall = "boot-2", world.wall - 3_600.0
    world.open()
    world.box.venue_at = lambda _venue, boot_s: world.wall - world.now + boot_s
    (unknown,) = world.box.unknowns()
    assert await search(world, venue, operations, unknown) == (Finding.NO_ANSWER, "")
    assert venue.asked == []


async def test_two_that_fit_settle_nothing(world: World, venue: Venue, operations: Operations) -> None:
    """Which of them is ours cannot be told."""
    venue.pages["/api/v3/openOrders"] = [[listed(1, world), listed(2, world)]]
    assert await search(world, venue, operations, unknown_one(world)) == (Finding.NO_ANSWER, "")


@pytest.mark.parametrize("how", ["answered", "found", "named"])
async def test_an_order_the_journal_knows_is_not_ours(
    world: World, venue: Venue, operations: Operations, how: str
) -> None:
    """Known by the answer to its placing, by what was found of it, or by its client id: a twin of ours, not ours."""
    twin = seq_of(world.box.begin(order(7, client_order_id="twin", venue="binance", fields=ORDER)))
    reply = b'{"symbol":"BTCUSDT","orderId":5,"clientOrderId":"twin"}' if how == "answered" else b"{}"
    world.box.finish(twin, Outcome.OK, status=200, reply=reply, venue_order_id="5" if how == "found" else "")
    unknown = unknown_one(world)
    venue.pages["/api/v3/openOrders"] = [[listed(5, world, clientOrderId="twin" if how == "named" else "")]]
    assert await search(world, venue, operations, unknown) == (Finding.NOT_FOUND, "")
    venue.pages["/api/v3/openOrders"] = [[listed(5, world, clientOrderId="twin"), listed(6, world)]]
    assert await search(world, venue, operations, unknown) == (Finding.EXISTS, "6")


async def test_a_number_that_happens_to_stand_in_an_answer_makes_no_order_known(
    world: World, venue: Venue, operations: Operations
) -> None:
    """Only where an order's id stands; a quantity of 5 is no order 5."""
    other = seq_of(world.box.begin(order(7, venue="binance")))
    world.box.finish(other, Outcome.OK, status=200, reply=b'{"orderId":55,"origQty":"5","fills":[{"tradeId":5}]}')
    unknown = unknown_one(world)
    venue.pages["/api/v3/openOrders"] = [[listed(5, world)]]
    assert await search(world, venue, operations, unknown) == (Finding.EXISTS, "5")


async def test_while_an_equal_order_is_open_nothing_is_said(world: World, venue: Venue, operations: Operations) -> None:
    """Two equal orders on their way: the one in the list may be either."""
    values: dict[str, Any] = {"client_order_id": "", "venue": "binance", "fields": ORDER, "family": "plain"}
    first, second = (seq_of(world.box.begin(order(n, **values))) for n in (1, 2))
    world.box.finish(first, Outcome.UNKNOWN)
    (unknown,) = world.box.unknowns()
    venue.pages["/api/v3/openOrders"] = [[listed(1, world)]]
    assert await search(world, venue, operations, unknown) == (Finding.NO_ANSWER, "")
    assert venue.asked == []
    world.box.finish(second, Outcome.REJECTED)
    assert await search(world, venue, operations, unknown) == (Finding.EXISTS, "1")


async def test_a_list_that_cannot_be_read_says_nothing(
    world: World, venue: Venue, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two fails, says less than an order needs, or has no end."""
    unknown = unknown_one(world)
    venue.failing = "/api/v3/allOrders"
    assert await search(world, venue, operations, unknown) == (Finding.NO_ANSWER, "")
    venue.failing = ""
    venue.pages["/api/v3/openOrders"] = [[listed(1, world, time=None)]]
    assert await search(world, venue, operations, unknown) == (Finding.NO_ANSWER, "")
    venue.pages["/api/v3/openOrders"] = [[]]
    monkeypatch.setattr("jackstay_agent.list_search.PAGES_MAX", 2)
    venue.pages["/api/v3/allOrders"] = [
        [listed(page * 1_000 + n, world, price="1.00") for n in range(1_000)] for page in range(3)
    ]
    assert await search(world, venue, operations, unknown) == (Finding.NO_ANSWER, "")


async def test_an_order_sized_in_money_is_not_looked_for(world: World, venue: Venue, operations: Operations) -> None:
    """No list says for how much a market order was meant."""
    unknown = unknown_one(world)
    intent = order(1, fields={**ORDER, "quantity": None, "quote_quantity": "20"})
    assert await search(world, venue, operations, replace(unknown, intent=intent)) == (Finding.NO_ANSWER, "")
    assert venue.asked == []


@pytest.mark.parametrize(
    ("venue_name", "family", "where"),
    [
        ("binance", "plain", ("orderId",)),
        ("okx", "plain", ("data", 0, "ordId")),
        ("okx", "algo", ("data", 0, "algoId")),
        ("bybit", "plain", ("result", "orderId")),
        ("kraken", "plain", ("result", "txid", 0)),
    ],
)
async def test_a_found_order_is_told_as_its_placing_would_have_been(
    venue_name: str, family: str, where: tuple[Any, ...]
) -> None:
    """The id stands where a library looks for it in the venue's answer to a placing request."""
    from jackstay_agent.venues.answers import OrderState, OrderStatus

    operations = Operations(shipped_profiles()[venue_name], None, wall_ms=lambda: 0)
    found = OrderState(
        "mine", "V-1", "X", "buy", "limit", None, OrderStatus.OPEN, "open", family=family, raw={"orderId": "V-1"}
    )
    told: Any = json.loads(operations.as_placed(found))
    for step in where:
        told = told[step]
    assert told == "V-1"
