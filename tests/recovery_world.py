"""A small venue, feed and clock for recovery scenarios: it tells the truth unless told to lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from jackstay_agent import Config
from jackstay_agent.recovery_scenarios import SCENARIOS, PlannedRecovery
from jackstay_protocols.directives import DIRECTIVES

WALL = 1_800_000_000.0


@dataclass
class World:
    """What the actions see. ``lies``: actions that answer well and do nothing. ``dead``: actions that raise."""

    now: float = 0.0
    status: str = "open"
    quantity: Decimal = Decimal(10)
    filled: Decimal = Decimal(4)
    fills_seen: Decimal | None = None
    connected_after: int = 0
    statuses: list[str] = field(default_factory=lambda: ["online"])
    sources: set[str] = field(default_factory=set)
    limited_until: float = 0.0
    placed: list[Mapping[str, Any]] = field(default_factory=list)
    takes_placed: bool = True
    lies: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    log: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    directives: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    remembered: dict[str, tuple[dict[str, Decimal], float]] = field(default_factory=dict)

    def scenario(self, name: str, config: Config | None = None, **more: Any) -> PlannedRecovery:
        return SCENARIOS[name](
            config or Config(),
            actions=more.pop("actions", self),
            clock=lambda: self.now,
            wall=lambda: WALL + self.now,
            sleep=self.sleep,
            on_event=lambda event, fields: self.events.append((event, fields)),
            **more,
        )

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _did(self, name: str, *args: Any) -> bool:
        self.log.append((name, args))
        if name in self.dead:
            raise ConnectionError(f"{name} is not answered")
        return name in self.lies

    def did(self, name: str) -> list[tuple[Any, ...]]:
        return [args for each, args in self.log if each == name]

    # ---- actions

    async def query(self, symbol: str, order_id: str) -> dict[str, Any] | None:
        self._did("query", symbol, order_id)
        if order_id == "new":
            return {"status": "open" if self.takes_placed else "rejected"}
        if self.status == "absent":
            return None
        return {"status": self.status, "quantity": self.quantity, "filled": self.filled}

    async def cancel(self, symbol: str, order_id: str) -> bool:
        if not self._did("cancel", symbol, order_id) and self.status == "open":
            self.status = "cancelled"
        return True

    async def open_orders(self, symbol: str | None) -> list[dict[str, Any]] | None:
        return None if self._did("open_orders", symbol) else []

    async def fills(self, symbol: str | None, order_id: str | None) -> list[dict[str, Any]]:
        self._did("fills", symbol, order_id)
        total = self.filled if self.fills_seen is None else self.fills_seen
        return [{"quantity": total / 2, "price": Decimal(100)}, {"quantity": total / 2, "price": Decimal(102)}]

    async def balances(self) -> dict[str, Decimal]:
        self._did("balances")
        return {"USDT": Decimal("1000.50"), "DUST": Decimal(0)}

    async def positions(self) -> dict[str, Decimal]:
        self._did("positions")
        return {"BTCUSDT": Decimal("-0.25")}

    async def hold(self, what: str, why: str) -> None:
        self._did("hold", what, why)
        self.held.add(what)

    async def release(self, what: str) -> None:
        self._did("release", what)
        self.held.discard(what)

    async def reconnect(self, what: str) -> bool:
        self._did("reconnect", what)
        self.connected_after -= 1
        return self.connected_after < 0

    async def resubscribe(self, what: str) -> bool:
        return not self._did("resubscribe", what)

    async def switch_feed(self, feed: str, source: str) -> bool:
        self._did("switch_feed", feed, source)
        return source in self.sources

    async def venue_status(self, what: str) -> str:
        self._did("venue_status", what)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    async def probe(self, what: str) -> bool:
        self._did("probe", what)
        return self.now >= self.limited_until

    async def resubmit(self, symbol: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self._did("resubmit", symbol, params)
        self.placed.append(params)
        return {"order_id": "new"}

    async def resync_clock(self, what: str) -> bool:
        return not self._did("resync_clock", what)

    async def disarm_switch(self, what: str) -> bool:
        return not self._did("disarm_switch", what)

    async def last_known(self, name: str) -> tuple[dict[str, Decimal], float] | None:
        self._did("last_known", name)
        return self.remembered.get(name)

    async def cancel_for_stalled(self, what: str) -> list[str]:
        self._did("cancel_for_stalled", what)
        return []

    async def barrier(self, what: str) -> bool:
        return not self._did("barrier", what)

    async def ramp(self, what: str) -> None:
        self._did("ramp", what)

    async def directive(self, name: str, fields: dict[str, Any]) -> bool:
        self._did("directive", name)
        missing = DIRECTIVES[name].keys() - fields - {"venue"}  # the agent adds the venue
        assert not missing, f"{name} lacks {missing}"
        self.directives.append((name, fields))
        return True

    async def notify(self, name: str, fields: dict[str, Any]) -> None:
        self._did("notify", name)


class Only:
    """A world of which only some actions are given."""

    def __init__(self, world: World, *names: str) -> None:
        for name in names:
            setattr(self, name, getattr(world, name))
