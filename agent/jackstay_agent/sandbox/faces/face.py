"""What the server asks of a face mounted beside Binance's: which paths are its own, how a request reads in the ledger,
and the answer. A face knows its venue's words; it never touches the ledger, the faults or the port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from aiohttp import web

from ..answers import Answer, Call
from ..engine.model import Event, Order
from ..streams import StreamHub
from ..venue import Venue


@dataclass(slots=True, frozen=True)
class Told:
    """What one order of a request says of itself, for its row in the ledger; a batch tells one of these per order."""

    client_order_id: str = ""
    symbol: str = ""
    intent: str = ""


@dataclass(slots=True, frozen=True)
class Facts:
    """A request as the ledger wants it. ``lane``: trade, cancel, query or public; times in milliseconds."""

    api_key: str
    lane: str
    told: tuple[Told, ...]
    age_ms: int | None = None
    ttl_ms: int | None = None


class Face(Protocol):
    """One more venue on the same engine and the same port. No method may raise for what a client sent."""

    name: str
    # the paths of its WebSocket connections
    doors: frozenset[str]

    def serves(self, path: str) -> bool:
        """Is this REST path (or, for an upgrade, WebSocket path) this face's?"""

    def facts(self, call: Call) -> Facts:
        """How the request reads; prepares `call.items`, one for each order it names."""

    def answer(self, call: Call) -> Answer:
        """Serve one REST request."""

    def limited(self, wait_s: int) -> Answer:
        """The venue's own words for "too many requests, come again in this many seconds"."""

    async def converse(self, request: web.BaseRequest, call: Call, connection: int) -> web.WebSocketResponse:
        """Run one WebSocket connection until it ends."""

    def event(self, venue: Venue, event: Event) -> None:
        """Something happened in the engine of one market."""

    def after_batch(self) -> None:
        """All events of one request or tick were told: balances and positions may be looked at."""

    def turn(self) -> None:
        """Every 100 ms."""

    def expire(self) -> bool:
        """Every 20 ms: fire what ran out (dead-man switches); True when orders were touched."""

    def hasten(self) -> int:
        """A fault: every armed dead-man switch has run out now; returns how many there were."""

    def going_down(self, after_s: float) -> int:
        """Announce, where the venue does so, that connections end; returns how many heard it."""

    def mode_changed(self) -> None:
        """The venue's mode is another one now: tell whoever listens to it."""

    def rebuilt(self) -> None:
        """The engines were built anew: forget everything seen of the old ones."""


@runtime_checkable
class OwnMarket(Protocol):
    """A face whose venue has books, money and a state file of its own beside the first."""

    name: str
    venue: Venue

    @property
    def hub(self) -> StreamHub:
        """Its streams."""

    def load(self) -> None:
        """The server is about to listen: take up what an earlier life has saved."""

    def tick(self) -> None:
        """One step of its background market."""

    def orders(self, account: str | None, symbol: str | None) -> list[dict[str, Any]]:
        """Every order, as the venue shows them, for the administration."""

    def close(self) -> None:
        """The server has stopped."""


def note_touched(item: Call, order: Order, *, cancelled: bool) -> None:
    """What a judge wants to know of a cancel or amendment: another key's order? a cancelled one that protected?"""
    if order.owner and order.owner != item.key:
        item.notes.append("foreign")
    if order.stop_price and cancelled:
        item.notes.append("protective")


def item_of(call: Call, params: dict[str, Any]) -> Call:
    """One order of a request as a call of its own: values that are no objects or lists become text."""
    plain = {name: _text(value) for name, value in params.items() if not isinstance(value, dict | list)}
    item = Call(call.method, call.path, call.query, call.body, call.headers, plain, call.now)
    item.structures = {name: value for name, value in params.items() if isinstance(value, dict | list) and value}
    return item


def orders_of(call: Call, value: dict[str, Any]) -> list[Call]:
    """The orders of a body: those of a batch's `request`, each with its category, or the body itself."""
    listed = value.get("request")
    if not call.path.endswith("-batch"):
        return [item_of(call, value)] if value else []
    if not isinstance(listed, list):
        return []
    shared = {"category": value.get("category", "")}
    return [item_of(call, shared | each) for each in listed if isinstance(each, dict)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def words(params: dict[str, str], *names: str) -> str:
    """What an order asks for, in words, so that equal orders under different names can be told."""
    return " ".join(params[name] for name in names if params.get(name))
