"""How the agent goes out: pools, WebSocket dials and TLS as the configuration says, ``[upstreams]`` applied."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from jackstay_protocols.errors import ValidationError

from .config import Config, profiles_of
from .core.event_sink import EventSink
from .ports import Ports
from .trading_hours import TradingHours
from .transport.endpoint import Endpoint
from .transport.http import HttpPool
from .transport.tls import make_ssl_context
from .upstreams import Upstreams
from .venues.profile import GENERIC, Profile


class Outward:
    """Makes what dials. ``guarded(host, dial)`` asks the breaker of a stream's host before its dial."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        *,
        hours: TradingHours,
        guarded: Callable[[str, Callable[[], Any]], Awaitable[Any]],
        on_event: EventSink,
    ) -> None:
        self._config = config
        self._ports = ports
        self._hours = hours
        self._guarded = guarded
        self._on_event = on_event
        self._tls: dict[str, Any] = {}

    async def ws_dial(self, url: str, **options: Any) -> Any:
        """A feed's dial, a WebSocket or a long-lived HTTP answer, under the agent's own TLS settings."""
        endpoint = self._config.endpoint_for(url)

        by = self._ports.line_dial if url.startswith("http") else self._ports.ws_dial

        def dial() -> Any:
            return by(
                url,
                endpoint=endpoint,
                ssl_context=self.ssl_context(endpoint),
                local_address=self._config.connections.local_address,
                **options,
            )

        return await self._guarded(endpoint.host, dial)

    def pool(self, endpoint: Endpoint, profile: Profile = GENERIC) -> HttpPool:
        """One origin's; outside its market's hours it keeps nothing open."""
        ports, names = self._ports, {profile.name, endpoint.host}
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
            probe_path=profile.data.probe,
            is_open=lambda: self._hours.open(names),
        )

    def warm(self, upstreams: Upstreams) -> None:
        """TCP and TLS of the configured venues are done before the first order; nobody waits for it."""
        profiles = profiles_of(self._config)
        for name, section in self._config.venues.items():
            profile = profiles[section.profile or name]
            if section.warm and profile.base_url:
                with contextlib.suppress(ValidationError):  # told to the first request that goes there
                    pool = upstreams.meet(profile.base_url).pool
                    pool.dial_ahead(pool.minimum)

    def ssl_context(self, endpoint: Endpoint) -> Any:
        if not endpoint.tls:
            return None
        if endpoint.ca_file not in self._tls:
            self._tls[endpoint.ca_file] = make_ssl_context(ca_file=endpoint.ca_file or None)
        return self._tls[endpoint.ca_file]
