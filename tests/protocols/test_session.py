"""jackstay_protocols.session: leases, beats, and who may speak for a bot. Times are handed in; nothing waits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_protocols.errors import Reason, ValidationError
from jackstay_protocols.limits import BEAT_WITHIN_S_DEFAULT, BEAT_WITHIN_S_MAX, BEAT_WITHIN_S_MIN, BOT_ID_BYTES_MAX
from jackstay_protocols.messages import Goodbye, Hello
from jackstay_protocols.session import (
    BeatPlan,
    BotSession,
    HelloVerdict,
    Liveness,
    SilenceLease,
    check_goodbye,
    check_hello,
    clamp_beat_s,
    decide_hello,
    excuse,
)


def hello(**more: Any) -> Hello:
    return Hello(
        **({"bot_id": "grid", "kind": "primary", "pid": 10, "client_version": "0", "wire_min": 1, "wire_max": 1} | more)
    )


def session(**more: Any) -> BotSession:
    return BotSession(
        **({"bot_id": "grid", "pid": 10, "kind": "primary", "token": "t1", "lease": SilenceLease(3.0, 100.0)} | more)
    )


# ---------------------------------------------------------------- leases


@pytest.mark.parametrize("nonsense", [0.0, -1.0, math.nan])
def test_no_lease_means_the_default(nonsense: float) -> None:
    """0, negative and NaN are no lease at all."""
    assert clamp_beat_s(nonsense) == BEAT_WITHIN_S_DEFAULT
    assert clamp_beat_s(nonsense, 7.0) == 7.0


def test_leases_stay_within_the_bounds_of_the_wire() -> None:
    """Too short and too long leases end at the bound."""
    assert clamp_beat_s(1e-6) == BEAT_WITHIN_S_MIN
    assert clamp_beat_s(math.inf) == BEAT_WITHIN_S_MAX


@pytest.mark.parametrize(
    ("silent_s", "state"),
    [
        (0.0, Liveness.FRESH),
        (3.0, Liveness.FRESH),
        (3.001, Liveness.LATE),
        (6.0, Liveness.LATE),
        (6.001, Liveness.STALLED),
    ],
)
def test_silence_passes_from_fresh_over_late_to_stalled(silent_s: float, state: Liveness) -> None:
    """Late when the lease is over, stalled after twice the lease."""
    assert SilenceLease(3.0, 100.0).state(100.0 + silent_s) is state


def test_the_operators_limit_replaces_twice_the_lease_but_never_undercuts_it() -> None:
    """--silence counts; a limit below the lease cannot stall a fresh bot."""
    lease = SilenceLease(3.0, 0.0)
    assert lease.state(10.0, stalled_after_s=20.0) is Liveness.LATE
    assert lease.state(2.0, stalled_after_s=1.0) is Liveness.FRESH
    assert lease.state(3.5, stalled_after_s=1.0) is Liveness.STALLED


def test_any_message_renews_and_may_announce_another_length() -> None:
    """A beat without a length keeps the lease's, one with a length changes it for good."""
    lease = SilenceLease(3.0, 0.0)
    lease.heard(5.0)
    assert (lease.heard_at, lease.within_s) == (5.0, 3.0)
    lease.heard(6.0, 60.0)
    assert lease.state(65.0) is Liveness.FRESH
    lease.heard(70.0)
    assert lease.within_s == 60.0


def test_what_was_heard_since_is_not_moved_into_the_future() -> None:
    """A word that was read before the pause was noticed counts from when it was read; a goodbye too."""
    session = BotSession("b", 1, "primary", "", SilenceLease(3.0, 159.9), said_goodbye_at=159.9)
    excuse(session, 60.0, 160.0)
    assert session.lease.heard_at == pytest.approx(160.0)
    assert session.said_goodbye_at == 160.0
    session.lease.heard_at = 101.0
    excuse(session, 50.0, 160.0)
    assert session.lease.heard_at == 151.0


def test_time_the_agent_did_not_run_is_excused() -> None:
    """A frozen agent does not find its bot late; a negative excuse changes nothing."""
    lease = SilenceLease(3.0, 0.0)
    lease.excuse(10.0)
    assert lease.state(12.0) is Liveness.FRESH
    lease.excuse(-100.0)
    assert lease.state(12.0) is Liveness.FRESH


def test_silence_is_never_negative() -> None:
    """A message stamped after now is no negative silence."""
    assert SilenceLease(3.0, 100.0).silent_s(99.0) == 0.0


@given(st.floats(0.1, 3600), st.floats(0, 1e6), st.floats(0, 1e4))
def test_the_next_change_is_where_the_state_changes(within_s: float, heard_at: float, silent_s: float) -> None:
    """Up to the named instant the state stays, and without an instant it stays for ever."""
    lease = SilenceLease(within_s, heard_at)
    now = heard_at + silent_s
    at = lease.next_change_at(now=now)
    if at is None:
        assert lease.state(now + 1e7) is lease.state(now) is Liveness.STALLED
    else:
        assert at >= now
        assert lease.state(at) is lease.state(now)
        assert lease.state(at + within_s * 1e-6 + 1e-3) is not lease.state(now)


# ---------------------------------------------------------------- beats


def test_a_beat_is_due_after_a_third_of_the_lease() -> None:
    """Two tries are left when the first beat is lost."""
    plan = BeatPlan(3.0, 100.0)
    assert plan.due_at() == 101.0
    plan.spoke(100.5)
    assert plan.due_at() == 101.5


@pytest.mark.parametrize(
    ("within_s", "ds"), [(3.0, 30), (0.1, 1), (0.01, 1), (0.11, 2), (3600.0, 36000), (9999.0, 0xFFFF)]
)
def test_the_header_carries_the_lease_rounded_up(within_s: float, ds: int) -> None:
    """Deciseconds, never shorter than meant, never zero, never past the field."""
    assert BeatPlan(within_s, 0.0).announce_ds() == ds


@given(st.floats(BEAT_WITHIN_S_MIN, BEAT_WITHIN_S_MAX))
def test_the_announced_lease_is_never_shorter_than_planned(within_s: float) -> None:
    """A bot that keeps its plan is never late by rounding."""
    assert BeatPlan(within_s, 0.0).announce_ds() / 10 >= within_s - 1e-9


# ---------------------------------------------------------------- hello


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bot_id", ""),
        ("bot_id", "x" * (BOT_ID_BYTES_MAX + 1)),
        ("bot_id", "a/b"),
        ("bot_id", "a\nb"),
        ("bot_id", "ü" * 33),
        ("kind", "king"),
        ("pid", 0),
        ("pid", -5),
    ],
)
def test_a_wrong_hello_is_told_what_is_wrong(field: str, value: object) -> None:
    """Each field's mistake is named."""
    problem = check_hello(hello(**{field: value}))
    assert problem
    assert field.replace("_", " ") in problem or "kind" in problem


@pytest.mark.parametrize("kind", ["primary", "reader", "operator"])
def test_a_right_hello_has_no_problem(kind: str) -> None:
    """All session kinds and the longest bot id pass."""
    assert check_hello(hello(kind=kind, bot_id="x" * BOT_ID_BYTES_MAX)) is None


def test_the_first_primary_opens() -> None:
    """Nobody there: a new session."""
    assert decide_hello(hello(), None, 0.0).verdict is HelloVerdict.OPEN


@pytest.mark.parametrize("kind", ["reader", "operator"])
def test_readers_and_operators_never_compete(kind: str) -> None:
    """Any number of them beside a living primary."""
    assert decide_hello(hello(kind=kind, pid=99), session(), 100.0).verdict is HelloVerdict.OPEN


def test_another_socket_of_the_same_process_joins() -> None:
    """Threads of one bot share its session, even past the lease."""
    assert decide_hello(hello(), session(), 500.0).verdict is HelloVerdict.JOIN


def test_a_second_process_is_refused_while_the_first_lives() -> None:
    """A typed refusal that says how long the lease still runs."""
    decision = decide_hello(hello(pid=11), session(), 101.0)
    assert decision.verdict is HelloVerdict.REFUSE
    assert decision.reason is Reason.SESSION_TAKEN
    assert decision.retry_after_s == pytest.approx(2.0)
    assert "10" in decision.message


@pytest.mark.parametrize(
    ("current", "now", "gone", "resume"),
    [
        (session(goodbye=Goodbye()), 100.0, False, ""),
        (session(), 100.0, True, ""),
        (session(), 103.001, False, ""),
        (session(), 100.0, False, "t1"),
    ],
    ids=["said goodbye", "process gone", "lease over", "shows the token"],
)
def test_a_newer_process_takes_over(current: BotSession, now: float, gone: bool, resume: str) -> None:
    """After a goodbye, a death, a lease's end, or with the resume token."""
    decision = decide_hello(hello(pid=11, resume=resume), current, now, current_process_gone=gone)
    assert decision.verdict is HelloVerdict.RESUME


def test_a_wrong_or_empty_token_does_not_take_over() -> None:
    """An empty resume never equals an empty token."""
    assert decide_hello(hello(pid=11, resume="t2"), session(), 100.0).verdict is HelloVerdict.REFUSE
    assert decide_hello(hello(pid=11), session(token=""), 100.0).verdict is HelloVerdict.REFUSE


def test_the_same_pid_after_its_end_is_another_life() -> None:
    """After a goodbye, or a death with a reused pid, the session is resumed, not joined."""
    assert decide_hello(hello(), session(goodbye=Goodbye()), 100.0).verdict is HelloVerdict.RESUME
    assert decide_hello(hello(), session(), 100.0, current_process_gone=True).verdict is HelloVerdict.RESUME


def test_a_session_that_said_goodbye_is_gone() -> None:
    """Its lease no longer matters."""
    assert session().liveness(100.0) is Liveness.FRESH
    assert session(goodbye=Goodbye()).liveness(100.0) is Liveness.GONE


# ---------------------------------------------------------------- goodbye


@pytest.mark.parametrize("goodbye", [Goodbye(), Goodbye("deploy", "cancel", 24 * 3600)])
def test_a_right_goodbye_passes(goodbye: Goodbye) -> None:
    """Both words about orders, and up to a day."""
    check_goodbye(goodbye)


@pytest.mark.parametrize(
    "wrong",
    [{"orders": "sell"}, {"back_within_s": -1.0}, {"back_within_s": 24 * 3600 + 1.0}, {"back_within_s": math.nan}],
)
def test_a_wrong_goodbye_names_the_field(wrong: dict[str, Any]) -> None:
    """Unknown words and impossible times are refused."""
    with pytest.raises(ValidationError, match=next(iter(wrong))) as caught:
        check_goodbye(Goodbye(**wrong))
    assert caught.value.reason == Reason.BAD_REQUEST


def test_sessions_do_not_share_their_peers() -> None:
    """A mutable default would join strangers."""
    one, two = session(), replace(session())
    one.peers.add(b"x")
    assert session().peers == set()
    assert two.bot_id == one.bot_id
