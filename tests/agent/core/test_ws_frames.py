"""Frames in and out: what passes is what came, whatever the pieces; what is no WebSocket is refused by its code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.ws_frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    BrokenFrames,
    Messages,
    close_frame,
    frame,
)

MASK = b"\x01\x02\xfe\xff"


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(
    st.lists(
        st.tuples(st.sampled_from([TEXT, BINARY]), st.binary(max_size=70_000), st.booleans()), min_size=1, max_size=4
    ),
    st.lists(st.integers(0, 4000), max_size=20),
)
def test_messages_survive_any_cutting(messages: list[tuple[int, bytes, bool]], sizes: list[int]) -> None:
    """Kinds, payloads and the very bytes come out in order, however the stream is cut."""
    frames = [frame(kind, payload, MASK if masked else b"") for kind, payload, masked in messages]
    reader = Messages(1 << 20)
    found = [each for piece in cut(b"".join(frames), sizes) for each in reader.feed(piece)]
    assert [(each.kind, each.payload, each.raw) for each in found] == [
        (kind, payload, raw) for (kind, payload, _masked), raw in zip(messages, frames, strict=True)
    ]
    assert reader.between


def test_a_long_payload_has_a_long_length() -> None:
    """Seven bits, sixteen, sixty-four: each length in its own form, and back."""
    for size, head in ((125, 2), (126, 4), (65_535, 4), (65_536, 10)):
        whole = frame(BINARY, bytes(size))
        assert len(whole) == head + size
        (found,) = Messages(1 << 20).feed(whole)
        assert len(found.payload) == size


def test_a_ping_inside_a_fragmented_message_comes_first() -> None:
    """Control frames are handed on at once; the message keeps the bytes of its own fragments."""
    first = bytes((TEXT, 2)) + b"ab"
    last = bytes((0x80, 1)) + b"c"
    reader = Messages(100)
    assert reader.feed(first) == []
    assert not reader.between
    ping, whole = reader.feed(frame(PING, b"?") + last)
    assert (ping.kind, ping.payload) == (PING, b"?")
    assert (whole.kind, whole.payload, whole.raw) == (TEXT, b"abc", first + last)


@pytest.mark.parametrize(
    ("data", "code", "what"),
    [
        (bytes((0x80, 1)) + b"x", 1002, "continuation of nothing"),
        (bytes((TEXT, 1)) + b"x" + bytes((0x81, 1)) + b"y", 1002, "inside a fragmented"),
        (bytes((0xC1, 1)) + b"x", 1002, "reserved bits"),
        (bytes((0x83, 0)), 1002, "unknown kind 3"),
        (bytes((PING, 0)), 1002, "fragmented control"),
        (bytes((0x80 | PING, 126, 0, 126)), 1002, "more than 125"),
        (bytes((0x82, 126, 1, 1)), 1009, "257 bytes"),
        (bytes((0x82, 127)) + (1 << 40).to_bytes(8, "big"), 1009, "at most"),
        ((bytes((TEXT, 60)) + b"x" * 60) * 1 + (bytes((0, 60)) + b"x" * 60) * 5, 1009, "more than 256"),
    ],
)
def test_what_is_no_websocket_is_refused_with_its_code(data: bytes, code: int, what: str) -> None:
    """Each violation names itself, before its bytes are kept."""
    with pytest.raises(BrokenFrames, match=what) as caught:
        Messages(256).feed(data)
    assert caught.value.code == code


def test_a_close_carries_its_code_and_a_text_that_fits() -> None:
    """At most 125 bytes, cut between characters."""
    (message,) = Messages(1000).feed(close_frame(1008, "ä" * 100))
    assert message.kind == CLOSE
    assert int.from_bytes(message.payload[:2], "big") == 1008
    assert message.payload[2:].decode() == "ä" * 61


def test_a_length_in_pieces_is_waited_for() -> None:
    """A header that is not whole yet is no error."""
    reader = Messages(1000)
    assert [reader.feed(bytes((each,))) for each in frame(TEXT, b"x" * 300)[:-1]] == [[]] * 303
    assert reader.feed(b"x")[0].payload == b"x" * 300
