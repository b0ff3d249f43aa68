"""A request's bytes on the wire (journey step 7): framing is ours, everything else travels as the bot wrote it.

Refuses whatever could break the framing, before a byte leaves. Knows no connection.
"""

from __future__ import annotations

import re

from jackstay_protocols.errors import Reason, ValidationError

# Ours to set, whatever the caller says: hop-by-hop fields and framing (RFC 9110 §7.6.1, RFC 9112 §6).
_OURS = frozenset(
    {
        b"host",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"te",
        b"trailer",
        b"upgrade",
        b"content-length",
        b"expect",
    }
)
_breaks = re.compile(rb"[\r\n\0]").search
_no_target = re.compile(rb"[\x00-\x20\x7f]").search


def serialise(
    method: bytes, target: bytes, host_header: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[bytes, bool]:
    """The request's bytes, and whether a compressed answer may be decoded (the caller asked for compression).

    Header pairs travel verbatim, capitalisation included. Raises ValidationError for anything that could break the
    framing (RFC 9112 §2.2, §11.1: request smuggling starts with a stray CR, LF or NUL).
    """
    if not method.isalpha() or len(method) > 16:
        raise ValidationError(f"method {method[:20]!r}; a word like GET or POST is expected", reason=Reason.BAD_REQUEST)
    if not target.startswith(b"/") or _no_target(target):
        raise ValidationError(
            "the url's path holds spaces or control characters; a percent-encoded url is expected",
            reason=Reason.BAD_REQUEST,
        )
    parts = [method, b" ", target, b" HTTP/1.1\r\nHost: ", host_header, b"\r\n"]
    decode = False
    for name, value in headers:
        lower = name.lower()
        if lower in _OURS:
            continue
        if not name or b":" in name or b" " in name or _breaks(name) or _breaks(value):
            raise ValidationError(
                f"header {name[:40]!r} has an empty or broken name, or a line break in it", reason=Reason.BAD_REQUEST
            )
        if lower == b"accept-encoding":
            # The answer is decoded here, so only what is decoded here is asked for.
            decode = b"gzip" in value or b"deflate" in value
            value = b"gzip, deflate" if decode else b"identity"
        parts += (name, b": ", value, b"\r\n")
    if body or method in (b"POST", b"PUT", b"PATCH"):
        parts.append(b"Content-Length: %d\r\n" % len(body))
    parts += (b"\r\n", body)
    return b"".join(parts), decode
