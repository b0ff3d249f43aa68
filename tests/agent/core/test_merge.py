"""jackstay_agent.core.merge: one stream from several copies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.merge import Merge


def m(number: int) -> bytes:
    return b"%d" % number


def test_first_copy_wins() -> None:
    """Two aligned lines: each message is delivered once, by whichever brings it first."""
    merge = Merge()
    merge.join("a")
    assert merge.take("a", m(1)) == [m(1)]
    merge.join("b")
    assert merge.take("b", m(1)) == []
    assert merge.aligned("b")
    assert merge.take("b", m(2)) == [m(2)]
    assert merge.take("a", m(2)) == []
    assert merge.take("a", m(3)) == [m(3)]
    assert merge.doubles == 2


def test_a_line_that_is_ahead_waits_until_the_older_one_catches_up() -> None:
    """Messages of a joiner that is ahead do not overtake; once the place is known the rest follows at once."""
    merge = Merge()
    merge.join("old")
    merge.take("old", m(1))
    merge.join("new")
    for number in (3, 4, 5):
        assert merge.take("new", m(number)) == []
    assert merge.take("old", m(2)) == [m(2)]
    assert merge.take("old", m(3)) == [m(3), m(4), m(5)]
    assert merge.take("old", m(4)) == []
    assert merge.take("new", m(6)) == [m(6)]


def test_what_only_the_joiner_has_is_delivered_when_the_other_ends() -> None:
    """The old line's end loses nothing: the buffer is delivered, without what came already."""
    merge = Merge()
    merge.join("old")
    merge.take("old", m(1))
    merge.join("new")
    merge.take("new", m(3))
    merge.take("new", m(4))
    assert merge.leave("old") == [m(3), m(4)]
    assert merge.take("new", m(5)) == [m(5)]
    assert merge.take("old", m(9)) == []


def test_equal_messages_in_a_row_are_each_delivered() -> None:
    """Repeated content is no repetition of the stream: places are counted, not only contents."""
    merge = Merge()
    merge.join("a")
    merge.take("a", m(0))
    merge.join("b")
    merge.take("b", m(0))
    out = [merge.take("a", b"x"), merge.take("a", b"x"), merge.take("b", b"x"), merge.take("b", b"x")]
    assert out == [[b"x"], [b"x"], [], []]


def test_a_message_only_one_line_had_comes_late_not_never() -> None:
    """A gap of the leading line is filled by the other."""
    merge = Merge()
    merge.join("a")
    merge.take("a", m(1))
    merge.join("b")
    merge.take("b", m(1))
    assert merge.take("a", m(3)) == [m(3)]
    assert merge.take("b", m(2)) == [m(2)]
    assert merge.take("b", m(3)) == []
    assert merge.late == 1


def test_a_message_the_others_passed_over_is_delivered_when_the_joiner_finds_its_place() -> None:
    """What the joiner had and nobody else brought comes late."""
    merge = Merge()
    merge.join("old")
    merge.take("old", m(1))
    merge.join("new")
    merge.take("new", m(2))
    assert merge.take("old", m(3)) == [m(3)]
    assert merge.take("new", m(3)) == [m(2)]


@given(st.lists(st.integers(0, 9), max_size=200))
def test_any_interleaving_delivers_everything_once_in_order(script: list[int]) -> None:
    """However two copies interleave, begin late and end, the stream comes out whole, single and in order, as long as
    an older copy goes only after the younger one found its place and caught up."""
    merge = Merge()
    out: list[bytes] = []
    merge.join(0)
    places, youngest, head = {0: 0}, 0, 0  # line -> the message it brings next; head: what the venue has sent

    def bring(line: int) -> None:
        if places[line] < head:
            out.extend(merge.take(line, m(places[line])))
            places[line] += 1

    for step in script:
        if step <= 3:
            head += 1
        elif step <= 5:
            bring(min(places))
        elif step <= 7:
            bring(max(places))
        elif step == 8 and len(places) == 1:
            youngest += 1
            merge.join(youngest)
            places[youngest] = head
        elif step == 9 and len(places) == 2 and merge.aligned(max(places)):
            old = min(places)
            if places[max(places)] >= places[old]:
                out.extend(merge.leave(old))
                del places[old]
    while any(place < head for place in places.values()):
        for line in list(places):
            bring(line)
    assert out == [m(number) for number in range(head)]


def test_the_log_is_bounded() -> None:
    """A line too far behind loses its place and finds it again; memory does not grow."""
    merge = Merge(log_max=10)
    merge.join("a")
    merge.take("a", m(0))
    merge.join("b")
    merge.take("b", m(0))
    for number in range(1, 101):
        assert merge.take("a", m(number)) == [m(number)]
    assert len(merge._log) == len(merge._at) == 10
    for number in range(1, 101):
        assert merge.take("b", m(number)) == []
    assert merge.aligned("b")
    assert merge.take("b", m(101)) == [m(101)]


def test_a_line_whose_copies_differ_is_kept_out_until_it_is_alone() -> None:
    """Where a venue words each copy differently nothing is doubled: the joiner waits and takes over quietly."""
    merge = Merge()
    merge.join("old")
    merge.join("new")
    out: list[bytes] = []
    for number in range(1000):
        out += merge.take("old", b"old %d" % number)
        out += merge.take("new", b"new %d" % number)
    assert out == [b"old %d" % number for number in range(1000)]
    assert merge.leave("old") == []
    assert merge.take("new", b"new 1000") == [b"new 1000"]


def test_a_line_joins_once_and_knows_whether_it_is_at_the_end() -> None:
    """Joining twice changes nothing; at the end means that the next message is new."""
    merge = Merge()
    merge.join("a")
    merge.join("a")
    merge.take("a", m(1))
    assert merge.at_end("a")
    merge.join("b")
    merge.join("b")
    assert merge.lines() == {"a", "b"}
    assert not merge.at_end("b")


def test_a_line_too_far_behind_loses_its_place_and_joins_again() -> None:
    """What it brings from long ago is not delivered a second time while another line carries the stream."""
    merge = Merge(log_max=2)
    merge.join("a")
    merge.take("a", m(1))
    merge.join("b")
    assert merge.take("b", m(1)) == []
    for number in (2, 3, 4, 5):
        assert merge.take("a", m(number)) == [m(number)]
    assert merge.take("b", m(2)) == []
    assert not merge.aligned("b")
    assert merge.take("b", m(5)) == []
    assert merge.aligned("b")
    assert merge.take("b", m(6)) == [m(6)]


def test_a_line_far_behind_takes_over_when_it_is_the_last() -> None:
    """Nobody else is left to bring anything: what it has is delivered."""
    merge = Merge(log_max=2)
    merge.join("a")
    merge.take("a", m(1))
    merge.join("b")
    merge.take("b", m(1))
    for number in (2, 3, 4, 5):
        merge.take("a", m(number))
    assert merge.leave("a") == []
    assert merge.take("b", m(9)) == [m(9)]
    assert merge.aligned("b")


def test_equal_messages_of_a_joiner_are_not_doubled() -> None:
    """A joiner that waits with equal messages brings each content once when it finds its place or inherits."""
    merge = Merge()
    merge.join("old")
    merge.take("old", m(1))
    merge.join("new")
    merge.take("new", m(3))
    merge.take("new", m(3))
    assert merge.take("old", m(3)) == [m(3)]
    heirs = Merge()
    heirs.join("old")
    heirs.take("old", m(1))
    heirs.join("new")
    heirs.take("new", m(3))
    heirs.take("new", m(3))
    assert heirs.leave("old") == [m(3)]


def test_the_log_forgets_an_old_place_of_a_repeated_message() -> None:
    """A message that stands in the log twice is remembered at its newer place."""
    merge = Merge(log_max=1)
    merge.join("a")
    assert merge.take("a", m(1)) == [m(1)]
    assert merge.take("a", m(1)) == [m(1)]
    assert merge.take("a", m(2)) == [m(2)]


def test_a_line_that_skips_what_others_brought_finds_its_place_again() -> None:
    """A message further on in the log moves the line forward; nothing is doubled."""
    merge = Merge()
    merge.join("a")
    merge.take("a", m(1))
    merge.join("b")
    merge.take("b", m(1))
    for number in (2, 3, 4):
        merge.take("a", m(number))
    assert merge.take("b", m(4)) == []
    assert merge.take("b", m(5)) == [m(5)]
