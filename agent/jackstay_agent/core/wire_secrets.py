"""What may be written down of a request: everything but its secrets (DESIGN §3 rule 10).

Headers never reach this module. Signatures, keys and pass phrases also travel in query strings, form bodies and JSON
bodies; their values are cut out and their names stay, so that a reader sees that one was there. What was cut cannot be
replayed: a request the bot signed is EXPIRED after a restart, one the agent signs is signed anew.

Refuses to know what a venue calls valid: a name is a secret's if it ends like one, whatever its case, ``_`` and ``-``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

#: Endings of folded names: ``signature``, ``X-MBX-APIKEY``, ``OK-ACCESS-SIGN``, ``listenKey``.
_ENDINGS: Final = (
    *(b"signature", b"sign", b"sig", b"apikey", b"accesskey", b"secretkey", b"privatekey", b"listenkey"),
    *(b"secret", b"passphrase", b"password", b"passwd", b"otp", b"token", b"jwt"),
)
#: "name": value in JSON; the value is a text with its escapes, or anything up to the next delimiter
_JSON_PAIR: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:\s*)("(?:[^"\\]|\\.)*"|[^\s",}\]\[{]+)', re.DOTALL)


def strip_target(target: bytes) -> bytes:
    """A path with its query, the values of its secrets cut out (``signature=`` stays)."""
    path, mark, query = target.partition(b"?")
    bare = strip_form(query)
    return target if bare is query else path + mark + bare


def strip_form(text: bytes) -> bytes:
    """A query string or a form body, the values of its secrets cut out."""
    parts, found = text.split(b"&"), False
    for at, part in enumerate(parts):
        name, equals, value = part.partition(b"=")
        if value and _is_secret(name):
            parts[at], found = name + equals, True
    return b"&".join(parts) if found else text


def strip_json(text: bytes) -> bytes:
    """A JSON body with the values of its secrets replaced by an empty text; it stays JSON."""
    return _JSON_PAIR.sub(_empty_if_secret, text)


def strip_body(body: bytes) -> bytes:
    """A body of either kind, told apart by its first character."""
    if not body:
        return body
    return strip_json(body) if body.lstrip()[:1] in (b"{", b"[") else strip_form(body)


@lru_cache(maxsize=1024)  # the same few names in every request
def _is_secret(name: bytes) -> bool:
    if b"%" in name:
        name = unquote_to_bytes(name)
    return name.lower().replace(b"_", b"").replace(b"-", b"").endswith(_ENDINGS)


def _empty_if_secret(pair: re.Match[bytes]) -> bytes:
    name, colon, _ = pair.groups()
    return b'"' + name + b'"' + colon + b'""' if _is_secret(name) else pair[0]
