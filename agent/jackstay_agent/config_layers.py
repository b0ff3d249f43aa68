"""Two files make a configuration: the defaults.toml that all agents of a config folder share, under each NAME.toml.

Tables are merged key by key, anything else of the agent's own file takes the place of the shared one. What must never
be shared is refused: a key (its file or environment), and the client id prefixes that prove whose an order is. Knows
which file and line a value came from; refuses to know what it means.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jackstay_protocols.endpoints import config_folders

from .core.toml_text import toml_document
from .toml_places import line_of

SHARED = "defaults.toml"


@dataclass(frozen=True, slots=True)
class Layer:
    """One file, as written and as read. ``wrong``: why it could not be, in words."""

    path: Path
    text: str
    raw: Mapping[str, Any]
    wrong: str = ""

    @property
    def shared(self) -> bool:
        return self.path.name == SHARED


def layers_of(path: Path, env: Mapping[str, str]) -> list[Layer]:
    """What counts for that file, what is shared first. defaults.toml counts in config folders alone: beside some file
    elsewhere it may be anybody's."""
    shared = path.parent / SHARED
    found = []
    if path.name != SHARED and _is_config_folder(path.parent, env) and os.path.lexists(shared):
        found.append(_read(shared))
    return [*found, _read(path)]


def merged(layers: list[Layer]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for each in layers:
        value = _over(value, each.raw)
    return value


def origin_of(layers: list[Layer], key: tuple[str, ...]) -> tuple[Path, int | None] | None:
    """File and line of the value that counts; None: it is a default of the program."""
    for each in reversed(layers):
        inner: Any = each.raw
        for part in key:
            if not isinstance(inner, Mapping) or part not in inner:
                break
            inner = inner[part]
        else:
            return each.path, line_of(each.text, key)
    return None


def never_shared(layer: Layer) -> Iterator[tuple[tuple[str, ...], str]]:
    """(key, complaint) of what stands in a shared file and may be one agent's only."""
    if not layer.shared:
        return
    venues = layer.raw.get("venues")
    for name, venue in venues.items() if isinstance(venues, Mapping) else ():
        keys = venue.get("keys") if isinstance(venue, Mapping) else None
        if isinstance(keys, Mapping) and ("file" in keys or "env" in keys):
            what = f"[venues.{name}.keys] would be every agent's key"
            yield (
                ("venues", name, "keys"),
                f"{what}: put it into each NAME.toml, or name each unit's credential",
            )
    account = layer.raw.get("account")
    if isinstance(account, Mapping) and "client_id_prefixes" in account:
        what = "[account] client_id_prefixes would let every agent take the others' orders for its own"
        yield ("account", "client_id_prefixes"), f"{what}: put it into each NAME.toml"


def _over(base: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for key, value in told.items():
        before = made.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        made[key] = _over(before, value) if both else value  # type: ignore[arg-type]
    return made


def _read(path: Path) -> Layer:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Layer(path, "", {}, f"cannot be read: {error}")
    try:
        return Layer(path, text, toml_document(text))
    except tomllib.TOMLDecodeError as error:
        return Layer(path, text, {}, f"not TOML: {error}")


def _is_config_folder(folder: Path, env: Mapping[str, str]) -> bool:
    return any(folder.absolute() == each.absolute() for each in config_folders(env))
