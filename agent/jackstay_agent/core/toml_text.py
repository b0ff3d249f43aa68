"""TOML text to values, whatever the text (configuration and venue profiles are files that anybody may have touched).

The standard library's parser follows nesting with the interpreter's stack and ends in RecursionError where there is too
much of it (found by the fuzz), and dotted keys nest as deep as they are long, for whoever reads the values next. Here
both are errors of the text like any other.
"""

from __future__ import annotations

import tomllib
from typing import Any

DEPTH_MAX = 64  # a profile has six levels


def toml_document(text: str) -> dict[str, Any]:
    """Raises tomllib.TOMLDecodeError, also for what is nested more than 64 levels deep."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    level: list[Any] = [document]
    for _ in range(DEPTH_MAX):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return document
    raise _too_deep()


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    values = value.values() if isinstance(value, dict) else value
    return [each for each in values if isinstance(each, (dict, list))]


def _too_deep() -> tomllib.TOMLDecodeError:
    return tomllib.TOMLDecodeError("nested too deeply; tables and lists of a few levels are expected")
