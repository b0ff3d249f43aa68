"""ConnectionManager: named connections that prove themselves alive (CONTRACT connection_manager).

It works alone, as a library, given only a `Config()`, and is honest there: True only with proof. `establish_connection`
returns True only after the handshake, `flush_message_queue` counts only what really went (HTTP: answered; WebSocket: in
the system's socket), an unknown id is False or None, a full queue is False. A message whose fate is unknown (bytes
left, nothing came back) is taken out of the queue, counted and told, and never sent again (DESIGN §3 rule 1).

A lost connection is dialled again by itself with jittered backoff; `reconnect_connection` does it now and validates the
health afterwards. The numbers in `ConnectionHealth` follow the formulas in `core/health.py`.
"""

from __future__ import annotations

import asyncio
import random as chance
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import time as wall_s
from typing import TYPE_CHECKING, Any

from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import ExchangeError, Reason, Refused, ValidationError

from .connection_link import Fate, HttpLink, Link, LinkOptions, Outgoing, WsLink
from .connection_record import (
    CONNECTION_TYPES,
    ID_BYTES_MAX,
    OPTIONS,
    Connection,
    ConnectionHealth,
    ConnectionState,
    credential_headers,
    known,
    place_of,
)
from .connection_settings import ConnectionSettings
from .core.health import Health
from .core.redial import DialBudget, Redial, RedialRules
from .transport.ws_url import check_headers

if TYPE_CHECKING:
    from .connection_journal import MessageJournal

__all__ = ["ConnectionHealth", "ConnectionManager", "ConnectionSettings", "ConnectionState"]

HEALTHY_QUALITY_MIN = 0.5
HTTP_MISSES_MAX = 2  # one slow answer is no outage; a WebSocket's missing pong ends it at once


class ConnectionManager:
    """Named HTTP and WebSocket connections. Use it inside one event loop; `aclose` ends it.

    Keyword-only: ``settings`` (else ``config.connection_manager`` where the configuration has one, else defaults),
    ``clock`` and ``wall`` (seconds), ``random`` and ``on_event(name, fields)``. ``queue_file``: queued messages
    without headers of their own survive the process there; the next one finds them when it establishes that id again.
    """

    def __init__(
        self,
        config: Any,
        *,
        settings: ConnectionSettings | None = None,
        clock: Callable[[], float] = boot_s,
        wall: Callable[[], float] = wall_s,
        random: chance.Random | None = None,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        queue_file: str | Path | None = None,
    ) -> None:
        self.config = config
        found = getattr(config, "connection_manager", None)
        self.settings = settings or (found if isinstance(found, ConnectionSettings) else ConnectionSettings())
        self._clock = clock
        self._wall = wall
        self._random = random or chance.Random()
        self._on_event = on_event if on_event is not None else (lambda name, fields: None)
        self._connections: dict[str, Connection] = {}
        self._budgets: dict[str, DialBudget] = {}
        self._journal: MessageJournal | None = None
        if queue_file is not None:
            from .connection_journal import MessageJournal

            self._journal = MessageJournal(
                queue_file,
                queue_max=self.settings.queue_max,
                clock=self._clock,
                wall=self._wall,
                on_event=self._on_event,
            )

    # ------------------------------------------------------------ the contract

    async def establish_connection(
        self,
        connection_id: str,
        connection_type: str,
        endpoint: str,
        credentials: dict[str, Any] | None = None,
        connection_options: dict[str, Any] | None = None,
    ) -> bool:
        """Open a connection and keep it; True only after the handshake (TCP and TLS; WebSocket: the upgrade too).

        ``connection_type``: "http" (an origin, e.g. https://api.venue.com) or "websocket" (ws:// or wss:// URL).
        ``credentials``: headers, bearer_token, api_key with api_key_header. ``connection_options``: headers, timeout_s,
        heartbeat_interval_s, pong_timeout_s, health_path, ssl_context, auto_reconnect, queue_max, message_ttl_s,
        on_message(payload) for WebSockets, on_answer(message, status, body) for HTTP.

        Establishing the same id again with the same type and endpoint answers True while it is connected, dialling
        nothing, and dials when it is not. False: the dial failed, the id stays with state FAILED and its last error.
        Raises ValidationError for a bad id, type, endpoint, option, or an id that is in use for another endpoint;
        Refused when ``connections_max`` are held.
        """
        connection = self._connections.get(connection_id)
        if connection is None:
            connection = self._new(connection_id, connection_type, endpoint, credentials, connection_options)
        elif (connection.kind, connection.endpoint) != (connection_type, endpoint):
            raise ValidationError(
                f"connection {connection_id!r} is already a {connection.kind} connection to {connection.place};"
                " close it first, or use another id"
            )
        async with connection.dialling:
            if connection.state is ConnectionState.CONNECTED and connection.link.is_open:
                return True
            if connection.held or self._is_closed(connection):
                return False
            return await self._dial(connection, validate=False)

    async def close_connection(self, connection_id: str) -> bool:
        """End a connection and forget it with its queue; False for an unknown id."""
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return False
        await self._end(connection)
        if self._journal is not None:
            for _at, out in connection.queue:
                self._journal.forget(out.seq, "its connection was closed")
        fields = {"connection": connection_id, "queued": len(connection.queue)}
        self._on_event("connection.closed", fields)
        return True

    async def reconnect_connection(self, connection_id: str) -> bool:
        """Dial again with backoff between the attempts, then validate (a ping's pong, a health request's answer).

        False for an unknown id, during maintenance, or when every attempt failed.
        """
        connection = self._connections.get(connection_id)
        if connection is None or connection.held:
            return False
        async with connection.dialling:
            for attempt in range(self.settings.reconnect_attempts_max):
                if attempt:
                    await asyncio.sleep(connection.redial.failed(self._random.random()))
                if self._is_closed(connection) or connection.held:
                    return False
                if await self._dial(connection, validate=True):
                    connection.redial.failures = 0
                    connection.reconnects += 1
                    return True
        if connection.ever_up:
            self._redial_soon(connection, connection.redial.failed(self._random.random()))
        return False

    async def queue_message(self, connection_id: str, message: dict[str, Any]) -> bool:
        """Keep a message until `flush_message_queue`. False for an unknown id, a full queue or a disk that is full.

        WebSocket: the dict is sent as one JSON text. HTTP: {"method", "path", "headers", "body" or "json",
        "idempotent"}. Raises ValidationError for a message that could never be sent.
        """
        connection = self._connections.get(connection_id)
        if connection is None:
            return False
        if not isinstance(message, Mapping):
            raise ValidationError(f"message is a {type(message).__name__}; a dict is expected")
        out = connection.link.outgoing(message)
        self._expire(connection)
        full = len(connection.queue) >= connection.queue_max
        if full or connection.queue_bytes + out.size > self.settings.queue_bytes_max:
            connection.refused += 1
            return False
        if self._journal is not None:
            seq = self._journal.keep(connection_id, message, connection.ttl_s)
            if seq is None:
                connection.refused += 1
                return False
            out = replace(out, seq=seq)
        connection.queue.append((self._clock(), out))
        connection.queue_bytes += out.size
        return True

    async def flush_message_queue(self, connection_id: str) -> int:
        """Send what waits, in order; how many were really sent. 0 for an unknown id or while not connected.

        It stops at the first message that could not be sent, which stays with the rest in the queue. A message whose
        fate is unknown leaves the queue, is told by the event ``connection.message_unknown`` and not counted.
        """
        connection = self._connections.get(connection_id)
        if connection is None:
            return 0
        sent = 0
        async with connection.flushing:
            for out in self._due(connection):
                fate = await self._send(connection, out)
                if fate is Fate.SENT:
                    sent += 1
                elif fate is Fate.KEPT:
                    break
        return sent

    def get_connection_status(self, connection_id: str) -> dict[str, Any] | None:
        """Everything about one connection in plain values, without secrets; None for an unknown id."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return None
        self._expire(connection)
        return {
            "connection_id": connection.name,
            "connection_type": connection.kind,
            "endpoint": connection.place,
            "state": connection.state.value,
            "healthy": self.is_connection_healthy(connection_id),
            "health": self._health(connection).to_dict(),
            "latency_p50_ms": connection.health.percentile_s(0.5) * 1e3,
            "latency_p99_ms": connection.health.percentile_s(0.99) * 1e3,
            "queued": len(connection.queue),
            "queued_bytes": connection.queue_bytes,
            "queue_max": connection.queue_max,
            "sent": connection.sent,
            "expired": connection.expired,
            "unknown": connection.unknown,
            "refused": connection.refused,
        }

    def get_all_connection_status(self) -> dict[str, dict[str, Any]]:
        """Id -> status of every connection."""
        found = {name: self.get_connection_status(name) for name in self._connections}
        return {name: status for name, status in found.items() if status is not None}

    def is_connection_healthy(self, connection_id: str) -> bool:
        """Connected, and its quality at least `HEALTHY_QUALITY_MIN`; False for an unknown id."""
        connection = self._connections.get(connection_id)
        if connection is None or connection.state is not ConnectionState.CONNECTED or not connection.link.is_open:
            return False
        self._note_signs(connection)
        return connection.health.quality(self._clock(), connected=True) >= HEALTHY_QUALITY_MIN

    # ------------------------------------------------------------ beyond the contract

    async def set_maintenance(self, connection_id: str, on: bool) -> bool:
        """Hold a connection: nothing is sent or dialled until it is let go. False for an unknown id."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return False
        if on and connection.state is not ConnectionState.MAINTENANCE:
            connection.move(ConnectionState.MAINTENANCE)
            await connection.link.close()
        elif not on and connection.state is ConnectionState.MAINTENANCE:
            connection.move(ConnectionState.DISCONNECTED)
            self._redial_soon(connection, 0.0)
        return True

    async def aclose(self) -> None:
        """Close every connection; the manager can be used again afterwards.

        With a ``queue_file`` this is its end: what is queued stays in the file for the next process.
        """
        if self._journal is None:
            await asyncio.gather(*(self.close_connection(name) for name in list(self._connections)))
            return
        connections, self._connections = list(self._connections.values()), {}
        await asyncio.gather(*(self._end(each) for each in connections))
        self._journal.close()

    # ------------------------------------------------------------ making one

    def _new(
        self, name: str, kind: str, endpoint: str, credentials: dict[str, Any] | None, options: dict[str, Any] | None
    ) -> Connection:
        if not isinstance(name, str) or not name or len(name.encode()) > ID_BYTES_MAX or not name.isprintable():
            raise ValidationError(f"connection id {name!r}; 1 to {ID_BYTES_MAX} printable characters are expected")
        if kind not in CONNECTION_TYPES:
            raise ValidationError(f"connection type {kind!r}; one of {', '.join(CONNECTION_TYPES)} is expected")
        place = place_of(kind, endpoint)
        given = known(options or {}, OPTIONS, "connection option")
        if len(self._connections) >= self.settings.connections_max:
            raise Refused(
                f"{len(self._connections)} connections are held, the maximum; close one, or raise connections_max",
                reason=Reason.QUEUE_FULL,
            )
        connection = Connection(name, kind, endpoint, place)
        interval_s = float(given.get("heartbeat_interval_s", self.settings.heartbeat_interval_s))
        connection.health = Health(interval_s)
        rules = RedialRules(self.settings.backoff_min_s, self.settings.backoff_max_s, self.settings.healthy_s)
        connection.redial = Redial(rules)
        connection.queue_max = int(given.get("queue_max", self.settings.queue_max))
        connection.ttl_s = float(given.get("message_ttl_s", self.settings.message_ttl_s))
        connection.auto_reconnect = bool(given.get("auto_reconnect", True))
        connection.link = self._link(connection, self._link_options(credentials, given, interval_s))
        self._connections[name] = connection
        self._take_left_over(connection)
        return connection

    def _take_left_over(self, connection: Connection) -> None:
        """What an earlier process queued for this id."""
        if self._journal is None:
            return
        for seq, age_s, message in self._journal.left_over(connection.name):
            out = replace(connection.link.outgoing(message), seq=seq)
            connection.queue.append((self._clock() - age_s, out))
            connection.queue_bytes += out.size

    def _link_options(
        self, credentials: dict[str, Any] | None, given: dict[str, Any], interval_s: float
    ) -> LinkOptions:
        headers = {**given.get("headers", {}), **credential_headers(credentials or {})}
        check_headers(headers)
        context = given.get("ssl_context")
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise ValidationError(f"ssl_context is a {type(context).__name__}; an ssl.SSLContext is expected")
        return LinkOptions(
            headers=headers,
            timeout_s=float(given.get("timeout_s", self.settings.connect_timeout_s)),
            ping_interval_s=interval_s,
            pong_timeout_s=float(given.get("pong_timeout_s", self.settings.pong_timeout_s)),
            health_path=str(given.get("health_path", "")),
            ssl_context=context,
            on_message=given.get("on_message"),
            on_answer=given.get("on_answer"),
        )

    def _link(self, connection: Connection, options: LinkOptions) -> Link:
        routed = getattr(self.config, "endpoint_for", None)
        if connection.kind == "websocket":
            return WsLink(
                connection.endpoint,
                options,
                endpoint=routed(connection.endpoint) if routed is not None else None,
                clock=self._clock,
                lost=lambda why: self._lost(connection, why),
            )
        from .core.pool import PoolSettings
        from .transport.endpoint import Endpoint

        pool = getattr(self.config, "connections", None)
        return HttpLink(
            connection.endpoint,
            options,
            endpoint=routed(connection.endpoint) if routed is not None else Endpoint.parse(connection.endpoint),
            pool_settings=pool if isinstance(pool, PoolSettings) else PoolSettings(),
            clock=self._clock,
            random=self._random,
        )

    # ------------------------------------------------------------ dialling, losing, ending

    async def _dial(self, connection: Connection, *, validate: bool) -> bool:
        """One attempt; the caller holds ``dialling``."""
        await self._within_budget(connection)
        connection.move(ConnectionState.CONNECTING)
        try:
            await connection.link.close(polite=False)
            await connection.link.open()
            if validate:
                latency_s = await connection.link.probe(self.settings.probe_timeout_s)
                connection.health.answered(self._clock(), latency_s)
        except ExchangeError as error:
            connection.last_error = str(error)
            await connection.link.close(polite=False)
            self._after_dial(connection, ConnectionState.FAILED)
            self._on_event("connection.failed", {"connection": connection.name, "error": str(error)})
            return False
        except BaseException:
            await asyncio.shield(connection.link.close(polite=False))
            self._after_dial(connection, ConnectionState.DISCONNECTED)
            raise
        if connection.held or self._is_closed(connection) or not connection.link.is_open:
            await connection.link.close()
            self._after_dial(connection, ConnectionState.DISCONNECTED)
            return False
        connection.move(ConnectionState.CONNECTED)
        connection.ever_up = True
        connection.connected_at = self._clock()
        connection.health.heard(connection.connected_at)
        self._start_heartbeat(connection)
        self._on_event("connection.established", {"connection": connection.name, "endpoint": connection.place})
        return True

    def _after_dial(self, connection: Connection, state: ConnectionState) -> None:
        connection.connected_at = None
        if connection.state is ConnectionState.CONNECTING:
            connection.move(state)

    async def _within_budget(self, connection: Connection) -> None:
        budget = self._budgets.setdefault(
            connection.place, DialBudget(self.settings.dials_max, self.settings.dial_window_s)
        )
        while (wait_s := budget.wait_s(self._clock())) > 0:  # noqa: ASYNC110 - an instant, shared with others who wait
            await asyncio.sleep(wait_s)
        budget.take(self._clock())

    def _lost(self, connection: Connection, why: str) -> None:
        """A connected line ended by itself, or does not answer any more."""
        if connection.state is not ConnectionState.CONNECTED:
            return
        now = self._clock()
        connection.last_error = why
        connection.health.missed()
        up_s = now - (connection.connected_at or now)
        connection.connected_at = None
        connection.move(ConnectionState.DISCONNECTED)
        self._on_event("connection.lost", {"connection": connection.name, "why": why, "up_s": up_s})
        self._redial_soon(connection, connection.redial.lost(up_s, self._random.random()))

    def _redial_soon(self, connection: Connection, delay_s: float) -> None:
        if not connection.auto_reconnect or (connection.retry is not None and not connection.retry.done()):
            return
        connection.retry = self._task(connection, self._redial_until_up(connection, delay_s))

    async def _redial_until_up(self, connection: Connection, delay_s: float) -> None:
        while not self._is_closed(connection):
            await asyncio.sleep(delay_s)
            async with connection.dialling:
                if connection.state in (ConnectionState.CONNECTED, ConnectionState.MAINTENANCE):
                    return
                if await self._dial(connection, validate=True):
                    connection.reconnects += 1
                    return
            delay_s = connection.redial.failed(self._random.random())

    async def _end(self, connection: Connection) -> None:
        if connection.state is ConnectionState.CONNECTED:
            connection.move(ConnectionState.DISCONNECTED)
        for task in list(connection.tasks):
            task.cancel()
        await asyncio.gather(*connection.tasks, return_exceptions=True)
        await connection.link.close()

    def _is_closed(self, connection: Connection) -> bool:
        return self._connections.get(connection.name) is not connection

    # ------------------------------------------------------------ proof of life

    def _start_heartbeat(self, connection: Connection) -> None:
        if connection.health.interval_s > 0:
            self._task(connection, self._heartbeat(connection, connection.link))

    async def _heartbeat(self, connection: Connection, link: Link) -> None:
        """Probe in the connection's rhythm for as long as this dial lasts; a missed probe ends it."""
        since, misses = connection.connected_at, 0
        while True:
            await asyncio.sleep(connection.health.interval_s)
            if connection.connected_at != since or connection.state is not ConnectionState.CONNECTED:
                return
            try:
                latency_s = await link.probe(self.settings.probe_timeout_s)
            except ExchangeError as error:
                misses += 1
                if connection.connected_at != since:
                    return  # the line itself ended, which was told already
                if connection.kind == "websocket" or misses >= HTTP_MISSES_MAX:
                    self._lost(connection, str(error))
                    return
                connection.health.missed()
                connection.last_error = str(error)
                continue
            misses = 0
            connection.health.answered(self._clock(), latency_s)

    def _note_signs(self, connection: Connection) -> None:
        heard_at = connection.link.heard_at
        if heard_at is not None and connection.state is ConnectionState.CONNECTED:
            connection.health.heard(heard_at)

    def _health(self, connection: Connection) -> ConnectionHealth:
        self._note_signs(connection)
        now = self._clock()
        connected = connection.state is ConnectionState.CONNECTED and connection.link.is_open
        heard_at = connection.health.heard_at
        # Wall time of the last sign of life; the epoch stands for "never".
        beat = datetime.fromtimestamp(self._wall() - (now - heard_at) if heard_at is not None else 0.0, UTC)
        return ConnectionHealth(
            last_heartbeat=beat,
            latency_ms=connection.health.latency_s * 1e3,
            packet_loss=connection.health.loss,
            connection_quality=connection.health.quality(now, connected=connected),
            uptime_seconds=int(now - connection.connected_at) if connection.connected_at is not None else 0,
            reconnect_count=connection.reconnects,
            last_error=connection.last_error,
        )

    # ------------------------------------------------------------ the queue

    def _expire(self, connection: Connection) -> None:
        """What waited beyond its time to live is reported, not sent."""
        oldest = self._clock() - connection.ttl_s
        expired = 0
        while connection.ttl_s > 0 and connection.queue and connection.queue[0][0] < oldest:
            _at, out = connection.queue.popleft()
            connection.queue_bytes -= out.size
            expired += 1
            if self._journal is not None:
                self._journal.forget(out.seq, "its time to live ended")
        if expired:
            connection.expired += expired
            self._on_event("connection.messages_expired", {"connection": connection.name, "count": expired})

    def _due(self, connection: Connection) -> Iterator[Outgoing]:
        """Messages in order, each taken out before it is sent; at most as many as waited at the start."""
        for _ in range(len(connection.queue)):
            self._expire(connection)
            if connection.state is not ConnectionState.CONNECTED or not connection.queue:
                return
            yield connection.queue[0][1]

    async def _send(self, connection: Connection, out: Outgoing) -> Fate:
        if self._journal is not None and not self._journal.leaving(out.seq):
            return Fate.KEPT  # not without having written it down
        entry = connection.queue.popleft()
        connection.queue_bytes -= out.size
        started = self._clock()
        fate = Fate.UNKNOWN  # also when this task is cancelled in the middle
        try:
            fate = await connection.link.send(out, self.settings.send_timeout_s)
        except ExchangeError as error:
            fate = Fate.KEPT
            connection.last_error = str(error)
        finally:
            if self._journal is not None:
                self._journal.ended(out.seq, fate)
            if fate is Fate.KEPT:
                connection.queue.appendleft(entry)
                connection.queue_bytes += out.size
            elif fate is Fate.UNKNOWN:
                connection.unknown += 1
                fields = {"connection": connection.name, "method": out.method, "bytes": out.size}
                self._on_event("connection.message_unknown", fields)
        if fate is Fate.SENT:
            connection.sent += 1
            if connection.kind == "http":
                connection.health.answered(self._clock(), self._clock() - started)
        return fate

    def _task(self, connection: Connection, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)
        return task
