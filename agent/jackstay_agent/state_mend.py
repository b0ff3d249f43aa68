"""What is done about a discrepancy: by policy on the agent's own, or by an operator's or a library user's word.

Mending the agent's picture takes the venue's evidence, asked for anew: what the venue does not say now is not taken.
A bot's picture is its own: it gets a directive with what the venue says, and counts again from its next report on. An
orphan is cancelled only on an exclusive account, only where that was asked for, and only after a first look announced
it (`state.would_cancel`); it is mended when the venue shows it as over. Nothing else at the venue is ever touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jackstay_protocols.messages import Directive

from .account.pulling import Silence
from .core.account import Order, Stage
from .core.discrepancy import Discrepancy, Kind, Policy, policy_for
from .state_check import Checks, Parts
from .venues.operations import Operations

DIRECTIVE = "state.adopt"
PROOF_LOOKS = 5
PROOF_PAUSE_S = 0.2


@dataclass(slots=True)
class Mended:
    """What was done, and what could not be; ``planned`` in words for a dry run."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)


class Mend:
    """``operations(venue)``: None where the agent cannot ask. ``halt(venue, why)`` sets the mode HALTED."""

    def __init__(
        self,
        parts: Parts,
        checks: Checks,
        *,
        operations: Callable[[str], Operations | None],
        direct: Callable[[str, Directive], bool],
        halt: Callable[[str, str], None],
        mend_queue: Callable[[Discrepancy], bool],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._p = parts
        self._checks = checks
        self._operations = operations
        self._direct = direct
        self._halt = halt
        self._mend_queue = mend_queue
        self._on_event = on_event
        self._announced: set[tuple[str, ...]] = set()

    async def by_policy(self, found: Sequence[Discrepancy]) -> Mended:
        """What the configured policies say about a check's findings."""
        whole = Mended()
        for each in found:
            policy = policy_for(each.kind, self._p.settings.policies, exclusive=self._p.account.exclusive)
            if policy is Policy.HALT:
                self._halt(each.venue, f"{each.kind}: {each.subject}: {each.why}")
                self._on_event("state.halted", {"venue": each.venue, "kind": each.kind.value, "subject": each.subject})
                whole.done.append(f"halted {each.venue or 'all venues'}")
            elif policy is Policy.ADOPT:
                _add(whole, await self.one(each))
            elif policy is Policy.CANCEL_ORPHAN:
                _add(whole, await self._cancel_announced(each))
        return whole

    async def one(self, each: Discrepancy, *, dry_run: bool = False, cancel_orphans: bool = False) -> Mended:
        """Mend one; what was done, or would be."""
        if each.kind is Kind.ORPHAN:
            return await self._orphan(each, dry_run=dry_run, cancel=cancel_orphans)
        if dry_run:
            return Mended(planned=[self._plan(each)])
        if each.component == "queue":
            good = self._mend_queue(each)
            return _told(good, f"{each.kind} of {each.subject}", "" if good else "only a person can mend it")
        if each.whose == "bot":
            return self._tell_bot(each)
        operations = self._operations(each.venue)
        if operations is None:
            return Mended(failed=[f"{each.venue or 'this venue'} cannot be asked: no key"])
        if each.component in ("balances", "positions"):
            return await self._holdings(each, operations)
        if each.kind is Kind.UNVERIFIABLE or each.component == "connections":
            found = await self._checks.orders(operations)
            bad = [one for one in found if one.kind is Kind.UNVERIFIABLE]
            return _told(not bad, f"{each.venue} answers again", bad[0].why if bad else "")
        if each.kind is Kind.FILL_MISSING:
            return await self._fills(each, operations)
        return await self._order(each, operations)

    # ---- inside

    def _plan(self, each: Discrepancy) -> str:
        if each.whose == "bot":
            return f"tell bot {each.bot_id or '?'} what the venue says about {each.subject}"
        if each.component == "queue":
            return f"put out what is damaged of {each.subject}"
        return f"ask {each.venue} about {each.subject} and take its word into the agent's picture"

    async def _order(self, each: Discrepancy, operations: Operations) -> Mended:
        known = self._known(each)
        if known is None:
            return Mended(failed=[f"{each.subject} is not known any more"])
        answer = await self._checks.asked(operations, known)
        if isinstance(answer, Silence):
            return Mended(failed=[f"{each.subject}: {answer.why}"])
        self._p.books.adopt(replace(answer, bot_id=known.bot_id))
        for key in [key for key, one in self._p.books.impossible.items() if one.subject == each.subject]:
            del self._p.books.impossible[key]
        return Mended(done=[f"{each.subject} is {answer.stage} by the venue's word"])

    def _known(self, each: Discrepancy) -> Order | None:
        ids = [each.subject, *(str(view.get("client_id", "")) for view in each.views.values())]
        venue_ids = [str(view.get("venue_id", "")) for view in each.views.values()]
        for family in ("", *dict.fromkeys(one.order.family for one in self._p.books.entries())):
            for venue_id in filter(None, venue_ids):
                found = self._p.books.find(Order(each.venue, each.symbol, "", venue_id, family))
                if found is not None:
                    return found
        named = (self._p.books.find(Order(each.venue, each.symbol, one)) for one in filter(None, ids))
        return next((one for one in named if one is not None), None)

    async def _fills(self, each: Discrepancy, operations: Operations) -> Mended:
        back_ms = self._p.wall_ms() - int(self._p.settings.fills_back_s * 1000)
        self._checks.look_back(each.venue, each.symbol, back_ms)
        wrong = await self._checks.pull_fills(operations)
        if wrong:
            return Mended(failed=[f"{each.subject}: {wrong[0].why}"])
        if self._p.fills.waiting:
            await self._checks.settled_down(each.venue)
        await self._p.fills.judge()
        return Mended(done=[f"fills of {each.symbol} were pulled and delivered"])

    async def _holdings(self, each: Discrepancy, operations: Operations) -> Mended:
        kind = "balance" if each.component == "balances" else "position"
        pulling = self._p.pulling
        pulled = await (pulling.balances if kind == "balance" else pulling.positions)(operations)
        if isinstance(pulled, Silence):
            return Mended(failed=[f"{each.subject}: {pulled.why}"])
        self._p.books.hold(kind, each.venue, pulled, whole=True)
        return Mended(done=[f"{each.component} of {each.venue} are the venue's"])

    def _tell_bot(self, each: Discrepancy) -> Mended:
        fields = {name: value for name, value in each.to_dict().items() if name != "severity"}
        heard = self._direct(each.bot_id, Directive(DIRECTIVE, fields))
        self._p.views.regressions.pop(each.key, None)
        if heard:
            self._p.views.forget(each.component, each.venue, each.bot_id)
        if not heard:
            return Mended(failed=[f"bot {each.bot_id or '?'} is not here to be told about {each.subject}"])
        return Mended(done=[f"bot {each.bot_id} was told about {each.subject}"])

    async def _cancel_announced(self, each: Discrepancy) -> Mended:
        """The first sighting announces, the next one acts: somebody may still say no in between."""
        if each.key not in self._announced:
            self._announced.add(each.key)
            self._on_event("state.would_cancel", {"venue": each.venue, "subject": each.subject, "symbol": each.symbol})
            return Mended(planned=[f"cancel {each.subject} at the next look"])
        return await self._orphan(each, dry_run=False, cancel=True)

    async def _orphan(self, each: Discrepancy, *, dry_run: bool, cancel: bool) -> Mended:
        if not cancel:
            words = f"{each.subject} is left alone: cancelling an orphan has to be asked for"
            return Mended(planned=[words]) if dry_run else Mended(failed=[words])
        if not self._p.account.exclusive:
            return Mended(failed=[f"{each.subject} is left alone: [account] exclusive is not true"])
        if dry_run:
            return Mended(planned=[f"cancel {each.subject} ({each.symbol}) at {each.venue}"])
        operations = self._operations(each.venue)
        if operations is None:
            return Mended(failed=[f"{each.venue} cannot be asked: no key"])
        view = each.views.get("venue", {})
        order = Order(each.venue, each.symbol, str(view.get("client_id", "")), str(view.get("venue_id", "")))
        shown = await self._p.pulling.open_orders(operations)
        if isinstance(shown, Silence):
            return Mended(failed=[f"{each.subject}: {shown.why}"])
        there = [one for one in shown if (one.client_id, one.venue_id) == (order.client_id, order.venue_id)]
        for one in there:
            if not one.client_id.startswith(self._p.prefixes(operations)) or self._p.books.entry(one) is not None:
                return Mended(failed=[f"{each.subject} is left alone: it cannot be proved to be ours and nobody's"])
            refused = await self._p.pulling.cancel(operations, one)
            if refused is not None:
                return Mended(failed=[f"{each.subject}: {refused.why}"])
            if not await self._is_over(operations, one):
                return Mended(failed=[f"{each.subject}: the venue took the cancel and still shows it open"])
        self._announced.discard(each.key)
        return Mended(done=[f"{each.subject} is cancelled by the venue's word" if there else f"{each.subject} is gone"])

    async def _is_over(self, operations: Operations, order: Order) -> bool:
        for _ in range(PROOF_LOOKS):
            answer = await self._p.pulling.order(operations, order)
            if isinstance(answer, Order) and answer.stage not in (Stage.OPEN, Stage.OTHER):
                return True
            await self._p.pause(PROOF_PAUSE_S)
        return False


def _told(good: bool, words: str, why: str) -> Mended:
    return Mended(done=[words]) if good else Mended(failed=[f"{words}: {why}"])


def _add(whole: Mended, part: Mended) -> None:
    whole.done += part.done
    whole.failed += part.failed
    whole.planned += part.planned
