"""What an operator asks of the state monitor: `state` summary, check, diff, reconcile and history on control.sock.

Reading changes nothing. A reconciliation is told first (`dry_run`), wants the number of things it is about, and is
recorded with uid and reason. A check and a reconciliation ask the venue and answer when it has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from jackstay_protocols.errors import ValidationError

from .gateway.door import PeerCredentials
from .order_desk import name_of, reason
from .state_monitor import StateMonitor, StateValidationResult
from .state_settings import COMPONENTS

ROWS_MAX = 200


class StateDesk:
    """Verbs by name for the control door."""

    def __init__(
        self,
        monitor: StateMonitor,
        *,
        loop: asyncio.AbstractEventLoop,
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._monitor = monitor
        self._loop = loop
        self._on_event = on_event

    def verbs(self) -> dict[str, Any]:
        return {
            "state.summary": self._summary,
            "state.check": self._check,
            "state.diff": self._diff,
            "state.reconcile": self._reconcile,
            "state.history": self._history,
        }

    def _summary(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        found = self._monitor.get_state_summary()
        return {**found, "standing": found["standing"][:ROWS_MAX], "standing_total": len(found["standing"])}

    def _diff(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        component = _component(args)
        found = [
            each
            for each in self._monitor.get_state_summary()["standing"]
            if component in ("all", each["component"]) and args.get("venue") in (None, "", each["venue"])
        ]
        return {"standing": found[:ROWS_MAX], "total": len(found)}

    def _history(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        found = self._monitor.get_state_history(args.get("hours", 24))
        return {"results": [shown(each) for each in found[-ROWS_MAX:]], "total": len(found)}

    def _check(self, args: dict[str, Any], _who: PeerCredentials | None) -> Coroutine[Any, Any, dict[str, Any]]:
        component = _component(args)

        async def check() -> dict[str, Any]:
            return shown(await self._monitor.validate_state_consistency(component))

        return self._in_task(check())

    def _reconcile(
        self, args: dict[str, Any], who: PeerCredentials | None
    ) -> dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]:
        component, cancel = _component(args), bool(args.get("cancel_orphans"))
        standing = [each for each in self._monitor.standing if component in ("all", each.component)]
        if args.get("dry_run"):

            async def plan() -> dict[str, Any]:
                planned = await self._monitor.plan(cancel_orphans=cancel)
                return {"planned": planned.planned, "not_possible": planned.failed, "count": len(standing)}

            return self._in_task(plan())
        why, expect = reason(args), args.get("expect")
        if expect != len(standing):
            raise ValidationError(
                f"{len(standing)} discrepancies stand, expect = {expect!r}: look with a dry run, then say how many"
            )
        self._on_event(
            "operator.reconcile",
            {"component": component, "count": len(standing), "cancel_orphans": cancel, "by": name_of(who), "why": why},
        )

        async def mend() -> dict[str, Any]:
            plain = [each.to_dict() for each in standing]
            good = await self._monitor.reconcile_state(component, plain, cancel_orphans=cancel)
            left = self._diff({"component": component}, who)
            return {"reconciled": good, "standing": left["standing"], "total": left["total"]}

        return self._in_task(mend())

    async def _in_task(self, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        return await self._loop.create_task(work)


def shown(result: StateValidationResult) -> dict[str, Any]:
    return {
        "consistent": result.is_consistent,
        "severity": result.severity,
        "component": result.component,
        "at": result.validation_time.isoformat(),
        "discrepancies": result.discrepancies[:ROWS_MAX],
        "total": len(result.discrepancies),
    }


def _component(args: dict[str, Any]) -> str:
    found = str(args.get("component") or "all")
    if found not in ("all", *COMPONENTS):
        raise ValidationError(f"component = {found[:60]!r}; all, {', '.join(COMPONENTS)} are known")
    return found
