"""`StateMonitor`: whether bot, agent and venue have the same picture of the account, on schedule and on demand.

It owns the verdicts: what stands, since when, what was cleared, the history. Looking and mending are a room's
(`StateRoom` in the agent, state_room.py). Alone, as a library given only a `Config()`, there is nobody to ask: every
component is `unverifiable`, never consistent, and nothing can be reconciled.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from jackstay_protocols.errors import ValidationError

from .core.discrepancy import Discrepancy, Kind, loudest, read_discrepancy
from .core.event_sink import EventSink
from .log import get_logger
from .state_settings import COMPONENTS

if TYPE_CHECKING:
    from .config import Config
    from .state_mend import Mended

HISTORY_MAX = 2_000
HISTORY_FOUND_MAX = 1_000  # discrepancies in all of it: one takes some 2 KB, and bad hours find hundreds at each look


@dataclass
class StateValidationResult:
    """One check. ``discrepancies`` are plain values (kind, venue, subject, whose, why, severity, views ...).

    ``is_consistent`` is True only if everything could be looked at and nothing differs; ``severity`` is the loudest
    one's, "low" where there is none. ``validation_time`` is aware, UTC.
    """

    is_consistent: bool
    discrepancies: list[dict[str, Any]]
    validation_time: datetime
    component: str
    severity: str


class Room(Protocol):
    """Who looks and mends."""

    async def look(self, component: str) -> list[Discrepancy]: ...
    async def mend(self, found: Sequence[Discrepancy], *, dry_run: bool, cancel_orphans: bool) -> Mended: ...
    async def by_policy(self, found: Sequence[Discrepancy]) -> Mended: ...
    async def next_due(self) -> str: ...
    def facts(self) -> dict[str, Any]: ...
    def keep(self, result: dict[str, Any]) -> None: ...


class StateMonitor:
    """``room`` binds it to accounts; ``on_event`` hears ``state.discrepancy``, ``state.cleared``, ``state.checked``."""

    def __init__(
        self,
        config: Config,
        *,
        room: Room | None = None,
        on_event: EventSink | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self._settings = config.state
        self._room = room
        self._wall = wall
        self._log = get_logger("jackstay.state") if on_event is None else None
        self._sink = on_event
        self._history: deque[StateValidationResult] = deque()
        self._history_found = 0
        self._standing: dict[tuple[str, ...], tuple[Discrepancy, float]] = {}
        self._last: dict[str, StateValidationResult] = {}
        self._looking = asyncio.Lock()
        self.checks = 0

    # ---- the contract

    async def validate_state_consistency(self, component: str = "all") -> StateValidationResult:
        """Look now. Raises ValidationError for a component there is not."""
        _check_component(component)
        async with self._looking:
            if self._room is None:
                found = [_unbound(each) for each in self._components(component)]
            else:
                found = await self._room.look(component)
            result = self.verdict(component, found)
        if self._room is not None and found:
            await self._room.by_policy(found)
        return result

    async def reconcile_state(
        self,
        component: str,
        discrepancies: list[dict[str, Any]],
        *,
        cancel_orphans: bool = False,
    ) -> bool:
        """Mend these (as a validation gave them). True only if a fresh look shows none of them any more.

        Only the venue's evidence is taken. Raises ValidationError for what is no discrepancy.
        """
        _check_component(component)
        found = [read_discrepancy(each) for each in discrepancies]
        if self._room is None:
            self._event("state.unbound", {"component": component, "discrepancies": len(found)})
            return False
        async with self._looking:
            mended = await self._room.mend(found, dry_run=False, cancel_orphans=cancel_orphans)
            left = await self._room.look(component)
            self.verdict(component, left)
        keys = {each.key for each in left}
        good = not mended.failed and not any(each.key in keys for each in found)
        fields = {"component": component, "mended": good, "done": mended.done[:50], "failed": mended.failed[:50]}
        self._event("state.reconciled", fields)
        return good

    async def start_monitoring(self) -> None:
        """Look on schedule and when something asks for it, until cancelled."""
        while True:
            if self._room is None:
                await self.validate_state_consistency()
                await asyncio.sleep(self._settings.check_every_s)
                continue
            component = await self._room.next_due()
            try:
                await self.validate_state_consistency(component)
            except Exception as error:  # a fault of ours in one look must not end all others
                self._event("state.broken", {"component": component, "error": f"{type(error).__name__}: {error}"[:300]})

    def get_state_summary(self) -> dict[str, Any]:
        """What stands, and when each component was last looked at; plain values."""
        now = self._wall()
        components = {
            name: {
                "consistent": last.is_consistent,
                "severity": last.severity,
                "discrepancies": len(last.discrepancies),
                "checked_at": last.validation_time.isoformat(),
            }
            for name, last in self._last.items()
            if name != "all"
        }
        standing = [
            {**each.to_dict(), "since_s": round(max(0.0, now - since), 3)} for each, since in self._standing.values()
        ]
        return {
            "consistent": bool(components) and not standing and all(each["consistent"] for each in components.values()),
            "components": components,
            "standing": standing,
            "checks": self.checks,
            **({} if self._room is None else self._room.facts()),
        }

    def get_state_history(self, hours: int = 24) -> list[StateValidationResult]:
        """Results of the last ``hours``, oldest first: of the newest 2,000, and of bad hours the newest that hold 1,000
        discrepancies together. Raises ValidationError for no number above 0."""
        if isinstance(hours, bool) or not isinstance(hours, int | float) or not hours > 0:
            raise ValidationError(f"hours is {hours!r}; a number above 0 is expected")
        since = datetime.fromtimestamp(max(0.0, self._wall() - hours * 3600), UTC)
        return [each for each in self._history if each.validation_time >= since]

    # ---- for the agent

    def verdict(self, component: str, found: Sequence[Discrepancy]) -> StateValidationResult:
        """Write down what a look found; tell what is new and what is gone."""
        at = self._wall()
        result = StateValidationResult(
            not found,
            [each.to_dict() for each in found],
            datetime.fromtimestamp(at, UTC),
            component,
            loudest(found).value,
        )
        self.checks += 1
        changed = self._changes(self._components(component), found, at)
        before = self._last.get(component)
        self._last[component] = result
        for part in self._components(component):
            own = [one for one in found if one.component == part]
            plain = [one.to_dict() for one in own]
            self._last[part] = StateValidationResult(not own, plain, result.validation_time, part, loudest(own).value)
        self._remember(result)
        if changed or before is None or before.is_consistent != result.is_consistent:
            if self._room is not None:
                self._room.keep(_plain(result))
            shown = {"component": component, "consistent": result.is_consistent, "severity": result.severity}
            self._event("state.checked", {**shown, "discrepancies": len(found)})
        return result

    def note(self, found: Iterable[Discrepancy]) -> list[Discrepancy]:
        """Discrepancies found between looks: told at once if they are new, and these are returned."""
        new = []
        for each in found:
            if each.key not in self._standing:
                self._standing[each.key] = (each, self._wall())
                self._event("state.discrepancy", each.to_dict())
                new.append(each)
        return new

    def recall(self, results: Iterable[Mapping[str, Any]]) -> None:
        """History of an earlier life, newest first."""
        for each in reversed(list(results)):
            self._remember(
                StateValidationResult(
                    bool(each["is_consistent"]),
                    list(each["discrepancies"]),
                    datetime.fromisoformat(each["validation_time"]),
                    str(each["component"]),
                    str(each["severity"]),
                )
            )

    def _remember(self, result: StateValidationResult) -> None:
        """The newest stays whatever it holds; the oldest go while there are too many, or too much was found."""
        history = self._history
        history.append(result)
        self._history_found += len(result.discrepancies)
        while len(history) > HISTORY_MAX or (self._history_found > HISTORY_FOUND_MAX and len(history) > 1):
            self._history_found -= len(history.popleft().discrepancies)

    @property
    def standing(self) -> list[Discrepancy]:
        return [each for each, _since in self._standing.values()]

    async def plan(self, *, cancel_orphans: bool = False) -> Mended:
        """What a reconciliation of all that stands would do."""
        if self._room is None:
            raise ValidationError("nothing can be reconciled: this monitor is bound to no account")
        return await self._room.mend(self.standing, dry_run=True, cancel_orphans=cancel_orphans)

    # ---- inside

    def _components(self, component: str) -> list[str]:
        return list(self._settings.components) if component == "all" else [component]

    def _changes(self, components: list[str], found: Sequence[Discrepancy], at: float) -> bool:
        now = {each.key: each for each in found}
        new = self.note(found)
        gone = [key for key, (each, _at) in self._standing.items() if each.component in components and key not in now]
        for key in gone:
            each, since = self._standing.pop(key)
            self._event("state.cleared", {**each.to_dict(), "stood_s": round(max(0.0, at - since), 3)})
        for key, each in now.items():
            self._standing[key] = (each, self._standing[key][1])
        return bool(new or gone)

    def _event(self, name: str, fields: dict[str, Any]) -> None:
        if self._sink is not None:
            self._sink(name, fields)
        elif self._log is not None:
            self._log.warning(name, **fields)


def _check_component(component: str) -> None:
    if component != "all" and component not in COMPONENTS:
        raise ValidationError(f"component is {component!r}; all, {', '.join(COMPONENTS)} are known")


def _unbound(component: str) -> Discrepancy:
    why = "this monitor is bound to no account: nothing can be asked; an agent's own is (jackstay state)"
    return Discrepancy(Kind.UNVERIFIABLE, component, "", component, why, "venue")


def _plain(result: StateValidationResult) -> dict[str, Any]:
    return {
        "is_consistent": result.is_consistent,
        "discrepancies": result.discrepancies[:200],
        "validation_time": result.validation_time.isoformat(),
        "component": result.component,
        "severity": result.severity,
    }
