"""Dialling a WebSocket: URL, name, TCP, TLS, upgrade; each failure with its own word (DESIGN §5 Connections).

One deadline contains all phases. Redirects are an error, never followed: the new place could be anybody's, and our
headers would travel there. A cancelled or late dial leaves no socket behind: picows alone would keep it until its own
timer fires. Error texts name host and port only, since paths and queries of user streams hold secrets.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import picows

from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import ExchangeError, Reason

from .websocket_connection import WsConnection
from .ws_types import BINARY, TEXT, OnMessages, WsClosed, WsSettings
from .ws_url import WsUrl, check_headers, parse_ws_url

__all__ = [
    "BINARY",
    "TEXT",
    "Address",
    "EndpointLike",
    "OnMessages",
    "WsClosed",
    "WsConnection",
    "WsSettings",
    "WsUrl",
    "check_headers",
    "parse_ws_url",
    "resolve_system",
    "ws_connect",
]

Address = tuple[int, str, int]
"""Address family, address, port."""

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class EndpointLike(Protocol):
    """Where a URL's bytes really go (transport/endpoint.py): an operator may lead a host elsewhere."""

    @property
    def dial_scheme(self) -> str: ...
    @property
    def dial_host(self) -> str: ...
    @property
    def dial_port(self) -> int: ...
    @property
    def tls(self) -> bool: ...
    @property
    def server_hostname(self) -> str | None: ...
    @property
    def host_header(self) -> bytes: ...


# picows logs each connection at INFO and each parse error at ERROR; both reach our own events through on_close.
_SILENT = logging.Logger("jackstay.picows", logging.CRITICAL + 1)

_ADDRESS_WAIT_S_MIN = 0.25  # RFC 8305 advises 250 ms before the next address


async def ws_connect(
    url: str,
    *,
    on_messages: OnMessages,
    on_close: Callable[[WsClosed], None],
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    timeout_s: float = 10.0,
    settings: WsSettings | None = None,
    endpoint: EndpointLike | None = None,
    resolve: Resolve | None = None,
    local_address: str = "",
    clock: Callable[[], float] = boot_s,
) -> WsConnection:
    """Dial ``url`` and return the open connection.

    With an ``endpoint`` the bytes go where it says, while Host (and SNI by its own rule) keep the true name.
    ``ssl_context`` must verify; None makes one with the system's authorities. ``timeout_s`` contains name
    resolution, TCP, TLS and upgrade. Raises ValidationError for a bad URL or header, and ExchangeError with ``reason``
    DNS, REFUSED, RESET, TLS, TIMEOUT, PROTOCOL or RATE_LIMITED (429, 418: then with ``retry_after_s`` where the venue
    gave it) and ``details`` host, port, phase, status. ``on_close`` is not called for a dial that failed. Cancellation
    leaves nothing open.
    """
    target = parse_ws_url(url)
    check_headers(headers or {})
    plan = _Plan.of(target, endpoint, headers or {}, ssl_context)
    settings = settings or WsSettings()
    phase = "resolve"
    sock: socket.socket | None = None
    made: list[WsConnection] = []

    def listener() -> WsConnection:
        made.append(WsConnection(settings=settings, on_messages=on_messages, on_close=on_close, clock=clock))
        return made[0]

    try:
        async with asyncio.timeout(timeout_s):
            addresses = await (resolve or resolve_system)(plan.host, plan.port)
            phase = "connect"
            sock = await connect_any(addresses, timeout_s, local_address)
            phase = "tls and upgrade" if plan.tls else "upgrade"
            connected = sock
            _transport, found = await picows.ws_connect(
                listener,
                plan.url,
                ssl_context=plan.ssl_context,
                socket_factory=lambda _parsed: connected,
                **plan.tls_options(),
                websocket_handshake_timeout=None,
                enable_auto_pong=False,
                max_frame_size=settings.message_bytes_max,
                extra_headers=plan.headers,
                max_redirects=0,
                read_buffer_init_size=settings.read_buffer_bytes,
                logger_name=_SILENT,
            )
    except TimeoutError as error:
        _cut(sock)
        raise _failed(target, Reason.TIMEOUT, phase, f"no answer within {timeout_s:g} s") from error
    except asyncio.CancelledError:
        _cut(sock)
        raise
    except Exception as error:
        _cut(sock)
        raise _typed(target, phase, error) from error
    # A line that ends in mid-upgrade makes picows return normally, without a listener.
    if found is None or not made:
        raise _failed(target, Reason.RESET, phase, "the peer closed the connection before it answered the upgrade")
    return made[0]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is dialled for a URL."""

    url: str  # as picows is told: its scheme decides about TLS, its path is what the request asks for
    host: str
    port: int
    tls: bool
    server_hostname: str | None
    headers: dict[str, str]
    ssl_context: ssl.SSLContext | None

    def tls_options(self) -> dict[str, Any]:
        return {"server_hostname": self.server_hostname} if self.tls else {}

    @classmethod
    def of(
        cls,
        target: WsUrl,
        endpoint: EndpointLike | None,
        headers: Mapping[str, str],
        ssl_context: ssl.SSLContext | None,
    ) -> _Plan:
        if endpoint is None:
            context = (ssl_context or _system_context()) if target.secure else None
            return cls(target.url, target.host, target.port, target.secure, target.host, dict(headers), context)
        host, port, tls = endpoint.dial_host, endpoint.dial_port, endpoint.tls
        place = f"[{host}]" if ":" in host else host
        url = f"{'wss' if tls else 'ws'}://{place}:{port}{target.resource}"
        context = (ssl_context or _system_context()) if tls else None
        named = {"Host": endpoint.host_header.decode("ascii"), **headers}
        return cls(url, host, port, tls, endpoint.server_hostname, named, context)


def _system_context() -> ssl.SSLContext:
    """Verification of certificate and host name on, TLS 1.2 or later."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def resolve_system(host: str, port: int) -> Sequence[Address]:
    """The system's resolver, off the loop's thread; raises socket.gaierror."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(int(family), str(address[0]), int(address[1])) for family, _type, _proto, _name, address in found]


class _DialledSocket(socket.socket):
    """A socket that leaves the loop before its descriptor can be somebody else's.

    aiofastnet, under picows, begins to read one turn after the upgrade was written; where the peer's reset made that
    write fail, this comes after it had taken its leave. uvloop would go on watching a number that is free by then:
    whatever gets it next hears nothing, and after an error on it no WebSocket can be dialled on that number any more
    ("unable to perform operation on <UVPoll closed=True>").
    """

    def __init__(self, family: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._loop = loop

    def close(self) -> None:
        fd = self.fileno()
        if fd >= 0 and not self._loop.is_closed():
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
        super().close()


async def connect_any(addresses: Sequence[Address], timeout_s: float, local_address: str = "") -> socket.socket:
    """A connected TCP socket to the first address that answers; each gets a fair share of the time."""
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
    loop = asyncio.get_running_loop()
    share_s = max(_ADDRESS_WAIT_S_MIN, timeout_s / len(addresses))
    last: OSError | None = None
    for family, address, port in addresses:
        sock = _DialledSocket(family, loop)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if local_address:
                sock.bind((local_address, 0))
            async with asyncio.timeout(share_s):
                await loop.sock_connect(sock, (address, port))
        except TimeoutError as error:
            sock.close()
            last = error
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    assert last is not None, "there was at least one address"
    raise last


def _cut(sock: socket.socket | None) -> None:
    """End a half-made connection whoever holds its descriptor now; closing it here would pull it from under them."""
    if sock is None:
        return
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # never connected, or closed already


def _failed(
    target: WsUrl, reason: Reason, phase: str, what: str, *, retry_after_s: float | None = None, status: int = 0
) -> ExchangeError:
    details: dict[str, Any] = {"host": target.host, "port": target.port, "phase": phase}
    if status:
        details["status"] = status
    return ExchangeError(
        f"websocket to {target.place} failed ({phase}): {what}",
        reason=reason,
        retry_after_s=retry_after_s,
        details=details,
    )


def _typed(target: WsUrl, phase: str, error: Exception) -> ExchangeError:
    """The failure in our words; anything unforeseen is PROTOCOL with its own text."""
    if isinstance(cause := getattr(error, "cause", None), Reason):  # a resolver of ours speaks our words already
        return _failed(target, cause, phase, str(error))
    if isinstance(error, socket.gaierror):
        return _failed(target, Reason.DNS, "resolve", f"the name does not resolve ({error.strerror or error})")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _failed(target, Reason.TLS, "tls", f"the certificate is not accepted: {error.verify_message or error}")
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return _failed(target, Reason.TLS, "tls", f"no TLS session ({getattr(error, 'reason', '') or error})")
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return _failed(target, Reason.RESET, phase, "the peer reset the connection")
    if isinstance(error, TimeoutError):
        return _failed(target, Reason.TIMEOUT, phase, "no answer in time")
    if isinstance(error, ConnectionRefusedError):
        return _failed(target, Reason.REFUSED, phase, "connection refused: nothing listens there")
    if isinstance(error, picows.WSHandshakeError):
        return _handshake(target, error)
    if isinstance(error, OSError):
        return _failed(target, Reason.REFUSED, phase, error.strerror or str(error))
    return _failed(target, Reason.PROTOCOL, phase, f"{type(error).__name__}: {str(error)[:200]}")


def _handshake(target: WsUrl, error: picows.WSHandshakeError) -> ExchangeError:
    response = error.response
    status = int(getattr(response, "status", 0) or 0)
    if 300 <= status < 400:
        where = _place_of(str(response.headers.get("Location", ""))) if response is not None else ""
        what = f"the venue redirects to {where or 'nowhere'}; redirects are not followed: configure the new URL"
        return _failed(target, Reason.PROTOCOL, "upgrade", what, status=status)
    if status and status != 101:
        retry_after_s = _retry_after_s(response.headers.get("Retry-After")) if response is not None else None
        reason = Reason.RATE_LIMITED if status in (418, 429) else Reason.PROTOCOL
        what = f"the venue answered {status} instead of 101"
        return _failed(target, reason, "upgrade", what, retry_after_s=retry_after_s, status=status)
    return _failed(target, Reason.PROTOCOL, "upgrade", str(error)[:200], status=status)


def _place_of(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return "a malformed URL"
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else "another path of the same host"


def _retry_after_s(value: str | None) -> float | None:
    """Delay-seconds only; the date form is not used by venues for 429."""
    return float(value) if value is not None and value.isdigit() and len(value) < 8 else None
