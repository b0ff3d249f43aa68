"""An endpoint: what a URL names, and where its bytes really go.

``[upstreams]`` may lead a host elsewhere (a regional address in production, the sandbox in tests). Then Host, SNI and
everything keyed by host keep the true name, and only the dialled address and scheme change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from jackstay_protocols.errors import Reason, ValidationError

_PORTS = {"https": 443, "http": 80, "wss": 443, "ws": 80}
_TLS = frozenset({"https", "wss"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Scheme, host and port as the bot names them; ``dial_*`` as they are reached."""

    scheme: str
    host: str
    port: int
    dial_scheme: str
    dial_host: str
    dial_port: int
    verify_as: str = ""  # certificate name to expect; default: the name that is dialled
    ca_file: str = ""

    @property
    def tls(self) -> bool:
        return self.dial_scheme in _TLS

    @property
    def server_hostname(self) -> str | None:
        """SNI and certificate name, None without TLS."""
        return (self.verify_as or self.dial_host) if self.tls else None

    @property
    def host_header(self) -> bytes:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return (name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}").encode("ascii")

    @property
    def routed_elsewhere(self) -> bool:
        return (self.dial_host, self.dial_port) != (self.host, self.port)

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """From a URL (its path is ignored). Raises ValidationError BAD_REQUEST saying what was found."""
        scheme, host, port = _split(url)
        return cls(scheme, host, port, scheme, host, port)

    def routed(self, to: str, *, verify_as: str = "", ca_file: str = "") -> Endpoint:
        """The same endpoint reached at ``to``. Raises ValidationError on a bad target."""
        scheme, host, port = _split(to)
        if (self.scheme in ("ws", "wss")) != (scheme in ("ws", "wss")):
            # One sandbox port serves both: http://… may stand for ws://… and the other way round.
            pairs = {"http": "ws", "https": "wss", "ws": "http", "wss": "https"}
            scheme = pairs[scheme]
        return replace(self, dial_scheme=scheme, dial_host=host, dial_port=port, verify_as=verify_as, ca_file=ca_file)


def _split(url: str) -> tuple[str, str, int]:
    def bad(what: str) -> ValidationError:
        # queries and user information hold secrets
        shown = re.sub(r"://[^/]*@", "://…@", url.partition("?")[0])[:120]
        return ValidationError(f"url {shown!r}: {what}", reason=Reason.BAD_REQUEST)

    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise bad("contains spaces or control characters; a percent-encoded url is expected")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise bad(str(error)) from error
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise bad(f"scheme {parts.scheme or 'missing'}; https, http, wss or ws is expected")
    if "@" in parts.netloc:
        raise bad("user information in front of the host; credentials do not belong into a url")
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise bad("no host")
    try:
        host.encode("ascii")
    except UnicodeEncodeError:
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise bad(f"host {host!r} is not a domain name") from error
    if port == 0:
        raise bad("port 0")
    return scheme, host, port or _PORTS[scheme]
