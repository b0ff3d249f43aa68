"""A state machine as a table: state -> move -> next state. The tables are their owners'; this is how all are used.

A move that the table does not know is a bug of ours, and no reason to guess: it raises with subject, state, move and
what would have been legal (style: h11's `_state.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

State = TypeVar("State", bound=StrEnum)
Move = TypeVar("Move", bound=StrEnum)


class IllegalMove(AssertionError):
    """A bug of ours: a move the table does not know."""


def moved(moves: Mapping[State, Mapping[Move, State]], subject: str, state: State, by: Move) -> State:
    """The next state. Raises IllegalMove."""
    target = moves[state].get(by)
    if target is None:
        legal = ", ".join(moves[state]) or "nothing"
        raise IllegalMove(f"{subject} is {state} and cannot take {by!s}; legal now: {legal}")
    return target
