"""How the agent goes out: pools, WebSocket dials and TLS as the configuration says, ``[upstreams]`` applied."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .config import Config
from .ports import Ports
from .telling import EventSink
from .transport.endpoint import Endpoint
from .transport.http import HttpPool
from .transport.tls import make_ssl_context


class Outward:
    """Makes what dials. ``guarded(host, dial)`` asks the breaker of a stream's host before its dial."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        *,
        guarded: Callable[[str, Callable[[], Any]], Awaitable[Any]],
        on_event: EventSink,
    ) -> None:
        self._config = config
        self._ports = ports
        self._guarded = guarded
        self._on_event = on_event
        self._tls: dict[str, Any] = {}

    async def ws_dial(self, url: str, **options: Any) -> Any:
        """A feed's dial, under the agent's own TLS settings."""
        endpoint = self._config.endpoint_for(url)

        def dial() -> Any:
            return self._ports.ws_dial(url, endpoint=endpoint, ssl_context=self.ssl_context(endpoint), **options)

        return await self._guarded(endpoint.host, dial)

    def pool(self, endpoint: Endpoint) -> HttpPool:
        ports = self._ports
        return HttpPool(
            endpoint,
            self._config.connections,
            loop=ports.loop,
            clock=ports.clock,
            random=ports.random,
            dial=ports.dial,
            resolve=ports.resolve,
            ssl_context=self.ssl_context(endpoint),
            on_event=self._on_event,
        )

    def ssl_context(self, endpoint: Endpoint) -> Any:
        if not endpoint.tls:
            return None
        if endpoint.ca_file not in self._tls:
            self._tls[endpoint.ca_file] = make_ssl_context(ca_file=endpoint.ca_file or None)
        return self._tls[endpoint.ca_file]
