"""What the venue says about an order nobody is sure of: does this settle it? (journey step 11)

`weigh` takes what is known so far (`Search`), one piece of `Evidence`, the profile's `Patience` and ``now``, and says
which event of the intent table follows, if any, and why. The rules, each bought with somebody's loss:

* existence is believed from any source (reply, stream, query, list, fills), at once, unless the order was created
  before ours was sent: ids are free again after a fill on some venues, so that one is another order. Where our clock
  is proven to have been wrong then, nobody knows when it was sent, and an order of its id has to look like ours;
* "not found" counts only from the venue's own answer to a query by client id (or from its lists where the profile
  vouches that they are complete), only from the right order family (Binance USDⓈ-M stops live elsewhere since
  2025-12-09), only asked after the visibility delay (freqtrade#3647: 20 s), and only after several such answers
  with a pause between them;
* a transport error, a time-out or a refusal is no answer and counts for nothing (hummingbot#8457: a DNS outage was
  counted as not-found and six sells were dropped);
* nothing here looks at how old the doubt is: unknown never ages into rejected (DESIGN §3 rule 8);
* a person's word settles, and is kept as a person's word.

All instants are seconds of the agent's boot-time clock, except ``created_at``/``sent_wall`` (wall clock, the venue's
and ours, compared within the clock offset). Refuses to know how to ask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from jackstay_protocols.errors import ValidationError

from .intent import Event


class Source(StrEnum):
    REPLY = "reply"
    STREAM = "stream"
    QUERY = "query"  # by client id
    OPEN_ORDERS = "open_orders"
    FILLS = "fills"
    LISTS = "lists"  # open orders, history and fills together, each read to its end
    OPERATOR = "operator"


class Finding(StrEnum):
    EXISTS = "exists"
    NOT_FOUND = "not_found"
    NO_ANSWER = "no_answer"  # transport error, time-out, refusal, an answer nobody can read


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing learned about an order. ``asked_at`` is when the question left, not when the answer came.

    ``created_at`` is the venue's own wall time of the order, ``status`` its word for it (filled, canceled, ...),
    ``alike`` whether its fields are those of ours (matching.looks_alike; False: nobody compared them).
    ``who``/``why`` belong to an operator's word and are required there.
    """

    source: Source
    finding: Finding
    asked_at: float = 0.0
    family: str = ""
    venue_order_id: str = ""
    status: str = ""
    created_at: float | None = None
    alike: bool = False
    who: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.source is Source.OPERATOR and not (self.who and self.why):
            raise ValidationError(
                "an operator's word without who and why was found; both are expected: it is recorded as a person's word"
            )


@dataclass(frozen=True, slots=True)
class Patience:
    """How a venue has to be asked before its "not found" is believed (profile data; defaults are the careful side).

    ``visibility_delay_s`` 20: the lag seen on Binance (freqtrade PR#3649). ``not_found_needed`` 3 with
    ``spacing_s`` 2 between them: Hummingbot uses more than 3, NautilusTrader 5.
    """

    visibility_delay_s: float = 20.0
    not_found_needed: int = 3
    spacing_s: float = 2.0
    lists_prove_absence: bool = False
    clock_offset_s: float = 2.0

    def __post_init__(self) -> None:
        if self.not_found_needed < 1:
            raise ValidationError(
                f"Patience.not_found_needed is {self.not_found_needed}; 1 or more is expected: silence is no answer"
            )
        for name in ("visibility_delay_s", "spacing_s", "clock_offset_s"):
            value = getattr(self, name)
            if not 0 <= value < 86_400:
                raise ValidationError(f"Patience.{name} is {value}; seconds from 0 to a day are expected")


class Clock(StrEnum):
    """By which clock it is known when an order was sent."""

    VENUE = "venue"  # its own, measured
    OURS = "ours"  # our wall clock of that time: right as far as anybody can tell
    WRONG = "wrong"  # ours, and it was ahead: by it the order was sent later than now


@dataclass(frozen=True, slots=True)
class Search:
    """What is known so far about one unknown order.

    ``late_until_at``: the last instant at which the request may still arrive at the venue (when it became unknown, or
    the end of its recvWindow if that is later). After a restart it starts anew at the restart, which is only slower.
    ``sent_wall``: when it was sent, at the earliest, in the venue's time; ``clock``: how far that can be relied on.
    """

    late_until_at: float
    sent_wall: float
    family: str = ""
    clock: Clock = Clock.OURS
    not_found: int = 0
    counted_at: float | None = None
    seen: bool = False  # any positive evidence: pending retries are dead


@dataclass(frozen=True, slots=True)
class Weighed:
    search: Search
    event: Event | None  # what to do with the intent; None: not settled by this
    why: str


def weigh(search: Search, evidence: Evidence, patience: Patience) -> Weighed:
    """Whether this settles the matter. The returned search replaces the old one, whatever the event."""
    if evidence.source is Source.OPERATOR:
        event = {Finding.EXISTS: Event.SAID_DONE, Finding.NOT_FOUND: Event.SAID_ABSENT}.get(evidence.finding)
        return Weighed(search, event, f"{evidence.who} says {evidence.finding.value}: {evidence.why}")
    if evidence.finding is Finding.NO_ANSWER:
        return Weighed(search, None, "no answer counts for nothing")
    if evidence.finding is Finding.EXISTS:
        return _exists(search, evidence, patience)
    return _not_found(search, evidence, patience)


def _exists(search: Search, evidence: Evidence, patience: Patience) -> Weighed:
    created_at = evidence.created_at
    older = created_at is not None and created_at < search.sent_wall - patience.clock_offset_s
    if older and not (search.clock is Clock.WRONG and evidence.alike):
        return Weighed(search, None, "that order is older than ours: its id was used before")
    return Weighed(replace(search, seen=True), Event.FOUND, f"the venue shows it ({evidence.source.value})")


def _not_found(search: Search, evidence: Evidence, patience: Patience) -> Weighed:
    if search.seen:
        return Weighed(search, None, "the venue has shown it before: a later not-found is lag or retention")
    proves = evidence.source is Source.QUERY or (evidence.source is Source.LISTS and patience.lists_prove_absence)
    if not proves:
        return Weighed(search, None, f"absence from {evidence.source.value} proves nothing")
    if evidence.family != search.family:
        return Weighed(search, None, f"asked family {evidence.family!r}, the order belongs to {search.family!r}")
    if evidence.asked_at < countable_at(search, patience):
        return Weighed(search, None, "asked before the venue could be expected to show it")
    found = replace(search, not_found=search.not_found + 1, counted_at=evidence.asked_at)
    if found.not_found < patience.not_found_needed:
        return Weighed(found, None, f"not found {found.not_found} of {patience.not_found_needed} times")
    return Weighed(found, Event.NOT_FOUND, f"the venue said not found {found.not_found} times after its delay")


def countable_at(search: Search, patience: Patience) -> float:
    """The earliest instant at which a question's "not found" counts: a resolver asks then, not before."""
    first = search.late_until_at + patience.visibility_delay_s
    return first if search.counted_at is None else max(first, search.counted_at + patience.spacing_s)
