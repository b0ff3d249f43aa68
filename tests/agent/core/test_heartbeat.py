"""jackstay_agent.core.heartbeat, redial, feed_state and dialect: the pure decisions of a market data socket."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.dialect import DIALECTS, Dialect, check_topic
from jackstay_agent.core.feed_state import MOVES, FeedMove, FeedState, move
from jackstay_agent.core.heartbeat import NEVER, Cadence, Due, FirstMessages, HeartbeatRules, SocketClocks
from jackstay_agent.core.moves import IllegalMove
from jackstay_agent.core.redial import DialBudget, Pace, Redial, RedialRules
from jackstay_protocols.errors import ValidationError

# ---------------------------------------------------------------- clocks


def test_pongs_do_not_feed_the_data_clock() -> None:
    """Transport traffic alone leaves the socket silent; an application message renews it."""
    clocks = SocketClocks(HeartbeatRules(silence_s=10), 100.0)
    clocks.expect(100.0, True)
    clocks.heard_transport(109.0)
    assert clocks.due(109.9) is Due.NOTHING
    assert clocks.due(110.0) is Due.SILENT
    clocks.heard_data(110.0)
    assert clocks.due(119.9) is Due.NOTHING
    assert clocks.next_at() == 120.0


def test_silence_counts_from_the_first_subscription_and_not_without_one() -> None:
    """A socket on which nothing was asked is never silent; the wait begins with the asking."""
    clocks = SocketClocks(HeartbeatRules(silence_s=10), 100.0)
    assert clocks.next_at() == NEVER
    clocks.expect(150.0, True)
    assert clocks.due(159.0) is Due.NOTHING
    assert clocks.due(160.0) is Due.SILENT
    clocks.expect(160.0, False)
    assert clocks.due(500.0) is Due.NOTHING


def test_time_in_which_we_did_not_run_is_excused() -> None:
    """A freeze of our own process moves the deadline by its length."""
    clocks = SocketClocks(HeartbeatRules(silence_s=10), 0.0)
    clocks.expect(0.0, True)
    clocks.excuse(60.0)
    assert clocks.due(65.0) is Due.NOTHING
    assert clocks.due(70.0) is Due.SILENT


def test_heartbeats_and_age_are_told_once_each() -> None:
    """The heartbeat comes in its rhythm, the age once."""
    clocks = SocketClocks(HeartbeatRules(heartbeat_interval_s=5, lifetime_s=12), 0.0)
    assert [clocks.due(t) for t in (4.0, 5.0, 5.1, 10.0, 12.0, 12.1)] == [
        Due.NOTHING,
        Due.HEARTBEAT,
        Due.NOTHING,
        Due.HEARTBEAT,
        Due.OLD,
        Due.NOTHING,
    ]
    assert clocks.next_at() == 15.0


def test_a_quiet_topic_waits_twice_as_long_each_time() -> None:
    """Each miss doubles the wait up to sixteenfold; a message starts over."""
    first = FirstMessages(1.0)
    now, waits = 0.0, []
    for _ in range(7):
        first.expect(["a"], now)
        waits.append(first.next_at() - now)
        now = first.next_at()
        assert first.overdue(now - 0.01) == []
        assert first.overdue(now) == ["a"]
        assert first.overdue(now) == []
    assert waits == [1, 2, 4, 8, 16, 16, 16]
    first.heard("a")
    first.expect(["a"], now)
    assert first.next_at() == now + 1
    first.forget("a")
    assert first.next_at() == NEVER
    off = FirstMessages(0)
    off.expect(["a"], 0)
    assert off.next_at() == NEVER


# ---------------------------------------------------------------- redial


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0, 0.999)), max_size=60),
    st.floats(0.01, 1),
    st.floats(1, 60),
)
def test_waits_are_jittered_capped_and_immediate_only_once(
    steps: list[tuple[bool, float, float]], min_s: float, max_s: float
) -> None:
    """Every wait lies below the growing ceiling; none only after a healthy connection, or for the first loss."""
    redial = Redial(RedialRules(min_s=min_s, max_s=max_s, healthy_s=10))
    failures = 0
    for was_up, up_s, chance in steps:
        wait = redial.lost(up_s, chance) if was_up else redial.failed(chance)
        if was_up and up_s >= 10:
            failures = 0
            assert wait == 0
            continue
        failures += 1
        if was_up and failures == 1:
            assert wait == 0
            continue
        ceiling = min(max_s, min_s * 2 ** (failures - 1))
        assert wait == pytest.approx(ceiling * chance)
        assert wait <= max_s


def test_retry_after_wins_and_keeps_positive_jitter() -> None:
    """The server's own wait is the floor, also after a healthy connection."""
    redial = Redial(RedialRules(min_s=1, max_s=30))
    assert redial.failed(0.5, retry_after_s=7) == 7.5
    assert redial.lost(100, 0.5, retry_after_s=7) == 7.5


def test_the_dial_budget_is_a_sliding_window() -> None:
    """At most so many dials in any window; the wait is exact."""
    budget = DialBudget(2, 10)
    for now in (0.0, 3.0):
        assert budget.wait_s(now) == 0
        budget.take(now)
    assert budget.wait_s(4.0) == 6.0
    assert budget.wait_s(10.0) == 0
    unlimited = DialBudget(0, 10)
    unlimited.take(0)
    assert unlimited.wait_s(0) == 0


def test_budgets_are_compared_by_their_rate() -> None:
    """Attempts a second in the long run; no limit is 0."""
    assert DialBudget(300, 300.0).per_s() == 1.0
    assert DialBudget(0, 300.0).per_s() == 0.0


def test_the_pace_spaces_messages() -> None:
    """So many a second, evenly; an idle time earns no burst."""
    pace = Pace(4)
    waits = []
    for now in (0.0, 0.0, 0.1, 10.0, 10.0):
        waits.append(round(pace.wait_s(now), 6))
        pace.take(now + waits[-1])
    assert waits == [0, 0.25, 0.4, 0, 0.25]
    assert Pace(0).wait_s(0) == 0


# ---------------------------------------------------------------- state table


@pytest.mark.parametrize("state", list(FeedState))
@pytest.mark.parametrize("by", list(FeedMove))
def test_every_move_is_legal_by_the_table_or_refused_by_name(state: FeedState, by: FeedMove) -> None:
    """Legal moves lead where the table says; illegal ones name subject, state and move."""
    if by in MOVES[state]:
        assert move("sim#1", state, by) is MOVES[state][by]
    else:
        with pytest.raises(IllegalMove, match=f"sim#1 is {state} and cannot take {by}"):
            move("sim#1", state, by)


def test_every_state_is_reachable_and_only_closed_is_final() -> None:
    """From IDLE every state can be reached, and each but CLOSED can be left."""
    seen, todo = {FeedState.IDLE}, [FeedState.IDLE]
    while todo:
        for target in MOVES[todo.pop()].values():
            if target not in seen:
                seen.add(target)
                todo.append(target)
    assert seen == set(FeedState)
    assert [state for state in FeedState if not MOVES[state]] == [FeedState.CLOSED]


# ---------------------------------------------------------------- dialects


@pytest.mark.parametrize(
    ("dialect", "payload", "topic"),
    [
        ("binance", b'{"stream":"btcusdt@trade","data":{"e":"trade"}}', b"btcusdt@trade"),
        ("binance", b'{"data":{"e":"trade"},"stream":"btcusdt@trade"}', b"btcusdt@trade"),
        ("binance", b'{"result":null,"id":1}', None),
        ("binance", b'{"stream":"' + b"x" * 2000, None),
        ("bybit", b'{"topic":"publicTrade.BTCUSDT","type":"snapshot"}', b"publicTrade.BTCUSDT"),
        ("bybit", b'{"type":"delta","topic":"orderbook.1.X","data":{}}', b"orderbook.1.X"),
        ("bybit", b'{"success":true,"ret_msg":"","op":"subscribe"}', None),
        ("okx", b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[]}', b"trades:BTC-USDT"),
        ("okx", b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}', None),
        ("kraken", b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD"}]}', b"trade:BTC/USD"),
        ("kraken", b'{"method":"subscribe","result":{"channel":"trade","symbol":"BTC/USD"}}', None),
        ("kraken", b'{"channel":"heartbeat"}', None),
        ("raw", b"anything", None),
    ],
)
def test_topics_are_found_without_parsing(dialect: str, payload: bytes, topic: bytes | None) -> None:
    """Each venue's wrapper names its topic; acknowledgements and heartbeats name none."""
    assert DIALECTS[dialect].topic_of(payload) == topic


def test_asks_are_grouped_and_numbered() -> None:
    """As many topics per message as the dialect takes, each message with its own id."""
    dialect = Dialect("t", subscribe='{"s":[$items],"id":$id}', items_max=2)
    assert dialect.asks(["a", "b", "c"], [7, 8]) == [(7, '{"s":["a","b"],"id":7}'), (8, '{"s":["c"],"id":8}')]
    assert dialect.asks(["a"], [9], leave=True) == []
    assert DIALECTS["kraken"].asks(["trade:BTC/USD"], [1])[0][1] == (
        '{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]},"req_id":1}'
    )


@pytest.mark.parametrize("topic", ["", 'a"b', "a\\b", "a b", "é", "x" * 257, "a\n"])
def test_topics_that_could_break_a_template_are_refused(topic: str) -> None:
    """Quotes, backslashes, spaces, control and non-ASCII characters never reach a venue."""
    with pytest.raises(ValidationError, match="printable"):
        check_topic(topic)


# ---------------------------------------------------------------- learned cadence


def test_the_limit_is_a_multiple_of_the_longest_gap() -> None:
    """Learned only after enough messages, never below the floor, and forgotten with the topics."""
    cadence = Cadence(factor=10, min_s=5)
    for number in range(19):
        cadence.heard(float(number), 1.0)
    assert cadence.limit_s() == NEVER
    cadence.heard(20.0, 1.5)
    assert cadence.limit_s() == 15
    assert Cadence(factor=0, min_s=5, seen=100).limit_s() == NEVER
    quick = Cadence(factor=10, min_s=5, seen=100)
    quick.heard(0.0, 0.01)
    assert quick.limit_s() == 5
    cadence.forget()
    assert cadence.limit_s() == NEVER


def test_an_old_gap_is_forgotten_after_two_windows() -> None:
    """One long pause raises the limit for a while, not for ever."""
    cadence = Cadence(factor=10, min_s=1, seen=100)
    cadence.heard(0.0, 60.0)
    cadence.heard(301.0, 0.5)
    assert cadence.limit_s() == 600
    cadence.heard(602.0, 0.5)
    assert cadence.limit_s() == 5


def test_each_silence_without_a_message_doubles_the_limit() -> None:
    """A closed market is not redialled for ever; the first message ends the growth."""
    cadence = Cadence(factor=10, min_s=10, seen=100)
    limits = []
    for _ in range(8):
        limits.append(cadence.limit_s())
        cadence.missed()
    assert limits == [10, 20, 40, 80, 160, 320, 640, 640]
    cadence.heard(0.0, 0.1)
    assert cadence.limit_s() == 10


@given(st.integers(0, 10_000))
def test_a_symbol_that_trades_once_a_minute_raises_no_alarm(seed: int) -> None:
    """Poisson trades at one a minute for four hours: the learned limit is never reached."""
    chance = random.Random(seed)
    clocks = SocketClocks(HeartbeatRules(), 0.0, cadence=Cadence(factor=10, min_s=10))
    clocks.expect(0.0, True)
    now = 0.0
    while now < 4 * 3600:
        now += chance.expovariate(1 / 60)
        assert now < clocks.silent_at()
        clocks.heard_data(now)


def test_a_silence_nobody_broke_doubles_the_learned_limit() -> None:
    """A closed market is not redialled for ever: each unanswered silence waits longer."""
    rules = HeartbeatRules(cadence_factor=10, cadence_min_s=1, lifetime_s=1000)
    clocks = SocketClocks(rules, 0.0, cadence=Cadence(10, 1))
    clocks.expect(0.0, True)
    for second in range(1, 200):
        clocks.heard_data(float(second))
    first = clocks.silent_at() - 199.0
    assert clocks.next_at() <= clocks.silent_at()
    assert clocks.due(clocks.silent_at()) is Due.SILENT
    assert clocks.silent_at() - 199.0 > first


def test_first_message_waits_can_all_be_forgotten() -> None:
    """A lost socket forgets its waits; each can be asked for by name."""
    first = FirstMessages(10.0)
    first.expect(["a", "b"], 0.0)
    assert first.waiting("a")
    first.forget_all()
    assert not first.waiting("a")
    assert first.next_at() == NEVER


def test_a_pace_without_limit_costs_nothing() -> None:
    """0 messages a second means: no limit."""
    pace = Pace(0.0)
    pace.take(1.0)
    assert pace.wait_s(1.0) == 0.0
