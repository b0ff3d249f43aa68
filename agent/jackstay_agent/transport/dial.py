"""Resolve and connect, with errors named in our words.

`DialError` says which step failed (DNS, REFUSED, TLS, TIMEOUT, RESET) and what to look at; it never carries secrets.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from jackstay_protocols.errors import Reason

Address = tuple[int, str, int]  # family, address, port

# An idle line whose peer is gone is found within 10 + 3 * 5 s (the system's default is two hours), one on which sent
# bytes are not acknowledged within 20 s.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}


class DialError(Exception):
    """A connection could not be made; nothing was sent."""

    def __init__(self, cause: Reason, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


async def resolve(host: str, port: int) -> list[Address]:
    """Addresses of a name, in the system's order. Raises DialError DNS."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise DialError(Reason.DNS, f"name {host} does not resolve: {error}") from error
    return [(int(family), str(address[0]), int(address[1])) for family, _type, _proto, _name, address in found]


async def dial(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    addresses: list[Address],
    *,
    ssl_context: ssl.SSLContext | None,
    server_hostname: str | None,
    local_address: str,
    timeout_s: float,
) -> tuple[Any, Any]:
    """Connect to the first address that takes us; every address shares ``timeout_s``. Raises DialError."""
    loop = asyncio.get_running_loop()
    last = DialError(Reason.DNS, "the name has no addresses")
    try:
        async with asyncio.timeout(timeout_s):
            for _family, address, port in addresses:
                try:
                    transport, protocol = await loop.create_connection(
                        protocol_factory,
                        address,
                        port,
                        ssl=ssl_context,
                        server_hostname=server_hostname,
                        local_addr=(local_address, 0) if local_address else None,
                    )
                except (ssl.SSLError, OSError) as error:
                    last = dial_error(error, address, port, server_hostname)
                    if last.cause is Reason.TLS:
                        break  # another address of the same name shows the same certificate
                    continue
                tune(transport)
                return transport, protocol
    except TimeoutError:
        where = f"{addresses[0][1]}:{addresses[0][2]}" if addresses else "nowhere"
        raise DialError(Reason.TIMEOUT, f"no connection to {where} within {timeout_s:g} s") from None
    raise last


def dial_error(error: Exception, address: str, port: int, server_hostname: str | None) -> DialError:
    where = f"{address}:{port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return DialError(
            Reason.TLS,
            f"the certificate of {server_hostname or where} was not accepted: {error.verify_message};"
            " check the host's name, its expiry and ca_file",
        )
    if isinstance(error, ssl.SSLError):
        return DialError(Reason.TLS, f"TLS with {where} failed: {error.reason or error}; does that port speak TLS?")
    if isinstance(error, ConnectionRefusedError):
        return DialError(Reason.REFUSED, f"{where} refused the connection")
    if isinstance(error, TimeoutError):
        return DialError(Reason.TIMEOUT, f"{where} did not answer")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return DialError(Reason.RESET, f"{where} reset the connection during the handshake")
    return DialError(Reason.REFUSED, f"{where} cannot be reached: {error}")


def tune(transport: Any) -> None:
    """No Nagle (40 ms with delayed ACKs), and the kernel's own probe for half-open peers."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not all of them exist everywhere
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
