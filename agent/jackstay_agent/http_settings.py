"""``[http]``: what an operator says about http.sock, the door for clients that cannot speak ZeroMQ.

The socket is on by default: it has the folder's permissions, as the others have. A TCP port has none, every local user
and every browser reaches it, so it must be asked for and always wants a token.
"""

from __future__ import annotations

import os
import stat
from ipaddress import ip_address
from pathlib import Path

import msgspec

from jackstay_protocols.errors import SecurityError, ValidationError

TOKEN_BYTES_MIN = 16
TOKEN_BYTES_MAX = 256


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ``[http]`` table."""

    enabled: bool = True
    allow_hosts: list[str] = []  # besides those of profiles and [upstreams]; shell patterns
    listen: str = ""  # "127.0.0.1:PORT": the same door on TCP, for clients that know no unix sockets
    token_file: str = ""  # a file of mode 0600 that holds the token every TCP request has to show
    trade_socket: str = "refuse"  # refuse | pass: order messages on a websocket that no profile can read

    def problem(self) -> str:
        """What is wrong with it, in words; "" if nothing."""
        if self.trade_socket not in ("refuse", "pass"):
            return f"trade_socket = {self.trade_socket!r}; refuse or pass is expected"
        if not self.listen:
            return "token_file without listen: a token is for the TCP port only" if self.token_file else ""
        if self.address is None:
            return f"listen = {self.listen!r}; a loopback address and a port are expected, as in '127.0.0.1:8790'"
        if not Path(self.token_file).is_absolute():
            return f"listen needs token_file (found {self.token_file!r}): an absolute path to a file of mode 0600"
        return ""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the TCP door; None when it is off or no loopback address."""
        host, _, port = self.listen.rpartition(":")
        try:
            loopback = host == "localhost" or ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return None
        if not loopback or not port.isdecimal() or int(port) > 65535:
            return None
        return ("127.0.0.1" if host == "localhost" else host.strip("[]")), int(port)

    def token(self) -> bytes:
        """The token. Raises SecurityError if others can read it, ValidationError if it is missing or too short."""
        try:
            handle = os.open(self.token_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ValidationError(f"[http] token_file {self.token_file} cannot be read: {error.strerror}") from None
        try:
            mode = os.fstat(handle)
            data = os.read(handle, TOKEN_BYTES_MAX + 2).strip()
        finally:
            os.close(handle)
        if stat.S_IMODE(mode.st_mode) & 0o037 or mode.st_uid not in (os.geteuid(), 0):
            raise SecurityError(f"[http] token_file {self.token_file}: others can get at it; chown it and chmod 600")
        if not TOKEN_BYTES_MIN <= len(data) <= TOKEN_BYTES_MAX or not data.isalnum():
            raise ValidationError(
                f"[http] token_file {self.token_file}: {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} letters and digits are"
                " expected, as 'openssl rand -hex 24' makes them"
            )
        return data
