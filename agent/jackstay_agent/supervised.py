"""What the agent offers to whoever runs it as a service: signs of life, a line of status, another configuration, a copy
of its journal. `app.Agent` is built on it; here is nothing of a request's journey.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from .config import Config
from .core.intent import State
from .gateway.bot_door import BotDoor
from .gateway.control_door import ControlDoor
from .gateway.feed_door import FeedDoor
from .http_service import HttpService
from .intents import Intents
from .outbox.runner import loop_runner
from .ports import Ports
from .pulse import Pulse
from .upstreams import Upstreams


class Supervised:
    """Made of the parts that `app.Agent` builds."""

    config: Config
    bots: BotDoor
    feed_door: FeedDoor
    control: ControlDoor
    http: HttpService
    upstreams: Upstreams
    intents: Intents
    _ports: Ports
    _logger: Any
    _ticks: int
    _pulse: Pulse | None
    _executor: Executor | None

    def pulses(self) -> dict[str, object]:
        """What differs from one look to the next while the agent does its work (lifeline.py)."""
        return {"agent pulse": self._ticks, "outbox pulse": self._pulse.beats if self._pulse is not None else None}

    def hand_work(self, done: Callable[[], None]) -> None:
        """A piece of nothing for the outbox thread; ``done`` on the loop."""
        if self._executor is not None:
            loop_runner(self._ports.loop, self._executor)(lambda: None, lambda _error: done())

    def summary(self) -> str:
        """One line for `systemctl status`."""
        outbox = self.intents.outbox
        parts = [f"{len(self.bots.bots())} bots", f"{self.bots.in_flight()} in flight"]
        for state, word in ((State.RECORDED, "queued"), (State.UNKNOWN, "unknown")):
            if count := outbox.count(state):
                parts.append(f"{count} {word}")
        if degraded := self.intents.status().get("degraded"):
            parts.append(f"journal degraded: {degraded}")
        return ", ".join(parts)

    def adopt(self, config: Config) -> None:
        """What may change under a running agent (reloading.py)."""
        self.config = config
        allowed = frozenset(config.agent.allow_uids)
        self._logger = self._ports.make_logger(config.agent.log_level, config.agent.log_format)
        self.bots.adopt_settings(allow_uids=allowed, beat_within_s=config.bot.beat_within_s)
        self.feed_door.permit(allowed | {os.getuid(), 0})
        self.control.permit(allowed)
        self.http.adopt(config)
        self.upstreams.allow(config.agent.allow_hosts)

    def copy_outbox(self, target: Path, done: Callable[[BaseException | None], None]) -> None:
        """A copy of the journal as it is now, made by the outbox thread while orders go on; ``done`` with its fault."""
        self.intents.outbox.copy_to(target, done)
