"""The words of rate limiting: what is asked (`Ask`), what is answered (`Admit`, `Wait`, `Refuse`), what is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from jackstay_protocols.errors import Lane, Reason

from .bounds import LONGEST_S, check_number, check_whole
from .rate_gate import GateKey, RampSettings

#: Lanes, most urgent first.
RANKS: Final = {Lane.DERISK: 0, Lane.ORDER: 1, Lane.QUERY: 2, Lane.OTHER: 3}


@dataclass(frozen=True, slots=True)
class LimitSettings:
    ramp: RampSettings = field(default_factory=RampSettings)
    gate_default_s: float = 10.0  # the venue said "too many" but not until when
    ban_default_s: float = 120.0  # Binance's shortest ban
    wait_max_s: float = 30.0  # without a deadline nobody waits longer
    waiting_max: int = 256  # tickets; past that a refusal
    budgets_max: int = 4096  # budgets per symbol multiply; the least recently used go first

    def __post_init__(self) -> None:
        for name in ("gate_default_s", "ban_default_s", "wait_max_s"):
            check_number("LimitSettings", name, getattr(self, name), 0.0, LONGEST_S)
        check_whole("LimitSettings", "waiting_max", self.waiting_max, 0, 100_000)
        check_whole("LimitSettings", "budgets_max", self.budgets_max, 1, 1_000_000)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request costs and passes; worth keeping per endpoint and key, for it holds no state.

    ``charges``: (budget rule, whose, weight), as in ("orders_10s", "main-key", 1). ``gates``: every (scope, whose) that
    may hold it, its own endpoint included; a cancel does not list the order count.
    """

    lane: Lane
    charges: tuple[tuple[str, str, float], ...] = ()
    gates: tuple[GateKey, ...] = ()


class Admit:
    """Go. Hand it to `give_back` if it was not sent. ``over``: de-risking spent more than the limit."""

    __slots__ = ("ask", "at", "over")

    def __init__(self, ask: Ask, at: float, over: bool) -> None:
        self.ask = ask
        self.at = at
        self.over = over


@dataclass(frozen=True, slots=True, eq=False)
class Wait:
    """Ask again at ``until``, not before, with this value as ticket; or give it to `leave`."""

    ask: Ask
    until: float
    reason: Reason
    why: str
    number: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """No. ``retry_after_s`` None: it will never fit."""

    reason: Reason
    retry_after_s: float | None
    why: str


@dataclass(frozen=True, slots=True)
class LimitEvent:
    """``kind``: gate_closed, gate_opened."""

    kind: str
    at: float
    scope: str
    whose: str
    until: float | None
    why: str
