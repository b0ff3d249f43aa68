"""`StateMonitor` alone, its verdicts, its policies, and what a restart remembers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackstay_agent import Config, StateMonitor
from jackstay_agent.core.discrepancy import Discrepancy, Kind
from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.state_mend import Mended
from jackstay_agent.state_monitor import HISTORY_FOUND_MAX
from jackstay_protocols.errors import Refused, ValidationError
from state_world import StateWorld, kinds, own_price

QUIETLY = "enabled = false\n"
ONE = Discrepancy(Kind.STATUS, "orders", "v", "o-1", "why").to_dict()


def test_alone_it_says_unverifiable_and_reconciles_nothing() -> None:
    """Given only a Config(), as a library: never consistent, never True."""

    async def run() -> None:
        heard: list[str] = []
        monitor = StateMonitor(Config(), on_event=lambda name, _fields: heard.append(name))
        result = await monitor.validate_state_consistency()
        assert result.is_consistent is False
        assert {each["kind"] for each in result.discrepancies} == {"unverifiable"}
        assert {each["component"] for each in result.discrepancies} == set(Config().state.components)
        assert result.severity == "medium"
        assert result.validation_time.utcoffset() is not None
        assert (await monitor.validate_state_consistency("orders")).component == "orders"
        assert await monitor.reconcile_state("orders", [ONE]) is False
        assert "state.unbound" in heard
        assert len(monitor.get_state_history(1)) == 2
        assert monitor.get_state_summary()["consistent"] is False

    asyncio.run(run())


def test_bad_input_is_named() -> None:
    """A component there is not, what is no discrepancy, hours that are none."""

    async def run() -> None:
        monitor = StateMonitor(Config(), on_event=lambda _name, _fields: None)
        with pytest.raises(ValidationError, match="weather"):
            await monitor.validate_state_consistency("weather")
        with pytest.raises(ValidationError, match="kind"):
            await monitor.reconcile_state("orders", [{}])
        for hours in (0, -1, "x", True):
            with pytest.raises(ValidationError, match="hours"):
                monitor.get_state_history(hours)  # type: ignore[arg-type]
        with pytest.raises(ValidationError, match="bound to no account"):
            await monitor.plan()

    asyncio.run(run())


class Room:
    """Finds what it is told to."""

    def __init__(self, found: list[Discrepancy]) -> None:
        self.found = found
        self.kept: list[dict[str, Any]] = []
        self.fails = False
        self.due = asyncio.Event()

    async def look(self, component: str) -> list[Discrepancy]:
        if self.fails:
            raise RuntimeError("a bug")
        return list(self.found)

    async def mend(self, found: Any, *, dry_run: bool, cancel_orphans: bool) -> Mended:
        return Mended(done=["said so"])

    async def by_policy(self, found: Any) -> Mended:
        return Mended()

    async def next_due(self) -> str:
        await self.due.wait()
        self.due.clear()
        return "orders"

    def facts(self) -> dict[str, Any]:
        return {}

    def keep(self, result: dict[str, Any]) -> None:
        self.kept.append(result)


@pytest.mark.asyncio
async def test_a_mending_that_mended_nothing_is_no_success() -> None:
    """True needs a fresh look that shows it gone, whatever the mending says of itself."""
    room = Room([Discrepancy(Kind.STATUS, "orders", "v", "o-1", "why")])
    monitor = StateMonitor(Config(), room=room, on_event=lambda _name, _fields: None)
    assert await monitor.reconcile_state("orders", [ONE]) is False
    room.found = []
    assert await monitor.reconcile_state("orders", [ONE]) is True


@pytest.mark.asyncio
async def test_the_history_of_bad_hours_is_bounded_by_what_was_found() -> None:
    """Hundreds of discrepancies at each look: the newest looks stay whole, and the newest of all whatever it holds."""
    room = Room([Discrepancy(Kind.STATUS, "orders", "v", f"o-{number}", "why") for number in range(300)])
    monitor = StateMonitor(Config(), room=room, on_event=lambda _name, _fields: None)
    for _ in range(10):
        await monitor.validate_state_consistency("orders")
    kept = monitor.get_state_history()
    assert [len(each.discrepancies) for each in kept] == [300] * (HISTORY_FOUND_MAX // 300)
    room.found = room.found * 5
    await monitor.validate_state_consistency("orders")
    assert [len(each.discrepancies) for each in monitor.get_state_history()] == [1500]
    room.found = []
    await monitor.validate_state_consistency("orders")
    assert [each.is_consistent for each in monitor.get_state_history()] == [True]


@pytest.mark.asyncio
async def test_what_is_new_and_what_is_gone_is_told_once() -> None:
    """A standing discrepancy is not news with every look; the history is kept where a verdict changed."""
    heard: list[tuple[str, dict[str, Any]]] = []
    room = Room([Discrepancy(Kind.STATUS, "orders", "v", "o-1", "why")])
    monitor = StateMonitor(Config(), room=room, on_event=lambda name, fields: heard.append((name, fields)))
    for _ in range(3):
        await monitor.validate_state_consistency("orders")
    assert [name for name, _ in heard] == ["state.discrepancy", "state.checked"]
    assert len(room.kept) == 1
    room.found = []
    await monitor.validate_state_consistency("orders")
    assert [name for name, _ in heard[2:]] == ["state.cleared", "state.checked"]
    other = StateMonitor(Config(), room=room, on_event=lambda _name, _fields: None)
    other.recall(reversed(room.kept))
    assert [each.is_consistent for each in other.get_state_history()] == [False, True]


@pytest.mark.asyncio
async def test_monitoring_goes_on_after_a_fault_and_ends_when_cancelled() -> None:
    """One broken look is told; the next one is taken."""
    heard: list[str] = []
    told = asyncio.Event()

    def hear(name: str, _fields: dict[str, Any]) -> None:
        heard.append(name)
        told.set()

    room = Room([])
    room.fails = True
    monitor = StateMonitor(Config(), room=room, on_event=hear)
    task = asyncio.create_task(monitor.start_monitoring())
    room.due.set()
    await asyncio.wait_for(told.wait(), 5)
    assert heard == ["state.broken"]
    room.fails = False
    told.clear()
    room.due.set()
    await asyncio.wait_for(told.wait(), 5)
    assert heard[-1] == "state.checked"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_policies_halt_adopt_and_cancel(sandbox: SandboxProcess) -> None:
    """A halt stops entries and lets cancels pass; an orphan is announced first and cancelled at the next look."""
    state = QUIETLY + '[state.policies]\norphan = "cancel_orphan"\nunknown_to_bot = "halt"\nstatus = "adopt"\n'
    account = 'exclusive = true\nclient_id_prefixes = ["own-"]'
    async with StateWorld(sandbox, stream=True, state=state, account=account) as world:
        await world.hand_order("own-1")
        neighbour = await world.hand_order("web-1")
        assert kinds(await world.check()) == ["orphan"]
        assert [each["subject"] for each in world.said("state.would_cancel")] == ["own-1"]
        assert world.venue_orders()["own-1"]["status"] == "NEW"
        assert kinds(await world.check()) == ["orphan"]
        assert world.venue_orders()["own-1"]["status"] == "CANCELED"
        assert await world.check() == []
        assert world.venue_orders()[neighbour["clientOrderId"]]["status"] == "NEW"
        await world.place("s-1")
        sandbox.admin.fault("stream_drop")
        await world.hand_cancel("s-1")
        await world.settled()
        assert kinds(await world.check()) == ["status"]
        assert await world.check() == [], "it was adopted"
        await world.place("h-1")
        await world.settled()
        await world.report()
        await world.until(lambda: world.said("state.halted"), "the halt")
        with pytest.raises(Refused, match="state monitor"):
            await world.place("h-2")
        assert (await world.cancel("h-1")).status == 200


@pytest.mark.asyncio
async def test_an_orphan_on_a_shared_account_is_never_cancelled(sandbox: SandboxProcess) -> None:
    """Not even when an operator asks for it."""
    async with StateWorld(sandbox, state=QUIETLY, account='client_id_prefixes = ["own-"]') as world:
        await world.hand_order("own-9")
        found = await world.check()
        assert kinds(found) == ["orphan"]
        assert await world.reconcile(found, cancel_orphans=True) is False
        assert world.venue_orders()["own-9"]["status"] == "NEW"


@pytest.mark.asyncio
async def test_a_venue_that_cannot_be_reached_is_never_consistent(sandbox: SandboxProcess) -> None:
    """Each source in turn, and the venue as a whole."""
    async with StateWorld(sandbox, state=QUIETLY, account="exclusive = true") as world:
        for route, component in (("/api/v3/openOrders", "orders"), ("/api/v3/openOrderList", "orders"),
                                 ("/api/v3/myTrades", "orders"), ("/api/v3/account", "balances")):  # fmt: skip
            await world.place(f"x-{route[-5:]}")
            await world.settled()
            sandbox.admin.fault("answer", route=f"GET {route}", status=200, body="<html>ok</html>")
            assert kinds(await world.check(component)) == ["unverifiable"], route
            sandbox.admin.clear()
            assert await world.check(component) == []


@pytest.mark.asyncio
async def test_evidence_survives_a_restart_and_a_lost_file_is_rebuilt(sandbox: SandboxProcess) -> None:
    """Known orders stay known; without the file the journal and the venue say the same."""
    account = 'exclusive = true\nclient_id_prefixes = ["k-"]'
    async with StateWorld(sandbox, state=QUIETLY, account=account) as world:
        await world.place("k-1")
        await world.settled()
        assert await world.check() == []
        history = len(world.agent.state.monitor.get_state_history())
        await world.stop()
        world.others.clear()
        await world.start()
        assert world.books("k-1").bot_id == "bot"
        assert history
        assert world.agent.state.monitor.get_state_history(), "past checks are remembered"
        await world.stop()
        for file in (world.folder / "t" / "state").glob("state.sqlite*"):
            file.unlink()
        await world.start()
        assert await world.check() == [], "no orphan: the outbox knows who placed it"
        assert world.books("k-1").bot_id == "bot"
        await world.stop()
        (world.folder / "t" / "state" / "state.sqlite").write_bytes(b"this is no database" * 100)
        await world.start_anyway()
        found = await world.check()
        assert ("checksum", "state file") in [(each["kind"], each["subject"]) for each in found]
        assert await world.reconcile(found)
        assert await world.check() == []


@pytest.mark.asyncio
async def test_bad_reports_are_refused_with_what_was_expected(sandbox: SandboxProcess) -> None:
    """Floats, strangers, lists that are none."""
    bad: list[tuple[str, dict[str, Any], str]] = [
        ("weather", {}, "component"),
        ("orders", {"venue": "nowhere", "orders": []}, "venue"),
        ("orders", {"orders": {}}, "a list"),
        ("orders", {"orders": [{}]}, "client_order_id"),
        ("orders", {"orders": [{"client_order_id": "a", "quantity": 0.1}]}, "never a float"),
        ("orders", {"orders": [{"client_order_id": "a", "status": "dancing"}]}, "dancing"),
        ("orders", {"orders": [], "sequence": "x"}, "sequence"),
        ("orders", {"orders": [], "complete": 3}, "complete"),
        ("orders", {"orders": [], "as_of_ms": "now"}, "as_of_ms"),
        ("orders", {"orders": ["x"]}, "an object"),
        ("balances", {"balances": []}, "an object"),
        ("balances", {"balances": {"BTC": {"free": "1"}}}, "total"),
        ("balances", {"balances": {"BTC": "nonsense"}}, "finite"),
        ("positions", {"positions": [{"symbol": "BTCUSDT"}]}, "quantity"),
    ]
    async with StateWorld(sandbox, state=QUIETLY) as world:
        for component, state, words in bad:
            with pytest.raises(ValidationError, match=words):
                await world.bot.report_state(component, state)
        assert (await world.report())["taken"] is True
        assert own_price("x")
