"""The dead-man switches over a small venue that counts down: armed with care, renewed in time, adopted."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from jackstay_agent.core.deadman import SwitchState
from jackstay_agent.core.protection import OpenOrder
from jackstay_agent.deadman import Deadman, Limits
from jackstay_agent.transport.http import HttpAnswer
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.types import OrderClass

ENTRY, STOP = OrderClass.ENTRY, OrderClass.PROTECTIVE


def order(name: str, kind: OrderClass = ENTRY, symbol: str = "BTCUSDT") -> OpenOrder:
    return OpenOrder("binance-usdm", "plain", symbol, "buy", name, name, kind, Decimal(1))


class World:
    """Binance USDⓈ-M as far as its countdown goes; Kraken's account-wide one under its own name."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.orders: list[OpenOrder] | str = [order("e1"), order("e2", symbol="ETHUSDT")]
        self.countdowns: dict[str, float] = {}  # symbol -> fires at, at the venue
        self.refuse = 0
        self.gate: float | None = None
        self.well = (True, "")
        self.kept: list[dict[str, Any]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.weight = 10.0
        self.keys = True
        profiles = shipped_profiles()
        self.made = {
            name: Operations(profiles[name], Credentials("k", "c2VjcmV0"), wall_ms=lambda: 1, nonce=lambda now: now)
            for name in ("binance-usdm", "kraken", "bybit", "binance")
        }
        self.dead = self.another()

    def another(self, *, exclusive: bool = False) -> Deadman:
        return Deadman(
            operations=lambda venue: self.made.get(venue) if self.keys else None,
            carry=self.carry,
            listed=self.listed,
            limits=lambda _origin, _request: Limits(self.gate, self.weight, 2400.0, 60.0),
            fresh=lambda _bot: self.well,
            exclusive=exclusive,
            clock=lambda: self.now,
            wall=lambda: 1_800_000_000.0 + self.now,
            keep=self.keep,
            on_event=lambda name, fields: self.events.append((name, fields)),
        )

    async def listed(self, _venue: str) -> list[OpenOrder] | str:
        return self.orders

    async def keep(self) -> None:
        self.kept.append(json.loads(json.dumps(self.dead.snapshot())))

    async def carry(self, _origin: str, request: OutgoingRequest, _deadline_at: float) -> HttpAnswer:
        if self.refuse:
            self.refuse -= 1
            return HttpAnswer(503, b"", [], b'{"code":-1008,"msg":"overloaded"}', 1, 0.0, 0.0)
        given = dict(parse_qsl(request.query) + parse_qsl(request.body.decode()))
        symbol = given.get("symbol", "")
        left_s = float(given["timeout"]) if "timeout" in given else int(given["countdownTime"]) / 1000
        self.countdowns.pop(symbol, None)
        if left_s:
            self.countdowns[symbol] = self.now + left_s
        body = b'{"error":[],"result":{}}' if "timeout" in given else b'{"symbol":"X","countdownTime":"1"}'
        return HttpAnswer(200, b"OK", [], body, 1, 0.0, 0.0)

    def step(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.25
            self.dead.tick()

    def told(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]

    async def arm(self, venue: str = "binance-usdm", **changed: Any) -> dict[str, Any]:
        given: dict[str, Any] = {
            "window_s": 60.0,
            "symbols": [],
            "accept_losing_stops": False,
            "expect": None,
            "dry_run": False,
            "by": "uid 0",
            "why": "",
        }
        given |= changed
        window_s, symbols = given.pop("window_s"), given.pop("symbols")
        return await self.dead.arm(venue, "b", window_s, symbols, **given)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.asyncio
async def test_it_is_armed_for_the_symbols_that_have_orders_and_renewed_while_all_is_well(world: World) -> None:
    """Ten minutes: the venue's countdown never comes near its end."""
    told = await world.arm()
    assert told["armed"]
    assert told["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert told["count"] == 2
    for _ in range(40):
        world.step(15)
        assert min(world.countdowns.values()) - world.now > 35
    assert world.dead.status()[0]["renewals"] >= 29


@pytest.mark.asyncio
async def test_a_dry_run_shows_what_would_die_and_asks_nothing(world: World) -> None:
    """And another number of orders than the operator saw is refused."""
    told = await world.arm(dry_run=True)
    assert not told["armed"]
    assert {each["id"] for each in told["would_die"]} == {"e1", "e2"}
    assert world.countdowns == {}
    with pytest.raises(ValidationError, match="2 orders would die, 3 were expected"):
        await world.arm(expect=3)
    assert world.countdowns == {}


@pytest.mark.parametrize(
    ("venue", "changed", "word"),
    [
        ("binance-usdm", {"window_s": 0.5}, "window"),
        ("binance-usdm", {"symbols": [f"S{i}" for i in range(101)]}, "per symbol"),
        ("kraken", {}, "exclusive"),
        ("bybit", {"window_s": 10.0}, "private streams"),
        ("binance", {}, "no dead-man switch of its own"),
        ("nowhere", {}, "no key"),
    ],
)
@pytest.mark.asyncio
async def test_what_cannot_or_should_not_be_armed_is_refused(
    world: World, venue: str, changed: dict[str, Any], word: str
) -> None:
    """Each with the reason, and nothing is asked of the venue."""
    with pytest.raises(ValidationError, match=word):
        await world.arm(venue, **changed)
    assert world.countdowns == {}


@pytest.mark.asyncio
async def test_open_stops_refuse_it_until_the_operator_accepts_losing_them(world: World) -> None:
    """Whether the countdown reaches them is not documented, so it counts as yes; so do orders nobody can class."""
    for kind in (STOP, OrderClass.UNKNOWN):
        world.orders = [order("e1"), order("s1", kind)]
        with pytest.raises(ValidationError, match="accept-losing-stops"):
            await world.arm()
    assert (await world.arm(accept_losing_stops=True))["armed"]


@pytest.mark.asyncio
async def test_a_venue_that_cannot_be_seen_is_not_armed(world: World) -> None:
    """What would die has to be shown first."""
    world.orders = "timeout"
    with pytest.raises(ValidationError, match="cannot be seen"):
        await world.arm()


@pytest.mark.asyncio
async def test_a_costly_renewal_is_refused(world: World) -> None:
    """More than a tenth of the budget."""
    world.weight = 500.0
    with pytest.raises(ValidationError, match="rate budget"):
        await world.arm()


@pytest.mark.asyncio
async def test_an_account_wide_switch_needs_an_exclusive_account(world: World) -> None:
    """Kraken's: one for the account, in seconds."""
    world.dead = world.another(exclusive=True)
    world.orders = []
    told = await world.arm("kraken")
    assert told["armed"]
    assert world.countdowns == {"": 1060.0}
    assert (await world.dead.disarm("kraken", by="uid 0", why=""))["disarmed"] == 1
    assert world.countdowns == {}
    with pytest.raises(ValidationError, match="no switch is armed"):
        await world.dead.disarm("kraken", by="uid 0", why="")


@pytest.mark.asyncio
async def test_a_stalled_bot_lets_it_fire_and_that_is_told(world: World) -> None:
    """Renewing in its name would be a lie; when it is back in time, it is renewed again."""
    await world.arm(symbols=["BTCUSDT"])
    world.well = (False, "silent for 9 s")
    world.step(30)
    (told,) = world.told("deadman.will_fire")
    assert told["why"] == "silent for 9 s"
    assert 35 <= told["in_s"] <= 41
    world.well = (True, "")
    world.step(5)
    assert world.countdowns["BTCUSDT"] > world.now + 50
    world.well = (False, "silent again")
    world.step(90)
    assert len(world.told("deadman.lapsed")) == 1
    world.well = (True, "")
    before = dict(world.countdowns)
    world.step(60)
    assert world.countdowns == before, "after firing, re-arming is a person's word"


@pytest.mark.asyncio
async def test_a_gate_that_outlasts_the_window_warns_in_time(world: World) -> None:
    """180 s of gate against 60 s of window: at least 30 s before."""
    await world.arm(symbols=["BTCUSDT"])
    world.step(19)
    world.gate = world.now + 180
    world.step(1)
    (told,) = world.told("deadman.will_fire")
    assert told["in_s"] >= 30


@pytest.mark.asyncio
async def test_a_renewal_that_fails_is_tried_again_within_the_window(world: World) -> None:
    """Told each time; the countdown does not run out over a few refusals."""
    await world.arm(symbols=["BTCUSDT"])
    world.refuse = 3
    world.step(45)
    assert len(world.told("deadman.renewal_failed")) == 3
    assert world.dead.status()[0]["state"] == str(SwitchState.ARMED)


@pytest.mark.asyncio
async def test_a_refused_arming_leaves_nothing_armed(world: World) -> None:
    """Neither in memory nor on the disk."""
    world.refuse = 1
    with pytest.raises(ValidationError, match="not armed"):
        await world.arm(symbols=["BTCUSDT"])
    assert world.dead.status() == []
    assert world.kept[-1]["switches"] == []


@pytest.mark.parametrize("dies_after_s", [0.0, 10.0, 21.0, 39.0, 59.0])
@pytest.mark.asyncio
async def test_the_next_agent_adopts_it_at_every_phase_of_the_window(world: World, dies_after_s: float) -> None:
    """It fires only if no agent returns in time."""
    await world.arm(symbols=["BTCUSDT"])
    kept = world.kept[-1]
    world.now += dies_after_s
    world.dead = world.another()
    world.dead.restore(kept)
    world.dead.tick()
    world.step(0.25)
    assert world.countdowns["BTCUSDT"] > world.now
    world.step(120)
    assert world.countdowns["BTCUSDT"] > world.now + 35
    assert not world.told("deadman.lapsed")


@pytest.mark.asyncio
async def test_an_agent_that_returns_too_late_says_that_it_fired(world: World) -> None:
    """And arms nothing."""
    await world.arm(symbols=["BTCUSDT"])
    kept = world.kept[-1]
    world.now += 61
    world.dead = world.another()
    world.dead.restore(kept)
    world.step(1)
    assert len(world.told("deadman.lapsed")) == 1
    assert world.countdowns["BTCUSDT"] < world.now


@pytest.mark.parametrize("damage", [{}, {"wall": 1.0}, {"wall": "x", "switches": []}, {"wall": 1.0, "switches": [[1]]}])
def test_a_damaged_journal_is_an_error(world: World, damage: dict[str, Any]) -> None:
    """The caller sets it aside and says so."""
    with pytest.raises(ValidationError, match="damaged"):
        world.dead.restore(damage)


@pytest.mark.asyncio
async def test_a_stop_renews_to_the_full_window_and_leaves_it_armed(world: World) -> None:
    """With a line for whoever stops the agent."""
    await world.arm(symbols=["BTCUSDT"])
    world.step(15)
    lines = await world.dead.at_stop()
    assert world.countdowns["BTCUSDT"] == world.now + 60
    assert "fires in 60 s" in lines[0]
    assert world.told("deadman.left_armed")


@pytest.mark.asyncio
async def test_a_key_that_is_gone_is_told(world: World) -> None:
    """The configuration changed under an armed switch."""
    await world.arm(symbols=["BTCUSDT"])
    world.keys = False
    world.step(21)
    assert "no key" in world.told("deadman.will_fire")[0]["why"]
