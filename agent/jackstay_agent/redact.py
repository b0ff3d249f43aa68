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
_MARGIN = 512  # read before the cut, so that a secret is not cut away from the name that betrays it

_NAMES = (
    r"(?:api[-_ ]?key|api[-_ ]?secret|secret(?:[-_ ]?key)?|private[-_ ]?key|passphrase|passwd|password"
    r"|(?<![a-z])pwd(?![a-z])|(?:access|refresh|auth|session|api|bearer|csrf|id|ws)[-_ ]?token|(?<![\w-])token(?![\w-])"
    r"|signature|(?:api|access)-sign|(?<![a-z])sign(?![a-z])|(?:ok|cb)-access-[a-z]+|authorization|cookie|credentials?"
    r"|(?<![a-z])otp(?![a-z])|listen[-_ ]?key|mnemonic|seed[-_ ]phrase)"
)
# Each of the names holds one of these; looking for them first spares most texts the patterns (a millisecond per kB).
_WORDS = (
    "key", "secret", "pass", "pwd", "token", "sign", "access-", "authorization", "cookie", "credential", "otp",
    "mnemonic", "phrase",
)  # fmt: skip
_NAME = re.compile(_NAMES, re.IGNORECASE)
# name, separator, value: api_key=abc, "secret": "a b", Authorization: Bearer abc, (b'X-API-KEY', b'abc'), and the same
# once more inside a quoted text (\"secret\": \"abc\"). Everything repeated is bounded: these texts come from outside,
# and a pattern that looks twice at every character would be a way to stop an agent.
_PAIR = re.compile(
    r"(?P<name>" + _NAMES + r"[\w-]{0,40}(?:\\*['\"]?\s{0,8}(?:[:=]|%3D)\s{0,8}|\\*['\"]\s{0,8},\s{0,8}))"
    r"(?:"
    r"(?P<open>(?:b(?=\\*['\"]))?\\*(?P<quote>['\"]))(?:\\.|(?!(?P=quote))[^\\])*"
    r"|(?:(?:bearer|basic|digest)\s+)?[^\s'\",;&)}\]]+"
    r")",
    re.IGNORECASE | re.DOTALL,
)
_BEARER = re.compile(r"\b(?P<kind>bearer|basic)\s{1,8}[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,20}://)[^/\s:@]*:[^/\s]+@", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL)
_PEM_END = re.compile(r"\A.*-----END [A-Z ]{0,40}PRIVATE KEY-----", re.DOTALL)  # its beginning was cut away


def redact_text(text: str, text_max: int = TEXT_MAX) -> str:
    """The text without what looks like a secret; a long one keeps its end, where a stack trace says what happened."""
    cut = len(text) > text_max
    if cut:
        text = text[-(text_max + _MARGIN) :]
    if "PRIVATE KEY-----" in text:
        text = _PEM_END.sub(HIDDEN, _PEM.sub(HIDDEN, text))
    if "://" in text and "@" in text:
        text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    low = text.lower()
    if any(word in low for word in _WORDS):
        text = _PAIR.sub(_hidden, text)
    if "bearer" in low or "basic" in low:
        text = _BEARER.sub(rf"\g<kind> {HIDDEN}", text)
    if "eyJ" in text:
        text = _JWT.sub(HIDDEN, text)
    return "..." + text[-text_max:] if cut else text


def _hidden(found: re.Match[str]) -> str:
    return f"{found['name']}{found['open'] or ''}{HIDDEN}"


def redact(value: Any, depth: int = DEPTH_MAX) -> Any:
    """A copy of plain data without secrets: values under telling names are hidden, texts and keys are searched.

    An exception becomes its text. Any other object stays what it is, for a recovery may need it: whoever shows it
    decides.
    """
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return redact_text(bytes(value[:TEXT_MAX]).decode("utf-8", "replace"))
    if isinstance(value, BaseException):
        return redact_text(f"{type(value).__name__}: {value}")
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {
            redact_text(key) if isinstance(key, str) else key: _under(key, each, depth - 1)
            for key, each in list(value.items())[:ITEMS_MAX]
        }
    if isinstance(value, (list, tuple)) and len(value) == 2 and _is_telling(value[0]):  # a header, a query parameter
        return [redact(value[0], depth - 1), _under(value[0], value[1], depth - 1)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(each, depth - 1) for each in list(value)[:ITEMS_MAX]]
    return value


def _is_telling(name: object) -> bool:
    if isinstance(name, bytes):
        name = name[:200].decode("latin-1")
    return isinstance(name, str) and len(name) <= 200 and _NAME.search(name) is not None


def _under(name: object, value: Any, depth: int) -> Any:
    return HIDDEN if value is not None and _is_telling(name) else redact(value, depth)
