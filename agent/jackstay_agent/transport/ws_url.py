"""A WebSocket's URL and headers, checked before anything is dialled. No I/O, and no WebSocket library: configurations
are checked with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.limits import HEADER_BYTES_MAX, URL_BYTES_MAX


@dataclass(frozen=True, slots=True)
class WsUrl:
    """A checked ws:// or wss:// URL, and what stands in the request for it."""

    url: str
    host: str
    port: int
    secure: bool
    resource: str  # path and query

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


def parse_ws_url(url: str) -> WsUrl:
    """Raises ValidationError that says what is wrong with ``url`` and what is expected."""
    if not isinstance(url, str) or not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise ValidationError("websocket URL with spaces, control or non-ASCII characters; percent-encode them")
    if len(url) > URL_BYTES_MAX:
        raise ValidationError(f"websocket URL of {len(url)} bytes; {URL_BYTES_MAX} at most are taken")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValidationError(f"websocket URL is malformed: {error}; wss://HOST[:PORT]/PATH is expected") from None
    if parts.scheme not in ("ws", "wss"):
        raise ValidationError(f"websocket URL with scheme {parts.scheme!r}; 'wss' (or 'ws') is expected")
    if not parts.hostname:
        raise ValidationError("websocket URL without a host; wss://HOST[:PORT]/PATH is expected")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("websocket URL with a user name in it; pass credentials as headers")
    if parts.fragment:
        raise ValidationError("websocket URL with a '#' part; it has no meaning here, remove it")
    if port == 0:
        raise ValidationError("websocket URL with port 0; 1 to 65535 is expected")
    secure = parts.scheme == "wss"
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WsUrl(url, parts.hostname, port or (443 if secure else 80), secure, resource)


def parse_stream_url(url: str) -> WsUrl:
    """The same for what a feed may read: ws, wss, and http or https for a long-lived answer ($topics may be in it)."""
    for http, ws in (("https://", "wss://"), ("http://", "ws://")):
        if isinstance(url, str) and url.startswith(http):
            return parse_ws_url(ws + url.removeprefix(http).replace("$topics", "topics"))
    return parse_ws_url(url)


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises ValidationError for a header that could break the upgrade request."""
    size = 0
    for name, value in headers.items():
        size += len(name) + len(value)
        if not name or any(not (c.isalnum() or c in "!#$%&'*+-.^_`|~") or not c.isascii() for c in name):
            raise ValidationError(f"header name {name!r}; letters, digits and '-' are expected")
        if any(c in "\r\n\0" for c in value) or not value.isascii():
            raise ValidationError(f"value of header {name!r} has line breaks or non-ASCII characters; remove them")
    if size > HEADER_BYTES_MAX:
        raise ValidationError(f"headers of {size} bytes; {HEADER_BYTES_MAX} at most are taken")
