"""A venue as data: which hosts are its, what each method+path does, what its answers promise (DESIGN §6).

A profile is one TOML file. This file loads and validates it and answers one question on the hot path:
`Profile.route(method, path)` says which lane a request belongs to, whether it changes something at the venue, and what
it weighs. The lane is decided here and never by the caller (DESIGN §3 rule 4).

A route that a profile does not list is judged by its method: GET and HEAD ask, everything else may place an order.
That is the careful side: such a request is never resent, and a 2xx that is not the promised JSON leaves it unknown.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from jackstay_protocols.errors import Lane, ValidationError

ASKING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one method+path is. ``kind``: place, amend, replace, cancel, cancel_all, query, order_query, other."""

    lane: Lane
    kind: str = "other"
    weight: int = 1
    orders: int = 0  # how many it counts against an order-count limit
    json: bool | None = None  # overrides the profile's promise

    @property
    def changes(self) -> bool:
        """It may have an effect at the venue, so it is never resent blind."""
        return self.kind not in ("query", "order_query")

    @property
    def is_order(self) -> bool:
        """It can open or enlarge risk."""
        return self.kind in ("place", "amend", "replace", "unlisted")


ASKING = Route(Lane.QUERY, "query")
UNLISTED = Route(Lane.ORDER, "unlisted")
KINDS = frozenset({"place", "amend", "replace", "cancel", "cancel_all", "query", "order_query", "other", "unlisted"})


class ProfileData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The TOML file's shape."""

    name: str
    hosts: list[str] = []
    base_url: str = ""
    json: bool = False  # every 2xx answer is a JSON document
    table: str = "generic"  # name of the outcome table in core.classify
    routes: dict[str, Route] = {}


class Profile:
    """A validated profile, ready for look-ups."""

    def __init__(self, data: ProfileData) -> None:
        self.name = data.name
        self.hosts = frozenset(data.hosts)
        self.base_url = data.base_url
        self.promises_json = data.json
        self.table = data.table
        self._routes: dict[tuple[str, str], Route] = {}
        for key, route in data.routes.items():
            method, _, path = key.partition(" ")
            if not path.startswith("/") or not method.isupper():
                raise ValidationError(
                    f"venue profile {data.name}: route {key!r}; 'METHOD /path' is expected, as in 'POST /api/v3/order'"
                )
            if route.kind not in KINDS:
                raise ValidationError(
                    f"venue profile {data.name}: route {key!r} has kind {route.kind!r};"
                    f" one of {', '.join(sorted(KINDS))} is expected"
                )
            if route.lane is Lane.DERISK and route.is_order:
                raise ValidationError(
                    f"venue profile {data.name}: route {key!r} would carry a placing request in the de-risking lane;"
                    " only cancels and reduce-only requests may travel there"
                )
            self._routes[method, path] = route

    def route(self, method: str, path: str) -> Route:
        """``path`` without its query."""
        found = self._routes.get((method, path))
        if found is not None:
            return found
        return ASKING if method in ASKING_METHODS else UNLISTED

    def expects_json(self, route: Route) -> bool:
        return self.promises_json if route.json is None else route.json


GENERIC = Profile(ProfileData(name="generic"))


def load_profile(text: str, origin: str) -> Profile:
    """From TOML. Raises ValidationError naming ``origin``, the place in it and what was expected."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValidationError(f"venue profile {origin}: not TOML: {error}") from error
    try:
        return Profile(msgspec.convert(raw, ProfileData, strict=True))
    except msgspec.ValidationError as error:
        raise ValidationError(f"venue profile {origin}: {error}") from error


def shipped_profiles() -> dict[str, Profile]:
    """The profiles that come with the agent, by name."""
    found = {}
    for entry in resources.files("jackstay_agent.venues").iterdir():
        if entry.name.endswith(".toml"):
            profile = load_profile(entry.read_text(encoding="utf-8"), entry.name)
            found[profile.name] = profile
    return found


def user_profiles(folder: Path) -> dict[str, Profile]:
    """Profiles of a folder of the user's; they override shipped ones by name."""
    found = {}
    for path in sorted(folder.glob("*.toml")):
        profile = load_profile(path.read_text(encoding="utf-8"), str(path))
        found[profile.name] = profile
    return found
