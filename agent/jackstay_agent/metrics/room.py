"""The metrics' parts, joined: tally, picture, pages, door.

Made only where ``[metrics]`` says so; prometheus-client (5 MB) is loaded then and not before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jackstay_protocols.endpoints import AgentPaths

from ..config import Config
from ..core.event_sink import EventSink
from ..own_process import OwnProcess
from ..ports import Ports
from ..telling import Telling
from .door import MetricsDoor
from .picture import Picture
from .readiness import reasons
from .sections import of_status, tallied
from .tally import Tally

SOCKET = "metrics.sock"


class MetricsRoom:
    """``status`` and ``readers`` are the agent's own words about itself, asked for at each scrape."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        paths: AgentPaths,
        *,
        telling: Telling,
        status: Callable[[], dict[str, Any]],
        readers: Callable[[], dict[str, Any]],
        on_event: EventSink,
    ) -> None:
        from .pages import Pages

        self._config, self._ports, self._paths = config, ports, paths
        self._status, self._readers = status, readers
        self._counted = {section.profile or name for name, section in config.venues.items()} | set(config.upstreams)
        self._process: OwnProcess | None = ports.own_process
        self._dropped = 0
        self.tally = Tally()
        telling.listen(self.tally)
        self.door = MetricsDoor(
            scrape=Pages(self.look).scrape,
            reasons=lambda: self.reasons(self._status()),
            call_soon=ports.loop.call_soon,
            call_later=ports.loop.call_later,
            on_event=on_event,
        )

    async def open(self, mode: int) -> None:
        """Bind. Raises OSError."""
        listen, settings = self._ports.listen, self._config.metrics
        if listen is None:
            return
        if settings.unix:
            await self.door.open(listen, path=settings.path(self._paths.runtime / SOCKET), mode=mode)
        else:
            await self.door.open(listen, address=settings.address)

    def close(self) -> None:
        self.door.close()

    def reasons(self, status: dict[str, Any]) -> list[str]:
        """Why the agent is not ready; empty: it is."""
        paths = self._paths
        doors: list[Path] = [paths.bot, paths.feed, paths.control]
        missing = [path.name for path in doors if not path.exists()]
        return reasons(status, counted=self._counted, missing=missing)

    def look(self) -> Picture:
        """One scrape."""
        picture, status = Picture(), self._status()
        tallied(picture, self.tally)
        of_status(picture, status, self._readers(), self.tally)
        picture.put("jackstay_ready", 0.0 if self.reasons(status) else 1.0)
        if self._process is not None:
            picture.put("jackstay_resident_memory_bytes", self._process.resident_bytes())
            picture.put("jackstay_cpu_seconds", self._process.cpu_s())
            picture.put("jackstay_open_fds", self._process.fds())
        self._dropped += picture.dropped
        picture.put("jackstay_metrics_rows_dropped", self._dropped)
        return picture
