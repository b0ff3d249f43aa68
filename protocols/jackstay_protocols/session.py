"""Sans-IO liveness: who may speak for a bot, how long its silence is allowed, when to beat.

Both ends use it and neither side's I/O is here: times are boot-time seconds handed in. Silence is a *lease*, not a
constant (DESIGN §4): every message of the bot may say within how many seconds the next one comes.

Prior art: Paranoid Pirate and Majordomo (zguide), where any traffic counts as a heartbeat; Chubby's leases, where the
holder announces the length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .errors import Reason, ValidationError
from .limits import BEAT_WITHIN_S_DEFAULT, BEAT_WITHIN_S_MAX, BEAT_WITHIN_S_MIN, BOT_ID_BYTES_MAX
from .messages import Goodbye, Hello

SESSION_KINDS = ("primary", "reader", "operator")
GOODBYE_ORDERS = ("keep", "cancel")
#: An Ack of this alone says: everything you sent me is read, your last word too; you may close.
LAST_WORD_READ = "last-word"


def clamp_beat_s(within_s: float, default_s: float = BEAT_WITHIN_S_DEFAULT) -> float:
    """A lease within the wire's bounds; 0, negative or NaN means the default."""
    if not within_s > 0:
        return default_s
    return min(max(within_s, BEAT_WITHIN_S_MIN), BEAT_WITHIN_S_MAX)


class Liveness(StrEnum):
    """What the lease alone says; process facts sharpen it elsewhere (watchdog)."""

    FRESH = "fresh"  # inside the lease
    LATE = "late"  # lease over
    STALLED = "stalled"  # silence beyond twice the lease, or the operator's own limit
    GONE = "gone"  # said goodbye, or its process is known to be gone


@dataclass(slots=True)
class SilenceLease:
    """How long a peer may be silent, renewed by any of its messages.

    ``excuse`` adds time in which this process itself did not run: it is never held against the bot (rule 13).
    """

    within_s: float
    heard_at: float

    def heard(self, now: float, within_s: float = 0.0) -> None:
        """Any message renews; a positive ``within_s`` also changes the lease's length from now on."""
        self.heard_at = now
        if within_s > 0:
            self.within_s = clamp_beat_s(within_s)

    def excuse(self, seconds: float) -> None:
        self.heard_at += max(0.0, seconds)

    def silent_s(self, now: float) -> float:
        return max(0.0, now - self.heard_at)

    def state(self, now: float, *, stalled_after_s: float | None = None) -> Liveness:
        """Fresh up to the lease, late up to ``stalled_after_s`` (default twice the lease), then stalled."""
        # compared with the very instants that `next_change_at` names: sums and differences of floats disagree
        if now <= self.heard_at + self.within_s:
            return Liveness.FRESH
        limit = 2 * self.within_s if stalled_after_s is None else max(stalled_after_s, self.within_s)
        return Liveness.LATE if now <= self.heard_at + limit else Liveness.STALLED

    def next_change_at(self, *, stalled_after_s: float | None = None, now: float) -> float | None:
        """When `state` will next differ, or None when it will not without news."""
        limit = 2 * self.within_s if stalled_after_s is None else max(stalled_after_s, self.within_s)
        for edge in (self.heard_at + self.within_s, self.heard_at + limit):
            if edge >= now:
                return edge
        return None


@dataclass(slots=True)
class BeatPlan:
    """The bot's side: when a beat is due so that the lease it announced never runs out by accident.

    A third of the lease leaves two tries before it ends (Paranoid Pirate's liveness of three).
    """

    within_s: float
    spoke_at: float

    def spoke(self, now: float) -> None:
        self.spoke_at = now

    def due_at(self) -> float:
        return self.spoke_at + self.within_s / 3

    def announce_ds(self) -> int:
        """The lease as the frame header carries it: deciseconds, rounded up, at least one."""
        return min(0xFFFF, max(1, -int(-self.within_s * 10 // 1)))


@dataclass(slots=True)
class BotSession:
    """One bot as the agent knows it: (bot id, process), its sockets, its lease, its last word."""

    bot_id: str
    pid: int
    kind: str
    token: str
    lease: SilenceLease
    client_version: str = ""
    peers: set[bytes] = field(default_factory=set)
    goodbye: Goodbye | None = None
    said_goodbye_at: float = 0.0
    since: float = 0.0
    progress: int = -1
    progress_at: float = 0.0
    seen_pid: int = -1  # by the kernel's word, in the agent's own pid namespace; 0: not visible there; -1: not asked

    def liveness(self, now: float) -> Liveness:
        if self.goodbye is not None:
            return Liveness.GONE
        return self.lease.state(now)


def excuse(session: BotSession, seconds: float, now: float) -> None:
    """The agent itself did not run for so long. What was heard or said since is not moved into the future: a bot that
    spoke before the pause was noticed would get its length as a gift, and its evidence a silence that was none.
    """
    session.lease.excuse(min(seconds, max(0.0, now - session.lease.heard_at)))
    session.said_goodbye_at = min(now, session.said_goodbye_at + max(0.0, seconds))


class HelloVerdict(StrEnum):
    OPEN = "open"  # a new session
    JOIN = "join"  # another socket of a session that exists
    RESUME = "resume"  # the same bot is back: its session goes on under the new process
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class HelloDecision:
    verdict: HelloVerdict
    reason: Reason | None = None
    message: str = ""
    retry_after_s: float | None = None


def check_hello(hello: Hello) -> str | None:
    """What is wrong with a HELLO's fields, or None."""
    if not hello.bot_id or len(hello.bot_id.encode()) > BOT_ID_BYTES_MAX:
        return f"bot id of {len(hello.bot_id.encode())} bytes; 1 to {BOT_ID_BYTES_MAX} are expected"
    if not hello.bot_id.isprintable() or "/" in hello.bot_id:
        return "bot id with control characters or '/'; letters, digits, '-', '_' and '.' are expected"
    if hello.kind not in SESSION_KINDS:
        return f"session kind {hello.kind!r}; one of {', '.join(SESSION_KINDS)} is expected"
    if hello.pid <= 0:
        return f"pid {hello.pid}; the bot's own process id is expected"
    return None


def decide_hello(
    hello: Hello, current: BotSession | None, now: float, *, current_process_gone: bool = False
) -> HelloDecision:
    """May this peer speak as the bot's primary? One primary per bot id (DESIGN §4).

    ``current`` is the primary session of that bot id, if there is one; readers and operators never compete. The same
    process joins; a newer process takes over when the old one said goodbye, is gone, lost its lease, or when it shows
    the old session's resume token.
    """
    if hello.kind != "primary":
        return HelloDecision(HelloVerdict.OPEN)
    if current is None:
        return HelloDecision(HelloVerdict.OPEN)
    if current.pid == hello.pid and current.goodbye is None and not current_process_gone:
        return HelloDecision(HelloVerdict.JOIN)
    if current.goodbye is not None or current_process_gone or (hello.resume and hello.resume == current.token):
        return HelloDecision(HelloVerdict.RESUME)
    if current.lease.state(now) is not Liveness.FRESH:
        return HelloDecision(HelloVerdict.RESUME)
    left_s = current.lease.heard_at + current.lease.within_s - now
    return HelloDecision(
        HelloVerdict.REFUSE,
        Reason.SESSION_TAKEN,
        f"bot id {hello.bot_id!r} is already in use by living process {current.pid}; stop that one, wait until its "
        "lease ends, use another bot_id, or connect with kind='reader'",
        max(0.0, left_s),
    )


def check_goodbye(goodbye: Goodbye) -> None:
    """Raises ValidationError naming the field that is wrong."""
    if goodbye.orders not in GOODBYE_ORDERS:
        raise ValidationError(
            f"goodbye orders={goodbye.orders!r}; one of {', '.join(GOODBYE_ORDERS)} is expected",
            reason=Reason.BAD_REQUEST,
        )
    if not 0 <= goodbye.back_within_s <= 24 * 3600:
        raise ValidationError(
            f"goodbye back_within_s={goodbye.back_within_s}; 0 to 86400 seconds are expected", reason=Reason.BAD_REQUEST
        )
