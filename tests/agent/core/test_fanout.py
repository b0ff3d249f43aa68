"""jackstay_agent.core.fanout: what a slow reader still gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.fanout import (
    ENTRY_OVERHEAD_BYTES,
    TOPICS_MISSED_MAX,
    Collapsed,
    Lag,
    LastValues,
    ReaderQueue,
)


def drained(queue: ReaderQueue) -> list[object]:
    out: list[object] = []
    while (entry := queue.head()) is not None:
        out.append(entry)
        queue.pop()
    return out


def test_the_oldest_market_data_goes_first_and_is_counted() -> None:
    """Past the byte bound the oldest frames are dropped; the reader hears how many messages of each topic it missed."""
    queue = ReaderQueue(bytes_max=3 * (ENTRY_OVERHEAD_BYTES + 10), events_max=4)
    for number in range(5):
        queue.offer("a" if number % 2 == 0 else "b", b"%010d" % number, 3)
    assert queue.missed_total == 6
    assert drained(queue) == [Lag("a", 3), Lag("b", 3), b"%010d" % 2, b"%010d" % 3, b"%010d" % 4]
    assert not queue
    assert queue.held_bytes == 0


def test_a_frame_larger_than_the_bound_is_missed_not_kept() -> None:
    """One frame beyond the whole bound leaves the queue empty but for the count."""
    queue = ReaderQueue(bytes_max=100, events_max=4)
    queue.offer("a", bytes(1000), 7)
    assert drained(queue) == [Lag("a", 7)]


def test_the_bound_itself_is_kept() -> None:
    """Exactly the bound stays, one byte more drops."""
    queue = ReaderQueue(bytes_max=2 * (ENTRY_OVERHEAD_BYTES + 10), events_max=4)
    queue.offer("a", bytes(10), 1)
    queue.offer("a", bytes(10), 1)
    assert queue.missed_total == 0
    queue.offer("a", bytes(1), 1)
    assert queue.missed_total == 1


def test_events_come_first_and_collapse_past_their_bound() -> None:
    """Events are not dropped one by one: past the bound they become one marker with their number."""
    queue = ReaderQueue(bytes_max=10_000, events_max=2)
    queue.offer("a", b"data", 1)
    queue.offer_event(b"one")
    queue.offer_event(b"two")
    assert queue.head() == b"one"
    queue.offer_event(b"three")
    queue.offer_event(b"four")
    assert drained(queue) == [Collapsed(4), b"data"]
    queue.offer_event(b"five")
    assert drained(queue) == [b"five"]


def test_events_push_out_market_data_never_the_reverse() -> None:
    """When bytes are short, data makes room for events."""
    queue = ReaderQueue(bytes_max=2 * (ENTRY_OVERHEAD_BYTES + 10), events_max=10)
    queue.offer("a", bytes(10), 1)
    queue.offer_event(bytes(10))
    queue.offer_event(bytes(10))
    assert drained(queue) == [bytes(10), bytes(10), Lag("a", 1)]


def test_an_unsubscribed_topic_is_forgotten_with_its_losses() -> None:
    """What the reader no longer wants is neither sent nor reported."""
    queue = ReaderQueue(bytes_max=2 * (ENTRY_OVERHEAD_BYTES + 1), events_max=4)
    for topic in ("a", "b", "a"):
        queue.offer(topic, b"x", 1)
    queue.forget("a")
    assert drained(queue) == [b"x"]
    assert queue.held_bytes == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("offer"), st.sampled_from("abc"), st.integers(0, 400), st.integers(1, 5)),
            st.tuples(st.just("event"), st.just(""), st.integers(0, 400), st.just(1)),
            st.tuples(st.just("pop"), st.just(""), st.just(0), st.just(0)),
        ),
        max_size=80,
    )
)
def test_nothing_is_lost_uncounted_and_the_bound_holds(steps: list[tuple[str, str, int, int]]) -> None:
    """Whatever is offered is delivered in order or counted, per topic; market data never exceeds the bound."""
    queue = ReaderQueue(bytes_max=1000, events_max=1000)
    offered: dict[str, int] = dict.fromkeys("abc", 0)
    counts: dict[bytes, tuple[str, int]] = {}
    told: dict[str, int] = dict.fromkeys("abc", 0)
    last = dict.fromkeys("abc", -1)

    def take() -> None:
        entry = queue.head()
        if entry is None:
            return
        queue.pop()
        if isinstance(entry, Lag):
            told[entry.topic] += entry.missed
        elif isinstance(entry, bytes) and entry in counts:
            topic, count = counts[entry]
            number = int(entry[:8])
            assert number > last[topic]
            last[topic] = number
            told[topic] += count

    for number, (what, topic, size, count) in enumerate(steps):
        if what == "offer":
            frame = b"%08d" % number + bytes(size)
            counts[frame] = (topic, count)
            offered[topic] += count
            queue.offer(topic, frame, count)
            assert queue.held_bytes <= 1000 or not queue._data
        elif what == "event":
            queue.offer_event(b"e" * size)
        else:
            take()
    while queue:
        take()
    assert told == offered
    assert queue.held_bytes == 0


def test_last_values_are_bounded() -> None:
    """The newest payload per topic is kept, the longest-known topic makes room, oversize payloads are not kept."""
    last = LastValues(topics_max=2, payload_bytes_max=3)
    last.put("a", 1, b"x")
    last.put("a", 2, b"y")
    last.put("b", 1, b"z")
    assert last.get("a") == (2, b"y")
    last.put("c", 1, b"w")
    assert last.get("a") is None
    last.put("b", 2, b"long")
    assert last.get("b") is None
    last.forget("c")
    assert last.get("c") is None


def test_a_queue_counts_what_it_holds_and_an_empty_one_pops_nothing() -> None:
    """Length is entries of both kinds; popping or forgetting nothing is no error."""
    queue = ReaderQueue(bytes_max=10_000, events_max=4)
    queue.pop()
    queue.forget("nobody")
    queue.offer("t", b"x", 1)
    queue.offer_event(b"e")
    queue.forget("other")
    assert len(queue) == 2


def test_losses_are_remembered_for_a_bounded_number_of_topics() -> None:
    """A reader of very many topics forgets its oldest losses, not its memory bound."""
    queue = ReaderQueue(bytes_max=10_000, events_max=4)
    for number in range(TOPICS_MISSED_MAX + 5):
        queue.missed(f"t{number}", 1)
    told = 0
    while queue:
        told += 1
        queue.pop()
    assert told == TOPICS_MISSED_MAX
    assert queue.missed_total == TOPICS_MISSED_MAX + 5
