"""Who sees everything and believes only the venue: what bots meant, what they were told, what was written and executed.

The rules it checks (DESIGN §3): 1 nothing is sent twice, 2 nothing accepted is lost, 3 nothing stale is sent,
4 de-risking has a way out, 6 the agent touches only its bots' orders, 8 unknown never ages into rejected.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jackstay_protocols.errors import Outcome
from jackstay_protocols.messages import OutcomeNews

from .loop import Process, Time

if TYPE_CHECKING:
    from .client import Told

#: What the agent may tell of itself only if it has a bug.
BROKEN = frozenset({"request.broken", "resolver.broken", "outbox.contradiction", "outbox.row_damaged", "agent.broken"})
#: Why a cancel may be refused without breaking rule 4: time, a stop, a gate of the venue's own, a dead network.
DERISK_EXCUSES = frozenset({"expired", "draining", "unknown_peer", "gated"})


@dataclass
class Attempt:
    """One try of a bot to have one order placed."""

    intention: Intention
    client_id: str
    deadline_at: float
    told: Told | None = None


@dataclass
class Intention:
    """An order a bot wants exactly once. Its quantity is its name: no other order of the run has it."""

    bot_id: str
    quantity: Decimal
    symbol: str
    style: str
    attempts: list[Attempt] = field(default_factory=list)


class Observer:
    """Collects, and judges at once what can be judged at once."""

    def __init__(self) -> None:
        self.intentions: dict[Decimal, Intention] = {}
        self.by_client_id: dict[str, Attempt] = {}
        self.written: Counter[str] = Counter()
        self.ever_written: set[str] = set()
        self.violations: list[str] = []
        self.folder = "?"
        self.seen: Counter[str] = Counter()
        self.news_of: dict[tuple[str, str], OutcomeNews] = {}
        self.journaled: dict[str, tuple[str, str]] = {}  # client id -> (intent, bot), once committed
        self.is_aside: Any = lambda client_id: False
        self.answers: dict[str, tuple[str, Outcome]] = {}
        self.boot_s: Any = None
        self.world: Time | None = None

    def violation(self, world: Time, what: str) -> None:
        self.violations.append(f"{world.now:.3f} s: {what}")
        world.note("observer", "VIOLATION", what)

    # ---- what happens

    def event(self, world: Time, who: str, name: str, fields: dict[str, Any]) -> None:
        self.seen[f"event {name}"] += 1
        text = " ".join(f"{key}={value}" for key, value in fields.items())
        world.note(who, name, text.replace(self.folder, "STATE"))  # its name is another one in each run
        if name in BROKEN:
            self.violation(world, f"{who} told of {name}: {fields}")

    def wrote(self, world: Time, process: Process, data: bytes) -> None:
        """A request leaves an agent (its process's last word on the matter)."""
        if not data.startswith(b"POST /api/v3/order "):
            return
        text = data.partition(b"\r\n\r\n")[2].decode()
        params = dict(pair.split("=", 1) for pair in text.split("&") if "=" in pair)
        client_id, quantity = params.get("newClientOrderId", ""), Decimal(params.get("quantity", "0"))
        world.note(process.name, "writes", f"{client_id} quantity {quantity}")
        self.ever_written.add(client_id)
        self.written[client_id] += 1
        if client_id not in self.journaled and not self.is_aside(client_id):
            self.violation(world, f"rule 2: {client_id} was written to the wire before it was in the journal")
        if self.written[client_id] > 1:
            self.violation(world, f"rule 1: {client_id} was written {self.written[client_id]} times")
        attempt = self.by_client_id.get(client_id)
        if attempt is None:
            intention = self.intentions.get(quantity)
            attempt = intention.attempts[-1] if intention is not None else None
        if attempt is None:
            self.violation(world, f"an order nobody asked for was written: {text}")
        elif self.boot_s() >= attempt.deadline_at:
            self.violation(world, f"rule 3: {client_id} was written {self.boot_s() - attempt.deadline_at:.3f} s late")

    def news(self, bot_id: str, news: OutcomeNews) -> None:
        self.seen[f"news {news.outcome}"] += 1
        self.news_of[bot_id, news.intent] = news
        if self.world is not None:
            self.world.note(bot_id, "hears late", f"intent {news.intent} {news.outcome} {news.cause}")

    def told(self, world: Time, attempt: Attempt, told: Told) -> None:
        attempt.told = told
        if told.outcome in (Outcome.FAILED, Outcome.REJECTED):
            self.written.pop(attempt.client_id, None)  # its id is free again
        intent = getattr(told.message, "intent", "") if told.kind == "response" else ""
        if intent and (told.outcome is not Outcome.UNKNOWN or intent not in self.answers):
            self.answers[intent] = (attempt.client_id, told.outcome)
        self.seen[f"told {told.kind} {told.outcome}"] += 1
        if told.kind == "refusal":
            self.seen[f"refused {told.reason}"] += 1
        wish = attempt.intention
        detail = getattr(told.message, "detail", "") or getattr(told.message, "message", "")
        world.note(
            attempt.intention.bot_id,
            "is told",
            f"{attempt.client_id} quantity {wish.quantity} {wish.style} {told.kind} {told.outcome} {told.reason} "
            f"{detail}",
        )

    def cancel_told(self, world: Time, bot_id: str, client_id: str, told: Told) -> None:
        world.note(bot_id, "is told of cancel", f"{client_id} {told.kind} {told.outcome} {told.reason}")
        self.seen[f"cancel {told.kind} {told.outcome}"] += 1
        if told.kind == "refusal" and told.reason not in DERISK_EXCUSES:
            self.violation(world, f"rule 4: a cancel was refused: {told.reason} {getattr(told.message, 'message', '')}")
