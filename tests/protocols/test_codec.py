"""jackstay_protocols.codec and messages: bytes in, messages out, and every way that bytes can be wrong."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay_protocols import messages as m
from jackstay_protocols.codec import HEADER_BYTES, Header, decode, decode_feed, encode, feed_turn_reader, read_header
from jackstay_protocols.errors import Lane, Outcome, ProtocolError, Reason
from jackstay_protocols.limits import NESTING_DEPTH_MAX, TO_CLIENT_FRAME_BYTES_MAX, WIRE_VERSION, WIRE_VERSION_MIN

ALL = {**m.TO_AGENT, **m.TO_CLIENT}
HERE = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((HERE / "wire_v1.json").read_text(encoding="utf-8"))
#: Messages that got fields with a default since, and kinds that came since: as they are written now. The first
#: recording stays readable.
APPENDED: dict[str, Any] = json.loads((HERE / "wire_v1_appended.json").read_text(encoding="utf-8"))
READ = {**RECORDED, **{f"{name}, appended": each for name, each in APPENDED.items()}}
WRITTEN = RECORDED | APPENDED
BYTES_MAX = 1 << 20


def told(frame: bytes, kinds: dict[int, type[m.Message]] = m.TO_AGENT, bytes_max: int = BYTES_MAX) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        decode(frame, kinds, bytes_max=bytes_max)
    return caught.value


def frame(kind: int, body: Any, *, version: int = WIRE_VERSION, id: int = 7) -> bytes:
    raw = body if isinstance(body, bytes) else msgpack.packb(body)
    return struct.pack("!BBHQq", version, kind, 0, id, 0) + raw


def message_of(recorded: dict[str, Any]) -> m.Message:
    kind = getattr(m, recorded["kind"])
    return msgspec.convert(list(recorded["fields"].values()), kind)


# ---------------------------------------------------------------- recorded bytes


@pytest.mark.parametrize("name", READ)
def test_recorded_bytes_of_version_1_mean_what_they_meant(name: str) -> None:
    """A frame that an earlier release sent decodes to the same message and header."""
    recorded = READ[name]
    header, message = decode(bytes.fromhex(recorded["frame"]), ALL, bytes_max=BYTES_MAX)
    assert message == message_of(recorded)
    assert header == Header(
        1, type(message).KIND, recorded["header"]["beat_ds"], recorded["header"]["id"], recorded["header"]["when"]
    )


@pytest.mark.parametrize("name", WRITTEN)
def test_version_1_is_still_written_as_recorded(name: str) -> None:
    """Changing a message changes its bytes: then record it in a file beside this one, never over it."""
    assert WIRE_VERSION == 1
    recorded = WRITTEN[name]
    assert encode(message_of(recorded), **recorded["header"]).hex() == recorded["frame"]


def test_every_message_has_recorded_bytes() -> None:
    """A message without a recording could change unnoticed."""
    assert {each["kind"] for each in WRITTEN.values()} == {kind.__name__ for kind in ALL.values()}


def test_kinds_keep_to_their_direction() -> None:
    """1 to 63 travel to the agent, 64 to 127 to the client, and no number is used twice."""
    assert all(1 <= kind <= 63 for kind in m.TO_AGENT)
    assert all(64 <= kind <= 127 for kind in m.TO_CLIENT)
    assert len(ALL) == len(m.TO_AGENT) + len(m.TO_CLIENT)
    assert all(kind.KIND == number for number, kind in ALL.items())


def test_fields_a_newer_peer_appended_are_ignored_and_missing_ones_filled() -> None:
    """The N/N-1 rule: fields are only appended, with a default."""
    _, longer = decode(frame(m.Beat.KIND, [5, "from the future", {}]), m.TO_AGENT, bytes_max=BYTES_MAX)
    _, shorter = decode(frame(m.Request.KIND, ["GET", "https://x/"]), m.TO_AGENT, bytes_max=BYTES_MAX)
    assert longer == m.Beat(5)
    assert shorter == m.Request("GET", "https://x/")


class SubscribeWithoutHold(m.Message, frozen=True, array_like=True):
    """`Subscribe` as a release knows it that has no ``hold_s``."""

    KIND = m.Subscribe.KIND
    feed: str = ""
    topics: list[str] = []
    events: bool = False
    turns: bool = False


def test_a_reader_that_waits_is_understood_by_a_release_that_cannot_hold_and_the_other_way_round() -> None:
    """An older agent sends at once; an older client's subscription holds nothing."""
    newer = encode(m.Subscribe("f", ["t"], True, turns=True, hold_s=0.01), id=3)
    older = SubscribeWithoutHold("f", ["t"], True, turns=True)
    assert msgspec.msgpack.decode(newer[HEADER_BYTES:], type=SubscribeWithoutHold) == older
    _, read = decode(frame(m.Subscribe.KIND, ["f", ["t"], True, True]), m.TO_AGENT, bytes_max=BYTES_MAX)
    assert read == m.Subscribe("f", ["t"], True, turns=True, hold_s=0.0)


# ---------------------------------------------------------------- round trip


def values(kind: Any) -> st.SearchStrategy[Any]:
    plain = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary()
    )
    nested = st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
    )
    return {
        "str": st.text(),
        "int": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(allow_nan=False),
        "bool": st.booleans(),
        "bytes": st.binary(),
        "Headers": st.lists(st.tuples(st.binary(), st.binary())),
        "Lane | None": st.none() | st.sampled_from(Lane),
        "Outcome": st.sampled_from(Outcome),
        "float | None": st.none() | st.floats(allow_nan=False),
        "list[str]": st.lists(st.text()),
        "list[bytes]": st.lists(st.binary()),
        "list[FeedItem]": st.lists(st.builds(m.FeedItem, st.text(), st.integers(0, 2**63 - 1), st.binary())),
        "dict[str, Any]": st.dictionaries(st.text(), nested, max_size=3),
    }[kind]


def some(kind: type[m.Message]) -> st.SearchStrategy[m.Message]:
    notes = {
        name: note for base in reversed(kind.__mro__) for name, note in getattr(base, "__annotations__", {}).items()
    }
    return st.builds(kind, **{name: values(notes[name]) for name in kind.__struct_fields__})


@settings(max_examples=300, deadline=None)
@given(
    st.one_of([some(kind) for kind in ALL.values()]),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**16 - 1),
)
def test_every_message_survives_the_round_trip(message: m.Message, id: int, when: int, beat_ds: int) -> None:
    """What is encoded decodes to an equal message with the same header."""
    header, back = decode(encode(message, id=id, when=when, beat_ds=beat_ds), ALL, bytes_max=BYTES_MAX)
    assert back == message
    assert (header.id, header.when, header.beat_ds) == (id, when, beat_ds)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_message_or_a_protocol_error(raw: bytes) -> None:
    """Nothing but ProtocolError escapes from random bytes."""
    with contextlib.suppress(ProtocolError):
        decode(raw, ALL, bytes_max=BYTES_MAX)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(RECORDED)), st.data())
def test_damaged_frames_are_a_message_or_a_protocol_error(name: str, data: st.DataObject) -> None:
    """Nothing but ProtocolError escapes from a real frame with bytes changed, cut off or added."""
    raw = bytearray.fromhex(RECORDED[name]["frame"])
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        decode(bytes(raw[:cut]) + data.draw(st.binary(max_size=8)), ALL, bytes_max=BYTES_MAX)
    except ProtocolError:
        pass


def same_as_decode(raw: bytes) -> None:
    """`decode_feed` says what `decode` says of a batch, and nothing of all else."""
    try:
        header, message = decode(raw, m.TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
    except ProtocolError:
        assert decode_feed(raw) is None
    else:
        expected = (header.when, message) if isinstance(message, m.Feed) and header.version == WIRE_VERSION else None
        assert decode_feed(raw) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=20),
    st.lists(st.binary(max_size=30), max_size=5),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 100),
    st.binary(max_size=4),
)
def test_a_readers_hot_path_decodes_what_the_usual_one_does(
    topic: str, payloads: list[bytes], when: int, at: int, damage: bytes
) -> None:
    """Whole batches, damaged and shortened ones, other kinds, other versions."""
    whole = encode(m.Feed(topic, payloads), when=when)
    assert decode_feed(whole) == (when, m.Feed(topic, payloads))
    same_as_decode(whole[:at] + damage + whole[at + len(damage) :])
    same_as_decode(whole[:at])
    same_as_decode(encode(m.Lagged(topic, 1), when=when))
    same_as_decode(bytes((WIRE_VERSION + 1,)) + whole[1:])


class Told(NamedTuple):
    """A reader's own kind of item."""

    topic: str
    sequence: int
    payload: bytes


read_turn = feed_turn_reader(Told)


def same_turn_as_decode(raw: bytes) -> None:
    """`feed_turn_reader` says what `decode` says of a turn, and nothing of all else."""
    try:
        header, message = decode(raw, m.TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
    except ProtocolError:
        assert read_turn(raw) is None
    else:
        whole = isinstance(message, m.FeedTurn) and header.version == WIRE_VERSION
        assert read_turn(raw) == (message.items if whole else None)  # type: ignore[attr-defined]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(m.FeedItem, st.text(max_size=9), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=30)), max_size=5
    ),
    st.integers(0, 100),
    st.binary(max_size=4),
)
def test_a_turn_is_read_as_the_readers_own_items(items: list[m.FeedItem], at: int, damage: bytes) -> None:
    """Whole turns, damaged and shortened ones, turns with a field appended, other kinds, other versions."""
    whole = encode(m.FeedTurn(items))
    assert read_turn(whole) == items
    assert all(type(each) is Told for each in read_turn(whole) or ())
    assert read_turn(frame(m.FeedTurn.KIND, [[list(each) for each in items], "from the future"])) == items
    same_turn_as_decode(whole[:at] + damage + whole[at + len(damage) :])
    same_turn_as_decode(whole[:at])
    same_turn_as_decode(encode(m.Feed("t", [b"x"])))
    same_turn_as_decode(bytes((WIRE_VERSION + 1,)) + whole[1:])


def test_a_batch_past_the_bound_is_left_to_the_usual_path() -> None:
    """At the bound it is taken, one byte past it `decode` says why not."""
    room = TO_CLIENT_FRAME_BYTES_MAX - len(encode(m.Feed("t", [b"x" * 100_000]))) + 100_000
    assert decode_feed(encode(m.Feed("t", [b"x" * room]))) is not None
    same_as_decode(encode(m.Feed("t", [b"x" * (room + 1)])))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(ALL)),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 9), inner),
    ),
)
def test_any_messagepack_value_as_a_body_is_a_message_or_a_protocol_error(kind: int, body: Any) -> None:
    """Nothing but ProtocolError escapes from well-formed MessagePack of the wrong shape."""
    try:
        decode(frame(kind, body), ALL, bytes_max=BYTES_MAX)
    except ProtocolError:
        pass


# ---------------------------------------------------------------- malformed, class by class


@pytest.mark.parametrize("size", [0, 1, HEADER_BYTES - 1])
def test_too_short_a_frame_is_named(size: int) -> None:
    """A frame shorter than its header says how many bytes are expected."""
    error = told(b"\x01" * size)
    assert error.reason == Reason.BAD_FRAME
    assert str(HEADER_BYTES) in str(error)


@pytest.mark.parametrize("version", [0, WIRE_VERSION + 1, 255])
def test_another_version_names_both(version: int) -> None:
    """An unknown version is refused with theirs, ours and the id to answer to."""
    error = told(frame(m.Beat.KIND, [1], version=version, id=99))
    assert error.reason == Reason.VERSION
    assert error.details == {"id": 99, "theirs": version, "ours": WIRE_VERSION, "ours_min": WIRE_VERSION_MIN}
    assert str(version) in str(error)


def test_a_frame_at_the_limit_passes_and_one_past_it_does_not() -> None:
    """The size bound is inclusive."""
    raw = encode(m.Ack(["x" * 50]), id=7)
    assert decode(raw, m.TO_AGENT, bytes_max=len(raw))[1] == m.Ack(["x" * 50])
    error = told(raw, bytes_max=len(raw) - 1)
    assert error.reason == Reason.TOO_LARGE
    assert error.details["id"] == 7


@pytest.mark.parametrize("kind", [0, 14, 63, 64, 127, 128, 255])
def test_an_unknown_kind_is_named(kind: int) -> None:
    """Kinds of the other direction are as unknown as free numbers."""
    error = told(frame(kind, []))
    assert error.reason == Reason.UNKNOWN_KIND
    assert str(kind) in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x92\x01",
        b"\x91\xda\xff\xff",
        msgpack.packb([1]) + b"\x00",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91\xa2\xff\xfe",
        b"\x91" * 5000 + b"\x01",
        b"\x91\xc7\x01\x05\x00",
        msgpack.packb({"progress": 1}),
        msgpack.packb("text"),
        msgpack.packb(None),
        msgpack.packb(["not a number"]),
        msgpack.packb([1.5]),
        msgpack.packb([None]),
    ],
    ids="empty reserved-byte array-too-short text-too-short extra-bytes 4G-items 4G-pairs 4GB-of-bytes bad-UTF-8"
    " 5000-levels extension map text nil wrong-type fraction null".split(),
)
def test_malformed_bodies_are_refused(body: bytes) -> None:
    """A body that is no array of the message's fields is BAD_FRAME and carries the id to answer to."""
    error = told(frame(m.Beat.KIND, body))
    assert error.reason == Reason.BAD_FRAME
    assert error.details["id"] == 7


@pytest.mark.parametrize(
    "value", [["GET"], ["GET", 5], ["GET", "u", [[b"a"]]], ["GET", "u", [], "text"], ["GET", "u", [], b"", "", "fast"]]
)
def test_wrong_fields_of_a_request_are_refused(value: list[Any]) -> None:
    """Missing or mistyped fields name the message."""
    assert "Request" in str(told(frame(m.Request.KIND, value)))


def nest(levels: int) -> dict[str, Any]:
    deep: Any = 1
    for _ in range(levels):
        deep = {"a": deep}
    return {"state": deep}


def test_free_form_fields_are_bounded_in_depth() -> None:
    """A state at the depth limit passes, one level more is refused."""
    fits = nest(NESTING_DEPTH_MAX - 2)
    assert decode(frame(m.ReportState.KIND, ["orders", fits]), m.TO_AGENT, bytes_max=BYTES_MAX)[1] == m.ReportState(
        "orders", fits
    )
    assert "deep" in str(told(frame(m.ReportState.KIND, ["orders", nest(NESTING_DEPTH_MAX - 1)])))


@pytest.mark.parametrize(
    "body",
    [b"\x92\xa1c\x81\xa1a\xd6\xff\x00\x00\x00\x01", b"\x92\xa1c\x81\xa1a\xc7\x01\x05\x00"],
    ids=["timestamp", "extension"],
)
def test_free_form_fields_hold_plain_values_only(body: bytes) -> None:
    """MessagePack's extension types have no place on this wire."""
    assert told(frame(m.ReportState.KIND, body)).reason == Reason.BAD_FRAME


@pytest.mark.parametrize("message", [m.Done({"a": object()}), m.Done({"a": 2**64}), m.Ack(["\ud800"])])
def test_what_has_no_place_on_the_wire_does_not_leave(message: m.Message) -> None:
    """Encoding refuses values that MessagePack cannot carry."""
    with pytest.raises(ProtocolError) as caught:
        encode(message)
    assert caught.value.reason == Reason.BAD_FRAME


@pytest.mark.parametrize("header", [{"id": -1}, {"id": 2**64}, {"when": 2**63}, {"beat_ds": 2**16}, {"beat_ds": -1}])
def test_header_fields_out_of_range_do_not_leave(header: dict[str, int]) -> None:
    """Encoding refuses numbers that the header cannot hold."""
    with pytest.raises(ProtocolError):
        encode(m.Beat(), **header)


def test_the_version_byte_comes_first() -> None:
    """Any two versions can refuse each other: byte 0 is the version, for ever."""
    assert encode(m.Beat(), version=9)[0] == 9
    assert read_header(encode(m.Beat(), id=5)).id == 5
