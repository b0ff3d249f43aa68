"""Does an order book stream continue? The venues' own numbers, read without parsing (exchanges.md 3.5).

A rule names the fields and how they chain. It says OK, OLD (already known), RESET (the venue starts anew: a snapshot)
or GAP (something is missing: the reader's book is wrong from here on and needs a snapshot). The numbers are the venue's
and outlive a connection, so a quick reconnect that missed nothing is no gap.

It keeps no book and refuses to know prices. Sources: Binance spot web-socket-streams ("How to manage a local order
book": gap if U > last + 1), USDⓈ-M futures (pu equals the previous u), OKX (prevSeqId equals the previous seqId; -1 is
a snapshot; seqId < prevSeqId is a reset after maintenance; equal ones are keep-alives), Bybit (u counts by one; type
"snapshot" and u = 1 start anew), Deribit (prev_change_id equals the previous change_id).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Continuity(StrEnum):
    OK = "ok"
    OLD = "old"
    RESET = "reset"
    GAP = "gap"
    UNNUMBERED = "unnumbered"


@dataclass(frozen=True, slots=True)
class Finding:
    """``expected`` and ``found`` are the venue's numbers; -1 where there is none."""

    continuity: Continuity
    expected: int = -1
    found: int = -1


@dataclass(frozen=True, slots=True)
class SequenceRule:
    """``topics``: a pattern of the streams it is for. ``last`` and ``previous`` or ``first``: the fields' names.

    With ``previous`` a message continues when it equals the last number; with ``first`` when it is at most one more.
    ``snapshot``: words that say a message starts anew.
    """

    name: str
    topics: str
    last: str
    previous: str = ""
    first: str = ""
    snapshot: tuple[str, ...] = ()

    def is_for(self, stream: str) -> bool:
        return re.search(self.topics, stream) is not None


RULES: dict[str, SequenceRule] = {
    # Futures messages carry pu as well, which is then what counts.
    "binance": SequenceRule("binance", r"@depth(@\d+ms)?$", last="u", previous="pu", first="U"),
    "okx": SequenceRule("okx", r"^books(-l2-tbt|50-l2-tbt)?:", last="seqId", previous="prevSeqId"),
    "bybit": SequenceRule("bybit", r"^orderbook\.", last="u", first="u", snapshot=('"type":"snapshot"',)),
    "deribit": SequenceRule("deribit", r"^book\.", last="change_id", previous="prev_change_id"),
}

_OK = Finding(Continuity.OK)
_UNNUMBERED = Finding(Continuity.UNNUMBERED)


class BookSequence:
    """One stream's place in its venue's numbering."""

    __slots__ = ("_first", "_last", "_previous", "_snapshot", "gaps", "number", "rule")

    def __init__(self, rule: SequenceRule) -> None:
        self.rule = rule
        self.number: int | None = None  # the last one seen
        self.gaps = 0
        self._last = b'"%s":' % rule.last.encode()
        self._previous = b'"%s":' % rule.previous.encode() if rule.previous else b""
        self._first = b'"%s":' % rule.first.encode() if rule.first else b""
        self._snapshot = tuple(word.encode() for word in rule.snapshot)

    def check(self, payload: bytes) -> Finding:
        """Where this message stands; the stream goes on from it in any case."""
        last = _number(payload, self._last)
        if last is None:
            return _UNNUMBERED
        before, self.number = self.number, last
        previous = _number(payload, self._previous) if self._previous else None
        if previous is not None:
            finding = self._chained(before, previous, last)
        else:
            first = _number(payload, self._first) if self._first else None
            finding = self._counted(before, last if first is None else first, last, payload)
        if finding.continuity is Continuity.GAP:
            self.gaps += 1
        elif finding.continuity is Continuity.OLD:
            self.number = before
        return finding

    def _chained(self, before: int | None, previous: int, last: int) -> Finding:
        if previous < 0 or last < previous or before is None:
            return Finding(Continuity.RESET, found=last)
        if previous == before:
            return _OK
        if last <= before:
            return Finding(Continuity.OLD, before, last)
        return Finding(Continuity.GAP, before, previous)

    def _counted(self, before: int | None, first: int, last: int, payload: bytes) -> Finding:
        if before is None or any(word in payload for word in self._snapshot) or last == 1:
            return Finding(Continuity.RESET, found=last)
        if last <= before:
            return Finding(Continuity.OLD, before + 1, last)
        return _OK if first <= before + 1 else Finding(Continuity.GAP, before + 1, first)


def _number(payload: bytes, key: bytes) -> int | None:
    """The whole number behind ``key``, wherever it stands: the numbers come before the levels at some venues and after
    them at others, and levels have no names."""
    at = payload.find(key)
    if at < 0:
        return None
    end = at + len(key)
    stop = end + 1 if payload[end : end + 1] == b"-" else end
    while payload[stop : stop + 1].isdigit():
        stop += 1
    return int(payload[end:stop]) if stop > end and payload[stop - 1 : stop].isdigit() else None
