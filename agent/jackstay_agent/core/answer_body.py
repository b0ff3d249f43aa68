"""Reading an answer's body without trusting it: is it whole, is it what was promised, which code does it carry?

Part of classification; gives facts, draws no conclusion. Bodies may be empty, markup, compressed, cut off, of a wrong
encoding or absurdly nested: all of that is normal input here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from .outcome_table import OutcomeTable

Headers = Iterable[tuple[bytes, bytes]]

DETAIL_MAX = 200  # characters of a venue's message that are kept
_LOOK_MAX = 4096  # bytes of a body that is no JSON in which texts are looked for
_JSON_TYPES: Final = (b"json", b"javascript", b"text/plain")


class Answer(NamedTuple):
    """What came back, with the reader's means: a JSON reader, and wall time (Unix seconds) if the caller has one."""

    status: int
    headers: Headers
    body: bytes
    loads: Callable[[bytes], Any] = json.loads
    wall_now_s: float | None = None


class Told(NamedTuple):
    """The venue's own code and message; both empty where there are none."""

    code: str = ""
    message: str = ""


NOTHING: Final = Told()


def is_closed(body: bytes) -> bool:
    """It begins like a JSON object or array and ends like the same one (cheap; proves nothing about the middle)."""
    first = body[:1]
    return (first == b"{" and body.endswith((b"}", b"}\n"))) or (first == b"[" and body.endswith((b"]", b"]\n")))


def shows_no_code(body: bytes, table: OutcomeTable) -> bool:
    """It cannot be an error inside a 2xx, judged by its first bytes."""
    if table.code_required:
        return body.startswith(table.ok_start)
    return not table.code_key or table.code_key.encode() not in body[:64]


def is_json_type(headers: Headers) -> bool:
    """A missing content type is no lie; a wrong one is."""
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            low = value.lower()
            return any(kind in low for kind in _JSON_TYPES)
    return True


def parse(answer: Answer) -> Any:
    """The object or array in the body, or None: empty, cut off, no JSON, a scalar, a wrong encoding."""
    try:
        doc = answer.loads(answer.body)
    except (ValueError, RecursionError):  # every JSON and Unicode error is a ValueError
        return None
    return doc if isinstance(doc, (dict, list)) else None


def is_markup(body: bytes) -> bool:
    return body[:64].lstrip()[:1] == b"<"


def shape(body: bytes) -> str:
    """What the body looks like, without quoting it."""
    if not body.strip():
        return "empty body"
    if body[:2] == b"\x1f\x8b":
        return "compressed body"
    if is_markup(body):
        return "markup instead of JSON"
    return f"not the promised JSON ({len(body)} bytes)"


def plain_text(body: bytes) -> str:
    """The beginning of a body as text."""
    return body[:_LOOK_MAX].decode("utf-8", "replace")


def told_by(doc: Any, table: OutcomeTable) -> Told:
    """The body's code and message. A list of errors (Kraken) gives its first real one; an error that is an object
    (JSON-RPC, BitMEX) its own code or name, and one without either is still an error.
    """
    if not isinstance(doc, dict):
        return NOTHING
    code = doc.get(table.code_key)
    if isinstance(code, list):
        errors = [c for c in code if isinstance(c, str) and not c.startswith("W")]  # W...: a warning beside a result
        return Told(errors[0][:DETAIL_MAX], errors[0]) if errors else NOTHING
    if isinstance(code, dict) and code:
        number = code.get("code", code.get("name"))
        named = isinstance(number, (str, int)) and not isinstance(number, bool)
        return Told(str(number)[:DETAIL_MAX] if named else "error", str(code.get("message", "")))
    if not isinstance(code, (str, int)) or isinstance(code, bool):
        return NOTHING
    return Told(str(code)[:DETAIL_MAX], str(doc.get(table.message_key, "")))


def told_by_items(doc: Any, table: OutcomeTable) -> list[Told]:
    """Code and message of each item of a batch; no code where an item has none."""
    for key in table.items_path:
        doc = doc.get(key) if isinstance(doc, dict) else None
    if not isinstance(doc, list):
        return []
    return [
        Told(str(item.get(table.items_code) or "")[:DETAIL_MAX], str(item.get(table.items_message, "")))
        for item in doc
        if isinstance(item, dict)
    ]


def cut(text: str) -> str:
    """A venue's words, printable and short."""
    return "".join(c if c.isprintable() else " " for c in text[:DETAIL_MAX])
