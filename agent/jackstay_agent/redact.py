"""Takes secrets out of what will be kept or shown (DESIGN §3 rule 10): details, messages, stack traces.

By name (a field called api_secret) and by shape (signature=..., Bearer ..., user:password@host, a PEM block). It is the
last net, not the first: secrets should not get here. Everything is cut to a bound, for a detail may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"
TEXT_MAX = 16_384  # characters of one text
ITEMS_MAX = 200  # entries of one container
DEPTH_MAX = 6

_NAMES = (
    r"(?:api[-_ ]?key|api[-_ ]?secret|secret(?:[-_ ]?key)?|private[-_ ]?key|passphrase|passwd|password"
    r"|(?<![a-z])pwd(?![a-z])|(?:access|refresh|auth|session|api|bearer|csrf|id|ws)[-_ ]?token|(?<![\w-])token(?![\w-])"
    r"|signature|api-sign|bapi-sign|ok-access-[a-z]+|authorization|cookie|credentials?"
    r"|(?<![a-z])otp(?![a-z])|listen[-_ ]?key)"
)
_NAME = re.compile(_NAMES, re.IGNORECASE)
# name, separator, value: api_key=abc, "secret": "abc", Authorization: Bearer abc, (b'X-API-KEY', b'abc')
_PAIR = re.compile(
    r"(?P<name>\b[\w-]*" + _NAMES + r"[\w-]*(?:['\"]?\s*[:=]\s*|['\"]\s*,\s*))(?P<quote>(?:b(?=['\"]))?['\"]?)"
    r"(?:(?:bearer|basic|digest)\s+)?[^\s'\",;&)}\]]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<kind>bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def redact_text(text: str, text_max: int = TEXT_MAX) -> str:
    """The text without what looks like a secret; a long one keeps its end, where a stack trace says what happened."""
    if len(text) > text_max:
        text = "..." + text[-text_max:]
    text = _PEM.sub(HIDDEN, text)
    text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PAIR.sub(rf"\g<name>\g<quote>{HIDDEN}", text)
    return _BEARER.sub(rf"\g<kind> {HIDDEN}", text)


def redact(value: Any, depth: int = DEPTH_MAX) -> Any:
    """A copy of plain data without secrets: values under telling names are hidden, texts are searched."""
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return redact_text(bytes(value[:TEXT_MAX]).decode("utf-8", "replace"))
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(key, str) and _NAME.search(key) and each is not None else redact(each, depth - 1)
            for key, each in list(value.items())[:ITEMS_MAX]
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(each, depth - 1) for each in list(value)[:ITEMS_MAX]]
    return value
