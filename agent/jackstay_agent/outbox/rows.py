"""Intent and outcome to bytes and back, with a checksum over all of a row that matters.

``acked`` holds the row's own checksum once the bot has the outcome: damage cannot turn an open row into a collected
one, and an outcome that changes afterwards is uncollected again without a further write.
"""

from __future__ import annotations

from collections.abc import Collection
from struct import Struct
from typing import Any, TypeAlias
from zlib import crc32

import msgspec

from jackstay_agent.core.intent import State
from jackstay_agent.core.ttl import Stamp
from jackstay_agent.core.wire_secrets import strip_body, strip_target

from .records import Ending, Entry, Intent

Row: TypeAlias = tuple[int, int, int, int, float, int, str, bytes, bytes | None, int]

#: The number of a state in the file. Never renumber: a new state gets a new number.
CODES = {
    State.RECORDED: 0,
    State.IN_FLIGHT: 1,
    State.UNKNOWN: 2,
    State.DONE: 10,
    State.REJECTED: 11,
    State.FAILED: 12,
    State.ABSENT: 13,
    State.EXPIRED: 14,
    State.DROPPED: 15,
}
STATES = {code: state for state, code in CODES.items()}

_HEAD = Struct("<qBBd")


class Written(msgspec.Struct, array_like=True, frozen=True):
    """The immutable part of a row."""

    boot_id: str
    boot_s: float
    wall_s: float
    queued: bool
    intent: Intent


_encode = msgspec.msgpack.Encoder(decimal_format="string").encode
read_payload = msgspec.msgpack.Decoder(Written).decode
read_ending = msgspec.msgpack.Decoder(Ending).decode


class DamagedRow(ValueError):
    """A row whose bytes are not what was written."""


def unsigned(intent: Intent) -> Intent:
    """The intent as it may be written down: without the values of its secrets."""
    target = intent.target.encode()
    bare, body = strip_target(target), strip_body(intent.body)
    if bare is target and body is intent.body:
        return intent
    return msgspec.structs.replace(intent, target=bare.decode(), body=body)


def write_payload(recorded: Stamp, queued: bool, bare: Intent) -> bytes:
    """The row's immutable bytes, of an intent that went through `unsigned`."""
    return _encode(Written(recorded.boot_id, recorded.boot_s, recorded.wall_s, queued, bare))


def write_ending(ending: Ending | None) -> bytes | None:
    return None if ending is None else _encode(ending)


def checksum(
    seq: int,
    state: int,
    held: int,
    finished: float,
    bot_id: str,
    payload_crc: int,
    outcome: bytes | None,
    attempts: int,
) -> int:
    """Never 0, so that an ``acked`` of 0 is never mistaken for it."""
    head = crc32(bot_id.encode(), crc32(_HEAD.pack(seq, state, held, finished), payload_crc))
    if attempts:  # rows of schema 1 had none, and their sums stay valid
        head = crc32(b"%d" % attempts, head)
    return crc32(outcome or b"", head) + 1


def to_row(entry: Entry, payload: bytes) -> Row:
    bot_id, state, held = entry.intent.bot_id, CODES[entry.state], int(entry.held)
    finished = entry.ending.finished_wall if entry.ending else 0.0
    outcome = write_ending(entry.ending)
    total = checksum(entry.seq, state, held, finished, bot_id, entry.payload_crc, outcome, entry.attempts)
    return (entry.seq, state, 0, total, finished, held, bot_id, payload, outcome, entry.attempts)


def to_update(entry: Entry) -> tuple[int, int, float, int, bytes | None, int, int]:
    """state, sum, finished, held, outcome, attempts, seq: the mutable part."""
    row = to_row(entry, b"")
    return (row[1], row[3], row[4], row[5], row[8], row[9], row[0])


def from_row(row: Row) -> tuple[Entry, bool]:
    """The entry and whether it was collected; raises `DamagedRow` if a bit is wrong."""
    seq, code, acked, total, finished, held, bot_id, payload, raw, attempts = row
    try:
        payload_crc = crc32(payload)
        if checksum(seq, code, held, finished, bot_id, payload_crc, raw, attempts) != total:
            raise DamagedRow(f"row {seq}: checksum differs")
        written = read_payload(payload)
        entry = Entry(
            seq=seq,
            intent=written.intent,
            state=STATES[code],
            recorded=Stamp(written.boot_id, written.boot_s, written.wall_s),
            queued=written.queued,
            payload_crc=payload_crc,
            payload_bytes=len(payload),
            held=bool(held),
            attempts=attempts,
            ending=None if raw is None else read_ending(raw),
        )
    except DamagedRow:
        raise
    except Exception as error:  # any type in any column: the file may hold anything
        raise DamagedRow(f"row {seq!r}: {type(error).__name__}") from error
    return entry, acked == total


def tells_of(ending: Ending, venue_id: str, keys: Collection[str]) -> bool:
    """Whether this outcome is that of the venue's order ``venue_id``; in doubt it is."""
    if ending.venue_order_id:
        return ending.venue_order_id == venue_id
    if not ending.reply:
        return False
    try:
        return _has(msgspec.json.decode(ending.reply), venue_id, keys, "")
    except (ValueError, RecursionError):
        return ending.reply_cut


def _has(value: Any, venue_id: str, keys: Collection[str], key: str) -> bool:
    if isinstance(value, dict):
        return any(_has(each, venue_id, keys, name) for name, each in value.items())
    if isinstance(value, list):
        return any(_has(each, venue_id, keys, key) for each in value)
    return key in keys and str(value) == venue_id
