"""http.sock as the agent's other parts see it: built from the configuration, opened, drained, closed; or switched off.

Here its pieces are put together: the door (gateway/http_door.py), the guards of trade sockets (trade_socket.py), and
the way to the venue. A world without stream sockets, or ``[http] enabled = false``, has a service that does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jackstay_protocols.session import BotSession

from .config import Config, profiles_of, reachable_hosts
from .core.event_sink import EventSink
from .gateway.http_door import HttpDoor, HttpDoorSettings
from .intents import Intents
from .pipeline import Pipeline
from .ports import Ports
from .telling import Telling
from .trade_socket import TradeSockets
from .transport.endpoint import Endpoint


class HttpService:
    """One agent's http.sock, and its TCP port if there is one."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        *,
        own_uid: int,
        allow_uids: frozenset[int],
        pipeline: Pipeline,
        intents: Intents,
        telling: Telling,
        ssl_context: Callable[[Endpoint], Any],
        on_event: EventSink,
    ) -> None:
        self._config = config
        self._ports = ports
        self._ssl_context = ssl_context
        self._door: HttpDoor | None = None
        if not config.http.enabled or ports.listen is None:
            return
        sockets = TradeSockets(
            profiles_of(config),
            clock=ports.clock,
            call_later=ports.loop.call_later,
            take=pipeline.take,
            unread=config.http.trade_socket,
            on_event=on_event,
        )
        self._door = HttpDoor(
            HttpDoorSettings(
                own_uid=own_uid,
                allow_uids=allow_uids,
                hosts=reachable_hosts(config),
                allow_hosts=_allow_hosts(config),
                token=config.http.token() if config.http.listen else b"",
            ),
            clock=ports.clock,
            process_gone=ports.process_gone,
            take=pipeline.take,
            endpoint_for=config.endpoint_for,
            dial=self._dial,
            guard_for=sockets.guard_for,
            telling=telling,
            outcomes=intents.untold,
            ack=intents.ack,
            on_event=on_event,
        )

    async def _dial(self, endpoint: Endpoint, factory: Callable[[], asyncio.Protocol]) -> Any:
        """A line for a client's WebSocket, under the agent's own TLS settings. Raises DialError."""
        connections = self._config.connections
        addresses = await self._ports.resolve(endpoint.dial_host, endpoint.dial_port)
        return await self._ports.dial(
            factory,
            addresses,
            ssl_context=self._ssl_context(endpoint),
            server_hostname=endpoint.server_hostname,
            local_address=connections.local_address,
            timeout_s=connections.dial_timeout_s,
        )

    async def open(self, path: Path, mode: int) -> None:
        """Bind. Raises OSError."""
        if self._door is not None and self._ports.listen is not None:
            self._door.clear(path)
            await self._door.open(self._ports.listen, path, mode, self._config.http.address)

    async def drained(self) -> None:
        """Refuse what comes, end the WebSockets, and wait for the requests under way."""
        if self._door is None:
            return
        self._door.drain()
        idle = asyncio.Event()
        self._door.when_idle(idle.set)
        await idle.wait()

    def adopt(self, config: Config) -> None:
        if self._door is not None:
            self._door.permit(frozenset(config.agent.allow_uids), _allow_hosts(config))

    def close(self) -> None:
        if self._door is not None:
            self._door.close()

    def in_flight(self) -> int:
        return self._door.in_flight() if self._door is not None else 0

    def excuse(self, seconds: float) -> None:
        if self._door is not None:
            self._door.excuse(seconds)

    def sweep(self) -> None:
        if self._door is not None:
            self._door.sweep()

    def watched(self, primaries: list[BotSession]) -> list[BotSession]:
        """Every bot that is watched: those of bot.sock, and those here that gave themselves a lease."""
        beating = self._door.beating() if self._door is not None else []
        return list({session.bot_id: session for session in (*beating, *primaries)}.values())

    def status(self) -> dict[str, Any]:
        return self._door.status() if self._door is not None else {}


def _allow_hosts(config: Config) -> tuple[str, ...]:
    """Patterns of hosts besides those of profiles and [upstreams]; "everything" of the bots' door is not meant here."""
    return (*config.http.allow_hosts, *(each for each in config.agent.allow_hosts if each != "*"))
