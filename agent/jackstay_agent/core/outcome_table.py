"""The shape of a venue's outcome table: which status, code and text mean which cause (DESIGN §5 Classify, §6).

Plain data, so that a profile file can hold it; `outcome_tables.py` ships the known ones, `classify.py` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .verdict import Cause, GateScope


@dataclass(frozen=True, slots=True)
class Rule:
    """One meaning. ``text`` (lower case) must occur in the venue's words if given; the first rule that fits counts."""

    cause: Cause
    text: str = ""
    gate: GateScope | None = None  # None: the cause's own scope
    retry_after_s: float | None = None  # if the venue says nothing better


@dataclass(frozen=True, slots=True)
class OutcomeTable:
    """What a venue's answers mean, over the generic reading of HTTP statuses.

    The order of judgement: a status in ``status_first``; then the body's code; then the status. ``ok_start`` is how the
    bytes of a good answer begin at venues that put errors into 2xx answers: such an answer needs no parsing.
    """

    name: str
    code_key: str = ""  # where the body says its code; empty: bodies have none
    message_key: str = ""
    code_required: bool = False  # every answer has a code; one without is not what the venue promises
    ok_codes: frozenset[str] = frozenset()
    ok_start: bytes = b""
    codes: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    families: tuple[tuple[str, Rule], ...] = ()  # code prefixes, tried when no exact code fits
    statuses: Mapping[int, tuple[Rule, ...]] = field(default_factory=dict)
    status_first: frozenset[int] = frozenset()  # here the status outranks the code
    items_path: tuple[str, ...] = ()  # where a batch's items are, and below the names of code and message in an item
    items_code: str = ""
    items_message: str = ""
    batch_codes: frozenset[str] = frozenset()  # "look at the items" codes
    retry_headers: tuple[tuple[bytes, str], ...] = ((b"retry-after", "s"),)
    retry_text: str = ""  # a pattern with one group in the message, and its unit
    retry_text_unit: str = "unix_ms"


def codes_by_cause(**causes: str) -> dict[str, tuple[Rule, ...]]:
    """``CAUSE="code code"`` turned round: what a reader checks against the venue's page stays one line per cause."""
    return {code: (Rule(Cause[cause]),) for cause, codes in causes.items() for code in codes.split()}
