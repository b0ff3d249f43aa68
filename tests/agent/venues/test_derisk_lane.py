"""Nothing sent through the de-risking lane can increase an absolute position (DESIGN §3 rule 4)."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccxt_requests import operations
from jackstay_agent.core.order_class import OrderFacts, reduces
from jackstay_agent.sandbox.engine.futures import futures_exchange
from jackstay_agent.sandbox.engine.model import OrderRequest, Reject
from jackstay_agent.venues.outgoing import OutgoingRequest, encoded
from jackstay_agent.venues.profile import Profile, load_profile, shipped_profiles
from jackstay_protocols.errors import Lane, ValidationError

PROFILES = shipped_profiles()
PLACES = ("place", "amend", "replace", "unlisted")
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "get", "CANCEL"])
KNOWN_PATHS = sorted({path for profile in PROFILES.values() for _method, path in profile.listed()})
PATHS = st.one_of(st.sampled_from(KNOWN_PATHS), st.text("/abcorderv3 ?&=", max_size=30).map(lambda text: "/" + text))


@given(st.sampled_from(sorted(PROFILES)), METHODS, PATHS)
@settings(max_examples=2000, deadline=None)
def test_whatever_is_asked_the_lane_carries_no_placing_request(name: str, method: str, path: str) -> None:
    """For any method and path: in the de-risking lane there is no route that can open or enlarge anything."""
    route = PROFILES[name].route(method, path)
    if route.lane is Lane.DERISK:
        assert not route.is_order
        assert route.kind not in PLACES
        assert route.orders == 0


@pytest.mark.parametrize("kind", PLACES)
def test_a_profile_that_would_place_through_the_lane_is_refused(kind: str) -> None:
    """Neither a shipped nor a user's profile can open the lane for orders."""
    text = f'name = "x"\n[routes]\n"POST /order" = {{ lane = "derisk", kind = "{kind}" }}\n'
    with pytest.raises(ValidationError, match="de-risking lane"):
        load_profile(text, "x.toml")


class Book:
    """A venue in the small: open orders and a position. What a request does follows from its kind alone."""

    def __init__(self, position: Decimal, orders: dict[int, Decimal]) -> None:
        self.position = position
        self.orders = dict(orders)

    def apply(self, profile: Profile, method: str, path: str, target: int) -> None:
        kind = profile.route(method, path).kind
        if kind == "cancel":
            self.orders.pop(target, None)
        elif kind == "cancel_all":
            self.orders.clear()
        elif kind in PLACES:
            self.position += 1


def derisking(profile: Profile) -> list[tuple[str, str]]:
    return [each for each in profile.listed() if profile.route(*each).lane is Lane.DERISK]


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_no_sequence_through_the_lane_enlarges_a_position(data: Any) -> None:
    """Any sequence of de-risking requests over any book leaves the position and takes orders away only."""
    profile = PROFILES[data.draw(st.sampled_from(sorted(PROFILES)))]
    requests = derisking(profile)
    assert requests, "every shipped venue has a way out"
    quantity = st.decimals("-5", "5", places=2)
    book = Book(data.draw(quantity), data.draw(st.dictionaries(st.integers(0, 9), quantity, max_size=6)))
    before, orders = book.position, set(book.orders)
    for method, path in data.draw(st.lists(st.sampled_from(requests), max_size=20)):
        book.apply(profile, method, path, data.draw(st.integers(0, 9)))
    assert abs(book.position) <= abs(before)
    assert set(book.orders) <= orders


def test_cancel_replace_and_amends_hold_a_place() -> None:
    """They are orders, whatever their verb says."""
    spot = PROFILES["binance"]
    for method, path in (("POST", "/api/v3/order/cancelReplace"), ("PUT", "/api/v3/order/amend/keepPriority")):
        assert spot.route(method, path).lane is Lane.ORDER
    assert PROFILES["binance-usdm"].route("PUT", "/fapi/v1/order").lane is Lane.ORDER


def test_an_unlisted_change_is_judged_to_the_careful_side() -> None:
    """What the profile does not know may be an order: never resent, never in the de-risking lane."""
    route = PROFILES["binance"].route("POST", "/sapi/v1/margin/order")
    assert route.lane is Lane.ORDER
    assert route.is_order


# ---------------------------------------------------------------- orders that the venue itself keeps from enlarging

SIDES, PRICES = st.sampled_from(["BUY", "SELL"]), st.sampled_from(["49950", "49990", "50010", "50050"])
ORDERS = st.fixed_dictionaries(
    {
        "side": SIDES,
        "type": st.sampled_from(["MARKET", "LIMIT"]),
        "quantity": st.sampled_from(["0.5", "1", "3"]),
        "price": PRICES,
    },
    optional={
        "reduceOnly": st.sampled_from(["true", "false", "TRUE"]),
        "positionSide": st.sampled_from(["BOTH", "LONG", "SHORT"]),
    },
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("order"), ORDERS),
        st.tuples(st.just("cancel_all"), st.none()),
        st.tuples(st.just("market_moves"), st.tuples(SIDES, st.sampled_from(["0.5", "2", "6"]))),
    ),
    max_size=12,
)


def through_the_lane(params: dict[str, str]) -> bool:
    """Whether the agent sends this order through the de-risking lane: by what the profile reads out of it."""
    request = OutgoingRequest("POST", "/fapi/v1/order", [], encoded([("symbol", "BTCUSDT"), *params.items()]).encode())
    found = operations("binance-usdm").read_place(request)
    assert isinstance(found, list), found
    return all(reduces(OrderFacts(each.side, "", "", each.reduce_only, each.marks)) for each in found)


@given(held=st.sampled_from(["-2", "-1", "0", "1", "2"]), steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_no_order_through_the_lane_enlarges_a_position_at_the_venue(held: str, steps: list[tuple[str, Any]]) -> None:
    """Against a real matching engine: reduce-only orders that rest, fill in parts, queue up beside each other and are
    run over by the market; the absolute position never rises above what it was.
    """
    venue = futures_exchange(lambda: 1_000, ["ann", "bob"], Decimal(1_000_000))

    def place(who: str, side: str, kind: str, quantity: str, price: str = "0", *, reduce_only: bool = False) -> None:
        with suppress(Reject):
            venue.place(
                OrderRequest(who, "BTCUSDT", side, kind, Decimal(quantity), Decimal(price), reduce_only=reduce_only)
            )

    def position() -> Decimal:
        return abs(venue.positions.position("ann", "BTCUSDT", "BOTH").quantity)

    for step in range(1, 9):
        place("bob", "SELL", "LIMIT", "1", str(50_000 + 10 * step))
        place("bob", "BUY", "LIMIT", "1", str(50_000 - 10 * step))
    if held != "0":
        place("ann", "BUY" if Decimal(held) > 0 else "SELL", "MARKET", held.lstrip("-"))
    most = position()
    for kind, what in steps:
        if kind == "order" and through_the_lane(what):
            price = what["price"] if what["type"] == "LIMIT" else "0"
            closing = what.get("reduceOnly", "").lower() == "true"
            place("ann", what["side"], what["type"], what["quantity"], price, reduce_only=closing)
        elif kind == "cancel_all":
            venue.cancel_all("ann", "BTCUSDT")
        elif kind == "market_moves":
            place("bob", what[0], "MARKET", what[1])
        assert position() <= most
        most = position()


def test_an_order_that_could_enlarge_stays_out_of_the_lane() -> None:
    """Whatever it says of itself: no reduce-only, a false one, or one beside the opening side of a hedge."""
    plain = {"side": "BUY", "type": "MARKET", "quantity": "1"}
    assert not through_the_lane(plain)
    assert not through_the_lane(plain | {"reduceOnly": "false"})
    assert not through_the_lane(plain | {"reduceOnly": "true", "positionSide": "LONG"})
    assert through_the_lane(plain | {"reduceOnly": "true"})
