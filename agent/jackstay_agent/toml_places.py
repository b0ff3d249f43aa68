"""Where in a TOML file does it stand, and is it a name anybody knows? For errors that a reader can act on.

Shared by everything that is read from TOML into typed values (the configuration, venue profiles). Knows no file and no
meaning; lines are found in the text as its author wrote it, with quoted names and inline tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

Path = tuple[str, ...]

_PART = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([A-Za-z0-9_-]+))\s*(\.)?')


def split_key(text: str) -> Path:
    """The parts of a dotted key or table name as TOML writes them; empty if it is none."""
    parts, at = [], 0
    while True:
        found = _PART.match(text, at)
        if found is None:
            return ()
        parts.append(next(each for each in found.group(1, 2, 3) if each is not None))
        at = found.end()
        if found.group(4) is None:
            return tuple(parts) if not text[at:].strip() else ()


def line_of(text: str, path: Path) -> int | None:
    """Best guess of the line that sets ``path``: its own, or that of the inline table or list that holds it."""
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = split_key(stripped.partition("#")[0].strip().strip("[]")) or table
            if table == path:
                return number
        elif "=" in stripped and not stripped.startswith("#"):
            key = _key_of(stripped)
            here = table + key
            if key and here == path[: len(here)] and len(here) >= min(len(path), len(table) + 1):
                return number
    return None


def _key_of(line: str) -> Path:
    """What stands before the first '=' that is not inside a quoted name."""
    at = 0
    while (at := line.find("=", at)) >= 0:
        key = split_key(line[:at])
        if key:
            return key
        at += 1
    return ()


def unknown_keys(kind: Any, data: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, list[str]]]:
    """(path, known names there) of every key in ``data`` that the settings type does not have."""
    known = _fields_of(kind) or {}
    for key, value in data.items():
        here = (*path, key)
        if key not in known:
            yield here, list(known)
            continue
        if not isinstance(value, Mapping):
            continue
        field_type = known[key]
        inner = _settings_in(get_args(field_type)[1] if _is_table(field_type) else field_type)
        if inner is None:
            continue
        if not _is_table(field_type):
            yield from unknown_keys(inner, value, here)
            continue
        for name, each in value.items():
            if isinstance(each, Mapping):
                yield from unknown_keys(inner, each, (*here, name))


def wrong_values(kind: Any, value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """(path, complaint) of every value that is not what the settings type wants, as deep as can be told."""
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        found = [
            each for name, inner, kind_ in _inside(kind, value) for each in wrong_values(kind_, inner, (*path, name))
        ]
        yield from found or [(path, str(error).partition(" - at `")[0] + _expected(kind))]


def without(data: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """The data less what stands at these paths; what is not on their way is the same object."""
    gone: dict[str, list[Path]] = {}
    for path in paths:
        gone.setdefault(path[0], []).append(path[1:])
    kept: dict[str, Any] = {}
    for key, value in data.items():
        below = gone.get(key)
        if below is None or (() not in below and not isinstance(value, Mapping)):
            kept[key] = value
        elif () not in below:
            kept[key] = without(value, below)
    return kept


def _expected(kind: Any) -> str:
    return f"; {', '.join(kind)} are expected" if isinstance(kind, type) and issubclass(kind, StrEnum) else ""


def _inside(kind: Any, value: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, value, type) of what stands in a table or a settings value."""
    if not isinstance(value, Mapping):
        return
    table = next((part for part in (kind, *get_args(kind)) if _is_table(part)), None)
    known = _fields_of(_settings_in(kind)) or {}
    for name, inner in value.items():
        if table is not None:
            yield name, inner, get_args(table)[1]
        elif name in known:
            yield name, inner, known[name]


def _fields_of(kind: Any) -> Mapping[str, Any] | None:
    """Key -> type of a settings value (msgspec Struct or dataclass), None for anything else."""
    return _fields_of_type(kind) if isinstance(kind, type) else None


@cache  # the annotations are evaluated each time they are asked for: a fifth of an agent's start
def _fields_of_type(kind: type) -> Mapping[str, Any] | None:
    if issubclass(kind, msgspec.Struct):
        return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in fields(kind)}
    return None


def _settings_in(kind: Any) -> Any:
    """The settings type inside a field's type, looking through unions; None when there is none."""
    return next((part for part in (kind, *get_args(kind)) if _fields_of(part) is not None), None)


def _is_table(kind: Any) -> bool:
    """dict[str, X] or Mapping[str, X]: keys are the user's own names."""
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)
