"""What the server asks of a venue's face that lives beside the Binance ones: which paths are its own, what the ledger
shall write down of a request, and what becomes of it. Each face brings one `mount(server)`, called once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from .answers import Answer, Call
from .faults import Fault
from .ledger import Row
from .venue import Venue


@dataclass(slots=True, frozen=True)
class Facts:
    """What the ledger keeps of a request, read before anything is checked; all of it may be wrong or empty."""

    client_order_id: str = ""
    symbol: str = ""
    api_key: str = ""
    lane: str = "public"
    intent: str = ""
    age_ms: int | None = None
    ttl_ms: int | None = None


class Face(Protocol):
    """One mounted face. Nothing here raises for what a client sent."""

    name: str
    venue: Venue

    def serves(self, path: str) -> bool: ...

    def facts(self, call: Call) -> Facts: ...

    def answer(self, call: Call) -> Answer: ...

    def limited(self, fault: Fault) -> Answer:
        """What this venue says while a `rate_limit` fault strikes."""
        ...

    async def upgrade(self, request: web.BaseRequest, row: Row) -> web.StreamResponse:
        """Serve a WebSocket until it ends."""
        ...

    def load(self) -> None:
        """The server is about to listen: take up what an earlier life has saved."""
        ...

    def saved(self) -> None:
        """Publish and save what happened, before anybody is answered."""
        ...

    def tick(self) -> None:
        """The background market moves."""
        ...

    def pulse(self) -> bool:
        """Fifty times a second: whatever its clock says is due. True when something changed."""
        ...

    def orders(self, account: str | None, symbol: str | None) -> list[dict[str, Any]]:
        """Its orders for the administration, as the venue shows them."""
        ...

    def reset(self) -> None: ...

    def close(self) -> None: ...
