"""What may become of a request that has been written down (journey steps 5, 9 and 11; DESIGN §5 Outbox).

One table, `MOVES`, holds every legal move of an intent; `move` is the only way through it. The documentation's diagram
is drawn from the same dict. An event that no cell knows is a bug of ours and raises `IllegalMove` naming the intent,
its state and the event. What the *world* can do late (a reply after a verdict, an order that appears after it was
declared absent) has its cell, and `CONTRADICTIONS` lists those that deserve a loud word.

Three rules live in the table rather than in code:

* there is no move from UNKNOWN by the passing of time: only evidence or a person's word leads out (DESIGN §3 rule 8);
* a pending retry (IN_FLIGHT put back to RECORDED because provably no byte left) ends when the venue shows the order:
  RECORDED + FOUND is DONE, so nothing is left to send (nautilus_trader#4215: the stream said accepted, the scheduled
  retry still fired);
* ABSENT is the venue's word, not a proof: if the order shows up after all, the intent becomes DONE and says so.

Knows nothing of evidence (see `evidence`), of time (see `ttl`) or of storage.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    RECORDED = "recorded"  # accepted and queued; no byte has left
    IN_FLIGHT = "in_flight"  # bytes may be leaving now
    DONE = "done"  # the venue has it, or had it: what became of it there is in the outcome
    REJECTED = "rejected"  # the venue's own answer: no; nothing happened
    FAILED = "failed"  # something broke and provably nothing happened
    UNKNOWN = "unknown"  # maybe sent, no trustworthy answer
    ABSENT = "absent"  # was unknown; the venue (or a person) says it does not exist: not executed
    EXPIRED = "expired"  # outlived its time to live in the queue; never sent
    DROPPED = "dropped"  # taken out of the queue by its owner or an operator; never sent


class Event(StrEnum):
    SENT = "sent"  # the first byte is about to leave
    NOT_SENT = "not_sent"  # provably no byte left: back to the queue
    OK = "ok"  # the venue's reply: done
    REJECTED = "rejected"  # the venue's reply: no
    FAILED = "failed"  # a reply or a transport fact that proves that nothing happened
    NO_ANSWER = "no_answer"  # bytes may have left and no trustworthy answer came
    RESTARTED = "restarted"  # the agent died in between
    FOUND = "found"  # venue evidence: the order exists or existed
    NOT_FOUND = "not_found"  # venue evidence, weighed and sufficient: it does not exist
    SAID_DONE = "said_done"  # an operator's recorded word
    SAID_ABSENT = "said_absent"
    TOO_LATE = "too_late"
    DROP = "drop"


#: No byte leaves for these any more.
TERMINAL: Final = frozenset(
    {State.DONE, State.REJECTED, State.FAILED, State.ABSENT, State.EXPIRED, State.DROPPED},
)
#: What the venue may or may not have: the agent owes it a question.
OPEN: Final = frozenset({State.RECORDED, State.IN_FLIGHT, State.UNKNOWN})

_S, _E = State, Event

MOVES: Final[dict[tuple[State, Event], State]] = {
    # in the queue
    (_S.RECORDED, _E.SENT): _S.IN_FLIGHT,
    (_S.RECORDED, _E.FOUND): _S.DONE,  # evidence cancels the pending retry
    (_S.RECORDED, _E.TOO_LATE): _S.EXPIRED,
    (_S.RECORDED, _E.DROP): _S.DROPPED,
    (_S.RECORDED, _E.FAILED): _S.FAILED,  # a provably unsent one whose attempts are used up
    (_S.RECORDED, _E.RESTARTED): _S.RECORDED,
    # on its way
    (_S.IN_FLIGHT, _E.NOT_SENT): _S.RECORDED,
    (_S.IN_FLIGHT, _E.OK): _S.DONE,
    (_S.IN_FLIGHT, _E.REJECTED): _S.REJECTED,
    (_S.IN_FLIGHT, _E.FAILED): _S.FAILED,
    (_S.IN_FLIGHT, _E.TOO_LATE): _S.EXPIRED,  # its deadline ended before the first byte: provably not sent
    (_S.IN_FLIGHT, _E.NO_ANSWER): _S.UNKNOWN,
    (_S.IN_FLIGHT, _E.RESTARTED): _S.UNKNOWN,
    (_S.IN_FLIGHT, _E.FOUND): _S.DONE,  # the stream was faster than the reply
    # nobody knows
    (_S.UNKNOWN, _E.OK): _S.DONE,  # the venue's own late reply to this very request
    (_S.UNKNOWN, _E.REJECTED): _S.REJECTED,
    (_S.UNKNOWN, _E.FAILED): _S.FAILED,
    (_S.UNKNOWN, _E.FOUND): _S.DONE,
    (_S.UNKNOWN, _E.NOT_FOUND): _S.ABSENT,
    (_S.UNKNOWN, _E.SAID_DONE): _S.DONE,
    (_S.UNKNOWN, _E.SAID_ABSENT): _S.ABSENT,
    (_S.UNKNOWN, _E.NO_ANSWER): _S.UNKNOWN,
    (_S.UNKNOWN, _E.RESTARTED): _S.UNKNOWN,
    # late news about what was settled
    (_S.DONE, _E.OK): _S.DONE,
    (_S.DONE, _E.FOUND): _S.DONE,
    (_S.DONE, _E.NO_ANSWER): _S.DONE,
    (_S.DONE, _E.REJECTED): _S.DONE,
    (_S.DONE, _E.FAILED): _S.DONE,
    (_S.REJECTED, _E.FOUND): _S.REJECTED,  # an order of that id, but not this one (duplicate id)
    (_S.FAILED, _E.FOUND): _S.DONE,
    (_S.FAILED, _E.OK): _S.DONE,
    (_S.ABSENT, _E.FOUND): _S.DONE,
    (_S.ABSENT, _E.OK): _S.DONE,
    (_S.ABSENT, _E.REJECTED): _S.ABSENT,
    (_S.ABSENT, _E.FAILED): _S.ABSENT,
    (_S.ABSENT, _E.NO_ANSWER): _S.ABSENT,
    (_S.FAILED, _E.REJECTED): _S.FAILED,
    (_S.FAILED, _E.FAILED): _S.FAILED,
    (_S.FAILED, _E.NO_ANSWER): _S.FAILED,
    (_S.EXPIRED, _E.FOUND): _S.EXPIRED,
    (_S.DROPPED, _E.FOUND): _S.DROPPED,
}

#: Late news that says the opposite of what was settled: kept or corrected as `MOVES` says, and reported loudly.
CONTRADICTIONS: Final = frozenset(
    {
        (_S.DONE, _E.REJECTED),
        (_S.DONE, _E.FAILED),
        (_S.REJECTED, _E.FOUND),
        (_S.FAILED, _E.FOUND),
        (_S.FAILED, _E.OK),
        (_S.ABSENT, _E.FOUND),
        (_S.ABSENT, _E.OK),
        (_S.EXPIRED, _E.FOUND),
        (_S.DROPPED, _E.FOUND),
    }
)


class IllegalMove(RuntimeError):
    """An event that cannot happen in this state: a bug of ours, never of the venue or the bot."""

    def __init__(self, subject: str, state: State, event: Event) -> None:
        known = ", ".join(e.value for s, e in MOVES if s is state) or "none"
        super().__init__(
            f"{subject} is {state.value} and cannot take {event.value}; it can take: {known}: report this as a bug"
        )
        self.subject = subject
        self.state = state
        self.event = event


def move(subject: str, state: State, event: Event) -> State:
    """The state after ``event``; raises `IllegalMove` naming ``subject``, state and event if no cell knows it."""
    try:
        return MOVES[state, event]
    except KeyError:
        raise IllegalMove(subject, state, event) from None


def contradicts(state: State, event: Event) -> bool:
    """Whether this late news says the opposite of what was settled."""
    return (state, event) in CONTRADICTIONS


def may_send(state: State) -> bool:
    """Whether a first byte may leave: only what is queued. Nothing unknown or settled is ever sent again (rule 1)."""
    return state is State.RECORDED


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> RECORDED: enqueue", "    [*] --> IN_FLIGHT: begin"]
    lines += [f"    {s.name} --> {to.name}: {e.value}" for (s, e), to in MOVES.items() if s is not to]
    lines += [f"    {s.name} --> [*]" for s in State if s in TERMINAL]
    return "\n".join(lines)
