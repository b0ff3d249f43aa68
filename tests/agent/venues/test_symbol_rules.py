"""A symbol's rules in the venues' own documents, and which question shows them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from jackstay_agent.account.pulling import Pulling, Silence
from jackstay_agent.transport.http import HttpAnswer
from jackstay_agent.venues.answers import SymbolRule, Unreadable
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles

OKX_ROW = {
    "instType": "SPOT", "instId": "BTC-USDT", "tickSz": "0.1", "lotSz": "0.00000001", "minSz": "0.00001",
    "maxLmtSz": "9999999999", "maxMktSz": "1000000", "ctVal": "", "state": "live",
}  # fmt: skip
KRAKEN_ROW = {
    "altname": "XBTUSD", "wsname": "XBT/USD", "pair_decimals": 1, "lot_decimals": 8, "lot_multiplier": 1,
    "ordermin": "0.00005", "costmin": "0.5", "tick_size": "0.1", "status": "online",
}  # fmt: skip


def operations(name: str) -> Operations:
    return Operations(shipped_profiles()[name], None, wall_ms=lambda: 1)


def okx(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"code": "0", "msg": "", "data": rows}).encode()


def kraken(**changed: Any) -> bytes:
    return json.dumps({"error": [], "result": {"XXBTZUSD": KRAKEN_ROW | changed}}).encode()


def test_okx_tells_ticks_lots_and_a_least_size() -> None:
    """Sizes as orders count them; there is no least value."""
    (rule,) = operations("okx").read("symbol_rules", 200, okx(OKX_ROW))  # type: ignore[misc]
    assert rule == SymbolRule(
        "BTC-USDT", Decimal("0.1"), Decimal("1E-8"), Decimal("0.00001"), Decimal(9999999999), Decimal(0)
    )


def test_kraken_tells_a_step_as_a_number_of_decimals() -> None:
    """And a least volume, and a least cost; under any of the pair's spellings."""
    made = operations("kraken")
    (rule,) = made.read("symbol_rules", 200, kraken())  # type: ignore[misc]
    assert rule == SymbolRule("XBTUSD", Decimal("0.1"), Decimal("1E-8"), Decimal("0.00005"), Decimal(0), Decimal("0.5"))
    assert {made.profile.symbol(each) for each in ("XBT/USD", "XXBTZUSD", "BTC/USD")} == {rule.symbol}


@pytest.mark.parametrize("wrong", [-1, 1.5, 65, "many", "1e3"])
def test_a_number_of_decimals_that_is_none_is_not_guessed(wrong: Any) -> None:
    """The whole answer cannot be read."""
    assert isinstance(operations("kraken").read("symbol_rules", 200, kraken(lot_decimals=wrong)), Unreadable)


class Venue:
    """Answers in turn; writes down what it was asked."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.pulling = Pulling(self.carry, clock=lambda: 0.0, within_s=1.0)

    async def carry(self, _origin: str, request: OutgoingRequest, _deadline_at: float) -> HttpAnswer | None:
        self.asked.append(request.query)
        body = self.answers.pop(0)
        return None if body is None else HttpAnswer(200, b"OK", [], body, 1, 0.0, 0.0)


NO_SUCH = json.dumps({"code": "51001", "msg": "Instrument ID doesn't exist.", "data": []}).encode()


@pytest.mark.asyncio
async def test_a_symbol_of_unknown_kind_is_asked_for_kind_by_kind() -> None:
    """Until one shows it; an order says no more than the instrument's id."""
    swap = OKX_ROW | {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "lotSz": "0.1"}
    venue = Venue(NO_SUCH, okx(swap))
    found = await venue.pulling.rule(operations("okx"), "BTC-USDT-SWAP", {})
    assert isinstance(found, SymbolRule)
    assert found.step_size == Decimal("0.1")
    assert venue.asked == [f"instType={kind}&instId=BTC-USDT-SWAP" for kind in ("SPOT", "SWAP")]


@pytest.mark.asyncio
async def test_a_kind_that_is_known_is_the_only_one_asked_for() -> None:
    """Also one that is in no turn; and what nobody lists is said."""
    venue = Venue(okx(), okx())
    for kind in ("SWAP", "MARGIN"):
        found = await venue.pulling.rule(operations("okx"), "BTC-USDT-SWAP", {"inst_type": kind})
        assert isinstance(found, Silence)
        assert "lists no rules of BTC-USDT-SWAP" in found.why
    assert venue.asked == [f"instType={kind}&instId=BTC-USDT-SWAP" for kind in ("SWAP", "MARGIN")]


@pytest.mark.asyncio
async def test_a_venue_that_does_not_answer_is_not_asked_on() -> None:
    """Its silence is told as it is."""
    venue = Venue(None)
    found = await venue.pulling.rule(operations("okx"), "BTC-USDT", {})
    assert isinstance(found, Silence)
    assert "may not be asked now" in found.why
    assert len(venue.asked) == 1


@pytest.mark.asyncio
async def test_one_symbol_of_two_markets_is_not_guessed() -> None:
    """Bybit's BTCUSDT is spot and a contract: without the order's category nothing is asked."""
    venue = Venue()
    found = await venue.pulling.rule(operations("bybit"), "BTCUSDT", {})
    assert isinstance(found, Silence)
    assert "category" in found.why
    assert venue.asked == []
