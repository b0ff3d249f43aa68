"""The queue: order, lanes, bounds, time to live, holds; and what a restart leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackstay_agent.core.evidence import Evidence, Finding, Source
from jackstay_agent.core.intent import State
from jackstay_agent.outbox import Admitted, Intent, Outbox, Refusal, Signed
from jackstay_protocols.errors import Lane, Outcome, Reason
from jackstay_protocols.types import OrderClass
from outbox_world import World, cancel, order, seq_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def drain(box: Outbox, **how: object) -> list[int]:
    """Send and answer everything that is due, in order."""
    sent = []
    while (due := box.next_due(**how)) is not None:  # type: ignore[arg-type]
        seq_of(box.mark_in_flight(due.seq))
        box.finish(due.seq, Outcome.OK)
        sent.append(due.seq)
    return sent


# -- order ---------------------------------------------------------------------------------------------------------


def test_cancels_first_then_orders_queries_and_the_rest_each_in_order(world: World) -> None:
    """Lane before age, age within the lane, over a restart too."""
    box = world.open()
    other = seq_of(box.enqueue(order(1, lane=Lane.OTHER)))
    query = seq_of(box.enqueue(order(2, lane=Lane.QUERY)))
    orders = [seq_of(box.enqueue(order(n))) for n in (3, 4)]
    cancels = [seq_of(box.enqueue(cancel(n))) for n in (5, 6)]
    assert drain(world.reopen()) == [*cancels, *orders, query, other]


def test_orders_of_a_symbol_leave_one_after_the_other(world: World) -> None:
    """While one is under way the next of its symbol waits, another symbol passes; cancels never wait."""
    box = world.open()
    first, second = (seq_of(box.enqueue(order(n))) for n in (1, 2))
    elsewhere = seq_of(box.enqueue(order(3, symbol="ETHUSDT")))
    seq_of(box.mark_in_flight(first))
    assert (due := box.next_due()) is not None
    assert due.seq == elsewhere
    seq_of(box.mark_in_flight(elsewhere))
    seq_of(box.enqueue(order(9)))
    assert box.next_due() is None
    cancels = [seq_of(box.enqueue(cancel(n))) for n in (4, 5)]
    seq_of(box.mark_in_flight(cancels[0]))
    assert box.put_back(cancels[0])
    for expected in cancels:
        assert (due := box.next_due()) is not None
        assert due.seq == expected
        seq_of(box.mark_in_flight(expected))
    assert box.next_due() is None
    box.finish(first, Outcome.OK)
    assert (due := box.next_due()) is not None
    assert due.seq == second


def test_what_did_not_leave_goes_back_to_its_place_and_counts_its_attempts(world: World) -> None:
    """Ahead of what came after it; the attempts survive a restart."""
    box = world.open()
    first, _ = (seq_of(box.enqueue(order(n))) for n in (1, 2))
    seq_of(box.mark_in_flight(first))
    assert box.put_back(first)
    box = world.reopen()
    due = box.next_due()
    assert due is not None
    assert (due.seq, due.attempts) == (first, 1)
    assert not box.put_back(98765)


def test_a_connection_sees_its_own_and_the_caller_its_own_holds(world: World) -> None:
    """next_due by connection, by lanes, and with the caller's own word."""
    box = world.open()
    one = seq_of(box.enqueue(order(1, connection_id="a")))
    two = seq_of(box.enqueue(order(2, connection_id="b", symbol="ETHUSDT")))
    three = seq_of(box.enqueue(cancel(3, connection_id="b")))
    assert (due := box.next_due("a")) is not None
    assert due.seq == one
    assert (due := box.next_due("b", (Lane.ORDER,))) is not None
    assert due.seq == two
    assert (due := box.next_due(allow=lambda intent: intent.symbol == "ETHUSDT")) is not None
    assert due.seq == two
    assert box.next_due("nowhere") is None
    assert drain(box) == [three, one, two]


def test_entries_wait_in_the_queue_while_one_of_their_side_is_unknown(world: World) -> None:
    """Accepted, not due; other sides and cancels are; settled, they leave. An equal one is refused at the door."""
    box = world.open()
    seq = seq_of(box.begin(order(1)))
    box.finish(seq, Outcome.UNKNOWN)
    waiting = seq_of(box.enqueue(order(2)))
    sell = seq_of(box.enqueue(order(3, side="SELL", symbol="ETHUSDT")))
    assert drain(box) == [sell]
    assert not isinstance(box.mark_in_flight(waiting), Admitted)
    assert isinstance(box.enqueue(order(4, fields=order(1).fields)), Refusal)
    box.resolve(seq, Evidence(Source.STREAM, Finding.EXISTS))
    assert drain(box) == [waiting]


def test_an_equal_order_already_queued_is_not_sent_while_the_first_is_unknown(world: World) -> None:
    """It became equal-pending in the queue: it stays there, and expires there if nothing settles it."""
    box = world.open()
    first = seq_of(box.begin(order(1)))
    queued = seq_of(box.enqueue(order(2, fields=order(1).fields, ttl_s=10.0)))
    box.finish(first, Outcome.UNKNOWN)
    assert box.next_due() is None
    refused = box.mark_in_flight(queued)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.EQUAL_PENDING
    world.pass_time(10.0)
    box.tick()
    assert [(s.seq, s.state) for s in world.settled] == [(queued, State.EXPIRED)]


# -- bounds --------------------------------------------------------------------------------------------------------


def test_the_queue_of_a_connection_is_bounded(tmp_path: Path) -> None:
    """At the bound accepted, one past it refused; another connection and cancels still find room."""
    box = World(tmp_path, queue_connection_max=2).open()
    for number in range(2):
        seq_of(box.enqueue(order(number)))
    refused = box.enqueue(order(2))
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.retry_after_s is not None) == (Reason.QUEUE_FULL, True)
    seq_of(box.enqueue(order(3, connection_id="b")))
    seq_of(box.enqueue(cancel(4)))


def test_the_whole_queue_is_bounded_by_number_and_bytes_and_cancels_have_their_own_places(tmp_path: Path) -> None:
    """Full for everybody else is not full for de-risking, whose own places are bounded too."""
    box = World(tmp_path, queue_max=2, derisk_reserve=2, queue_connection_max=10).open()
    for number in range(2):
        seq_of(box.enqueue(order(number)))
    assert isinstance(box.enqueue(order(2)), Refusal)
    for number in range(2):
        seq_of(box.enqueue(cancel(number)))
    refused = box.enqueue(cancel(2))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.QUEUE_FULL
    small = World(tmp_path / "..", queue_bytes_max=1_000)
    small.path = tmp_path / "bytes.db"
    box = small.open()
    seq_of(box.enqueue(order(1, body=b"x" * 500)))
    assert isinstance(box.enqueue(order(2, body=b"x" * 500)), Refusal)
    assert box.stats()["queued_bytes"] > 500
    box.drop(box.open_intents()[0].seq, who="me", why="test")
    assert box.stats()["queued_bytes"] == 0
    seq_of(box.enqueue(order(2, body=b"x" * 500)))


def test_requests_under_way_are_bounded_and_cancels_by_id_never_refused(tmp_path: Path) -> None:
    """Orders at their bound are refused; a repeatable cancel passes beyond every bound, a cancel-all up to its own."""
    box = World(tmp_path, in_flight_max=2, derisk_reserve=2).open()
    for number in range(2):
        seq_of(box.begin(order(number)))
    refused = box.begin(order(2))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.QUEUE_FULL
    for number in range(5):
        seq_of(box.begin(cancel(number)))
    assert isinstance(box.begin(cancel(9, repeatable=False)), Refusal)
    queued = seq_of(box.enqueue(order(3)))
    assert isinstance(box.mark_in_flight(queued), Refusal)
    box.finish(box.open_intents()[0].seq, Outcome.OK)
    seq_of(box.mark_in_flight(queued))


def test_a_request_too_large_is_refused(tmp_path: Path) -> None:
    """At the bound accepted, one byte past it refused."""
    box = World(tmp_path, request_bytes_max=100).open()
    seq_of(box.begin(order(1, target="/", body=b"x" * 99)))
    refused = box.begin(order(2, target="/", body=b"x" * 100))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.TOO_LARGE


# -- time to live --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl_s", "reason"), [(0.0, Reason.EXPIRED), (3_600.001, Reason.BAD_REQUEST), (-1.0, Reason.BAD_REQUEST)]
)
def test_a_time_to_live_of_zero_or_beyond_the_limit_is_refused(world: World, ttl_s: float, reason: Reason) -> None:
    """Nothing is recorded."""
    refused = world.open().enqueue(order(ttl_s=ttl_s))
    assert isinstance(refused, Refusal)
    assert refused.reason is reason
    seq_of(world.box.enqueue(order(ttl_s=3_600.0)))


def test_what_outlived_its_time_is_reported_expired_and_not_sent(world: World) -> None:
    """By tick, by next_due and by mark_in_flight alike; its outcome waits for the bot."""
    box = world.open()
    seqs = [seq_of(box.enqueue(order(n, ttl_s=ttl))) for n, ttl in ((1, 5.0), (2, 6.0), (3, 7.0), (4, 60.0))]
    world.pass_time(5.0)
    box.tick()
    assert [s.seq for s in world.settled] == seqs[:1]
    world.pass_time(1.0)
    due = box.next_due()
    assert due is not None
    assert due.seq == seqs[2]
    world.pass_time(1.0)
    refused = box.mark_in_flight(due.seq)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.EXPIRED
    assert [(s.seq, s.state, s.queued) for s in world.settled] == [(s, State.EXPIRED, True) for s in seqs[:3]]
    assert [(k.seq, k.ending.state) for k in world.reopen().uncollected("bot")] == [(s, "expired") for s in seqs[:3]]
    assert drain(world.box) == seqs[3:]


def test_a_frame_past_its_deadline_is_refused_before_the_journal(world: World) -> None:
    """At the deadline it is too late, before it is not."""
    box = world.open()
    refused = box.begin(order(deadline_at=world.now))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.EXPIRED
    assert isinstance(box.begin(order(deadline_at=world.now + 0.001)), Admitted)
    queued = seq_of(box.enqueue(order(2, deadline_at=world.now + 5.0)))
    world.pass_time(5.0)
    box.tick()
    assert [s.seq for s in world.settled] == [queued]


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0])
def test_after_a_clock_step_what_has_a_limit_is_expired_and_a_cancel_is_not(world: World, step_s: float) -> None:
    """An hour on or back while queued: in doubt, so expired; a cancel without a limit still leaves."""
    box = world.open()
    with_limit = seq_of(box.enqueue(order(1, ttl_s=60.0)))
    without = seq_of(box.enqueue(cancel(2)))
    world.pass_time(1.0)
    box.tick()
    world.wall += step_s
    box.tick()
    assert [s.seq for s in world.settled] == [with_limit]
    assert drain(box) == [without]
    late = seq_of(box.enqueue(order(3, ttl_s=60.0)))
    box.tick()
    assert drain(box) == [late], "what is recorded after the step is young"


def test_slow_drift_is_no_step(world: World) -> None:
    """Slewing by less than the bound expires nothing."""
    box = world.open()
    seq = seq_of(box.enqueue(order(1, ttl_s=60.0)))
    for _ in range(10):
        world.pass_time(1.0)
        world.wall += 0.1
        box.tick()
    assert drain(box) == [seq]


def test_a_suspend_counts(world: World) -> None:
    """A boot clock that counts it makes the message old; one that does not makes it doubtful: expired both ways."""
    box = world.open()
    seq_of(box.enqueue(order(1, ttl_s=60.0)))
    world.pass_time(600.0)
    box.tick()
    seq_of(box.enqueue(order(2, ttl_s=60.0)))
    world.now += 1.0
    world.wall += 30.0
    box.tick()
    assert [s.state for s in world.settled] == [State.EXPIRED, State.EXPIRED]


def test_after_a_reboot_what_has_a_limit_is_expired(world: World) -> None:
    """A second later by the wall clock, but another boot: in doubt. Without a limit it stays; maybe-sent is unknown."""
    box = world.open()
    limited = seq_of(box.enqueue(order(1, ttl_s=60.0)))
    free = seq_of(box.enqueue(cancel(2)))
    flying = seq_of(box.begin(order(3, symbol="ETHUSDT")))
    world.kill()
    world.boot_id, world.now = "boot-2", 5.0
    world.wall += 1.0
    box = world.open()
    assert [(k.seq, k.ending.state) for k in box.uncollected("bot")] == [(limited, "expired")]
    assert [u.seq for u in box.unknowns()] == [flying]
    assert drain(box) == [free]


def test_a_bots_signature_ends_with_the_process_and_the_agents_does_not(world: World) -> None:
    """After a restart pre-signed ones are expired, ones the agent signs are due again, unsigned as they were."""
    box = world.open()
    by_bot = seq_of(box.enqueue(order(1, signed=Signed.BOT, target="/o?signature=abc")))
    by_agent = seq_of(box.enqueue(order(2, signed=Signed.AGENT)))
    world.kill()
    box = world.open()
    kept = box.uncollected("bot")
    assert [(k.seq, k.ending.state) for k in kept] == [(by_bot, "expired")]
    assert "signature" in kept[0].ending.cause
    due = box.next_due()
    assert due is not None
    assert (due.seq, due.intent) == (by_agent, order(2, signed=Signed.AGENT))


def test_a_bots_signature_is_only_good_for_its_window(world: World) -> None:
    """Queued longer than its recvWindow it is expired, though its time to live is longer."""
    box = world.open()
    seq = seq_of(box.enqueue(order(1, signed=Signed.BOT, recv_window_s=5.0, ttl_s=60.0)))
    world.pass_time(5.0)
    assert box.next_due() is None
    assert [s.seq for s in world.settled] == [seq]


def test_two_minutes_of_outage_with_mixed_times_to_live(tmp_path: Path) -> None:
    """Of 500 queued the expired are reported, the rest leaves in order, cancels first."""
    world = World(tmp_path)
    box = world.open()
    short, long, cancels = [], [], []
    for number in range(500):
        if number % 10 == 0:
            cancels.append(seq_of(box.enqueue(cancel(number))))
        else:
            ttl_s = 60.0 if number % 2 else 600.0
            (short if number % 2 else long).append(
                seq_of(box.enqueue(order(number, ttl_s=ttl_s, symbol=f"S{number % 7}")))
            )
    for _ in range(120):
        world.pass_time(1.0)
        box.tick()
    assert [s.seq for s in world.settled] == short
    assert drain(box) == cancels + long
    assert len(box.uncollected("bot", 1_000)) == 500


# -- holding, dropping, restarting ---------------------------------------------------------------------------------


def test_a_held_one_stays_until_released_and_expires_all_the_same(world: World) -> None:
    """Hold survives a restart; others of other symbols pass; only what is queued can be held."""
    box = world.open()
    held = seq_of(box.enqueue(order(1, ttl_s=60.0)))
    other = seq_of(box.enqueue(order(2, symbol="ETHUSDT")))
    assert box.hold(held)
    assert not box.hold(4711)
    box = world.reopen()
    assert drain(box) == [other]
    assert [o.held for o in box.open_intents()] == [True]
    assert box.hold(held, False)
    assert (due := box.next_due()) is not None
    assert due.seq == held
    box.hold(held)
    world.pass_time(60.0)
    box.tick()
    assert world.settled[-1].state is State.EXPIRED


def test_a_dropped_one_is_never_sent_and_names_who(world: World) -> None:
    """Only queued ones can be dropped; the bot learns it."""
    box = world.open()
    seq = seq_of(box.enqueue(order()))
    flying = seq_of(box.begin(order(2)))
    assert box.drop(flying, who="uid 7", why="no") is None
    dropped = box.drop(seq, who="uid 7", why="changed my mind")
    assert dropped is not None
    assert (dropped.state, dropped.final) == (State.DROPPED, True)
    assert box.drop(seq, who="uid 7", why="again") is None
    assert world.settled == [dropped]
    (kept,) = world.reopen().uncollected("bot")
    assert (kept.ending.state, kept.ending.said_by, kept.queued) == ("dropped", "uid 7", True)


def test_never_sent_and_maybe_sent_are_told_apart_after_a_crash(world: World) -> None:
    """Queued: still queued. Marked: unknown. Put back and written: queued."""
    box = world.open()
    queued, marked, back = (seq_of(box.enqueue(order(n, symbol=f"S{n}"))) for n in (1, 2, 3))
    seq_of(box.mark_in_flight(marked))
    seq_of(box.mark_in_flight(back))
    box.put_back(back)
    box.flush()
    world.kill()
    box = world.open()
    assert [u.seq for u in box.unknowns()] == [marked]
    assert drain(box) == [queued, back]


def test_an_unknown_one_from_the_queue_frees_its_symbol(world: World) -> None:
    """Orders of the other side of that symbol leave; its own side waits for the venue's word."""
    box = world.open()
    first, entry = (seq_of(box.enqueue(order(n))) for n in (1, 2))
    sell = seq_of(box.enqueue(order(3, side="SELL")))
    seq_of(box.mark_in_flight(first))
    box.finish(first, Outcome.UNKNOWN)
    box.drop(entry, who="me", why="let the other pass")
    assert drain(box) == [sell]


def test_a_held_cancel_does_not_hold_up_the_others(world: World) -> None:
    """De-risking has a way out past one that is held; a held order keeps the later ones of its symbol back."""
    box = world.open()
    held_cancel, held_order = seq_of(box.enqueue(cancel(1))), seq_of(box.enqueue(order(2)))
    free = seq_of(box.enqueue(cancel(3)))
    seq_of(box.enqueue(order(4)))
    other = seq_of(box.enqueue(order(5, symbol="ETHUSDT")))
    for seq in (held_cancel, held_order):
        assert box.hold(seq)
    assert drain(box) == [free, other]


def test_a_held_order_keeps_no_other_bot_back(world: World) -> None:
    """Nor does one that is being sent: a bot that is stopped, or a venue that is slow with its order, is its own."""
    box = world.open()
    held = seq_of(box.enqueue(order(1, bot_id="a")))
    own = seq_of(box.enqueue(order(2, bot_id="a")))
    others = [seq_of(box.enqueue(order(number, bot_id="b"))) for number in (3, 4)]
    assert box.hold(held)
    assert drain(box) == others
    assert [each.seq for each in box.open_intents() if each.state is State.RECORDED] == [held, own]
    assert box.hold(held, False)
    slow, next_of_b = (seq_of(box.enqueue(order(number, bot_id="b"))) for number in (5, 6))
    seq_of(box.mark_in_flight(slow))
    assert (due := box.next_due()) is not None
    assert due.seq == held
    box.finish(slow, Outcome.OK)
    assert drain(box) == [held, own, next_of_b]


@pytest.mark.parametrize("why", ["held", "a mode", "an unknown order"])
def test_a_way_out_passes_an_entry_that_may_not_leave(world: World, why: str) -> None:
    """Exits and hedges of the same bot and symbol leave, in their order; what is an entry waits behind the first."""
    box = world.open()
    if why == "an unknown order":
        lost = seq_of(box.begin(order(9)))
        box.finish(lost, Outcome.UNKNOWN)
    ways_out = {"side": "SELL", "order_class": OrderClass.EXIT}
    entry = seq_of(box.enqueue(order(1, order_class=OrderClass.ENTRY)))
    exits = [seq_of(box.enqueue(order(number, **ways_out))) for number in (2, 3)]
    seq_of(box.enqueue(order(4, side="SELL", order_class=OrderClass.ENTRY)))
    if why == "held":
        box.hold(entry)

    def stopped(intent: Intent) -> bool:
        return why == "a mode" and intent.order_class is OrderClass.ENTRY

    left = []
    while (due := box.next_due(allow=lambda intent: not stopped(intent), stopped=stopped)) is not None:
        left.append(due.seq)
        seq_of(box.mark_in_flight(due.seq))
        box.finish(due.seq, Outcome.OK)
    assert left == exits


def test_nothing_overtakes_while_nothing_is_held(world: World) -> None:
    """A way out waits for the entry before it, and an entry for the way out before it."""
    box = world.open()
    kinds = [OrderClass.ENTRY, OrderClass.EXIT, OrderClass.ENTRY, OrderClass.HEDGE, OrderClass.EXIT]
    seqs = [seq_of(box.enqueue(order(number, order_class=kind))) for number, kind in enumerate(kinds)]
    for seq in seqs:
        assert (due := box.next_due()) is not None
        assert due.seq == seq
        seq_of(box.mark_in_flight(seq))
        assert box.next_due() is None, "one after the other"
        box.finish(seq, Outcome.OK)


def test_one_that_was_put_back_often_expires_once(world: World) -> None:
    """However often it was tried, its end comes once."""
    box = world.open()
    seq = seq_of(box.enqueue(order(1, ttl_s=5.0)))
    for _ in range(100):
        seq_of(box.mark_in_flight(seq))
        box.put_back(seq)
    world.pass_time(5.0)
    box.tick()
    box.tick()
    assert [(s.seq, s.state) for s in world.settled] == [(seq, State.EXPIRED)]
