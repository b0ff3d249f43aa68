"""jackstay_agent.core.book: the venues' sequence rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.book import RULES, BookSequence, Continuity


def said(rule: str, *payloads: bytes) -> list[str]:
    book = BookSequence(RULES[rule])
    return [str(book.check(payload).continuity) for payload in payloads]


def spot(first: int, last: int) -> bytes:
    return b'{"e":"depthUpdate","E":1,"s":"X","U":%d,"u":%d,"b":[["0.01","1"]],"a":[]}' % (first, last)


def futures(first: int, last: int, previous: int) -> bytes:
    return b'{"e":"depthUpdate","U":%d,"u":%d,"pu":%d,"b":[],"a":[]}' % (first, last, previous)


def okx(seq: int, previous: int) -> bytes:
    return b'{"arg":{"channel":"books"},"data":[{"asks":[["1","2"]],"seqId":%d,"prevSeqId":%d}]}' % (seq, previous)


def bybit(update: int, kind: bytes = b"delta") -> bytes:
    return b'{"topic":"orderbook.50.X","type":"%s","data":{"s":"X","b":[["1","2"]],"u":%d,"seq":9}}' % (kind, update)


@pytest.mark.parametrize(
    ("rule", "payloads", "verdicts"),
    [
        ("binance", [spot(1, 5), spot(6, 9), spot(8, 12), spot(12, 12)], ["reset", "ok", "ok", "old"]),
        ("binance", [spot(1, 5), spot(7, 9), spot(10, 10)], ["reset", "gap", "ok"]),
        ("binance", [futures(1, 5, 0), futures(9, 12, 5), futures(20, 22, 13)], ["reset", "ok", "gap"]),
        ("binance", [b'{"lastUpdateId":160,"bids":[]}'], ["unnumbered"]),
        ("okx", [okx(10, -1), okx(12, 10), okx(12, 12), okx(15, 13)], ["reset", "ok", "ok", "gap"]),
        ("okx", [okx(10, -1), okx(3, 10), okx(5, 3)], ["reset", "reset", "ok"]),
        ("bybit", [bybit(7, b"snapshot"), bybit(8), bybit(10), bybit(1, b"snapshot")], ["reset", "ok", "gap", "reset"]),
        ("bybit", [bybit(7, b"snapshot"), bybit(7, b"snapshot"), bybit(8)], ["reset", "reset", "ok"]),
    ],
)
def test_the_venues_rules(rule: str, payloads: list[bytes], verdicts: list[str]) -> None:
    """Each venue's continuation, overlap, gap, reset and keep-alive is told as documented."""
    assert said(rule, *payloads) == verdicts


def test_a_gap_names_both_numbers_and_the_stream_goes_on() -> None:
    """What was expected and what came are told; the next message is judged from there."""
    book = BookSequence(RULES["binance"])
    book.check(spot(1, 5))
    finding = book.check(spot(8, 9))
    assert (finding.continuity, finding.expected, finding.found) == (Continuity.GAP, 6, 8)
    assert book.gaps == 1
    assert book.check(spot(10, 11)).continuity is Continuity.OK


@pytest.mark.parametrize(
    ("rule", "stream", "applies"),
    [
        ("binance", "btcusdt@depth", True),
        ("binance", "btcusdt@depth@100ms", True),
        ("binance", "btcusdt@depth5", False),
        ("binance", "btcusdt@trade", False),
        ("okx", "books:BTC-USDT", True),
        ("okx", "books5:BTC-USDT", False),
        ("okx", "trades:BTC-USDT", False),
        ("bybit", "orderbook.50.BTCUSDT", True),
    ],
)
def test_a_rule_is_for_incremental_books_alone(rule: str, stream: str, applies: bool) -> None:
    """Trades and partial snapshots have no such numbers."""
    assert RULES[rule].is_for(stream) is applies


@given(st.lists(st.integers(1, 4), min_size=1, max_size=60), st.sets(st.integers(1, 59)))
def test_every_missing_message_is_found(lengths: list[int], missing: set[int]) -> None:
    """Leave any messages out of a stream: exactly the runs of missing ones are reported as gaps."""
    book, at, gaps, was_missing = BookSequence(RULES["binance"]), 1, 0, False
    for index, length in enumerate(lengths):
        payload = spot(at, at + length - 1)
        at += length
        if index in missing:
            was_missing = True
            continue
        gaps += was_missing
        was_missing = False
        expected = Continuity.RESET if index == 0 else None
        found = book.check(payload).continuity
        assert expected is None or found is expected
    assert book.gaps == gaps


@given(st.binary(max_size=60))
def test_any_bytes_are_judged_without_harm(junk: bytes) -> None:
    """Broken messages raise nothing."""
    book = BookSequence(RULES["okx"])
    book.check(okx(10, -1))
    assert book.check(b'{"seqId":' + junk).continuity in set(Continuity)


def test_an_older_chained_update_is_old_and_changes_nothing() -> None:
    """A late copy with its own chain is passed over; the numbering goes on where it stood."""
    assert said("binance", futures(1, 10, 0), futures(6, 8, 5), futures(11, 12, 10))[1:] == ["old", "ok"]
