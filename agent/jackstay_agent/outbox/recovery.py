"""After a start: what the file says, turned into what is true now.

A row that was IN_FLIGHT when the last process ended is maybe sent: UNKNOWN. A RECORDED one was never sent and stays,
unless its signature ended with the process that held it, or its time to live ended (or nobody can say): EXPIRED. A
row whose checksum is wrong is moved to the table ``damaged`` and said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from jackstay_agent.core.evidence import Search
from jackstay_agent.core.intent import OPEN, Event, State, move
from jackstay_agent.core.ttl import Stamp, age_at_least_s, is_stale, sendable_s

from .keys import body_digest
from .records import Ending, Entry, Signed
from .rows import DamagedRow, Row, from_row
from .schema import fault_of
from .store import SELECT

CHUNK_ROWS = 500


@dataclass(frozen=True, slots=True)
class Past:
    """A settled row, as far as it is still needed: there may be very many."""

    seq: int
    bot_id: str
    key: str
    digest: bytes  # empty if its key's window is over
    age_s: float  # since it was recorded, at the least
    queued: bool
    collected: bool
    entry: Entry | None  # only where late news is thinkable


@dataclass(slots=True)
class Recovered:
    entries: list[Entry] = field(default_factory=list)
    settled: list[Past] = field(default_factory=list)  # in the order of their numbers
    changed: list[Entry] = field(default_factory=list)
    damaged: list[tuple[int, str]] = field(default_factory=list)
    seq_max: int = 0
    lead_s: float | None = (
        None  # the least the wall clock was ahead of this boot's clock when a row was recorded or ended
    )


def recover(conn: sqlite3.Connection, now: Stamp, clock_jump_max_s: float, window_s: float) -> Recovered:
    """Read everything once. Raises `StoreFault` if the file cannot be read. Writes only the damaged rows aside."""
    result = Recovered()
    try:
        result.seq_max = conn.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name='seq_high'").fetchone()[0]
        for row in _rows(conn):
            result.seq_max = max(result.seq_max, row[0])
            try:
                entry, collected = from_row(row)
            except DamagedRow as damage:
                result.damaged.append((row[0], str(damage)))
                continue
            result.lead_s = _lowest(result.lead_s, entry, row, now.boot_id)
            if entry.state in OPEN:
                _bring_up_to_date(result, entry, now, clock_jump_max_s)
            if entry.state not in OPEN:
                result.settled.append(_past(entry, collected, now, window_s))
        _move_damaged(conn, result.damaged, now.wall_s)
    except sqlite3.Error as error:
        raise fault_of(error) from error
    return result


def _rows(conn: sqlite3.Connection) -> Iterator[Row]:
    after = -(2**63)
    while rows := conn.execute(f"{SELECT} WHERE seq > ? ORDER BY seq LIMIT {CHUNK_ROWS}", (after,)).fetchall():
        yield from rows
        after = rows[-1][0]


def _move_damaged(conn: sqlite3.Connection, damaged: list[tuple[int, str]], wall_s: float) -> None:
    if not damaged:
        return
    conn.execute("BEGIN IMMEDIATE")
    for seq, why in damaged:
        conn.execute(
            "INSERT OR REPLACE INTO damaged SELECT seq, ?, ?, payload FROM intents WHERE seq=?", (wall_s, why, seq)
        )
        conn.execute("DELETE FROM intents WHERE seq=?", (seq,))
    conn.execute("COMMIT")


def _lowest(lead_s: float | None, entry: Entry, row: Row, boot_id: str) -> float | None:
    recorded = entry.recorded
    if recorded.boot_id != boot_id:
        return lead_s
    ended_wall = row[4] or recorded.wall_s
    here_s = min(ended_wall, recorded.wall_s) - recorded.boot_s
    return here_s if lead_s is None else min(lead_s, here_s)


def _past(entry: Entry, collected: bool, now: Stamp, window_s: float) -> Past:
    i, age_s = entry.intent, age_at_least_s(entry.recorded, now)
    digest = body_digest(i) if i.key and age_s < window_s else b""
    late = entry if entry.state in (State.ABSENT, State.FAILED) else None
    return Past(entry.seq, i.bot_id, i.key, digest, age_s, entry.queued, collected, late)


def _bring_up_to_date(result: Recovered, entry: Entry, now: Stamp, clock_jump_max_s: float) -> None:
    before = entry.state
    entry.state = move(f"intent {entry.seq}", before, Event.RESTARTED)
    if entry.state is State.RECORDED and (why := unsendable(entry, now, clock_jump_max_s)):
        entry.state = move(f"intent {entry.seq}", entry.state, Event.TOO_LATE)
        entry.ending = Ending(State.EXPIRED, cause=why, finished_wall=now.wall_s)
    else:
        result.entries.append(entry)
    if entry.state is State.UNKNOWN:
        # the search starts anew now: slower than it might be, and never too early
        entry.unknown_at = now.boot_s
        late = now.boot_s + (entry.intent.recv_window_s or 0.0)
        entry.search = Search(late, 0.0, entry.intent.family)  # when it was sent is found when it is asked for
    if entry.state is not before:
        result.changed.append(entry)


def unsendable(entry: Entry, now: Stamp, clock_jump_max_s: float) -> str:
    """Why a queued intent of an earlier process must not leave any more; empty if it may."""
    if entry.intent.signed is Signed.BOT:
        return "its signature was made by the bot and ended with the process that held it"
    return "its time to live ended" if stale(entry, now, clock_jump_max_s) else ""


def stale(entry: Entry, now: Stamp, clock_jump_max_s: float) -> bool:
    """Whether its time is over, or nobody can say."""
    i = entry.intent
    limit = sendable_s(i.ttl_s, i.recv_window_s, i.signed is Signed.BOT)
    deadline_s = None if i.deadline_at is None else i.deadline_at - entry.recorded.boot_s
    return is_stale(entry.recorded, now, limit, deadline_s, clock_jump_max_s)
