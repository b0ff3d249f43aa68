"""Every way in which the pictures come apart is found, called by its name, mended, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from jackstay_agent.sandbox import SandboxProcess
from state_divergences import DIVERGENCES, diverge, expected, named
from state_world import StateWorld

ACCOUNT = 'exclusive = true\nclient_id_prefixes = ["own-"]'
TOUCHED = {"own-lost"}  # the orphan is cancelled, because that is asked for; nothing else


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1, quiet=True) as process:
        yield process


async def found_and_mended(sandbox: SandboxProcess, names: tuple[str, ...]) -> None:
    sandbox.admin.reset()
    state = "bot_view_max_age_s = 30\nenabled = false\n"  # looked at when the test looks
    async with StateWorld(sandbox, stream=True, usdm=True, state=state, account=ACCOUNT) as world:
        await diverge(world, names)
        before = world.venue_orders()
        found = await world.check()
        assert named(found) == expected(names)
        assert world.venue_orders() == before, "looking changes nothing"
        assert named(world.said("state.discrepancy")) == expected(names)
        sandbox.admin.clear()
        sent = len(sandbox.admin.ledger())
        assert await world.reconcile(found, cancel_orphans=True), world.said("state.reconciled")
        changes = [row for row in sandbox.admin.ledger() if row["seq"] > sent and row["method"] != "GET"]
        assert {row["client_order_id"] for row in changes if row["method"] == "DELETE"} <= TOUCHED
        assert not [row for row in changes if row["method"] == "POST"], "nothing is ever placed"
        after = world.venue_orders()
        assert {name for name in before if before[name] != after[name]} <= TOUCHED
        assert await world.check() == []
        assert not world.agent.state.monitor.standing


OFTEN_SEEN = ("missing_at_venue", "orphan", "status", "fill_missing")
ALONE = [pytest.param(name, marks=() if name in OFTEN_SEEN else pytest.mark.soak) for name in DIVERGENCES]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ALONE)
async def test_each_divergence_alone(sandbox: SandboxProcess, name: str) -> None:
    """Found within one look, rightly named; clean after the reconciliation."""
    await found_and_mended(sandbox, (name,))


@pytest.mark.asyncio
async def test_all_divergences_at_once(sandbox: SandboxProcess) -> None:
    """None hides another."""
    await found_and_mended(sandbox, tuple(DIVERGENCES))


@pytest.mark.soak
@pytest.mark.asyncio
@pytest.mark.parametrize("pair", list(combinations(DIVERGENCES, 2)), ids="-".join)
async def test_each_pair_of_divergences(sandbox: SandboxProcess, pair: tuple[str, str]) -> None:
    """None hides another, two by two."""
    await found_and_mended(sandbox, pair)
