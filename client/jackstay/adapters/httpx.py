"""httpx: a transport, sync and async, so that everything above it stays the library's own.

    httpx.Client(transport=AgentTransport())
    httpx.AsyncClient(transport=AsyncAgentTransport())

Cookies and redirects work as before, each hop through the agent. Lost on the way, and said so: bodies are buffered in
both directions, there is no HTTP/2 to the venue, and proxies, verify and cert mean nothing, because the agent dials.
"""

from __future__ import annotations

from typing import Any, NoReturn

import httpx

from jackstay.aio import AsyncClient
from jackstay.answer import Response
from jackstay.client import Client
from jackstay_protocols.errors import TradingBotError

from .defaults import default_async_client, default_client, let_go
from .translation import Kind, deadline_s, decoded, end_to_end, kind_of, proves_nothing, unproven

_ERRORS: dict[Kind, type[httpx.TransportError]] = {
    Kind.TIMEOUT: httpx.ReadTimeout,
    Kind.CONNECTION: httpx.ConnectError,
    Kind.NOT_NOW: httpx.ConnectError,
    Kind.RATE: httpx.ConnectError,
    Kind.MAINTENANCE: httpx.ConnectError,
    Kind.TLS: httpx.ConnectError,
    # httpx has no word for "never like this" but the one for a request that breaks the rules of the way
    Kind.SAME: httpx.LocalProtocolError,
    Kind.FINAL: httpx.LocalProtocolError,
}
_PACKED = ("content-encoding", "content-length", "transfer-encoding")


class AgentTransport(httpx.BaseTransport):
    """Carries an `httpx.Client`'s requests through the agent. ``client`` defaults to one `Client` per process."""

    def __init__(self, client: Client | None = None) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One hop. Raises httpx's own errors, with jackstay's as their cause."""
        body = request.read()
        try:
            answer = (self._client or default_client()).request(
                request.method,
                str(request.url),
                headers=end_to_end(_pairs(request)),
                body=body,
                deadline_s=_deadline_s(request),
                patient=True,
            )
        except TradingBotError as error:
            _raise(error, request)
        return _response(answer, request)


class AsyncAgentTransport(httpx.AsyncBaseTransport):
    """Carries an `httpx.AsyncClient`'s requests. ``client`` defaults to one `AsyncClient` per running loop, which the
    last transport that used it closes.
    """

    def __init__(self, client: AsyncClient | None = None) -> None:
        self._client = client
        self._beneath: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One hop. Raises httpx's own errors, with jackstay's as their cause."""
        body = await request.aread()
        try:
            answer = await (self._client or default_async_client(self)).request(
                request.method,
                str(request.url),
                headers=end_to_end(_pairs(request)),
                body=body,
                deadline_s=_deadline_s(request),
                patient=True,
            )
        except TradingBotError as error:
            _raise(error, request)
        return _response(answer, request)

    async def aclose(self) -> None:
        """The default client is let go; one that was given is its owner's to close."""
        try:
            if self._beneath is not None:
                await self._beneath.aclose()
        finally:
            await let_go(self)


def attach(target: Any, client: Any = None) -> None:
    """Route an `httpx.Client` or `httpx.AsyncClient` through the agent, its proxies' routes included."""
    detach(target)
    if isinstance(target, httpx.AsyncClient):
        transport: Any = AsyncAgentTransport(client)
        transport._beneath = target._transport  # closed with it, and given back by detach
        target._transport = transport
    else:
        transport = AgentTransport(client)
    target.__dict__["_transport_for_url"] = lambda url: transport


def detach(target: Any) -> None:
    target.__dict__.pop("_transport_for_url", None)
    beneath = getattr(target._transport, "_beneath", None)
    if beneath is not None:
        target._transport = beneath


def _pairs(request: httpx.Request) -> list[tuple[str, str]]:
    """As they were written: httpx's own dictionary lower-cases names."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]


def _deadline_s(request: httpx.Request) -> float:
    """httpx has a limit for each phase; the agent keeps one for all of them, the longest."""
    limits = request.extensions.get("timeout") or {}
    return deadline_s(tuple(limits.get(phase) for phase in ("connect", "read", "write", "pool")))


def _raise(error: TradingBotError, request: httpx.Request) -> NoReturn:
    raise _ERRORS[kind_of(error)](str(error), request=request) from error


def _response(answer: Response, request: httpx.Request) -> httpx.Response:
    if proves_nothing(answer):
        raise httpx.ReadTimeout(
            unproven(answer),
            request=request,
        )
    body = decoded(answer)
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    kept = [(name, value) for name, value in pairs if name.decode("latin-1").lower() not in _PACKED]
    kept.append((b"Content-Length", str(len(body)).encode()))
    reason = answer.reason.encode("latin-1")
    return httpx.Response(
        answer.status,
        headers=kept,
        content=body,
        request=request,
        extensions={"http_version": b"HTTP/1.1", "reason_phrase": reason},
    )
