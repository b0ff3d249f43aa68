"""Lines of the audit log: linked, sealed, taken apart again; and what verification sees of a log that was touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from jackstay_agent.core.audit_chain import GENESIS, Anchor, link, seal_of, sealed, taken
from jackstay_agent.core.audit_verify import Fault, Report, Verifier

KEY, OTHER = b"k" * 32, b"o" * 32


def log_of(count: int, key: bytes = KEY, first: int = 1, before: str = GENESIS, log: str = "L") -> list[bytes]:
    lines = []
    for seq in range(first, first + count):
        record: dict[str, Any] = {"seq": seq, "at_us": seq, "kind": "event", "value": f"v{seq}"}
        if seq == first:
            record |= {"kind": "audit.opened", "log": log, "prev": before}
        line, before = sealed(record, before, key)
        lines.append(line)
    return lines


def hash_of(line: bytes) -> str:
    parts = taken(line)
    assert parts is not None
    return parts.hash


def check(lines: list[bytes], *anchors: Anchor, key: bytes | None = KEY, open_end: bytes = b"") -> Report:
    verifier = Verifier(key)
    verifier.expect(anchors)
    for number, line in enumerate(lines, 1):
        verifier.line(line, f"f:{number}")
    return verifier.finish(anchors, open_end=open_end)


def found(report: Report) -> list[tuple[Fault, int, str]]:
    return [(each.fault, each.seq, each.where) for each in report.found]


def anchor(lines: list[bytes], seq: int, log: str = "L") -> Anchor:
    return Anchor(log, seq, hash_of(lines[seq - 1]), seq * 1000)


def test_a_line_is_json_and_comes_apart_again() -> None:
    """Its own bytes, hash and seal; nothing else is taken for a line."""
    line, line_hash = sealed({"seq": 1, "price": "0.1"}, GENESIS, KEY)
    assert json.loads(line) == {"seq": 1, "price": "0.1", "hash": line_hash, "seal": seal_of(KEY, line_hash)}
    parts = taken(line)
    assert parts is not None
    assert parts.body == b'{"seq":1,"price":"0.1"}'
    assert link(GENESIS, parts.body) == parts.hash == line_hash
    for broken in (
        b"",
        b"x",
        line[:-1],
        line[:-1] + b"]",
        line.replace(b',"hash"', b',"hush"'),
        line[:-60] + b"\xff" + line[-59:],
    ):
        assert taken(broken) is None


def test_an_untouched_log_is_intact_up_to_its_anchor() -> None:
    """Everything fits; what came after the last anchor is counted as unanchored, nothing is said without anchors."""
    lines = log_of(10)
    report = check(lines, anchor(lines, 4), anchor(lines, 7))
    assert report.ok
    assert (report.lines, report.first, report.last, report.log) == (10, 1, 10, "L")
    assert report.anchored_to is not None
    assert (report.anchored_to.seq, report.unanchored, report.anchors) == (7, 3, 2)
    bare = check(lines, open_end=b'{"seq":11,')
    assert bare.ok
    assert bare.unanchored == 10
    assert any("no anchors" in note for note in bare.notes)
    assert any("unfinished" in note for note in bare.notes)


TOUCHES: list[tuple[str, Callable[[list[bytes]], list[bytes]], list[tuple[Fault, int, str]]]] = [
    ("flipped", lambda x: [*x[:4], x[4].replace(b"v5", b"w5"), *x[5:]], [(Fault.ALTERED, 5, "f:5")]),
    ("first flipped", lambda x: [x[0].replace(b'"L"', b'"M"'), *x[1:]], [(Fault.ALTERED, 1, "f:1")]),
    ("one removed", lambda x: [*x[:4], *x[5:]], [(Fault.MISSING, 6, "f:5")]),
    ("two removed", lambda x: [*x[:4], *x[6:]], [(Fault.MISSING, 7, "f:5")]),
    (
        "swapped",
        lambda x: [*x[:4], x[5], x[4], *x[6:]],
        [(Fault.MISSING, 6, "f:5"), (Fault.OUT_OF_ORDER, 5, "f:6"), (Fault.MISSING, 7, "f:7")],
    ),
    ("repeated", lambda x: [*x[:5], x[4], *x[5:]], [(Fault.OUT_OF_ORDER, 5, "f:6")]),
    ("seal changed", lambda x: [*x[:4], x[4][:-4] + b'00"}', *x[5:]], [(Fault.BAD_SEAL, 5, "f:5")]),
    ("nonsense put in", lambda x: [*x[:4], b"nonsense", *x[4:]], [(Fault.UNREADABLE, 5, "f:5")]),
    ("nonsense at the end", lambda x: [*x, b"nonsense"], [(Fault.UNREADABLE, 11, "f:11")]),
    ("two of it", lambda x: [*x[:4], b"a", b"b", *x[4:]], [(Fault.UNREADABLE, 5, "f:5"), (Fault.UNREADABLE, 5, "f:6")]),
    ("head cut", lambda x: x[3:], [(Fault.HEAD_CUT, 4, "f:1")]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "touch", "wanted"), TOUCHES, ids=[each[0] for each in TOUCHES])
def test_what_was_touched_is_found_and_located(
    what: str, touch: Callable[[list[bytes]], list[bytes]], wanted: list[tuple[Fault, int, str]]
) -> None:
    """Flipped, removed, reordered, repeated, foreign: the fault and its place, and nothing else."""
    assert found(check(touch(log_of(10)))) == wanted


def test_a_line_that_is_no_record_is_no_line() -> None:
    """JSON of another shape, or none, with a fitting tail."""
    tail = log_of(1)[0][-117:]
    for body in (b'{"a":1', b'{"seq":"x"', b'{"seq":,', b'[{"seq":1'):
        assert found(check([body + tail]))[0][0] is Fault.UNREADABLE


def test_a_line_rewritten_without_the_key_has_no_seal() -> None:
    """Mending the chain needs the key: somebody else's hashes carry somebody else's seals, and without a key to check
    with, that is said instead.
    """
    lines, forged = log_of(10), log_of(10, OTHER)
    report = check([*lines[:5], *forged[5:]])
    assert {each.fault for each in report.found} == {Fault.BAD_SEAL}
    assert [each.seq for each in report.found] == [6, 7, 8, 9, 10]
    unsealed = check([*lines[:5], *forged[5:]], key=None)
    assert unsealed.ok
    assert not unsealed.seals_checked
    assert any("unchecked" in note for note in unsealed.notes)


def test_a_cut_tail_shows_only_against_an_anchor() -> None:
    """Without one it is undetectable, and the report says that it would be."""
    lines = log_of(10)
    bare = check(lines[:6])
    assert bare.ok
    assert any("could not be seen" in note for note in bare.notes)
    report = check(lines[:6], anchor(lines, 4), anchor(lines, 9))
    assert found(report) == [(Fault.TAIL_CUT, 9, "anchor")]


def test_a_complete_rewrite_with_the_key_shows_only_against_an_anchor() -> None:
    """All hashes and seals fit; the anchor knows another line of that number."""
    lines = log_of(10)
    forged = log_of(10)[:2]
    before = hash_of(forged[1])
    for seq in range(3, 11):
        line, before = sealed({"seq": seq, "at_us": seq, "kind": "event", "value": "other"}, before, KEY)
        forged.append(line)
    assert check(forged).ok
    report = check(forged, anchor(lines, 2), anchor(lines, 8))
    assert found(report) == [(Fault.REWRITTEN, 8, "anchor")]
    assert report.anchored_to is not None
    assert report.anchored_to.seq == 2


def test_an_anchor_of_another_log_is_named() -> None:
    """A log that was replaced by another one of the same agent."""
    lines = log_of(5)
    assert found(check(lines, anchor(lines, 3, log="old"))) == [(Fault.OTHER_LOG, 3, "anchor")]


def test_what_retention_removed_is_no_fault() -> None:
    """A head that the log itself records as removed; anchors of removed lines are passed over."""
    lines = log_of(10)
    rest = log_of(3, first=11, before=hash_of(lines[9]))
    line, _hash = sealed(
        {"seq": 14, "at_us": 14, "kind": "audit.retired", "last": 10, "last_hash": hash_of(lines[9])},
        hash_of(rest[2]),
        KEY,
    )
    report = check([*rest, line], anchor(lines, 5), Anchor("L", 12, hash_of(rest[1]), 1))
    assert report.ok
    assert any("retention" in note for note in report.notes)
    assert report.anchored_to is not None
    assert found(check(rest)) == [(Fault.HEAD_CUT, 11, "f:1")]


def test_a_line_torn_by_the_agents_death_is_no_fault_if_the_agent_noted_it() -> None:
    """Exactly that fragment; any other one is."""
    import hashlib

    lines = log_of(4)
    torn = b'{"seq":5,"at_'
    for digest, ok in ((hashlib.sha256(torn).hexdigest(), True), ("0" * 64, False)):
        line, _hash = sealed(
            {"seq": 5, "at_us": 5, "kind": "audit.recovered", "torn_sha256": digest}, hash_of(lines[3]), KEY
        )
        report = check([*lines, torn, line])
        assert report.ok is ok
        assert any("torn by the agent's death" in note for note in report.notes) is ok


def test_findings_are_bounded() -> None:
    """A log of rubbish costs no memory."""
    report = check([b"x"] * 3000)
    assert len(report.found) == 1000
