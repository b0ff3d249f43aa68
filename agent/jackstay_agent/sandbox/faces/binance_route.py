"""What a path or a WebSocket method is served by: handler, weight, permission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..answers import Call
from ..venue import Venue

Handler = Callable[[Venue, Call], Any]


@dataclass(slots=True, frozen=True)
class Route:
    """`permission`: "" for public, "key" for a key without signature, else what a signed request needs."""

    handler: Handler
    weight: int | Callable[[Call], int] = 1
    permission: str = ""

    def weigh(self, call: Call) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(call)
