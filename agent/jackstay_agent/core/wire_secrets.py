"""What may be written down of a request: everything but its secrets (DESIGN §3 rule 10).

Headers never reach this module. Signatures, keys and pass phrases also travel in query strings, form bodies and JSON
bodies; their values are cut out and their names stay, so that a reader sees that one was there. What was cut cannot be
replayed: a request the bot signed is EXPIRED after a restart, one the agent signs is signed anew.

Refuses to know what a venue calls valid: the names are those that any venue uses for a secret.
"""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = (
    r"(?:x-)?(?:[a-z]+-)?(?:signature|sign|sig|api[-_]?key|apikey|access[-_]?key|api[-_]?sign|secret|secret[-_]?key|"
    r"pass[-_]?phrase|password|otp|token|access[-_]?token|listen[-_]?key)"
)
#: name=value in a query string or a form body; a value ends at & or ; or white space
_FORM: Final = re.compile(rb"((?:^|[?&;])" + _NAMES.encode() + rb"=)[^&;\s]+", re.IGNORECASE)
#: "name": "value" or "name": number in JSON, escapes in the text respected
_JSON: Final = re.compile(
    rb'("' + _NAMES.encode() + rb'"\s*:\s*)(?:"(?:[^"\\]|\\.)*"|[^\s",}\]]+)', re.IGNORECASE | re.DOTALL
)
#: a cheap look before the expression: most requests an agent signs hold none of these
_HINTS: Final = (b"sig", b"key", b"secret", b"pass", b"otp", b"token")


def strip_form(text: bytes) -> bytes:
    """A path with query, or a form body, with the values of its secrets cut out (``signature=`` stays)."""
    return _FORM.sub(rb"\1", text) if _may_hold_one(text) else text


def strip_json(text: bytes) -> bytes:
    """A JSON body with the values of its secrets replaced by an empty string; it stays JSON."""
    return _JSON.sub(rb'\1""', text) if _may_hold_one(text) else text


def strip_body(body: bytes) -> bytes:
    """A body of either kind, told apart by its first character."""
    return strip_json(body) if body[:1] in (b"{", b"[") or body.lstrip()[:1] in (b"{", b"[") else strip_form(body)


def _may_hold_one(text: bytes) -> bool:
    folded = text.lower()
    return any(hint in folded for hint in _HINTS)
