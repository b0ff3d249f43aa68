"""Busy trading in virtual time is told of no discrepancy, and the run would tell if there were one."""

from __future__ import annotations

import pytest

from simulation.trading_day import INSIDE, Ear, TradingDay


def test_seconds_of_busy_trading_are_no_discrepancy() -> None:
    """Fifty actions a second under latency, reordering and doubled events; looked at all the time, and repeatable."""
    days = [TradingDay("short", 8.0) for _ in range(2)]
    figures = [day.run() for day in days]
    assert days[0].faults() == []
    assert figures[0] == figures[1], "the same seed is the same day"
    told, books, fills = figures[0]["told"], figures[0]["books"], figures[0]["fills"]
    assert figures[0]["actions"] == 8 * 50
    assert figures[0]["checks"] > 15
    assert told["POST response ok"] > 150
    assert told["DELETE response ok"] > 60
    assert told["report done"] >= 12
    assert books["old"] > 20, "events overtook each other"
    assert fills["seen"] > 60
    assert fills["pulled"] > 0, "some fills were listed before the stream told them"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thirty_minutes_of_busy_trading_are_no_discrepancy() -> None:
    """The full figure, as `make trading-day` runs it."""
    day = TradingDay("day", 1800.0)
    print(day.run())
    assert day.faults() == []


class Deaf:
    """From the fifth second on the agent does not hear of one order what its stream should have told."""

    def __init__(self, day: TradingDay, word: bytes = b"") -> None:
        self.day, self.word, self.order = day, word, b""
        self._send = Ear.send

    def send(self, ear: Ear, frame: bytes) -> None:
        order = frame.partition(b'"i":')[2].partition(b",")[0]
        if ear is not self.day.bot.ear and order:
            if self.word and not self.order and self.day.world.now > 5.0 and self.word in frame:
                self.order = order
            if order == self.order:
                return
        self._send(ear, frame)

    def cancel_by_hand(self) -> None:
        """Somebody cancels the oldest order of the bot at the venue's own page, and the stream does not say so."""
        venue = self.day.house.venue
        order = venue.exchange.orders.open_of(self.day.account)[0]
        self.order = str(order.id).encode()
        venue.exchange.cancel(self.day.account, "BTCUSDT", order.id)
        venue.publish()


@pytest.mark.parametrize("trouble", ["fill_missing", "unknown_to_bot", "status"])
def test_what_is_wrong_is_found_in_the_midst_of_it(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test: an untold fill, orders that their bot forgot, an untold cancel are each called by name."""
    day = TradingDay(f"trouble-{trouble}", 9.0)
    deaf = Deaf(day, b'"x":"TRADE"' if trouble == "fill_missing" else b"")
    monkeypatch.setattr(Ear, "send", lambda ear, frame: deaf.send(ear, frame))
    forgotten: set[str] = set()
    learn = day.bot._learn

    def forgetful(name: str, status: str) -> None:
        if len(forgotten) < 5 and day.world.now > 5.0 and status == "NEW":
            order = day.house.venue.exchange.orders.find(day.account, "BTCUSDT", None, name)
            if order.price < INSIDE:  # it will rest
                forgotten.add(name)
        if name not in forgotten:
            learn(name, status)

    if trouble == "unknown_to_bot":
        monkeypatch.setattr(day.bot, "_learn", forgetful)
    if trouble == "status":
        day.world.at(day.outside, 5.5, deaf.cancel_by_hand)
    day.run()
    kinds = {fields["kind"] for _at, fields in day.observer.said.get("state.discrepancy", [])}
    assert trouble in kinds, day.faults()
    others = {"fill_missing": {"status", "unknown_to_bot"}, "status": {"unknown_to_bot"}}.get(trouble, set())
    assert kinds <= {trouble, *others}, day.faults()
