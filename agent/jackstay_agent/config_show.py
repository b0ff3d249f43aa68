"""The configuration that counts, as TOML one could start an agent with: every key, its value, and where it comes from.

Redacted (DESIGN §3 rule 10): keys are only ever named in a configuration, and what may hold a token all the same (an
alert's address, header and arguments, a query in a URL) is cut. Loading what is shown gives the same behaviour, except
for what was cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from .config import Config
from .config_layers import Layer, origin_of
from .error_settings import DEFAULT_BREAKERS, DEFAULT_ESCALATION
from .redact import HIDDEN, redact_text

Key = tuple[str, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_ADDRESSES = frozenset({"webhook", "anchor_webhook"})


@dataclass(frozen=True, slots=True)
class Row:
    """One value. ``file``: None where it is the program's default; ``line``: in that file."""

    key: Key
    value: Any
    file: Path | None
    line: int | None

    @property
    def origin(self) -> str:
        if self.file is None:
            return "default"
        return f"{self.file}:{self.line}" if self.line else str(self.file)


def effective(config: Config) -> dict[str, Any]:
    """Every key with the value that counts, in plain values; what ships with the program is spelt out."""
    value = msgspec.to_builtins(config)
    errors = value["errors"]
    errors["breakers"] = msgspec.to_builtins(dict(DEFAULT_BREAKERS)) | errors["breakers"]
    levels = {str(level): msgspec.to_builtins(each) for level, each in DEFAULT_ESCALATION.items()}
    errors["severity"]["escalation"] = levels | errors["severity"]["escalation"]
    return dict(value)


def rows(value: Mapping[str, Any], layers: list[Layer]) -> Iterator[Row]:
    """Values in the order of the sections, single keys of a table before its tables."""
    for key, each in _leaves(value, ()):
        found = origin_of(layers, key)
        yield Row(key, _redacted(key, each), *(found or (None, None)))


def toml(found: list[Row], *, origin: bool) -> str:
    """As a file. With ``origin`` each line says where its value comes from."""
    lines: list[str] = []
    table: Key | None = None
    for row in found:
        if row.value is None:
            continue  # TOML has no word for "not set"
        if row.key[:-1] != table:
            table = row.key[:-1]
            lines += ["", f"[{'.'.join(map(_name, table))}]"] if table else []
        line = f"{_name(row.key[-1])} = {_value(row.value)}"
        lines.append(f"{line:<60}  # {row.origin}" if origin else line)
    return "\n".join(lines).lstrip("\n") + "\n"


def _leaves(value: Mapping[str, Any], above: Key) -> Iterator[tuple[Key, Any]]:
    tables = []
    for name, each in value.items():
        if isinstance(each, Mapping) and each:
            tables.append((name, each))
        else:
            yield (*above, name), each
    for name, each in tables:
        yield from _leaves(each, (*above, name))


def _redacted(key: Key, value: Any) -> Any:
    name = key[-1]
    if isinstance(value, list) and name == "command" and value:
        return [value[0], *([HIDDEN] if len(value) > 1 else [])]
    if not isinstance(value, str) or not value:
        return [_redacted(key, each) for each in value] if isinstance(value, list) else value
    if name == "webhook_header":
        return f"{value.partition(':')[0]}: {HIDDEN}"
    if name in _ADDRESSES:
        parts = urlsplit(value)
        return f"{parts.scheme}://{parts.hostname or ''}/{HIDDEN}"
    if "://" in value and "?" in value:
        value = f"{value.partition('?')[0]}?{HIDDEN}"
    return redact_text(value)


def _name(name: str) -> str:
    return name if _BARE.match(name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_name(key)} = {_value(each)}' for key, each in value.items())}}}"
    return repr(value)
