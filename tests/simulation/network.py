"""Byte streams between the agent's real HTTP protocol objects and the simulated venue.

Each direction delivers in order after a drawn delay, in one piece or several. A partition of one direction holds its
bytes back (TCP sends them again), a black hole swallows them for good and tells nobody, a reset tells both ends.
Aborting drops the connection at once here; whether bytes under way still arrive there is the weather's: a request can
reach the venue after its sender has given it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from jackstay_agent.transport.dial import DialError
from jackstay_protocols.errors import Reason

from .loop import Process, Time
from .weather import Weather


class Pipe:
    """One direction: bytes in order, each not before the last."""

    def __init__(self, network: Network, to: Process, deliver: Callable[[bytes], None], name: str) -> None:
        self.network = network
        self.to = to
        self.deliver = deliver
        self.name = name  # "out" (to the venue) or "in"
        self.free_at = 0.0
        self.swallowed = False
        self.closed = False

    def send(self, data: bytes) -> None:
        network = self.network
        pieces = [data]
        if len(data) > 8 and network.weather.hits("pieces"):
            cut = network.weather.dice("pieces").randrange(1, len(data))
            pieces = [data[:cut], data[cut:]]
        for piece in pieces:
            delay_s = network.delay_s()
            if network.weather.hits(f"delay_{self.name}"):
                delay_s += network.weather.dice(f"delay_{self.name}").uniform(0.05, 4.0)
            at = max(self.free_at, network.world.now + delay_s, network.open_at(self.name))
            self.free_at = at
            if not self.swallowed:
                network.world.at(self.to, at, self._arrive, (piece,))

    def _arrive(self, piece: bytes) -> None:
        if not self.closed:
            self.deliver(piece)


class Link:
    """One connection, seen from both ends. ``client`` is an asyncio protocol, ``server`` the venue's end of it."""

    def __init__(self, network: Network, owner: Process, protocol: Any, server: Any) -> None:
        self.network = network
        self.owner = owner
        self.protocol = protocol
        self.server = server
        venue = network.venue_process
        self.out = Pipe(network, venue, server.data_received, "out")
        self.back = Pipe(network, owner, self._data, "in")
        self.client_open = True
        server.link = self

    def _data(self, data: bytes) -> None:
        if self.client_open:
            self.protocol.data_received(data)

    # the client's end

    def write(self, data: bytes) -> None:
        network = self.network
        self.owner.touch()
        if not self.client_open:
            return
        network.written(self.owner, data)
        if network.weather.hits("blackhole"):
            self.out.swallowed = self.back.swallowed = True
        elif network.weather.hits("reset_before"):
            self.out.swallowed = True
            self.lose(ConnectionResetError("reset by peer"))
        self.out.send(data)
        self.owner.touch()

    def client_closes(self, *, abort: bool) -> None:
        if not self.client_open:
            return
        self.client_open = False
        if abort and not self.network.weather.hits("abort_delivers"):
            self.out.closed = True
        self.network.world.at(self.owner, self.network.world.now, self.protocol.connection_lost, (None,))
        self.network.world.at(self.network.venue_process, max(self.out.free_at, self.network.world.now), self._gone)

    def _gone(self) -> None:
        self.server.closed()

    # the venue's end, and the network in between

    def answer(self, data: bytes) -> None:
        self.back.send(data)

    def lose(self, error: Exception | None) -> None:
        """The client's end hears of the connection's end; of an orderly one after what is still under way to it."""
        if self.back.swallowed:
            return
        now = self.network.world.now
        at = now + self.network.delay_s() if error is not None else max(self.back.free_at, now + self.network.delay_s())
        self.network.world.at(self.owner, max(at, self.network.open_at("in")), self._lost, (error,))

    def _lost(self, error: Exception | None) -> None:
        if not self.client_open:
            return
        self.client_open = False
        self.protocol.connection_lost(error)


class Transport(asyncio.Transport):
    """What the protocol object holds."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link

    def write(self, data: Any) -> None:
        self.link.write(bytes(data))

    def close(self) -> None:
        self.link.client_closes(abort=False)

    def abort(self) -> None:
        self.link.client_closes(abort=True)

    def is_closing(self) -> bool:
        return not self.link.client_open

    def pause_reading(self) -> None:
        """Nothing here is large enough to be held back."""


class Network:
    """Names, addresses, delays; counts what the agents write."""

    def __init__(self, world: Time, weather: Weather, seed: str, venue_process: Process) -> None:
        self.world = world
        self.weather = weather
        self.venue_process = venue_process
        self.accept: Callable[[], Any] = lambda: None  # a server end, or None: the port is closed
        self.on_written: Callable[[Process, bytes], None] = lambda owner, data: None
        self.blocked = {"out": 0.0, "in": 0.0}  # until when a direction delivers nothing
        self._chance = Random(f"{seed}-network")
        self._base_s = self._chance.choice((0.0005, 0.002, 0.02, 0.08))
        self.links: dict[Process, list[Link]] = {}

    def delay_s(self) -> float:
        return self._base_s * (1.0 + self._chance.random())

    def open_at(self, name: str) -> float:
        return self.blocked[name]

    def written(self, owner: Process, data: bytes) -> None:
        self.on_written(owner, data)

    def drop(self, owner: Process) -> None:
        """A process died: its sockets close, and what was written still leaves (or not)."""
        for link in self.links.pop(owner, []):
            link.client_closes(abort=self.weather.dice("abort_delivers").random() < 0.5)

    def heal(self) -> None:
        """The storm is over: connections that it left half dead, or with much still under way, end now."""
        soon = self.world.now + 0.5
        for links in self.links.values():
            for link in links:
                late = link.out.free_at > soon or link.back.free_at > soon or not link.server._open
                if link.client_open and (link.out.swallowed or late):
                    link.back.swallowed = False
                    link.lose(ConnectionResetError("reset by peer"))

    async def resolve(self, owner: Process, host: str, port: int) -> list[tuple[int, str, int]]:
        owner.touch()
        await asyncio.sleep(self.delay_s())
        if self.weather.hits("dns_failed"):
            raise DialError(Reason.DNS, f"name {host} does not resolve")
        return [(2, host, port)]

    async def dial(self, owner: Process, factory: Callable[[], Any], addresses: Any, **options: Any) -> tuple[Any, Any]:
        owner.touch()
        timeout_s = float(options["timeout_s"])
        blocked_s = max(self.blocked.values()) - self.world.now
        if self.weather.hits("dial_hangs") or blocked_s >= timeout_s:
            await asyncio.sleep(timeout_s)
            raise DialError(Reason.TIMEOUT, f"no connection within {timeout_s:g} s")
        await asyncio.sleep(max(0.0, blocked_s) + 2 * self.delay_s())
        server = self.accept()
        if server is None or self.weather.hits("dial_refused"):
            raise DialError(Reason.REFUSED, "refused the connection")
        protocol = factory()
        link = Link(self, owner, protocol, server)
        self.links.setdefault(owner, []).append(link)
        transport = Transport(link)
        protocol.connection_made(transport)
        return transport, protocol
