"""When amounts differ: what is under way at two looks is no lasting difference, what stays behind is."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from jackstay_agent.core.account import Holding
from jackstay_agent.core.discrepancy import Discrepancy
from jackstay_agent.state_check import Checks


def of(total: str) -> Holding:
    return Holding("balance", "v", "BTC", Decimal(total))


def looked(mine: list[str], theirs: list[str]) -> list[Discrepancy]:
    """What the agent holds, and what the venue says, at one look after the other."""
    asked: list[int] = []

    def held() -> dict[Any, Any]:
        here = of(mine[min(len(asked), len(mine)) - 1])
        return {("balance", "v"): {here.key: here}}

    class Books:
        holdings = property(lambda _self: held())

        def hold(self, *_args: Any, **_more: Any) -> None:
            """The venue's amounts are taken."""

    async def balances(_operations: Any) -> list[Holding]:
        asked.append(1)
        return [of(theirs[len(asked) - 1])]

    async def pause(_seconds: float) -> None:
        """Nothing happens but what the lists say."""

    parts: Any = SimpleNamespace(
        pulling=SimpleNamespace(balances=balances), books=Books(), pause=pause,
        intake=SimpleNamespace(told=lambda _venue: True), views=SimpleNamespace(of=lambda *_args: []),
        account=SimpleNamespace(exclusive=True), settings=SimpleNamespace(tolerance=Decimal(0), settle_s=0.5),
    )  # fmt: skip
    operations: Any = SimpleNamespace(profile=SimpleNamespace(name="v"), has=lambda _name: True)
    return asyncio.run(Checks(parts).holdings("balance", operations))


def test_equal_trades_under_way_at_two_looks_are_no_difference() -> None:
    """The gap is the same twice, and the stream moved the agent's amount in between: it is only a moment behind."""
    assert looked(["10", "12", "13"], ["11", "13", "13"]) == []


def test_an_amount_that_stays_behind_is_a_difference() -> None:
    """Nothing came in between, and the venue says the same."""
    (found,) = looked(["10", "10", "10"], ["11", "11", "11"])
    assert (found.kind.value, found.subject) == ("balance", "BTC")


def test_an_amount_that_catches_up_is_none() -> None:
    """One look is no proof."""
    assert looked(["10", "11"], ["11", "11"]) == []
