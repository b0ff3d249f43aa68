"""What keeps a pool's connections good while nobody asks: warmth, age, silence, addresses (DESIGN §5 Connections).

Once a second: who was idle too long retires; the few that are kept open are proved alive by a harmless question of the
profile; one that nears its lifetime, or whose address the venue's name no longer has, is replaced *before* it goes, and
what is under way on it is seen through. Decisions are `core/pool.py` and `core/addresses.py`; this is the doing.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

from jackstay_protocols.errors import Reason

from ..core.addresses import Addresses
from ..core.pool import ConnState, move, retire
from .dial import Address, DialError
from .http_connection import HttpConnection

if TYPE_CHECKING:
    from .http import HttpAnswer, HttpFailure, HttpPool

LOOK_S = 1.0
LIFETIME_SPREAD = 0.1  # connections that were opened together do not end together
LOOKS_TO_LEAVE = 10  # an address has left a name when so many looks in a row did not show it
PROBE_WITHIN_S = 5.0


class PoolCare:
    """One pool's. ``random()`` gives 0 to 1."""

    def __init__(self, pool: HttpPool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._addresses = Addresses(LOOKS_TO_LEAVE * pool.settings.resolve_interval_s)
        self._last_found: list[Address] = []
        self._look_up_at = 0.0
        self._looking = False
        self._stopped = False
        self._named = pool.settings.resolve_interval_s > 0 and not _is_address(pool.endpoint.dial_host)

    # ------------------------------------------------------------ names

    async def resolve(self) -> list[Address]:
        """The name's addresses now; what it had before when the resolver fails. Raises DialError DNS."""
        pool = self._pool
        try:
            found: list[Address] = list(await pool.resolve(pool.endpoint.dial_host, pool.endpoint.dial_port))
        except DialError as error:
            if error.cause is not Reason.DNS or not self._last_found:
                raise
            pool.counters["dns_stale"] += 1
            return self._last_found
        if found:
            self._last_found = found
            self._addresses.seen((address for _family, address, _port in found), pool.clock())
        return found

    async def _look_up(self) -> None:
        try:
            await self.resolve()
        except Exception:  # the next dial tells, if it matters
            pass
        finally:
            self._looking = False

    # ------------------------------------------------------------ the second's look

    def connected(self, connection: HttpConnection) -> None:
        """A connection is up: it gets an end of its own, ahead of the lifetime, and is looked after."""
        spread = 1.0 - LIFETIME_SPREAD * (0.5 + 0.5 * self._pool.random())
        connection.replace_at = connection.opened_at + spread * self._pool.settings.lifetime_s
        self._plan()

    def _plan(self) -> None:
        if self._timer is None and not self._stopped:
            self._timer = self._loop.call_later(LOOK_S, self._due)

    def _due(self) -> None:
        self._timer = None
        pool, now = self._pool, self._pool.clock()
        self._retire(now)
        self._replace(now)
        if pool.probe_target:
            self._probe(now)
        if self._named and now >= self._look_up_at and not self._looking:
            self._look_up_at, self._looking = now + pool.settings.resolve_interval_s, True
            pool.task(self._look_up())
        if pool.live or pool.waits:
            self._plan()

    def _retire(self, now: float) -> None:
        pool = self._pool
        spare = len(pool.live) - pool.minimum
        for connection in list(pool.ready):
            if retire(
                now,
                opened_at=connection.opened_at,
                used_at=connection.used_at,
                settings=pool.settings,
                keep=spare <= 0,
                hint_s=connection.keep_alive_hint_s,
            ):
                spare -= 1
                pool.let_go(connection)

    def _replace(self, now: float) -> None:
        """Make before break: those past their time go once enough others are there."""
        pool = self._pool
        old = [each for each in pool.live if now >= each.replace_at or self._left(each)]
        if not old:
            return
        young = len(pool.live) - len(old)
        if young >= pool.minimum:
            for connection in old:
                pool.counters["replaced"] += 1
                self.let_finish(connection)
        else:
            pool.dial_ahead(pool.minimum - young)

    def _left(self, connection: HttpConnection) -> bool:
        leaving = connection.replace_at == float("inf")  # on its way out already
        return self._named and not leaving and self._addresses.left(connection.peer_address)

    def drain(self) -> int:
        """Replace all connections now, each before it goes; how many there are."""
        now = self._pool.clock()
        for connection in self._pool.live:
            connection.replace_at = min(connection.replace_at, now)
        self._replace(now)
        return len(self._pool.live)

    def let_finish(self, connection: HttpConnection) -> None:
        """Close it now, or with the answer it waits for."""
        connection.replace_at = float("inf")
        if connection.state is ConnState.BUSY:
            connection.state = move(connection.state, "drain")  # closes with its answer
        else:
            self._pool.let_go(connection)

    def lines(self) -> list[dict[str, Any]]:
        """Every open connection in plain values."""
        now = self._pool.clock()
        return [
            {
                "number": each.number,
                "state": str(each.state),
                "address": each.peer_address,
                "age_s": round(now - each.opened_at, 1),
                "idle_s": round(now - each.used_at, 1),
                "served": each.served,
            }
            for each in sorted(self._pool.live, key=lambda each: each.number)
        ]

    def _probe(self, now: float) -> None:
        pool = self._pool
        kept = pool.ready[-pool.minimum :] if pool.minimum else []
        for connection in kept:
            if now - connection.used_at >= pool.settings.probe_s > 0:
                pool.ask_on(connection, pool.probe_target, now + PROBE_WITHIN_S, self._probed)

    def _probed(self, result: HttpAnswer | HttpFailure) -> None:
        self._pool.counters["probes"] += 1

    async def warm(self) -> None:
        """Open the minimum ahead of the first request; waits until one try each is through."""
        self._pool.dial_ahead(self._pool.minimum - len(self._pool.live))
        await self._pool.settled()

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
