"""The six recovery scenarios as a library: what they need, what they do, and when they may say True."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from jackstay_agent import Config
from jackstay_agent.recovery_scenarios import SCENARIOS
from jackstay_agent.recovery_scenarios.plan import Run, RunState
from jackstay_protocols.errors import ValidationError
from recovery_world import WALL, Only, World

ORDER = {"side": "buy", "price": Decimal("100.123"), "quantity": Decimal("1.2345")}
FILTERS = {"tick_size": "0.01", "step_size": "0.001", "notional_min": 10}
CONTEXTS: dict[str, dict[str, Any]] = {
    "partial_fill": {"symbol": "BTCUSDT", "order_id": "7"},
    "network_disconnection": {"venue": "binance"},
    "exchange_maintenance": {"venue": "binance"},
    "data_feed_interruption": {"feed": "spot", "sources": ["backup"]},
    "order_rejection": {"symbol": "BTCUSDT", "reason": "LOT_SIZE", "order": ORDER, "filters": FILTERS},
    "api_rate_limit": {"venue": "binance", "retry_after_s": 5},
}


def config(text: str = "") -> Config:
    return Config.from_toml(text)


RESUBMIT = config("[recovery.order_rejection]\nresubmit = true\n")


def ready(name: str) -> World:
    """A world in which this scenario can recover."""
    return World(
        connected_after=2,
        statuses=["maintenance", "maintenance", "online"],
        sources={"spot"},
        limited_until=5.0,
    )


def settings(name: str) -> Config:
    return RESUBMIT if name == "order_rejection" else config()


@pytest.mark.parametrize("name", sorted(SCENARIOS))
@pytest.mark.asyncio
async def test_it_recovers_with_the_venues_evidence(name: str) -> None:
    """The good case of each: True, and nothing stays held."""
    world = ready(name)
    assert await world.scenario(name, settings(name)).execute_recovery(CONTEXTS[name]) is True
    assert world.held == set()
    assert world.events[-1][0] == "recovery.recovered"


@pytest.mark.parametrize("name", sorted(SCENARIOS))
@pytest.mark.asyncio
async def test_unbound_it_validates_says_so_and_is_false(name: str) -> None:
    """Alone, with nothing but a configuration, it cannot have recovered anything."""
    events: list[str] = []
    alone = SCENARIOS[name](Config(), on_event=lambda event, _fields: events.append(event))
    assert await alone.execute_recovery(CONTEXTS[name]) is False
    assert events == ["recovery.unbound"]
    assert await SCENARIOS[name](Config()).execute_recovery(CONTEXTS[name]) is False


@pytest.mark.parametrize(
    ("name", "key"),
    [(name, key) for name, kind in SCENARIOS.items() for key, rule in kind.KEYS.items() if rule.required],
)
@pytest.mark.asyncio
async def test_a_missing_key_is_named_before_anything_is_done(name: str, key: str) -> None:
    """Bound or not."""
    world = ready(name)
    context = {each: value for each, value in CONTEXTS[name].items() if each != key}
    for scenario in (world.scenario(name), SCENARIOS[name](Config())):
        with pytest.raises(ValidationError, match=key):
            await scenario.execute_recovery(context)
    assert world.log == []


@pytest.mark.parametrize(
    ("name", "wrong", "word"),
    [(name, {key: object()}, key) for name, kind in SCENARIOS.items() for key in kind.KEYS]
    + [
        ("partial_fill", {"order_class": "protective"}, "order_class"),
        ("partial_fill", {"order_id": True}, "order_id"),
        ("data_feed_interruption", {"sources": ["a", 3]}, "sources"),
        ("order_rejection", {"order": {"side": "hold"}}, "side"),
        ("order_rejection", {"order": {"side": "buy", "price": 1.5}}, "price"),
        ("order_rejection", {"order": {"side": "buy", "quantity": Decimal("NaN")}}, "quantity"),
        ("order_rejection", {"filters": {"tick": "0.1"}}, "tick"),
        ("order_rejection", {"filters": {"tick_size": "-1"}}, "tick_size"),
        ("api_rate_limit", {"retry_after_s": -1}, "retry_after_s"),
        ("api_rate_limit", {"retry_after_s": float("inf")}, "retry_after_s"),
        ("api_rate_limit", {"until": datetime(2026, 1, 1)}, "until"),
    ],
)
@pytest.mark.asyncio
async def test_a_wrong_key_is_named_before_anything_is_done(name: str, wrong: dict[str, Any], word: str) -> None:
    """What was found, what was expected; floats do not touch a price."""
    world = ready(name)
    with pytest.raises(ValidationError, match=word):
        await world.scenario(name).execute_recovery(CONTEXTS[name] | wrong)
    assert world.log == []


@pytest.mark.parametrize("name", sorted(SCENARIOS))
@pytest.mark.asyncio
async def test_without_the_actions_its_proof_needs_it_is_false(name: str) -> None:
    """It does what it can and claims nothing."""
    world = ready(name)
    scenario = world.scenario(name, settings(name), actions=Only(world, "notify"))
    assert await scenario.execute_recovery(CONTEXTS[name]) is False


def test_an_object_without_any_action_is_refused() -> None:
    """Naming what there is."""
    with pytest.raises(ValidationError, match="reconnect"):
        SCENARIOS["partial_fill"](Config(), actions=object())


@pytest.mark.parametrize("name", sorted(SCENARIOS))
@pytest.mark.asyncio
async def test_an_action_that_fails_is_no_recovery_and_is_told(name: str) -> None:
    """An error ends the plan with its words; the scenario itself raises nothing."""
    world = ready(name)
    world.dead = {"query", "reconnect", "venue_status", "switch_feed", "probe", "resubmit"}
    assert await world.scenario(name, settings(name)).execute_recovery(CONTEXTS[name]) is False
    event, fields = world.events[-1]
    assert event == "recovery.not_recovered"
    assert fields["why"]


# ---------------------------------------------------------------- doubles that lie


@pytest.mark.asyncio
async def test_a_cancel_that_says_yes_while_the_order_lives_is_no_recovery() -> None:
    """Asked again until its time is over; the order is still open, so it is False."""
    world = World(lies={"cancel"})
    assert await world.scenario("partial_fill").execute_recovery(CONTEXTS["partial_fill"]) is False
    assert world.status == "open"
    assert world.directives == []
    assert world.now <= 60.5


@pytest.mark.asyncio
async def test_fills_that_do_not_add_up_are_no_recovery() -> None:
    """The order says 4, the trades say 3."""
    world = World(fills_seen=Decimal(3))
    assert await world.scenario("partial_fill").execute_recovery(CONTEXTS["partial_fill"]) is False


@pytest.mark.asyncio
async def test_a_reconnection_that_shows_no_account_is_no_recovery() -> None:
    """And entries stay held."""
    world = World(lies={"open_orders"})
    assert await world.scenario("network_disconnection").execute_recovery({"venue": "v"}) is False
    assert world.held == {"v"}


@pytest.mark.asyncio
async def test_a_venue_that_says_online_and_shows_nothing_is_no_recovery() -> None:
    """Entries stay held."""
    world = World(lies={"open_orders"}, statuses=["maintenance", "online"])
    assert await world.scenario("exchange_maintenance").execute_recovery({"venue": "v"}) is False
    assert world.held == {"v"}


@pytest.mark.asyncio
async def test_a_resubmitted_order_the_venue_does_not_show_is_no_recovery() -> None:
    """Taken is not open."""
    world = World(takes_placed=False)
    assert await world.scenario("order_rejection", RESUBMIT).execute_recovery(CONTEXTS["order_rejection"]) is False


@pytest.mark.asyncio
async def test_a_limit_that_still_stands_after_its_instant_is_no_recovery() -> None:
    """Entries stay held."""
    world = World(limited_until=1e9)
    assert await world.scenario("api_rate_limit").execute_recovery(CONTEXTS["api_rate_limit"]) is False
    assert world.held == {"binance"}


# ---------------------------------------------------------------- one by one


@pytest.mark.asyncio
async def test_the_rest_of_a_partial_fill_is_handed_to_the_bot() -> None:
    """What was filled, at what price, and what remains."""
    world = World()
    await world.scenario("partial_fill").execute_recovery(CONTEXTS["partial_fill"])
    ((name, fields),) = world.directives
    assert name == "re_evaluate"
    assert (fields["filled"], fields["remaining"], fields["average_price"]) == ("4", "6", "101")
    assert [name for name, _args in world.log] == ["query", "cancel", "query", "fills", "directive", "notify"]


@pytest.mark.asyncio
async def test_an_order_that_was_filled_meanwhile_is_not_cancelled() -> None:
    """Terminal is terminal."""
    world = World(status="filled", filled=Decimal(10))
    assert await world.scenario("partial_fill").execute_recovery(CONTEXTS["partial_fill"]) is True
    assert world.did("cancel") == []
    assert world.directives[0][1]["remaining"] == "0"


@pytest.mark.asyncio
async def test_a_database_module_gives_reconnect_alone() -> None:
    """The shared words: NetworkDisconnectionRecovery for any resource of the bot's own."""
    world = World(connected_after=3)
    scenario = world.scenario("network_disconnection", actions=Only(world, "reconnect"))
    assert await scenario.execute_recovery({"component": "database"}) is True
    assert world.did("reconnect") == [("database",)] * 4


@pytest.mark.asyncio
async def test_a_stream_that_does_not_come_back_is_no_recovery() -> None:
    """The venue answers, and says nothing of the account by itself: entries stay held, nobody looks further."""
    world = World(lies={"resubscribe"})
    assert await world.scenario("network_disconnection").execute_recovery({"venue": "v"}) is False
    assert world.held == {"v"}
    assert world.did("open_orders") == []


@pytest.mark.asyncio
async def test_a_peer_that_stays_down_ends_within_its_time() -> None:
    """False, entries held, the reason told."""
    world = World(connected_after=10_000)
    assert await world.scenario("network_disconnection").execute_recovery({"venue": "v"}) is False
    assert world.now <= 300.5
    assert world.held == {"v"}


@pytest.mark.asyncio
async def test_capital_redistribution_carries_what_the_venue_shows() -> None:
    """Exposure per symbol and asset, alternatives from the configuration; what is not shown is named."""
    world = ready("exchange_maintenance")
    wanted = config('[recovery.exchange_maintenance]\nalternatives = ["kraken"]\n')
    assert await world.scenario("exchange_maintenance", wanted).execute_recovery({"venue": "binance"}) is True
    ((name, fields),) = world.directives
    assert name == "redistribute_capital"
    assert fields["exposure"] == {"BTCUSDT": "-0.25", "USDT": "1000.50"}
    assert fields["alternatives"] == ["kraken"]
    assert world.did("disarm_switch")
    dark = ready("exchange_maintenance")
    dark.dead = {"positions"}
    await dark.scenario("exchange_maintenance").execute_recovery({"venue": "binance", "announced": True})
    assert dark.directives[0][1]["unknown"] == ["positions"]


@pytest.mark.asyncio
async def test_a_venue_is_asked_first_unless_its_maintenance_is_known() -> None:
    """Its word is the hold's reason; without an answer nothing is held on a rumour."""
    world, known, silent = (World(statuses=["maintenance", "online"]) for _ in range(3))
    assert await world.scenario("exchange_maintenance").execute_recovery({"venue": "v"})
    assert world.log[:2] == [("venue_status", ("v",)), ("hold", ("v", "maintenance (maintenance)"))]
    assert await known.scenario("exchange_maintenance").execute_recovery({"venue": "v", "announced": True})
    assert known.log[0] == ("hold", ("v", "maintenance (announced)"))
    silent.dead = {"venue_status"}
    assert await silent.scenario("exchange_maintenance").execute_recovery({"venue": "v"}) is False
    assert silent.did("hold") == []


@pytest.mark.asyncio
async def test_what_a_venue_in_maintenance_does_not_show_is_as_it_last_showed_it() -> None:
    """With its age; only what it never showed is unknown."""
    world = ready("exchange_maintenance")
    world.dead = {"positions", "balances"}
    world.remembered = {"positions": ({"BTCUSDT": Decimal("0.75")}, 12.5)}
    assert await world.scenario("exchange_maintenance").execute_recovery({"venue": "v"})
    fields = world.directives[0][1]
    assert fields["exposure"] == {"BTCUSDT": "0.75"}
    assert fields["as_of_s"] == {"positions": 12.5}
    assert fields["unknown"] == ["balances"]


@pytest.mark.asyncio
async def test_after_reopening_cancels_come_first_then_the_barrier_then_a_slow_return() -> None:
    """And only then do entries pass."""
    world = ready("exchange_maintenance")
    assert await world.scenario("exchange_maintenance").execute_recovery({"venue": "v"})
    names = [name for name, _args in world.log]
    order = ["venue_status", "cancel_for_stalled", "open_orders", "barrier", "ramp", "release"]
    assert [names[::-1].index(each) for each in order] == sorted(
        (names[::-1].index(each) for each in order), reverse=True
    )


@pytest.mark.parametrize(("statuses", "over_after_s"), [(["online"], 3600.0), (["maintenance", "online"], 15.0)])
@pytest.mark.asyncio
async def test_a_planned_window_lasts_to_its_end_or_until_the_venue_was_away_and_is_back(
    statuses: list[str], over_after_s: float
) -> None:
    """Online before it began is no end; a window longer than the plan's own time is waited for."""
    world = World(statuses=list(statuses))
    shorter = config("[recovery.exchange_maintenance]\nwithin_s = 600.0\n")
    planned = {"venue": "v", "announced": True, "ends_at": WALL + 3600.0}
    assert await world.scenario("exchange_maintenance", shorter).execute_recovery(planned)
    assert over_after_s <= world.now <= over_after_s + 15.0
    assert not world.held


@pytest.mark.asyncio
async def test_on_a_fallback_the_conservative_mode_stays() -> None:
    """Data flows, so it is recovered; entries wait for the primary."""
    world = World(sources={"backup"})
    scenario = world.scenario("data_feed_interruption")
    assert await scenario.execute_recovery(CONTEXTS["data_feed_interruption"]) is True
    assert world.held == {"spot"}
    assert world.directives == [
        ("conservative", {"feed": "spot", "source": "backup", "why": "the primary is interrupted"})
    ]
    world.sources.add("spot")
    back = CONTEXTS["data_feed_interruption"] | {"primary_back": True}
    assert await scenario.execute_recovery(back) is True
    assert world.held == set()


@pytest.mark.asyncio
async def test_it_waits_for_the_primary_as_long_as_configured() -> None:
    """And goes back to it."""
    world = World(sources={"backup"})
    wanted = config("[recovery.data_feed_interruption]\nreturn_within_s = 60\npoll_s = 5\n")

    async def sleep(seconds: float) -> None:
        world.now += seconds
        if world.now > 20:
            world.sources.add("spot")

    world.sleep = sleep  # type: ignore[method-assign]
    assert await world.scenario("data_feed_interruption", wanted).execute_recovery(
        {"feed": "spot", "sources": ["backup"]}
    )
    assert world.held == set()
    assert world.now <= 30


@pytest.mark.asyncio
async def test_a_primary_that_does_not_come_back_in_time_leaves_it_conservative() -> None:
    """It was looked for until then; the fallback's data are the recovery, and entries stay held."""
    world = World(sources={"backup"})
    wanted = config("[recovery.data_feed_interruption]\nreturn_within_s = 60\npoll_s = 5\n")
    assert await world.scenario("data_feed_interruption", wanted).execute_recovery(CONTEXTS["data_feed_interruption"])
    assert world.held == {"spot"}
    assert world.did("switch_feed").count(("spot", "spot")) == 1 + 12
    assert world.now <= 60


@pytest.mark.asyncio
async def test_no_source_at_all_is_no_recovery() -> None:
    """Every one was tried, in order."""
    world = World()
    assert (
        await world.scenario("data_feed_interruption").execute_recovery({"feed": "f", "sources": ["a", "b"]}) is False
    )
    assert [source for _feed, source in world.did("switch_feed")] == ["f", "a", "b"]
    assert world.held == {"f"}


@pytest.mark.asyncio
async def test_a_suggestion_recovers_nothing() -> None:
    """By default the bot decides: exact values, and False."""
    world = World()
    assert await world.scenario("order_rejection").execute_recovery(CONTEXTS["order_rejection"]) is False
    ((name, fields),) = world.directives
    assert name == "adjust_parameters"
    assert fields["suggested"] == {"price": "100.12", "quantity": "1.234"}
    assert world.placed == []


@pytest.mark.asyncio
async def test_a_rejection_repeated_too_often_stops_the_bot() -> None:
    """Ten identical ones."""
    world = World()
    context = CONTEXTS["order_rejection"] | {"repeats": 10}
    assert await world.scenario("order_rejection", RESUBMIT).execute_recovery(context) is False
    assert world.directives[0][0] == "stop_order"
    assert world.placed == []


@pytest.mark.parametrize(
    ("reason", "order", "needs"),
    [
        ("MIN_NOTIONAL", {"quantity": Decimal("0.05")}, {"quantity": "0.100"}),
        ("insufficient balance", {}, None),
        ("who knows", {}, None),
    ],
)
@pytest.mark.asyncio
async def test_what_would_need_more_is_named_and_not_placed(
    reason: str, order: dict[str, Any], needs: dict[str, str] | None
) -> None:
    """A minimum above the quantity, missing funds, a reason nobody knows."""
    world = World()
    context = CONTEXTS["order_rejection"] | {"reason": reason, "order": ORDER | order}
    assert await world.scenario("order_rejection", RESUBMIT).execute_recovery(context) is False
    assert world.placed == []
    if needs is not None:
        assert world.directives[0][1]["needs"] == needs


@pytest.mark.asyncio
async def test_a_clock_that_was_off_is_measured_again_first() -> None:
    """Then the same order may be placed; without a measurement it may not."""
    context = CONTEXTS["order_rejection"] | {"reason": "-1021 Timestamp for this request is outside of the recvWindow"}
    world, off = World(), World(lies={"resync_clock"})
    assert await world.scenario("order_rejection", RESUBMIT).execute_recovery(context) is True
    assert await off.scenario("order_rejection", RESUBMIT).execute_recovery(context) is False
    assert off.placed == []


@pytest.mark.asyncio
async def test_nothing_is_asked_before_the_venues_instant() -> None:
    """By seconds or by date; one beyond the plan's time is not waited for."""
    world = World(limited_until=5.0)
    assert await world.scenario("api_rate_limit").execute_recovery({"retry_after_s": 5}) is True
    assert world.now >= 5.0
    until = datetime.fromtimestamp(WALL, UTC) + timedelta(seconds=7)
    dated = World(limited_until=6.9)
    assert await dated.scenario("api_rate_limit").execute_recovery({"until": until}) is True
    far = World()
    assert await far.scenario("api_rate_limit").execute_recovery({"retry_after_s": 7200}) is False
    assert far.did("probe") == []


# ---------------------------------------------------------------- resuming, cancelling


@pytest.mark.parametrize("name", sorted(SCENARIOS))
@pytest.mark.asyncio
async def test_a_run_that_is_cut_off_after_any_step_goes_on(name: str) -> None:
    """The journal after each step is enough: the rest is done, what was done is not done again, the end is the same."""
    kept: list[dict[str, Any]] = []

    async def keep(run: Run) -> None:
        kept.append(json.loads(json.dumps(run.snapshot(), default=str)))

    whole = ready(name)
    assert await whole.scenario(name, settings(name), keep=keep).execute_recovery(CONTEXTS[name])
    for snapshot in [each for each in kept if each["state"] == "running"]:
        world = ready(name)
        scenario = world.scenario(name, settings(name))
        if name == "partial_fill" and "cancel_remainder" in snapshot["done"]:
            world.status = "cancelled"
        if "wait_for_the_instant" in snapshot["done"]:
            world.now = world.limited_until
        run = scenario.begin(CONTEXTS[name], snapshot)
        if snapshot["facts"].get("order_id") == "":  # kept before it was placed: whether it left is not known
            assert await scenario.carry(run) is False
            assert world.placed == []
            continue
        assert await scenario.carry(run) is True, snapshot
        assert run.state is RunState.RECOVERED
        if "resubmit" in snapshot["done"] or snapshot["facts"].get("order_id") == "new":
            assert world.placed == []
        if "hold_orders" in snapshot["done"]:
            assert not world.did("disarm_switch")


@pytest.mark.asyncio
async def test_a_placing_that_was_cut_off_is_not_repeated() -> None:
    """Whether it left is not known, so it is not placed again."""
    world = World()
    scenario = world.scenario("order_rejection", RESUBMIT)
    snapshot = {
        "done": ["analyse", "suggest"],
        "facts": {"remedy": "round", "suggested": {"price": "1"}, "order_id": ""},
    }
    assert await scenario.carry(scenario.begin(CONTEXTS["order_rejection"], snapshot)) is False
    assert world.placed == []


@pytest.mark.asyncio
async def test_an_operator_ends_a_plan_between_its_steps() -> None:
    """With a name; entries stay as they are."""
    world = World(connected_after=10_000)
    scenario = world.scenario("network_disconnection")
    run = scenario.begin({"venue": "v"})

    async def sleep(seconds: float) -> None:
        world.now += seconds
        run.cancel("uid 0")

    world.sleep = sleep  # type: ignore[method-assign]
    scenario.sleep = sleep
    assert await scenario.carry(run) is False
    assert run.state in (RunState.CANCELLED, RunState.NOT_RECOVERED)
    done = scenario.begin({"venue": "v"})
    done.cancel("uid 0")
    assert await scenario.carry(done) is False
    assert done.state is RunState.CANCELLED


@pytest.mark.parametrize(
    "wrong",
    [
        "[recovery.partial_fill]\nenabled = true\n",
        '[recovery.partial_fill]\nclasses = ["protective"]\n',
        "[recovery.api_rate_limit]\nwithin_s = 0\n",
        '[recovery.order_rejection]\nprice_worse_max = "2"\n',
        '[recovery.order_rejection]\nprice_worse_max = "much"\n',
        "[recovery.network_disconnection]\nretry_s = -1\n",
        "[recovery.nonsense]\n",
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: str) -> None:
    """An automatic cancel of every partial fill, above all."""
    with pytest.raises(ValidationError):
        config(wrong)
