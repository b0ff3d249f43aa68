"""What the agent keeps of what happened, joined: audit log and anchors, pattern analytics, alerts and their sinks.

One part of the composition, apart from `app.py` so that both stay readable. Everything in here is a listener of the one
hook (telling.py); nothing in here is waited for by a request. While the audit log cannot be written a mode of its own
keeps entries back (``on_full``), and what reduces risk passes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackstay_protocols.endpoints import AgentPaths
from jackstay_protocols.errors import ValidationError

from .alerts import Alerts, CommandSink, WebhookSink
from .audit.anchors import JOURNAL, Anchors
from .audit.log import AuditLog
from .config import Config
from .core.event_sink import EventSink
from .core.modes import Mode
from .gateway.control_door import Verb
from .outbox.runner import loop_runner
from .pattern_watch import PatternWatch
from .ports import Ports
from .telling import Telling
from .transport.endpoint import Endpoint
from .transport.http import HttpAnswer, HttpFailure, HttpPool
from .upstreams import Upstreams
from .venue_access import VenueAccess
from .venue_modes import EVERYWHERE, VenueModes

if TYPE_CHECKING:
    from .metrics.room import MetricsRoom

POST_WITHIN_S = 10.0
HOLDER = "audit"


class Recording:
    """Built with the agent, opened once its lock is held, closed last."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        *,
        agent: str,
        version: str,
        telling: Telling,
        event: EventSink,
        modes: VenueModes,
        access: VenueAccess,
        make_pool: Callable[[Endpoint], HttpPool],
        upstreams: Upstreams,
    ) -> None:
        self._config, self._ports = config, ports
        self._agent, self._version = agent, version
        self._telling, self._event = telling, event
        self._modes, self._access, self._make_pool = modes, access, make_pool
        self._pools: dict[str, HttpPool] = {}
        self._sinks: list[WebhookSink | CommandSink] = []
        self.audit: AuditLog | None = None
        self.patterns: PatternWatch | None = None
        self.metrics: MetricsRoom | None = None
        if config.analytics.enabled:
            self.patterns = PatternWatch(
                config, clock=ports.clock, wall=ports.wall, modes=modes, upstreams=upstreams, on_event=event
            )

    def verbs(self) -> dict[str, Verb]:
        return {} if self.patterns is None else self.patterns.verbs()

    def tick(self) -> None:
        if self.patterns is not None:
            self.patterns.tick()

    def open(self, state_folder: Path) -> None:
        """Raises SecurityError, ValidationError where the audit key may not be used as it is."""
        self._open_alerts()
        if self.patterns is not None:
            self._telling.listen(self.patterns)
        settings = self._config.audit
        if not settings.enabled:
            return
        webhook = self._webhook(settings.anchor_webhook) if settings.anchor_webhook else None
        anchors = Anchors(
            self._agent,
            journal=JOURNAL if settings.anchor_journal else None,
            on_event=self._event,
            webhook=webhook.put if webhook is not None else None,
        )
        folder, key_path = settings.places(state_folder)
        self.audit = AuditLog(
            settings,
            folder=folder,
            key_path=key_path,
            agent=self._agent,
            version=self._version,
            boot_id=self._ports.boot_id,
            pid=self._ports.pid,
            wall=self._ports.wall,
            clock=self._ports.clock,
            call_later=self._ports.loop.call_later,
            runner=lambda executor: loop_runner(self._ports.loop, executor),
            executor=self._ports.open_executor("audit"),
            on_event=self._audit_event,
            on_anchor=anchors.tell,
            venue_offset_ms=self._access.offset_ms,
        )
        self._telling.listen(self.audit)
        self.audit.open()

    async def serve(
        self,
        paths: AgentPaths,
        mode: int,
        status: Callable[[], dict[str, Any]],
        readers: Callable[[], dict[str, Any]],
    ) -> None:
        """Open the pages for machines, where they are wanted: the last thing of a start. Raises ValidationError."""
        settings = self._config.metrics
        if not settings.listen:
            return
        from .metrics.room import MetricsRoom

        self.metrics = MetricsRoom(
            self._config,
            self._ports,
            paths,
            telling=self._telling,
            status=status,
            readers=readers,
            on_event=self._event,
        )
        try:
            await self.metrics.open(mode)
        except OSError as error:
            raise ValidationError(
                f"[metrics] listen = {settings.listen!r} cannot be bound ({error.strerror or error}): each agent needs"
                " a port or a path of its own"
            ) from error

    def _open_alerts(self) -> None:
        settings = self._config.alerts
        sinks: list[WebhookSink | CommandSink] = []
        if settings.webhook:
            sinks.append(self._webhook(settings.webhook, settings.webhook_header))
        if settings.command:
            command = CommandSink(
                settings.command,
                timeout_s=settings.command_timeout_s,
                on_event=self._event,
                waiting_max=settings.waiting_max,
            )
            self._sinks.append(command)
            sinks.append(command)
        if sinks:
            self._telling.listen(Alerts(self._agent, settings, sinks))

    def _webhook(self, url: str, header: str = "") -> WebhookSink:
        settings = self._config.alerts
        sink = WebhookSink(
            url,
            self._post,
            call_later=self._ports.loop.call_later,
            on_event=self._event,
            header=header,
            waiting_max=settings.waiting_max,
            attempts_max=settings.attempts_max,
        )
        self._sinks.append(sink)
        return sink

    def _post(
        self,
        url: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        done: Callable[[HttpAnswer | HttpFailure], None],
    ) -> None:
        scheme, _, rest = url.partition("://")
        origin, slash, path = rest.partition("/")
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = self._make_pool(self._config.endpoint_for(f"{scheme}://{origin}"))
        target = f"{slash or '/'}{path}".encode("ascii", "replace")
        deadline_at = self._ports.clock() + POST_WITHIN_S
        pool.submit(b"POST", target, headers, body, deadline_at=deadline_at, done=done, idempotent=False)

    def _audit_event(self, name: str, fields: dict[str, Any]) -> None:
        """Trouble of the audit log holds entries; its end lets them go."""
        self._event(name, fields)
        audit = self.audit
        if name not in ("audit.degraded", "audit.healed") or audit is None:
            return
        why = audit.refusal()
        if why is not None:
            self._modes.hold(EVERYWHERE, Mode.CONSERVATIVE, holder=HOLDER, why=why)
        else:
            self._modes.release(EVERYWHERE, HOLDER)

    async def close(self) -> None:
        """After the last event: lines are written, the last anchor is told, sinks end where they are."""
        if self.metrics is not None:
            self.metrics.close()
        if self.audit is not None:
            self.audit.close()
        for sink in self._sinks:
            ending = sink.close()
            if ending is not None:
                await ending
        for pool in self._pools.values():
            await pool.close(1.0)

    def status(self) -> dict[str, Any]:
        return {
            "patterns": self.patterns.status() if self.patterns is not None else {"state": "off"},
            "audit": self.audit.status() if self.audit is not None else {"state": "off"},
            "alerts": {type(sink).__name__: sink.status() for sink in self._sinks},
        }
