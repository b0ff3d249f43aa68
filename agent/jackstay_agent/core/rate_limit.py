"""May this request leave now, later, or not at all? (journey step 4, corrected by step 10)

Puts together the budgets it would spend (several at once: ip weight, order counts, a symbol's), the gates it would pass
and the ramp after a gate. Spends all of them or none. Lanes wait in order: a request that must wait holds a ticket, and
nobody of its lane or a less urgent one takes the room it waits for. The de-risking lane is never stopped by a budget,
only by a gate whose scope covers it (DESIGN §3 rule 4). Nobody waits past his deadline: then it is a refusal, at once.

Pure: `now` is an argument and waiting is the caller's. Prior art: Envoy's admission order, GCRA, resilience4j's
reserve-and-wait; against bots that retried into a ban: a gate holds every lane it covers.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite
from typing import Any

from jackstay_protocols.errors import Lane, Reason, ValidationError

from .events import EventLog
from .rate_ask import RANKS, Admit, Ask, LimitEvent, LimitSettings, Refuse, Wait
from .rate_budget import Budget, BudgetRule, Leased, make_budget
from .rate_gate import Gates
from .rate_snapshot import restore, snapshot
from .verdict import GateScope

__all__ = ["Admit", "Ask", "BudgetRule", "GateScope", "LimitEvent", "LimitSettings", "Limiter", "Refuse", "Wait"]

_TICKET_GRACE_S = 1.0  # a ticket not asked again this long after its instant has lost its place


class Limiter:
    """The budgets and gates of one venue."""

    def __init__(self, rules: Iterable[BudgetRule] = (), settings: LimitSettings | None = None) -> None:
        self.settings = settings or LimitSettings()
        self.rules = {rule.name: rule for rule in rules}
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._gates = Gates(self.settings.ramp)
        self._tickets: dict[int, tuple[Wait, float]] = {}  # number -> ticket, when it loses its place
        self._numbers = 0
        self._events: EventLog[LimitEvent] = EventLog()

    # -- asking -------------------------------------------------------------------------------------------------

    def admit(
        self, now: float, ask: Ask, *, deadline_at: float | None = None, ticket: Wait | None = None
    ) -> Admit | Wait | Refuse:
        """Spend and go, wait until an instant within the deadline, or be refused; never half of it."""
        derisk = ask.lane is Lane.DERISK
        if not self._gates.idle:
            until, reason, why = self._gated(now, ask, derisk)
            if until > now:
                return self._later(now, ask, until, reason, why, deadline_at, ticket)
        over, until, why = False, now, ""
        known = self._budgets
        for n, (rule, whose, weight) in enumerate(ask.charges):
            budget = known.get((rule, whose)) or self._budget(rule, whose)
            if derisk:
                over |= budget.take(now, weight)
                continue
            ahead = self._ahead(now, ask, ticket, rule, whose) if self._tickets else 0.0
            if until > now:  # another budget said no already: only when this one would have room
                at = budget.fits_at(now, weight, ahead)
            else:
                at = budget.take_if(now, weight, ahead)
                if at > now:
                    for done, owner, spent in ask.charges[:n]:
                        self._budget(done, owner).give_back(now, now, spent)
            if at > until:
                until, why = at, f"budget {rule} is spent"
        if until > now:
            return self._later(now, ask, until, Reason.RATE_LIMITED, why, deadline_at, ticket)
        if ticket is not None:
            self.leave(ticket)
        if not self._gates.idle:
            self._gates.ramp_take(ask.gates)
        return Admit(ask, now, over)

    def _gated(self, now: float, ask: Ask, derisk: bool) -> tuple[float, Reason, str]:
        """Until when gates or ramps hold it (``now``: they do not), and what to call that."""
        self.advance(now)
        gate = self._gates.gate_over(ask.gates, derisk)
        if gate is not None:
            return gate.until, Reason.GATED, gate.why
        until = now if derisk else self._gates.ramp_next_at(ask.gates, now)
        return until, Reason.RATE_LIMITED, "slow return after a gate"

    def gated_until(self, now: float, ask: Ask) -> float | None:
        """The venue's own "not before" for such a request; None: no gate stands in its way."""
        self.advance(now)
        gate = self._gates.gate_over(ask.gates, ask.lane is Lane.DERISK)
        return None if gate is None else gate.until

    def _later(
        self, now: float, ask: Ask, until: float, reason: Reason, why: str, deadline_at: float | None, old: Wait | None
    ) -> Wait | Refuse:
        latest = now + self.settings.wait_max_s if deadline_at is None else deadline_at
        number = None if old is None else old.number
        if old is not None:
            self.leave(old)
        if until > latest:
            return Refuse(reason, until - now if isfinite(until) else None, why)
        if ask.lane is Lane.DERISK:
            return Wait(ask, until, reason, why, 0)  # only a gate holds it, and no queue is too full for it
        if number is None:
            if len(self._tickets) >= self.settings.waiting_max:
                return Refuse(Reason.QUEUE_FULL, until - now, f"{len(self._tickets)} requests wait already")
            self._numbers = number = self._numbers + 1
        wait = Wait(ask, until, reason, why, number)
        self._tickets[number] = (wait, until + _TICKET_GRACE_S)
        return wait

    def _ahead(self, now: float, ask: Ask, own: Wait | None, rule: str, whose: str) -> float:
        """Weight that waits for this budget and has the older right to it."""
        mine = (RANKS[ask.lane], inf if own is None else own.number)
        for number in [n for n, (_, ends_at) in self._tickets.items() if now >= ends_at]:
            del self._tickets[number]
        ahead = 0.0
        for number, (wait, _) in self._tickets.items():
            if wait.reason is Reason.RATE_LIMITED and (RANKS[wait.ask.lane], number) < mine:
                ahead += sum(w for r, who, w in wait.ask.charges if r == rule and who == whose)
        return ahead

    def leave(self, ticket: Wait) -> None:
        """No longer waiting (cancelled, expired): the others move up."""
        self._tickets.pop(ticket.number, None)

    def give_back(self, now: float, admit: Admit) -> None:
        """It was admitted and not sent."""
        for rule, whose, weight in admit.ask.charges:
            self._budget(rule, whose).give_back(now, admit.at, weight)
        self._gates.ramp_give_back(admit.ask.gates)

    def _budget(self, rule: str, whose: str) -> Budget:
        key = (rule, whose)
        budget = self._budgets.get(key)
        if budget is None:
            known = self.rules.get(rule)
            if known is None:
                raise ValidationError(
                    f"budget {rule!r} is not known; one of {', '.join(sorted(self.rules)) or 'none'} is expected"
                )
            if len(self._budgets) >= self.settings.budgets_max:
                # a leased one is filled from outside: it is never the one to be forgotten
                old = next((key for key, each in self._budgets.items() if not isinstance(each, Leased)), None)
                if old is not None:
                    del self._budgets[old]
            budget = self._budgets[key] = make_budget(known)
        return budget

    # -- telling ------------------------------------------------------------------------------------------------

    def correct(self, now: float, rule: str, whose: str, used: float, *, in_flight: float | None = None) -> None:
        """The venue's own count of a budget, from its headers; nonsense is passed over."""
        if isfinite(used) and 0.0 <= used <= 1e9:
            self._budget(rule, whose).correct(now, used, in_flight)

    def gate(
        self, now: float, scope: GateScope, whose: str, *, retry_after_s: float | None, why: str, ban: bool = False
    ) -> float:
        """The venue said "not now". Says until when the gate stands."""
        default_s = self.settings.ban_default_s if ban else self.settings.gate_default_s
        wait_s = default_s if retry_after_s is None or not isfinite(retry_after_s) else max(0.0, retry_after_s)
        gate = self._gates.close((scope, whose), now + wait_s, now, why, ban)
        self._events.add(LimitEvent("gate_closed", now, scope, whose, gate.until, why))
        return gate.until

    def release(self, now: float, scope: GateScope, whose: str) -> bool:
        """An operator opens a gate; True if there was one."""
        done = self._gates.release((scope, whose), now)
        if done:
            self._events.add(LimitEvent("gate_opened", now, scope, whose, None, "released"))
        return done

    def ramp(self, now: float) -> None:
        """A venue that was away is back: its address begins slowly, as after a gate."""
        self._gates.restore_ramp((GateScope.IP, "ip"), now, self.settings.ramp.ramp_s)

    def advance(self, now: float) -> None:
        """Let gates open whose instant has come (`admit` does it too)."""
        for scope, whose in self._gates.advance(now):
            self._events.add(LimitEvent("gate_opened", now, scope, whose, None, "the venue's instant has come"))

    def snapshot(self, now: float) -> dict[str, Any]:
        """Plain values for a restart; time is kept as seconds left and ages."""
        return snapshot(self, now)

    def restore(self, data: dict[str, Any], now: float, *, elapsed_s: float = 0.0) -> None:
        """Take up a snapshot taken ``elapsed_s`` ago, or raise ValidationError. Budgets are charged as if no time had
        passed (the careful side); gates end when they would have ended.
        """
        restore(self, data, now, elapsed_s)

    def drain_events(self) -> list[LimitEvent]:
        return self._events.drain()

    def leased(self, rule: str, whose: str) -> Leased:
        """The budget a host's shared book refills."""
        budget = self._budget(rule, whose)
        if not isinstance(budget, Leased):
            raise ValidationError(f"budget {rule!r} is of kind {budget.rule.kind!r}; kind 'leased' is expected")
        return budget

    def status(self, now: float) -> dict[str, Any]:
        """Budgets, gates and ramps as plain values for `jackstay limits`."""
        self.advance(now)
        return {
            "budgets": [
                {
                    "budget": r,
                    "whose": w,
                    "used": b.used(now),
                    "limit": b.rule.limit,
                    "per_s": b.rule.per_s,
                    "shared": isinstance(b, Leased),
                }
                for (r, w), b in self._budgets.items()
            ],
            "gates": [
                {"scope": s.value, "whose": w, "left_s": g.until - now, "why": g.why, "ban": g.ban}
                for (s, w), g in self._gates.closed.items()
            ],
            "ramps": [{"scope": s.value, "whose": w, "left_s": e - now} for (s, w), e in self._gates.ramping().items()],
            "waiting": len(self._tickets),
        }
