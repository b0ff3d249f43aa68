"""What decisions remember over a restart: breakers, gates, budgets, modes (DESIGN §5: a restart forgets nothing).

One small file of the state folder. Each upstream's part is stamped with its own instant, so that one nobody asked in
this life keeps its memory for the next. Time passes while no agent runs: by the boot clock within one boot, by the wall
clock across. What cannot be read is told of and left out; the agent then learns anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jackstay_protocols.errors import ValidationError

from .core.bounds import LONGEST_S
from .core.event_sink import EventSink
from .kept import Kept

VERSION = 1
PLACES_MAX = 512
KEPT_S = LONGEST_S  # longer than any gate or open time


class DecisionMemory:
    """``snapshots``: of everything that is alive now, place -> plain values."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        boot_id: str,
        on_event: EventSink,
    ) -> None:
        self.kept = Kept(folder, "decisions")
        self._clock = clock
        self._wall = wall
        self._boot_id = boot_id
        self._on_event = on_event
        self._parts: dict[str, dict[str, Any]] = {}

    def read(self) -> None:
        """What the last life wrote; a damaged file is set aside."""
        found, wrong = self.kept.read()
        if found is not None:
            parts = found.get("parts")
            if found.get("version") != VERSION or not isinstance(parts, dict):
                wrong = self.kept.set_aside(f"it is no memory of version {VERSION}")
            else:
                self._parts = {str(place): part for place, part in parts.items() if self._age_s(part) is not None}
        if wrong:
            self._on_event("decisions.forgot", {"file": str(self.kept.path), "why": wrong})

    def places(self) -> Mapping[str, Any]:
        """Place -> what was kept of it, for those that no `take` has taken up."""
        return {place: part["kept"] for place, part in self._parts.items()}

    def take(self, place: str, restore: Callable[[Any, float], None]) -> bool:
        """Hand a place's memory to ``restore(kept, elapsed_s)``; a ValidationError of it is told, not raised."""
        part = self._parts.pop(place, None)
        if part is None:
            return False
        elapsed_s = self._age_s(part)
        assert elapsed_s is not None  # looked at when it was read
        try:
            restore(part["kept"], elapsed_s)
        except ValidationError as error:
            self._on_event("decisions.forgot", {"place": place, "why": str(error)})
            return False
        return True

    def merged(self, alive: Mapping[str, Any]) -> dict[str, Any]:
        """The file's new content: what is alive, stamped now, and what nobody took up, as it was."""
        stamp = {"boot": self._boot_id, "clock": self._clock(), "wall": self._wall()}
        old = {place: part for place, part in self._parts.items() if place not in alive}
        fresh = {place: {**stamp, "kept": kept} for place, kept in alive.items()}
        parts = {**old, **fresh}
        for place in list(parts)[: max(0, len(parts) - PLACES_MAX)]:
            del parts[place]
        return {"version": VERSION, "parts": parts}

    def _age_s(self, part: Any) -> float | None:
        """How long ago it was written; None: it is none of ours, or too old to mean anything."""
        if not isinstance(part, dict) or "kept" not in part:
            return None
        then, now = (
            (part.get("clock"), self._clock())
            if part.get("boot") == self._boot_id
            else (part.get("wall"), self._wall())
        )
        if not isinstance(then, int | float) or isinstance(then, bool) or not abs(then) < 1e12:
            return None
        age_s = max(0.0, now - then)  # a wall clock that was set back: as if no time had passed, the careful side
        return age_s if age_s <= KEPT_S else None
