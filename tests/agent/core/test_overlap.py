"""jackstay_agent.core.overlap: each event once, whichever line brings it first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core import overlap as module
from jackstay_agent.core.overlap import Overlap


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.booleans(), max_size=60), st.randoms())
def test_any_interleaving_and_order_delivers_each_once(events: list[int], turns: list[bool], chance: object) -> None:
    """Both lines bring the same events, each in an order of its own: delivered is exactly what happened."""
    lines = {"old": list(events), "new": list(events)}
    chance.shuffle(lines["new"])  # type: ignore[attr-defined]
    both, out = Overlap(), []
    for turn in [*turns, *([True] * 30), *([False] * 30)]:
        line = "old" if turn else "new"
        if lines[line]:
            payload = b"%d" % lines[line].pop(0)
            if both.take(line, payload):
                out.append(int(payload))
    assert sorted(out) == sorted(events)


def test_what_one_line_alone_has_is_news() -> None:
    """A snapshot on the new connection, or a last event on the old one, is delivered at once."""
    both = Overlap()
    assert both.take("new", b"snapshot")
    assert both.take("old", b"a")
    assert not both.take("new", b"a")
    assert both.take("old", b"last")
    assert both.doubles == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound the oldest is forgotten, and would be news again."""
    monkeypatch.setattr(module, "MARKS_MAX", 2)
    both = Overlap()
    assert [both.take("old", b"%d" % n) for n in range(3)] == [True] * 3
    assert not both.take("new", b"2")
    assert both.take("new", b"0")
