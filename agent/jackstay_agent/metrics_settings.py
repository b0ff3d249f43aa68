"""`[metrics]`: where Prometheus may scrape the agent. Off until it is asked for, and never on a public address.

The pages need no password, so they are only where a password is not missed: on a loopback address or a unix socket.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import msgspec

UNIX = "unix"


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ``[metrics]`` table."""

    listen: str = ""  # "127.0.0.1:9464" | "unix" (metrics.sock in the agent's folder) | "unix:/absolute/path"

    def problem(self) -> str:
        """What is wrong with it, in words; "" if nothing."""
        if not self.listen or self.unix or self.address is not None:
            return ""
        return (
            f"listen = {self.listen!r}; a loopback address with a port ('127.0.0.1:9464', '[::1]:9464'), 'unix'"
            " (metrics.sock beside the agent's other sockets) or 'unix:/absolute/path' is expected: these pages have no"
            " password, so let a Prometheus of this host scrape them, or a proxy of yours"
        )

    @property
    def unix(self) -> bool:
        """Whether the pages are on a unix socket."""
        kind, colon, path = self.listen.partition(":")
        return kind == UNIX and (not colon or Path(path).is_absolute())

    def path(self, default: Path) -> Path:
        """The unix socket."""
        _, _, path = self.listen.partition(":")
        return Path(path) if path else default

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None when it is no loopback address with a port from 1 to 65535."""
        host, _, port = self.listen.rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
        try:
            loopback = ip_address(host).is_loopback
        except ValueError:
            return None
        return (host, int(port)) if loopback and port.isdecimal() and 0 < int(port) < 65536 else None
