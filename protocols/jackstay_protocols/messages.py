"""Every message on the local sockets, typed and frozen.

On the wire a body is a MessagePack *array* in the order of the fields below. Evolution rule (N/N-1): fields are only
ever appended, with a default; a reader ignores what it does not know and fills what is missing. Changing the meaning
or the order of a field is a new wire version.

``KIND`` is the second byte of a frame. 1-63 travel to the agent, 64-127 to the client.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import msgspec

from .errors import Lane, Outcome

Headers = list[tuple[bytes, bytes]]
"""Header pairs, verbatim: order, repetition and capitalisation are kept (adapters.md 1.2)."""


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all bodies."""

    KIND: ClassVar[int] = 0


# ---------------------------------------------------------------- to the agent


class Hello(Message, frozen=True, array_like=True):
    """First message on every socket. The session is (bot_id, pid): several sockets of one process share it."""

    KIND: ClassVar[int] = 1
    bot_id: str
    kind: str  # "primary" | "reader" | "operator"
    pid: int
    client_version: str
    wire_min: int
    wire_max: int
    boot_id: str = ""
    resume: str = ""  # token of an earlier WELCOME: the same bot came back
    beat_within_s: float = 0.0  # 0: the agent's default
    direct: list[str] = []  # what went past the agent while it was gone (the client's fallback), in words


class Goodbye(Message, frozen=True, array_like=True):
    """A deploy is not a death: what to do with the bot's orders, and until when it means to be back."""

    KIND: ClassVar[int] = 2
    reason: str = ""
    orders: str = "keep"  # "keep" | "cancel"
    back_within_s: float = 0.0  # 0: not announced


class Beat(Message, frozen=True, array_like=True):
    """The bot lives; with ``progress`` its work moved on too. Answered only when the frame carries a request id."""

    KIND: ClassVar[int] = 3
    progress: int = -1


class Request(Message, frozen=True, array_like=True):
    """One HTTP exchange with a venue. ``target`` is a full URL, or a path when ``venue`` is named."""

    KIND: ClassVar[int] = 4
    method: str
    target: str
    headers: Headers = []
    body: bytes = b""
    venue: str = ""
    lane: Lane | None = None  # a hint: it never promotes (DESIGN §2 step 1)
    idempotency_key: str = ""
    sign: bool = False
    tag: str = ""  # order class by the bot's own word
    patient: bool = False  # while an equal order is unknown: wait for it, instead of hearing so at once


class Post(Message, frozen=True, array_like=True):
    """A queued request: accepted now, outcome later, by its id. ``ttl_s`` bounds its age when it is sent."""

    KIND: ClassVar[int] = 5
    method: str
    target: str
    headers: Headers = []
    body: bytes = b""
    venue: str = ""
    lane: Lane | None = None
    idempotency_key: str = ""
    sign: bool = False
    tag: str = ""
    ttl_s: float = 0.0


class Abandon(Message, frozen=True, array_like=True):
    """The caller of the request with this frame's id no longer waits."""

    KIND: ClassVar[int] = 6


class Ack(Message, frozen=True, array_like=True):
    """These outcomes reached the bot's own code and need not be kept for it."""

    KIND: ClassVar[int] = 7
    ids: list[str] = []


class Subscribe(Message, frozen=True, array_like=True):
    """On feed.sock: deliver these topics of this feed; ``events`` adds the agent's events.

    ``turns``: this reader takes `FeedTurn`; without it every batch comes as a `Feed` of its own. ``hold_s``: how long
    market data may be collected before it is sent, 0 to HOLD_S_MAX, for all topics of this socket; the latest Subscribe
    that names a feed counts.
    """

    KIND: ClassVar[int] = 8
    feed: str = ""
    topics: list[str] = []
    events: bool = False
    turns: bool = False
    hold_s: float = 0.0


class Unsubscribe(Message, frozen=True, array_like=True):
    KIND: ClassVar[int] = 9
    feed: str = ""
    topics: list[str] = []
    events: bool = False


class StatusQuery(Message, frozen=True, array_like=True):
    KIND: ClassVar[int] = 10


class ReportError(Message, frozen=True, array_like=True):
    """An error the bot met on its own, for classification, analytics and audit."""

    KIND: ClassVar[int] = 11
    component: str
    operation: str
    error_type: str
    message: str
    severity: str = ""
    symbol: str = ""
    order_id: str = ""
    details: dict[str, Any] = {}


class ReportState(Message, frozen=True, array_like=True):
    """The bot's own picture of a component: orders, positions or balances."""

    KIND: ClassVar[int] = 12
    component: str
    state: dict[str, Any] = {}


class Command(Message, frozen=True, array_like=True):
    """On control.sock: an operator's verb and its arguments."""

    KIND: ClassVar[int] = 13
    verb: str
    args: dict[str, Any] = {}


# ---------------------------------------------------------------- to the client


class Welcome(Message, frozen=True, array_like=True):
    KIND: ClassVar[int] = 64
    agent: str
    agent_version: str
    session: str
    wire_version: int
    resume: str
    beat_within_s: float
    beat_within_s_max: float
    frame_bytes_max: int
    mode: str = "normal"
    grade: str = "carry"
    preset: str = "observe"
    outcomes_waiting: int = 0
    agent_pid: int = 0


class Refusal(Message, frozen=True, array_like=True):
    """No, and why. Nothing was sent to a venue for the request it answers, unless ``outcome`` says otherwise."""

    KIND: ClassVar[int] = 65
    reason: str
    message: str
    retry_after_s: float | None = None
    outcome: Outcome = Outcome.FAILED
    details: dict[str, Any] = {}


class Response(Message, frozen=True, array_like=True):
    """What the venue answered, and the agent's verdict on it.

    ``status`` 0 means that no HTTP answer came; then ``cause`` names the transport's failure.
    """

    KIND: ClassVar[int] = 66
    status: int
    reason: bytes
    headers: Headers
    body: bytes
    outcome: Outcome
    cause: str = ""
    severity: str = ""
    retryable: bool = False
    sent: bool = True
    attempts: int = 1
    retry_after_s: float | None = None
    elapsed_us: int = 0
    detail: str = ""
    intent: str = ""


class Accepted(Message, frozen=True, array_like=True):
    """A queued request is in the journal; its outcome will carry ``intent``."""

    KIND: ClassVar[int] = 67
    intent: str


#: The cause of news about a trade that the bot's own traffic did not show; its body is JSON.
FILL_CAUSE = "fill"


class OutcomeNews(Message, frozen=True, array_like=True):
    """A late outcome; repeated until acknowledged."""

    KIND: ClassVar[int] = 68
    intent: str
    idempotency_key: str
    outcome: Outcome
    status: int = 0
    headers: Headers = []
    body: bytes = b""
    cause: str = ""
    detail: str = ""


class Feed(Message, frozen=True, array_like=True):
    """Payloads of one topic in order; the frame's ``when`` is the sequence number of the first."""

    KIND: ClassVar[int] = 69
    topic: str
    payloads: list[bytes] = []


class Lagged(Message, frozen=True, array_like=True):
    """This reader was too slow: ``missed`` messages of ``topic`` were dropped, oldest first."""

    KIND: ClassVar[int] = 70
    topic: str
    missed: int


class Event(Message, frozen=True, array_like=True):
    """A fact about the agent: a stable dotted name and fields; ``at_us`` is wall time, microseconds UTC."""

    KIND: ClassVar[int] = 71
    name: str
    at_us: int
    fields: dict[str, Any] = {}


class Directive(Message, frozen=True, array_like=True):
    """What needs the bot's own trading judgement (directives.py); repeated until an `Ack` names its ``id``."""

    KIND: ClassVar[int] = 72
    name: str
    fields: dict[str, Any] = {}
    id: str = ""


class FeedItem(NamedTuple):
    """One message of a topic and its number."""

    topic: str
    sequence: int
    payload: bytes


class FeedTurn(Message, frozen=True, array_like=True):
    """Messages of several topics that came in one turn of the agent's loop; in order within each topic."""

    KIND: ClassVar[int] = 74
    items: list[FeedItem] = []


class Done(Message, frozen=True, array_like=True):
    """Answer to anything that is not a venue request: status, commands, subscriptions, reports, beats."""

    KIND: ClassVar[int] = 73
    data: dict[str, Any] = {}


TO_AGENT: dict[int, type[Message]] = {
    kind.KIND: kind
    for kind in (
        Hello,
        Goodbye,
        Beat,
        Request,
        Post,
        Abandon,
        Ack,
        Subscribe,
        Unsubscribe,
        StatusQuery,
        ReportError,
        ReportState,
        Command,
    )
}

TO_CLIENT: dict[int, type[Message]] = {
    kind.KIND: kind
    for kind in (
        Welcome,
        Refusal,
        Response,
        Accepted,
        OutcomeNews,
        Feed,
        FeedTurn,
        Lagged,
        Event,
        Directive,
        Done,
    )
}
