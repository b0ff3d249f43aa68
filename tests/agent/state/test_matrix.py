"""Every way in which the pictures come apart is found, called by its name, mended, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from jackstay_agent.core.discrepancy import ADOPTABLE, Kind
from jackstay_agent.core.modes import Mode
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Refused
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


async def policy_applied(sandbox: SandboxProcess, names: tuple[str, ...], policy: str) -> None:
    """``policy`` for each kind of these; "adopt" where the venue's word can be taken, cancel_orphan for the orphan."""
    sandbox.admin.reset()
    kinds = {Kind(DIVERGENCES[name].kind) for name in names}
    words = {kind: policy for kind in kinds if policy != "adopt" or kind in ADOPTABLE}
    if policy == "adopt" and Kind.ORPHAN in kinds:
        words[Kind.ORPHAN] = "cancel_orphan"
    policies = "[state.policies]\n" + "".join(f'{kind} = "{word}"\n' for kind, word in words.items())
    state = "bot_view_max_age_s = 30\nenabled = false\n" + policies
    async with StateWorld(sandbox, stream=True, usdm=True, state=state, account=ACCOUNT) as world:
        await diverge(world, names)
        sent, before = len(sandbox.admin.ledger()), world.venue_orders()
        found = named(await world.check())
        if policy == "adopt":  # what was found at the report is mended already, and its bot was told
            assert set(found) <= set(expected(names))
            assert set(named(world.said("state.discrepancy"))) <= set(expected(names))
        else:
            assert found == expected(names)
        halted = {each["kind"] for each in world.said("state.halted")}
        assert halted == ({str(kind) for kind in kinds} if policy == "halt" else set())
        if policy == "halt":
            venues = {each["venue"] for each in world.said("state.halted")}
            assert {world.agent.decisions.modes.mode(venue or "binance") for venue in venues} == {Mode.HALTED}
            if venues & {"", "binance"}:
                with pytest.raises(Refused, match="state monitor"):
                    await world.place("while-halted")
        elif policy == "alert":
            assert (await world.place("while-alerted")).status == 200
            await world.cancel("while-alerted")
        else:
            sandbox.admin.clear()
            await world.check()  # the orphan was announced, and is cancelled now
            assert await world.check() == []
        rows = [row for row in sandbox.admin.ledger() if row["seq"] > sent and row["method"] in ("POST", "DELETE")]
        touched = {row["client_order_id"] for row in rows if row["client_order_id"] != "while-alerted"}
        assert touched <= (TOUCHED if policy == "adopt" else set())
        after = world.venue_orders()
        assert {name for name in before if before[name] != after[name]} <= (TOUCHED if policy == "adopt" else set())


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


@pytest.mark.asyncio
@pytest.mark.parametrize("policy", ["alert", "halt", "adopt"])
async def test_each_kinds_policy_is_applied(sandbox: SandboxProcess, policy: str) -> None:
    """All at once: told and nothing done; entries stopped for each; the venue's word taken, the orphan cancelled."""
    await policy_applied(sandbox, tuple(DIVERGENCES), policy)


@pytest.mark.soak
@pytest.mark.asyncio
@pytest.mark.parametrize("policy", ["alert", "halt", "adopt"])
@pytest.mark.parametrize("name", DIVERGENCES)
async def test_a_kinds_policy_alone(sandbox: SandboxProcess, name: str, policy: str) -> None:
    """One by one, so that none leans on another's."""
    await policy_applied(sandbox, (name,), policy)


@pytest.mark.soak
@pytest.mark.asyncio
@pytest.mark.parametrize("pair", list(combinations(DIVERGENCES, 2)), ids="-".join)
async def test_each_pair_of_divergences(sandbox: SandboxProcess, pair: tuple[str, str]) -> None:
    """None hides another, two by two."""
    await found_and_mended(sandbox, pair)
