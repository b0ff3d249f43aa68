"""[alerts]: which events are handed on, and to whom. Delivering alerts is others' work; handing them over is ours."""

from __future__ import annotations

from dataclasses import dataclass, field

from jackstay_protocols.errors import ValidationError

from .core.bounds import check_number, check_whole

#: Names, with shell patterns. What an operator wants to hear of without asking.
DEFAULT_EVENTS = (
    *("pattern.*", "loop.stopped", "breaker.open", "bot.gone", "bot.stalled", "deadman.*", "would.*"),
    *("state.discrepancy", "state.cleared", "state.halted", "state.broken", "state.would_cancel"),
    *("outbox.degraded", "audit.degraded", "audit.healed", "request.broken", "telling.broken", "recovery.*"),
)


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """``command`` is started once per alert with the event as JSON on its standard input; ``webhook`` gets it as a
    POST.
    """

    events: list[str] = field(default_factory=lambda: list(DEFAULT_EVENTS))
    command: list[str] = field(default_factory=list)
    command_timeout_s: float = 10.0
    webhook: str = ""
    webhook_header: str = ""  # "Name: value", for a token; never shown
    waiting_max: int = 1_000  # per sink; the oldest is dropped, and counted
    attempts_max: int = 8  # of one alert, 0.5 s apart at first, doubling up to a minute

    def __post_init__(self) -> None:
        owner = "AlertSettings"
        check_number(owner, "command_timeout_s", self.command_timeout_s, 0.0, 600.0, above_low=True)
        check_whole(owner, "waiting_max", self.waiting_max, 1, 1_000_000)
        check_whole(owner, "attempts_max", self.attempts_max, 1, 1000)
        if self.webhook and not self.webhook.startswith(("https://", "http://")):
            raise ValidationError(f"AlertSettings.webhook is {self.webhook[:80]!r}; an http(s) URL is expected")
        if self.webhook_header and ":" not in self.webhook_header:
            raise ValidationError("AlertSettings.webhook_header has no colon; 'Name: value' is expected")
