"""Direct requests, evidence, duplicates, collecting: through the outbox's face, on a real file."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.core.evidence import Evidence, Finding, Patience, Source
from jackstay_agent.core.intent import IllegalMove, State
from jackstay_agent.outbox import Admitted, Outbox, OutboxSettings, Refusal, Settled, Signed, Wait
from jackstay_protocols.errors import Lane, Outcome, Reason, ValidationError
from outbox_world import FIELDS, Worker, World, cancel, order, seq_of

SOON = Patience(visibility_delay_s=5.0, not_found_needed=2, spacing_s=1.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def unknown(box: Outbox, number: int = 1, **changes: Any) -> int:
    """An order nobody knows the fate of."""
    seq = seq_of(box.begin(order(number, **changes)))
    assert box.finish(seq, Outcome.UNKNOWN, cause="timeout") is not None
    return seq


def states_on_disk(path: Path) -> dict[int, int]:
    with sqlite3.connect(path) as conn:
        found = dict(conn.execute("SELECT seq, state FROM intents"))
    conn.close()
    return found


# -- one commit before the first byte --------------------------------------------------------------------------------


def test_what_was_begun_is_in_the_file_when_begin_returns(world: World) -> None:
    """The process dies right after begin: the order comes back as unknown, maybe sent."""
    seq = seq_of(world.open().begin(order()))
    world.kill()
    assert [u.seq for u in world.open().unknowns()] == [seq]


def test_an_answer_is_batched_and_a_crash_before_its_row_is_doubt_not_loss(world: World) -> None:
    """Answered but not flushed: unknown after a crash; flushed: done."""
    box = world.open()
    first, second = seq_of(box.begin(order(1))), seq_of(box.begin(order(2)))
    box.finish(first, Outcome.OK, status=200, reply=b"{}")
    box.flush()
    box.finish(second, Outcome.OK, status=200, reply=b"{}")
    world.kill()
    box = world.open()
    assert [u.seq for u in box.unknowns()] == [second]
    assert [(u.seq, u.ending.state) for u in box.uncollected("bot")] == [(first, "done")]


def test_answers_are_written_after_a_moment_or_when_there_are_many(world: World) -> None:
    """A tick after flush_after_s writes them; so does the sixty-fourth."""
    box = world.open()
    one = seq_of(box.begin(order(0)))
    box.finish(one, Outcome.OK)
    commits = box.stats()["commits"]
    box.tick()
    assert box.stats()["commits"] == commits
    world.pass_time(0.01)
    box.tick()
    assert box.stats()["commits"] == commits + 1
    for number in range(1, 65):
        box.finish(seq_of(box.begin(order(number))), Outcome.OK)
    assert box.stats()["unwritten"] == 0


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Outcome.OK, State.DONE), (Outcome.REJECTED, State.REJECTED), (Outcome.FAILED, State.FAILED)],
)
def test_an_answer_settles_with_what_the_venue_said(world: World, outcome: Outcome, state: State) -> None:
    """Status, body and cause are kept for the bot until it has acknowledged them, across a restart."""
    box = world.open()
    seq = seq_of(box.begin(order()))
    settled = box.finish(seq, outcome, status=418, reply=b"body", cause="why", venue_order_id="v")
    assert settled is not None
    assert (settled.state, settled.final) == (state, True)
    box = world.reopen()
    (kept,) = box.uncollected("bot")
    assert (kept.seq, kept.key, kept.request_id, kept.client_order_id) == (seq, "key-1", "request-1", "js-1")
    assert (kept.ending.status, kept.ending.reply, kept.ending.cause) == (418, b"body", "why")
    assert kept.ending.venue_order_id == "v"


def test_a_long_reply_is_kept_cut_and_says_so(tmp_path: Path) -> None:
    """At the limit whole, one byte past it cut."""
    world = World(tmp_path, reply_bytes_max=10)
    box = world.open()
    for number, length in ((1, 10), (2, 11)):
        box.finish(seq_of(box.begin(order(number))), Outcome.OK, reply=b"x" * length)
    assert [(len(u.ending.reply), u.ending.reply_cut) for u in box.uncollected("bot")] == [(10, False), (10, True)]


def test_an_answer_to_what_is_long_settled_is_none(world: World) -> None:
    """A second answer changes nothing."""
    box = world.open()
    seq = seq_of(box.begin(order()))
    box.finish(seq, Outcome.OK)
    assert box.finish(seq, Outcome.REJECTED) is None
    assert box.finish(999, Outcome.OK) is None


def test_an_answer_to_what_was_never_sent_is_a_bug_and_says_so(world: World) -> None:
    """A queued intent cannot be answered."""
    box = world.open()
    seq = seq_of(box.enqueue(order()))
    with pytest.raises(IllegalMove, match=str(seq)):
        box.finish(seq, Outcome.OK)


def test_items_of_a_batch_are_all_written_or_none(world: World) -> None:
    """One commit for all items; one refused item refuses the request; partial success is told per item."""
    box = world.open()
    commits = box.stats()["commits"]
    admitted = box.begin_batch([order(n, item=n) for n in range(3)])
    assert isinstance(admitted, tuple)
    assert box.stats()["commits"] == commits + 1
    for one, outcome in zip(admitted, (Outcome.OK, Outcome.REJECTED, Outcome.UNKNOWN), strict=True):
        box.finish(one.seq, outcome)
    assert [u.seq for u in box.unknowns()] == [admitted[2].seq]
    refused = box.begin_batch([order(7), order(8, key="key-1")])
    assert isinstance(refused, Refusal)
    twice = box.begin_batch([order(7), order(8, client_order_id="js-7")])
    assert isinstance(twice, Refusal)
    assert (refused.reason, twice.reason) == (Reason.DUPLICATE, Reason.DUPLICATE)
    assert box.stats()["open"]["in_flight"] == 0


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_no_signature_reaches_the_disk(world: World) -> None:
    """Neither file nor WAL holds a signature or key of query, form or JSON; the sender in memory still has them."""
    box = world.open()
    secret = b"5ec2e7"
    queued = seq_of(
        box.enqueue(order(1, target="/o?a=1&signature=5ec2e7", body=b"apiKey=5ec2e7&q=1", signed=Signed.BOT))
    )
    seq_of(box.begin(order(2, body=b'{"params":{"apiKey":"5ec2e7","signature":"5ec2e7","q":1}}')))
    due = box.next_due()
    assert due is not None
    assert due.intent.target.endswith("5ec2e7")
    for file in world.path.parent.iterdir():
        assert secret not in file.read_bytes()
    story = box.story(queued)
    assert story is not None
    assert "5ec2e7" not in repr(story)
    box.close()
    assert secret not in world.path.read_bytes()


def test_the_file_is_its_owners_alone(world: World) -> None:
    """Mode 0600, the WAL too."""
    world.open().begin(order())
    for file in world.path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


# -- duplicates ------------------------------------------------------------------------------------------------------


def test_the_same_key_and_body_has_one_outcome(world: World) -> None:
    """Refused as duplicate, and find_duplicate tells the state and, once settled, the outcome: across a restart."""
    box = world.open()
    seq = seq_of(box.begin(order()))
    again = box.begin(order())
    assert isinstance(again, Refusal)
    assert (again.reason, again.pending) == (Reason.DUPLICATE, seq)
    found = box.find_duplicate("bot", "key-1", order())
    assert found is not None
    assert (found.seq, found.state, found.same_body, found.ending) == (seq, State.IN_FLIGHT, True, None)
    box.finish(seq, Outcome.OK, reply=b"yes")
    for _ in range(2):
        found = box.find_duplicate("bot", "key-1", order())
        assert found is not None
        assert found.ending is not None
        assert (found.state, found.ending.reply, found.same_body) == (State.DONE, b"yes", True)
        box = world.reopen()
    assert isinstance(box.begin(order(1, client_order_id="js-9")), Refusal)


def test_the_same_key_with_another_body_is_refused_as_such(world: World) -> None:
    """One key belongs to one request."""
    box = world.open()
    seq_of(box.begin(order(1)))
    other = box.begin(order(2, key="key-1"))
    assert isinstance(other, Refusal)
    assert "another body" in other.message
    found = box.find_duplicate("bot", "key-1", order(2))
    assert found is not None
    assert not found.same_body


def test_a_new_timestamp_and_signature_do_not_make_another_body(world: World) -> None:
    """A signed repeat of the same order under the same key is the same request, settled or not."""
    box = world.open()
    seq = seq_of(box.begin(order(body=b"price=1&timestamp=1&signature=a")))
    repeat = order(body=b"price=1&timestamp=2&signature=b", fields={**order().fields, "timestamp": "2"})
    for _ in range(2):
        found = box.find_duplicate("bot", "key-1", repeat)
        assert found is not None
        assert found.same_body
        box.finish(seq, Outcome.OK)
    plain = order(5, fields={}, body=b"a")
    seq_of(box.begin(plain))
    found = box.find_duplicate("bot", "key-5", order(5, fields={}, body=b"b"))
    assert found is not None
    assert not found.same_body


def test_keys_are_per_bot_and_for_a_window(world: World) -> None:
    """Another bot's key is another key; after the window the key is free again, also over a restart."""
    box = world.open()
    box.finish(seq_of(box.begin(order())), Outcome.OK)
    assert box.find_duplicate("other", "key-1") is None
    assert box.find_duplicate("bot", "nobody's") is None
    world.pass_time(599.0)
    assert box.find_duplicate("bot", "key-1") is not None
    assert world.reopen().find_duplicate("bot", "key-1") is not None
    world.pass_time(1.0)
    assert world.box.find_duplicate("bot", "key-1") is None
    seq_of(world.box.begin(order()))


def test_more_keys_than_may_be_kept_shorten_the_window_visibly(tmp_path: Path) -> None:
    """At the bound the window is whole; one past it the oldest leaves and the status says how far it reaches."""
    world = World(tmp_path, keys_max=3)
    box = world.open()
    for number in range(3):
        box.finish(seq_of(box.begin(order(number))), Outcome.OK)
        world.pass_time(10.0)
    assert box.find_duplicate("bot", "key-0") is not None
    box.finish(seq_of(box.begin(order(3))), Outcome.OK)
    assert box.find_duplicate("bot", "key-0") is None
    assert box.find_duplicate("bot", "key-1") is not None
    assert box.stats()["idempotency_window_s"] == 20.0


def test_a_client_id_is_free_again_once_its_order_is_settled(world: World) -> None:
    """Same id while open: refused naming it. After the fill: another order, and evidence speaks for the newer one."""
    box = world.open()
    first = unknown(box)
    again = box.begin(order(2, client_order_id="js-1"))
    assert isinstance(again, Refusal)
    assert (again.reason, again.pending, again.pending_id) == (Reason.DUPLICATE, first, "js-1")
    assert box.saw("sandbox", "js-1", Evidence(Source.STREAM, Finding.EXISTS, status="FILLED")) is not None
    world.pass_time(60.0)
    second = unknown(box, 2, client_order_id="js-1")
    old = Evidence(Source.STREAM, Finding.EXISTS, created_at=world.wall - 59.0)
    assert box.saw("sandbox", "js-1", old) is None
    assert [u.seq for u in box.unknowns()] == [second]
    settled = box.saw("sandbox", "js-1", Evidence(Source.STREAM, Finding.EXISTS, created_at=world.wall))
    assert settled is not None
    assert (settled.seq, settled.state) == (second, State.DONE)


def test_minted_ids_never_come_again(world: World) -> None:
    """Unique within a run, over restarts, over a lost file, and short."""
    ids = set()
    for round_ in range(3):
        box = world.open()
        ids |= {box.mint("js") for _ in range(100)}
        box.close()
        if round_ == 1:
            world.path.unlink()
        world.pass_time(1.0)
    assert len(ids) == 300
    assert all(len(i) <= 14 and i.startswith("js") for i in ids)


# -- rule 1 ----------------------------------------------------------------------------------------------------------


def test_an_equal_order_is_refused_while_the_first_is_unknown(world: World) -> None:
    """New id, new timestamp, new signature, same order: refused naming the pending one; settled, it may pass."""
    box = world.open()
    seq = unknown(box)
    equal = order(2, fields={**order(1).fields, "timestamp": "9", "signature": "ff", "price": "50001.0"})
    for refused in (box.begin(equal), box.enqueue(equal)):
        assert isinstance(refused, Refusal)
        assert (refused.reason, refused.pending, refused.pending_id) == (Reason.EQUAL_PENDING, seq, "js-1")
    box.resolve(seq, Evidence(Source.STREAM, Finding.EXISTS))
    assert isinstance(box.begin(equal), Admitted)


def test_another_entry_of_the_side_waits_and_everything_else_passes(world: World) -> None:
    """Same symbol and side: wait naming whom; other side, other symbol, exits and cancels go on."""
    box = world.open()
    seq = unknown(box)
    assert box.begin(order(2)) == Wait((seq,))
    assert isinstance(box.begin(order(3, side="SELL")), Admitted)
    assert isinstance(box.begin(order(4, symbol="ETHUSDT")), Admitted)
    assert isinstance(box.begin(order(5, venue="elsewhere")), Admitted)
    assert isinstance(box.begin(order(6, is_entry=False, lane=Lane.DERISK)), Admitted)
    assert isinstance(box.begin(cancel(7)), Admitted)
    equal_exit = order(8, is_entry=False, lane=Lane.DERISK, fields=order(1).fields)
    assert isinstance(box.begin(equal_exit), Refusal)


def test_rule_one_holds_after_a_restart(world: World) -> None:
    """What was in flight when the process died refuses equals in the next one."""
    seq_of(world.open().begin(order()))
    world.kill()
    box = world.open()
    assert isinstance(box.begin(order(2, fields=order(1).fields)), Refusal)
    assert isinstance(box.begin(order(3)), Wait)


def test_equality_can_be_asked_without_recording(world: World) -> None:
    """equal_unknown answers as begin would."""
    box = world.open()
    seq = unknown(box)
    answer = box.equal_unknown("sandbox", "btcusdt", "buy", order(1).fields)
    assert isinstance(answer, Refusal)
    assert box.equal_unknown("sandbox", "BTCUSDT", "BUY", FIELDS) == Wait((seq,))
    assert box.equal_unknown("sandbox", "BTCUSDT", "BUY", FIELDS, is_entry=False) is None
    assert box.equal_unknown("sandbox", "BTCUSDT", "SELL", FIELDS) is None


def test_a_float_in_an_order_is_refused_before_anything_is_recorded(world: World) -> None:
    """The caller is told to use text or Decimal."""
    refused = world.open().begin(order(fields={**FIELDS, "price": 1.5}))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.BAD_REQUEST


# -- evidence --------------------------------------------------------------------------------------------------------


def missing(world: World, **changes: Any) -> Evidence:
    return Evidence(Source.QUERY, Finding.NOT_FOUND, asked_at=world.now, family="order", **changes)


def test_unknown_ends_by_the_venues_repeated_word_after_its_delay(world: World) -> None:
    """Too early counts nothing; then twice with a pause: absent, told through on_settled, kept for the bot."""
    box = world.open()
    seq = unknown(box)
    for wait_s, final in ((4.9, False), (0.1, False), (0.5, False), (0.5, True)):
        world.pass_time(wait_s)
        settled = box.resolve(seq, missing(world), SOON)
        assert settled is not None
        assert settled.final is final, (wait_s, settled.why)
    assert [s.state for s in world.settled] == [State.ABSENT]
    (kept,) = box.uncollected("bot")
    assert (kept.ending.state, kept.ending.source) == ("absent", "query")


def test_unknown_never_ages(world: World) -> None:
    """A year of ticks, not-founds of the wrong family and transport errors: still unknown, still in the way."""
    box = world.open()
    seq = unknown(box)
    for _ in range(12):
        world.pass_time(30 * 86_400.0)
        box.tick()
        box.checkpoint()
        box.resolve(seq, Evidence(Source.QUERY, Finding.NO_ANSWER, world.now, "order"), SOON)
        box.resolve(seq, Evidence(Source.QUERY, Finding.NOT_FOUND, world.now, "algo"), SOON)
        box.resolve(seq, Evidence(Source.OPEN_ORDERS, Finding.NOT_FOUND, world.now, "order"), SOON)
        box = world.reopen()
    assert [u.seq for u in box.unknowns()] == [seq]
    assert isinstance(box.begin(order(2, fields=order(1).fields)), Refusal)


def test_a_recv_window_delays_belief(world: World) -> None:
    """A request may arrive until its window ends: the delay counts from there."""
    box = world.open()
    seq = unknown(box, recv_window_s=60.0)
    world.pass_time(60.0 + 5.0 - 0.1)
    box.resolve(seq, missing(world), SOON)
    assert box.unknowns()[0].search.not_found == 0
    world.pass_time(0.1)
    box.resolve(seq, missing(world), SOON)
    assert box.unknowns()[0].search.not_found == 1


def test_an_operators_word_is_kept_as_one(world: World) -> None:
    """Absent or done by a person: with name and reason, across a restart."""
    box = world.open()
    seqs = [unknown(box, n, symbol=f"S{n}") for n in (1, 2)]
    for seq, finding in zip(seqs, (Finding.NOT_FOUND, Finding.EXISTS), strict=True):
        settled = box.resolve(seq, Evidence(Source.OPERATOR, finding, who="uid 1000", why="support said so"))
        assert settled is not None
        assert settled.final
    kept = world.reopen().uncollected("bot")
    assert [(k.ending.state, k.ending.said_by, k.ending.why) for k in kept] == [
        ("absent", "uid 1000", "support said so"),
        ("done", "uid 1000", "support said so"),
    ]


def test_a_person_settles_only_what_is_unknown(world: World) -> None:
    """What is under way stays under way."""
    box = world.open()
    seq = seq_of(box.begin(order()))
    settled = box.resolve(seq, Evidence(Source.OPERATOR, Finding.NOT_FOUND, who="me", why="impatient"))
    assert settled is not None
    assert (settled.state, settled.final) == (State.IN_FLIGHT, False)
    assert box.resolve(12345, missing(world)) is None


def test_the_stream_may_be_faster_than_the_reply(world: World) -> None:
    """Done by the stream; the reply that follows adds its body and is no contradiction."""
    box = world.open()
    seq = seq_of(box.begin(order()))
    settled = box.saw("sandbox", "js-1", Evidence(Source.STREAM, Finding.EXISTS, status="NEW", venue_order_id="v1"))
    assert settled is not None
    assert settled.state is State.DONE
    late = box.finish(seq, Outcome.OK, status=200, reply=b"whole")
    assert late is not None
    assert not late.contradiction
    (kept,) = world.reopen().uncollected("bot")
    assert kept.ending.reply == b"whole"


def test_evidence_cancels_a_pending_retry(world: World) -> None:
    """Put back because no byte left, then shown by the stream: done, and nothing is due any more."""
    box = world.open()
    seq = seq_of(box.enqueue(order()))
    seq_of(box.mark_in_flight(seq))
    assert box.put_back(seq)
    box.saw("sandbox", "js-1", Evidence(Source.STREAM, Finding.EXISTS))
    assert box.next_due() is None
    assert isinstance(box.mark_in_flight(seq), Refusal)
    assert not box.put_back(seq)


def test_an_absent_order_that_shows_up_is_done_and_told_again(world: World) -> None:
    """Contradiction: an event, a counter, and the bot gets the new word although it had acknowledged the old one."""
    box = world.open()
    seq = unknown(box)
    box.resolve(seq, Evidence(Source.OPERATOR, Finding.NOT_FOUND, who="me", why="looked"))
    assert box.ack("bot", [seq]) == 1
    box = world.reopen()
    assert box.uncollected("bot") == []
    settled = box.saw("sandbox", "js-1", Evidence(Source.FILLS, Finding.EXISTS, status="FILLED"))
    assert settled is not None
    assert (settled.state, settled.contradiction) == (State.DONE, True)
    assert world.said("outbox.contradiction")[0]["now"] == "done"
    assert box.stats()["totals"]["contradictions"] == 1
    assert [k.ending.state for k in world.reopen().uncollected("bot")] == ["done"]


def test_a_late_answer_of_the_venue_settles_an_unknown_one(world: World) -> None:
    """The reply to the very request, after the time-out: its own word."""
    box = world.open()
    seq = unknown(box)
    settled = box.finish(seq, Outcome.REJECTED, status=400, cause="insufficient_funds")
    assert settled is not None
    assert (settled.state, settled.final) == (State.REJECTED, True)


def test_evidence_for_strangers_is_none(world: World) -> None:
    """Ids nobody here has sent change nothing."""
    assert world.open().saw("sandbox", "who", Evidence(Source.STREAM, Finding.EXISTS)) is None


# -- collecting ------------------------------------------------------------------------------------------------------


def test_outcomes_are_handed_out_until_acknowledged(world: World) -> None:
    """Again and again, oldest first, page by page; acknowledged ones are gone for good; others' are not touched."""
    box = world.open()
    seqs = [seq_of(box.begin(order(n))) for n in range(5)]
    other = seq_of(box.begin(order(9, bot_id="other")))
    for seq in [*seqs, other]:
        box.finish(seq, Outcome.OK)
    assert [u.seq for u in box.uncollected("bot", 3)] == seqs[:3]
    assert [u.seq for u in box.uncollected("bot")] == seqs
    assert box.ack("bot", [*seqs[:3], other, 77]) == 3
    assert box.ack("bot", seqs[:3]) == 0
    box = world.reopen()
    assert [u.seq for u in box.uncollected("bot")] == seqs[3:]
    assert [u.seq for u in box.uncollected("other")] == [other]


def test_what_is_not_settled_cannot_be_acknowledged(world: World) -> None:
    """An unknown order stays, whatever the bot says."""
    box = world.open()
    seq = unknown(box)
    assert box.ack("bot", [seq]) == 0
    assert [u.seq for u in world.reopen().unknowns()] == [seq]


def test_direct_outcomes_nobody_collects_fall_out_at_the_bound(tmp_path: Path) -> None:
    """A client that never acknowledges keeps the newest; the queue is another matter."""
    world = World(tmp_path, uncollected_bot_max=3)
    box = world.open()
    seqs = [seq_of(box.begin(order(n))) for n in range(4)]
    for seq in seqs:
        box.finish(seq, Outcome.OK)
    assert [u.seq for u in box.uncollected("bot")] == seqs[1:]
    assert [u.seq for u in world.reopen().uncollected("bot")] == seqs[1:]


def test_queued_outcomes_nobody_collects_stop_the_queue_instead(tmp_path: Path) -> None:
    """At the bound the next enqueue is refused naming what to do; nothing accepted falls out."""
    world = World(tmp_path, uncollected_bot_max=2)
    box = world.open()
    for number in range(2):
        seq = seq_of(box.enqueue(order(number)))
        seq_of(box.mark_in_flight(seq))
        box.finish(seq, Outcome.OK)
    refused = box.enqueue(order(5))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.QUEUE_FULL
    assert "collect" in refused.message
    seq_of(box.enqueue(order(6, bot_id="other")))
    box.ack("bot", [u.seq for u in box.uncollected("bot")])
    seq_of(box.enqueue(order(5)))


# -- checkpoints and compaction --------------------------------------------------------------------------------------


def test_orders_flow_while_a_checkpoint_has_the_connection(world: World) -> None:
    """Begun, queued, marked and answered meanwhile: nobody waits, and all of it is in the file afterwards."""
    worker = Worker()
    box = world.open(worker)
    seq_of(box.begin(order(1)))
    queued = seq_of(box.enqueue(order(2, symbol="ETHUSDT")))
    assert box.checkpoint()
    worker.step()
    assert not box.checkpoint(), "one is under way"
    commits = box.stats()["commits"]
    begun = [seq_of(box.begin(order(n, symbol=f"S{n}"))) for n in (3, 4)]
    away = box.begin(cancel(5))
    assert isinstance(away, Admitted)
    assert away.journaled
    assert isinstance(box.mark_in_flight(queued), Admitted)
    box.finish(begun[0], Outcome.OK)
    box.flush()
    assert box.stats()["commits"] == commits
    worker.drain()
    assert (box.stats()["unwritten"], box.stats()["checkpoints"]) == (0, 1)
    assert side_of(world).stat().st_size == 0
    box.close()
    on_disk = states_on_disk(world.path)
    assert (on_disk[begun[0]], on_disk[begun[1]], on_disk[away.seq], on_disk[queued]) == (10, 1, 1, 1)
    assert not side_of(world).exists()


def side_of(world: World) -> Path:
    return world.path.with_name("outbox.db-side")


def killed_in_the_hold(world: World) -> tuple[int, int, int]:
    """A process that dies while the worker has the connection: begun, queued, and marked in flight meanwhile."""
    worker = Worker()
    box = world.open(worker)
    marked = seq_of(box.enqueue(order(1, symbol="ETHUSDT")))
    box.checkpoint()
    worker.step()
    begun = seq_of(box.begin(order(2)))
    queued = seq_of(box.enqueue(order(3, symbol="XRPUSDT")))
    seq_of(box.mark_in_flight(marked))
    world.kill()
    return begun, queued, marked


def test_what_was_begun_during_a_hold_survives_a_kill(world: World) -> None:
    """The next process finds it beside the database: maybe-sent unknown, never-sent queued; a second start too."""
    begun, queued, marked = killed_in_the_hold(world)
    for _ in range(2):
        box = world.open()
        assert [u.seq for u in box.unknowns()] == [marked, begun]
        assert (due := box.next_due()) is not None
        assert due.seq == queued
        box.close()
    assert world.said("outbox.side_replayed") == [{"rows": 3}]


def test_rows_replayed_twice_change_nothing(world: World) -> None:
    """A side log that comes back after all was settled, collected and compacted revives nothing."""
    begun, queued, marked = killed_in_the_hold(world)
    left = side_of(world).read_bytes()
    box = world.open()
    box.drop(queued, who="me", why="test")
    for seq in (begun, marked):
        box.finish(seq, Outcome.OK)
    box.flush()
    box.close()
    side_of(world).write_bytes(left)
    box = world.open()
    assert box.open_intents() == []
    assert [u.ending.state for u in box.uncollected("bot")] == ["done", "done", "dropped"]
    box.ack("bot", (begun, queued, marked))
    world.pass_time(601.0)
    box.checkpoint()
    box.close()
    side_of(world).write_bytes(left)
    assert world.open().open_intents() == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "rubbish"])
def test_a_torn_side_log_is_read_up_to_the_tear(world: World, damage: str) -> None:
    """The whole records before it count; it was never promised what comes after."""
    begun, _, _ = killed_in_the_hold(world)
    text = side_of(world).read_bytes()
    first = 8 + int.from_bytes(text[:4], "little")
    torn = {
        "cut": text[: first + 20],
        "flipped": text[: first + 30] + bytes([text[first + 30] ^ 1]) + text[first + 31 :],
        "rubbish": text[:first] + b"\0" * 50,
    }
    side_of(world).write_bytes(torn[damage])
    box = world.open()
    assert [u.seq for u in box.unknowns()] == [begun]
    assert not side_of(world).exists()


def test_a_side_log_that_cannot_be_written_refuses_orders(world: World) -> None:
    """As on any other sick disk: refused, degraded, cancels in memory; nothing half-written is replayed."""
    worker = Worker()
    box = world.open(worker)
    side_of(world).mkdir()
    box.checkpoint()
    worker.step()
    refused = box.begin(order(1))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.DISK
    assert isinstance(box.begin(cancel(2)), Admitted)
    side_of(world).rmdir()
    worker.drain()
    world.pass_time(2.0)
    box.tick()
    assert world.said("outbox.healed")
    assert isinstance(box.begin(order(1)), Admitted)


def test_checkpoints_come_by_number_and_when_idle(tmp_path: Path) -> None:
    """After so many commits at the next tick, or after so long with at least one; the WAL is empty then."""
    world = World(tmp_path, checkpoint_commits=3, checkpoint_idle_s=30.0)
    box = world.open()
    box.tick()
    for number in range(3):
        assert box.stats()["checkpoints"] == 0
        seq_of(box.begin(order(number)))
    box.tick()
    assert (box.stats()["checkpoints"], box.stats()["wal_bytes"]) == (1, 0)
    world.pass_time(31.0)
    box.tick()
    assert box.stats()["checkpoints"] == 1
    seq_of(box.begin(order(7)))
    world.pass_time(31.0)
    box.tick()
    assert box.stats()["checkpoints"] == 2


def test_collected_rows_leave_when_their_key_does_and_others_stay(world: World) -> None:
    """Compaction deletes what is collected and past the window; uncollected, open and unknown rows stay."""
    box = world.open()
    done = [seq_of(box.begin(order(n))) for n in range(3)]
    for seq in done:
        box.finish(seq, Outcome.OK)
    asked = unknown(box, 7)
    box.ack("bot", done[:2])
    box.checkpoint()
    assert set(box.stats()["open"]) == {"recorded", "in_flight", "unknown"}
    world.pass_time(601.0)
    box.checkpoint()
    box.close()
    assert set(states_on_disk(world.path)) == {done[2], asked}


def test_outcomes_are_kept_for_the_stated_retention(tmp_path: Path) -> None:
    """Up to it they stay, past it they are gone from file and memory; numbers are not used again."""
    world = World(tmp_path, retention_s=1_000.0)
    box = world.open()
    seq = seq_of(box.begin(order()))
    box.finish(seq, Outcome.OK)
    world.pass_time(999.0)
    box.checkpoint()
    box.tick()
    assert [u.seq for u in box.uncollected("bot")] == [seq]
    world.pass_time(2.0)
    box.checkpoint()
    box.tick()
    assert box.uncollected("bot") == []
    assert box.stats()["uncollected"] == {}
    box.close()
    assert states_on_disk(world.path) == {}
    world.wall -= 3_600.0
    assert seq_of(world.open().begin(order(2))) > seq


def test_compaction_walks_all_rows_in_stretches(tmp_path: Path) -> None:
    """A few rows per checkpoint, round and round: in the end all that may go is gone."""
    world = World(tmp_path, compact_rows=4)
    box = world.open()
    seqs = [seq_of(box.begin(order(n))) for n in range(10)]
    for seq in seqs:
        box.finish(seq, Outcome.OK)
    box.ack("bot", seqs)
    world.pass_time(601.0)
    for expected in (6, 2, 0):
        box.checkpoint()
        world.box.flush()
        assert len(box.export()) == expected


# -- durability "disk" -----------------------------------------------------------------------------------------------


def test_with_durability_disk_an_order_waits_for_the_disk(tmp_path: Path) -> None:
    """Admitted but not durable; the callback comes after the commit; what came meanwhile goes together."""
    world = World(tmp_path, durability="disk")
    worker = Worker()
    box = world.open(worker)
    told: list[object] = []
    first = box.begin(order(1), told.append)
    assert isinstance(first, Admitted)
    assert not first.durable
    for number in (2, 3):
        box.begin(order(number), told.append)
    assert told == []
    worker.step()
    assert told == [None]
    worker.step()
    assert told == [None, None, None]
    assert box.stats()["commits"] == 2
    world.kill()
    assert len(world.open(Worker()).unknowns()) == 3


def test_with_durability_disk_cancels_do_not_wait(tmp_path: Path) -> None:
    """A cancel may leave at once; its row follows."""
    world = World(tmp_path, durability="disk")
    worker = Worker()
    box = world.open(worker)
    assert box.begin(cancel()) == Admitted(box.open_intents()[0].seq, durable=True, journaled=True)
    worker.drain()
    queued = seq_of(box.enqueue(cancel(2)))
    worker.drain()
    assert isinstance(sent := box.mark_in_flight(queued), Admitted)
    assert sent.durable


def test_with_durability_disk_the_queue_acknowledges_when_durable(tmp_path: Path) -> None:
    """enqueue and mark_in_flight call back after their commits; close tells who still waits."""
    world = World(tmp_path, durability="disk")
    worker = Worker()
    box = world.open(worker)
    told: list[object] = []
    seq = seq_of(box.enqueue(order(), told.append))
    worker.drain()
    sent = box.mark_in_flight(seq, told.append)
    assert isinstance(sent, Admitted)
    assert not sent.durable
    worker.drain()
    assert told == [None, None]
    box.finish(seq, Outcome.OK)
    box.flush()
    worker.drain()
    box.begin(order(5), told.append)
    work, done = worker.jobs.pop()
    box.begin(order(6), told.append)
    work()
    box.close()
    done(None)
    assert told == [None] * 4
    assert len(world.open(Worker()).unknowns()) == 2


def test_a_checkpoint_takes_the_waiting_batch_along(tmp_path: Path) -> None:
    """With durability disk, orders begun during the WAL sync are durable with the checkpoint."""
    world = World(tmp_path, durability="disk")
    worker = Worker()
    box = world.open(worker)
    told: list[object] = []
    seq_of(box.begin(order(1), told.append))
    worker.drain()
    assert box.checkpoint()
    assert not box.checkpoint()
    box.begin(order(2), told.append)
    worker.drain()
    assert told == [None, None]
    assert box.stats()["checkpoints"] <= 1
    box.checkpoint()
    worker.drain()
    assert box.stats()["checkpoints"] >= 1


# -- looking ---------------------------------------------------------------------------------------------------------


def test_open_intents_stories_and_exports(world: World) -> None:
    """Listings name state, age and hold; a story tells a settled one too; an export pages through all."""
    box = world.open()
    seqs = [seq_of(box.begin(order(1))), seq_of(box.enqueue(order(2))), seq_of(box.begin(cancel(3)))]
    box.finish(seqs[2], Outcome.OK, reply=b"gone")
    world.pass_time(3.0)
    assert [(o.seq, o.state, o.queued, o.age_s) for o in box.open_intents()] == [
        (seqs[0], State.IN_FLIGHT, False, 3.0),
        (seqs[1], State.RECORDED, True, 3.0),
    ]
    story = box.story(seqs[2])
    assert story is not None
    assert (story["state"], story["ending"]["reply"], story["intent"]["operation"]) == ("done", b"gone", "order.cancel")
    running = box.story(seqs[0])
    assert running is not None
    assert (running["state"], running["ending"]) == ("in_flight", None)
    assert box.story(5) is None
    assert [s["seq"] for s in box.export(0, 2)] == seqs[:2]
    assert [s["seq"] for s in box.export(seqs[1])] == seqs[2:]


def test_a_closed_outbox_refuses_and_stays_closed(world: World) -> None:
    """Draining; a second close and a tick do nothing."""
    box = world.open()
    box.close()
    box.close()
    box.tick()
    for refused in (box.begin(order()), box.enqueue(order())):
        assert isinstance(refused, Refusal)
        assert refused.reason is Reason.DRAINING


@pytest.mark.parametrize(
    "wrong",
    [
        {"durability": "maybe"},
        {"queue_max": 0},
        {"ttl_max_s": float("nan")},
        {"keys_max": -1},
        {"keys_max": True},
        {"reply_bytes_max": "10"},
    ],
)
def test_a_nonsense_setting_is_refused_by_name(wrong: dict[str, Any]) -> None:
    """The message names the field and what is expected."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        OutboxSettings(**wrong)


def test_settled_is_said_with_its_bot(world: World) -> None:
    """on_settled carries what a notifier needs."""
    box = world.open()
    seq = unknown(box, bot_id="b7")
    box.resolve(seq, Evidence(Source.QUERY, Finding.EXISTS, status="FILLED", venue_order_id="v9"))
    (settled,) = world.settled
    assert isinstance(settled, Settled)
    assert (settled.bot_id, settled.final, settled.queued) == ("b7", True, False)
    assert settled.ending is not None
    assert (settled.ending.cause, settled.ending.venue_order_id) == ("FILLED", "v9")
