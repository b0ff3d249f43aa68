"""A bot's state from its lease, its process and an operator's word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.liveness import BotState, Process, Vital, WatchSettings, judge, next_look_at
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.messages import Goodbye
from jackstay_protocols.session import SilenceLease

USUAL = WatchSettings()


def vital(within_s: float = 3.0, **more: object) -> Vital:
    return Vital(SilenceLease(within_s, 0.0), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "settings", "state"),
    [
        (3.0, USUAL, BotState.WELL),
        (3.01, USUAL, BotState.LATE),
        (6.0, USUAL, BotState.LATE),
        (6.01, USUAL, BotState.STALLED),
        (6.01, WatchSettings(silence_s=10), BotState.LATE),
        (10.01, WatchSettings(silence_s=10), BotState.STALLED),
        (2.0, WatchSettings(silence_s=1), BotState.WELL),
        (3.01, WatchSettings(silence_s=1), BotState.STALLED),
    ],
)
def test_silence_is_measured_by_the_lease_and_the_armed_length(
    now: float, settings: WatchSettings, state: BotState
) -> None:
    """Late after the lease, stalled after twice of it or after the operator's word, never inside the lease."""
    assert judge(vital(), now, settings).state is state


@pytest.mark.parametrize("process", [Process.STOPPED, Process.TRACED])
def test_a_stopped_process_shortens_no_lease_and_is_named(process: Process) -> None:
    """Facts of the process say why; how long a silence may be is the lease's word."""
    bot = vital(process=process)
    assert judge(bot, 2.9, USUAL).state is BotState.WELL
    found = judge(bot, 7.0, USUAL)
    assert found.state is BotState.STALLED
    assert ("debugger" if process is Process.TRACED else "stopped") in found.why


@pytest.mark.parametrize("process", [Process.GONE, Process.ZOMBIE, Process.REUSED])
def test_an_ended_process_has_a_grace_to_come_back_and_is_dead_after_it(process: Process) -> None:
    """Late, however short its lease is, until the restart grace is over."""
    bot = vital(0.2, process=process, ended_at=100.0)
    assert judge(bot, 130.0, USUAL).state is BotState.LATE
    assert judge(bot, 130.1, USUAL).state is BotState.DEAD
    assert judge(vital(process=process), 999.0, USUAL).state is BotState.LATE  # when it ended is not known yet


def test_a_goodbye_is_no_death_until_it_is_overdue() -> None:
    """A deploy is not a death, unless the bot does not come back when it said."""
    assert judge(vital(goodbye=Goodbye("deploy"), goodbye_at=1.0), 1e6, USUAL).state is BotState.LEFT
    bot = vital(goodbye=Goodbye("deploy", "keep", 60.0), goodbye_at=1.0, process=Process.GONE, ended_at=1.0)
    assert judge(bot, 61.0, USUAL).state is BotState.LEFT
    assert judge(bot, 61.1, USUAL).state is BotState.DEAD


def test_a_hold_covers_everything_until_it_ends() -> None:
    """Under a hold nothing else is looked at; afterwards all of it is again."""
    bot = vital(hold_until=50.0, process=Process.GONE, ended_at=0.0)
    assert judge(bot, 49.9, USUAL).state is BotState.HELD
    assert judge(bot, 50.0, USUAL).state is BotState.DEAD


def test_a_restart_that_is_expected_is_no_death() -> None:
    """Silence and an ended process are as good as a goodbye until the time is over; a life sign is what it is."""
    bot = vital(expected_until=300.0)
    assert judge(bot, 2.0, USUAL).state is BotState.WELL
    assert judge(bot, 200.0, USUAL).state is BotState.LEFT
    assert judge(bot, 300.0, USUAL).state is BotState.STALLED
    gone = vital(expected_until=300.0, process=Process.GONE, ended_at=10.0)
    assert judge(gone, 299.0, USUAL).state is BotState.LEFT
    assert judge(gone, 301.0, USUAL).state is BotState.DEAD


def test_progress_counts_only_where_it_is_enforced_and_was_ever_reported() -> None:
    """Beating without progress is a stall for those who configured it."""
    strict = WatchSettings(progress_max_s=60)
    bot = vital(1000.0, progress_at=0.0)
    assert judge(bot, 61.0, USUAL).state is BotState.WELL
    assert judge(bot, 60.0, strict).state is BotState.WELL
    assert judge(bot, 61.0, strict).state is BotState.STALLED
    assert judge(vital(1000.0), 999.0, strict).state is BotState.WELL
    bot.excuse(30.0)
    assert judge(bot, 61.0, strict).state is BotState.WELL


def test_the_next_look_is_when_a_word_or_a_grace_runs_out() -> None:
    """A hold hides everything else; then the promised return, the restart grace or the expected restart."""
    assert next_look_at(vital(hold_until=50.0, expected_until=20.0), 1.0, USUAL) == 50.0
    assert next_look_at(vital(expected_until=2.0), 1.0, USUAL) == 2.0
    assert next_look_at(vital(goodbye=Goodbye("deploy", "keep", 60.0), goodbye_at=1.0), 2.0, USUAL) == 61.0
    assert next_look_at(vital(goodbye=Goodbye("done")), 2.0, USUAL) is None
    assert next_look_at(vital(process=Process.GONE, ended_at=10.0), 12.0, USUAL) == 40.0
    assert next_look_at(vital(process=Process.GONE), 12.0, USUAL) == 42.0


def test_the_next_look_is_when_progress_would_be_overdue() -> None:
    """A bot inside a long lease is looked at again when its progress runs out, where that is enforced."""
    bot = vital(1000.0, progress_at=10.0)
    assert next_look_at(bot, 20.0, WatchSettings(progress_max_s=60)) == 70.0
    assert next_look_at(bot, 20.0, USUAL) == 1000.0


def test_time_in_which_the_agent_did_not_run_is_excused() -> None:
    """Both frozen for an hour and thawed: nobody is late."""
    bot = vital()
    bot.excuse(3600.0)
    assert judge(bot, 3602.0, USUAL).state is BotState.WELL


@pytest.mark.parametrize(
    "wrong", [{"silence_s": 0.0}, {"silence_s": float("nan")}, {"restart_grace_s": -1.0}, {"progress_max_s": 1e9}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    """A NaN, a negative time or a month-long silence is an error of the configuration."""
    with pytest.raises(ValidationError, match="WatchSettings"):
        WatchSettings(**wrong)


@given(
    within_s=st.floats(0.1, 600),
    now=st.floats(0, 10_000),
    process=st.sampled_from(Process),
    ended_at=st.none() | st.floats(0, 5_000),
    goodbye=st.sampled_from([None, Goodbye(), Goodbye("", "keep", 30.0), Goodbye("", "cancel", 0.0)]),
    progress_at=st.none() | st.floats(0, 5_000),
    hold_until=st.none() | st.floats(0, 10_000),
    expected_until=st.none() | st.floats(0, 10_000),
    silence_s=st.none() | st.floats(0.1, 1_000),
    progress_max_s=st.sampled_from([0.0, 20.0]),
    share=st.floats(0.01, 0.99),
)
def test_nothing_changes_before_the_next_look(
    within_s: float,
    now: float,
    process: Process,
    ended_at: float | None,
    goodbye: Goodbye | None,
    progress_at: float | None,
    hold_until: float | None,
    expected_until: float | None,
    silence_s: float | None,
    progress_max_s: float,
    share: float,
) -> None:
    """Between now and `next_look_at` the state stays what it is, so nobody has to poll."""
    settings = WatchSettings(silence_s=silence_s, progress_max_s=progress_max_s)
    bot = Vital(SilenceLease(within_s, 0.0), process, ended_at, goodbye, 0.0, progress_at, hold_until, expected_until)
    before = judge(bot, now, settings).state
    at = next_look_at(bot, now, settings)
    if at is None:
        if process not in (Process.GONE, Process.ZOMBIE, Process.REUSED) or goodbye is not None or ended_at is not None:
            assert judge(bot, now + 1e6, settings).state is before
    else:
        assert at >= now
        between = now + (at - now) * share
        if between < at:
            assert judge(bot, between, settings).state is before
