"""The agent's own `ErrorHandler` and what an operator asks of it: `errors` on control.sock.

Bots report errors to it (`client.report_error`), and answers of venues that were no success are errors too, by cause.
Equal ones are counted together, repeated ones become louder (section ``[errors.severity]``), and each step up is one
event. Causes and messages come in as words; nothing secret is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jackstay_protocols.errors import ErrorSeverity, Outcome, ValidationError
from jackstay_protocols.messages import ReportError

from .core.event_sink import EventSink
from .core.verdict import Cause
from .error_handler import ErrorEvent, ErrorHandler
from .gateway.door import PeerCredentials
from .order_desk import Verb
from .telling import Asked, Attempt, Listener

ROWS_MAX = 1_000


class ErrorDesk(Listener):
    """Where errors of this agent's bots and venues come together."""

    def __init__(
        self, config: Any, *, clock: Callable[[], float], wall: Callable[[], float], on_event: EventSink
    ) -> None:
        self.handler = ErrorHandler(
            config,
            clock=clock,
            wall=lambda: datetime.fromtimestamp(wall(), UTC),
            on_event=self._told,
            log=False,
        )
        self._on_event = on_event

    def reported(self, bot_id: str, report: ReportError) -> dict[str, Any]:
        """A bot's report; says how loud it is after escalation, and its number."""
        causes = report.details.get("causes", [])
        event = self.handler.note(
            component=report.component,
            operation=report.operation,
            error_type=report.error_type,
            message=report.message,
            severity=report.severity,
            bot_id=bot_id,
            symbol=report.symbol or None,
            order_id=report.order_id or None,
            causes=causes if isinstance(causes, list | tuple) else (),
        )
        return {"severity": str(event.severity), "number": event.number}

    def attempted(self, asked: Asked, attempt: Attempt) -> None:
        """A venue's answer that was no success, or none at all."""
        verdict = attempt.verdict
        if verdict.outcome is Outcome.OK or verdict.cause == Cause.CANCELLED:
            return
        self.handler.note(
            component=asked.host,
            operation=f"{asked.method} {asked.path}",
            error_type=str(verdict.cause),
            message=verdict.detail,
            severity=str(verdict.severity),
            bot_id=asked.bot or None,
        )

    def verbs(self) -> dict[str, Verb]:
        return {"errors.list": self._list, "errors.patterns": self._patterns}

    def _list(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        count, after = args.get("count", 100), args.get("after", 0)
        for name, value in (("count", count), ("after", after)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValidationError(f"{name} = {value!r}; a whole number from 0 is expected")
        severity = args.get("severity") or None
        if severity is not None and severity not in {each.value for each in ErrorSeverity}:
            raise ValidationError(f"severity = {severity!r}; one of {', '.join(ErrorSeverity)} is expected")
        found = self.handler.recent_errors(
            min(count, ROWS_MAX),
            component=args.get("component") or None,
            severity=None if severity is None else ErrorSeverity(severity),
            after=after,
        )
        oldest = self.handler.recent_errors(self.handler.settings.recent_max)[:1]
        return {
            "errors": [shown(each) for each in found],
            "recorded": self.handler.recorded,
            "oldest_kept": oldest[0].number if oldest else 0,
        }

    def _patterns(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        found = sorted(self.handler.get_error_patterns().values(), key=lambda each: -each.frequency)
        return {
            "patterns": [
                {
                    "component": each.component,
                    "error_type": each.error_type,
                    "count": each.frequency,
                    "severity": str(each.severity),
                    "first_seen": each.first_seen.isoformat(),
                    "last_seen": each.last_seen.isoformat(),
                    "last_operation": each.evidence["last_operation"],
                }
                for each in found[:ROWS_MAX]
            ]
        }

    def _told(self, event: ErrorEvent) -> None:
        """Loud errors, each step up and its end are the agent's events."""
        name = "error.loud" if event.kind == "error" else f"error.{event.kind}"
        self._on_event(name, shown(event) | {"repeats": event.repeats})


def shown(event: ErrorEvent) -> dict[str, Any]:
    """Plain values; what is not said is left out."""
    facts = {
        "number": event.number,
        "at": event.timestamp.isoformat(),
        "severity": str(event.severity),
        "component": event.component,
        "operation": event.operation,
        "error_type": event.error_type,
        "message": event.message,
        "bot": event.bot_id,
        "symbol": event.symbol,
        "order_id": event.order_id,
        "causes": list(event.causes),
    }
    return {name: value for name, value in facts.items() if value not in (None, [])}
