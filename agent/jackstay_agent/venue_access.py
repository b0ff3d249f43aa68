"""What the agent can do at each venue on its own: read orders, ask, sign. One `Operations` per venue, with its key,
the venue's clock and its nonces.

Keys are read once at start, so that a broken one is told then and not at the first lost reply. The venue's clock is
measured where there is a key (a timestamp that is off is refused), before the first signature is needed and again when
the venue refuses one. Nonces rise across restarts: their mark is on the disk before one under it is used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from jackstay_protocols.errors import Reason, ValidationError

from .core.event_sink import EventSink
from .core.nonce import Nonces
from .core.venue_clock import Learned, VenueClock
from .flight import Flight
from .transport.http import HttpAnswer, HttpFailure
from .venues.answers import Denied, ServerTime
from .venues.credentials import Credentials, KeySource
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest
from .venues.profile import Profile

Ask = Callable[[str, OutgoingRequest, float], Awaitable["HttpAnswer | HttpFailure | None"]]
TIME_WITHIN_S = 2.0


class VenueSection(Protocol):
    """What is configured of a venue (config.py)."""

    @property
    def profile(self) -> str: ...
    @property
    def keys(self) -> KeySource | None: ...


class VenueAccess:
    """By venue name, which is its profile's."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        sections: Mapping[str, VenueSection],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        ask: Ask,
        on_event: EventSink,
        environ: Mapping[str, str],
    ) -> None:
        self._profiles = profiles
        self._sections = {section.profile or name: section for name, section in sections.items()}
        self._clock = clock
        self._wall = wall
        self._ask = ask
        self._on_event = on_event
        self._environ = environ
        self._folder: Path | None = None
        self._operations: dict[str, Operations | None] = {}
        self._clocks: dict[str, VenueClock] = {}
        self._asking: set[str] = set()

    def open(self, folder: Path) -> None:
        """Read the keys that are configured; nonces are kept in ``folder``. Raises ValidationError, SecurityError."""
        self._folder = folder
        self._operations.clear()
        for venue, section in self._sections.items():
            if section.keys is not None:
                self.reading(venue)

    def reading(self, venue: str) -> Operations | None:
        """How a venue's order requests are read; None where its profile knows no order families."""
        if venue not in self._operations:
            profile = self._profiles.get(venue)
            known = profile is not None and bool(profile.data.families)
            self._operations[venue] = self._made(venue, profile) if known and profile is not None else None
        return self._operations[venue]

    def asking(self, venue: str) -> Operations | None:
        """The same where the agent has a key of its own."""
        operations = self.reading(venue)
        return operations if operations is not None and operations.has_keys else None

    def askable(self) -> list[Operations]:
        """Of every venue where the agent has a key of its own."""
        return [found for venue in self._sections if (found := self.asking(venue)) is not None]

    def signing(self, venue: str) -> Operations:
        """Raises ValidationError (no_signer) where the agent cannot sign."""
        operations = self.asking(venue)
        if operations is None:
            raise ValidationError(
                f"{venue or 'an upstream without a profile'}: the agent holds no key to sign with; give"
                f" [venues.{venue or 'NAME'}.keys] one, or sign in the bot",
                reason=Reason.NO_SIGNER,
            )
        return operations

    def tick(self) -> None:
        """Now and then: ask the time of venues where the agent signs."""
        now = self._clock()
        for venue, clock in self._clocks.items():
            operations = self._operations.get(venue)
            if operations is None or venue in self._asking or not clock.due(now) or not operations.has("server_time"):
                continue
            self._asking.add(venue)
            clock.asked(now)
            Flight(self._learn_time(venue, operations, clock), lambda _error, v=venue: self._asking.discard(v)).step()  # type: ignore[misc]

    def venue_at(self, venue: str, boot_s: float) -> float | None:
        """The venue's own time (Unix seconds) at an instant of our boot-time clock; None where it was not learned."""
        clock = self._clocks.get(venue)
        return None if clock is None else clock.known_s(boot_s)

    def answered(self, venue: str, answer: object) -> None:
        """A question's answer, as it was read: a refusal for its timestamp means that the clock is off."""
        if isinstance(answer, Denied) and answer.clock and venue in self._clocks:
            self._clocks[venue].refused()

    def offset_ms(self, venue: str) -> float | None:
        """How far a venue's clock is ahead of ours, where the agent measures it."""
        clock = self._clocks.get(venue)
        offset_s = None if clock is None else clock.offset_s(self._clock(), self._wall())
        return None if offset_s is None else offset_s * 1000

    def status(self) -> dict[str, Any]:
        now, wall = self._clock(), self._wall()
        return {
            venue: {
                "key": self._sections[venue].keys is not None,
                "clock_offset_ms": None if (offset := clock.offset_s(now, wall)) is None else round(offset * 1000, 1),
                "clock_steps": clock.steps,
            }
            for venue, clock in self._clocks.items()
        }

    # ---- inside

    def _made(self, venue: str, profile: Profile) -> Operations:
        section = self._sections.get(venue)
        keys = section.keys.read(self._environ) if section is not None and section.keys is not None else None
        if keys is None:
            return Operations(profile, None, wall_ms=lambda: int(self._wall() * 1000))
        clock = self._clocks.setdefault(venue, VenueClock())
        return Operations(
            profile,
            keys,
            wall_ms=lambda: clock.now_ms(self._clock(), self._wall()),
            nonce=self._nonces(venue, keys).take,
        )

    def _nonces(self, venue: str, keys: Credentials) -> Nonces:
        if self._folder is None:
            return Nonces(0, lambda _mark: None)
        name = hashlib.blake2b(f"{venue}\0{keys.key}".encode(), digest_size=8).hexdigest()
        path = self._folder / f"nonce-{name}"
        try:
            mark = int(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            mark = 0
        except (OSError, ValueError) as error:
            raise ValidationError(
                f"{path} holds no number ({error}); delete it if the key's nonces are in milliseconds or lower"
            ) from None
        return Nonces(mark, lambda value: _write(path, value))

    async def _learn_time(self, venue: str, operations: Operations, clock: VenueClock) -> None:
        try:
            profile = self._profiles[venue]
            sent_s = self._clock()
            answer = await self._ask(profile.base_url, operations.request("server_time"), sent_s + TIME_WITHIN_S)
            if not isinstance(answer, HttpAnswer):
                return
            told = operations.read("server_time", answer.status, answer.body)
            if isinstance(told, ServerTime):
                found = clock.learn(sent_s, self._clock(), told.time_ms + told.resolution_ms // 2)
                if found is Learned.STEPPED:
                    offset_s = clock.offset_s(self._clock(), self._wall())
                    self._on_event("venue.clock_stepped", {"venue": venue, "offset_s": round(offset_s or 0.0, 3)})
        finally:
            self._asking.discard(venue)


def _write(path: Path, value: int) -> None:
    """On the disk before it is used."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(str(value))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
