"""python-binance: `Client`, `AsyncClient` and `BinanceSocketManager` through the agent.

    client = Client(key, secret, ping=False); jackstay.attach(client)        # ping=True would go out before it
    client = await AsyncClient.create(key, secret); jackstay.attach(client)
    sockets = BinanceSocketManager(client); jackstay.attach(sockets)

Requests keep the library's own exceptions for what the venue says; what the agent says comes as requests' or aiohttp's.
WebSockets are the library's own connections, dialled over http.sock, its reconnects included.
"""

from __future__ import annotations

from typing import Any

from jackstay_protocols.errors import Reason, ValidationError

from .defaults import bot_name, default_async_client, http_socket, let_go

_MARK = "_jackstay_undo"
_STREAMS = "binance.ws.streams"


def attach(target: Any, client: Any = None) -> None:
    """Put the seam in. Raises ValidationError for a client with a proxy: the agent dials."""
    detach(target)
    if getattr(target, "https_proxy", None) or getattr(getattr(target, "_client", None), "https_proxy", None):
        raise ValidationError(
            "a proxy is set on this python-binance client, but the agent dials: remove it", reason=Reason.BAD_REQUEST
        )
    modules = {each.__module__ for each in type(target).__mro__}
    if _STREAMS in modules:
        undo = _attach_sockets(target, client)
    elif "binance.async_client" in modules:
        undo = _attach_async(target, client)
    else:
        undo = _attach_sync(target, client)
    target.__dict__[_MARK] = undo


def detach(target: Any) -> None:
    undo = target.__dict__.pop(_MARK, None)
    if undo is not None:
        undo()


def _attach_sync(target: Any, client: Any) -> Any:
    from . import requests

    session = target.session
    requests.attach(session, client)
    sockets = [_lead(each, client) for each in (target.ws_api, target.ws_future) if each is not None]

    def undo() -> None:
        requests.detach(session)
        for each in sockets:
            each()

    return undo


def _attach_async(target: Any, client: Any) -> Any:
    from .aiohttp import AgentSession

    before = target.session
    session = AgentSession(lambda: client or default_async_client(target))
    if before is not None:
        session.headers.update(before.headers)
    target.session = session
    sockets = [_lead(each, client) for each in (target.ws_api, target.ws_future) if each is not None]
    closing = target.close_connection

    async def close_connection() -> None:
        if before is not None:
            await before.close()
        await closing()
        await let_go(target)

    target.close_connection = close_connection

    def undo() -> None:
        target.__dict__.pop("close_connection", None)
        target.session = before
        for each in sockets:
            each()

    return undo


def _attach_sockets(target: Any, client: Any) -> Any:
    """Every stream it makes from now on, led on its first way out."""
    makers = ("_get_socket", "_get_account_socket")

    def leading(make: Any) -> Any:
        def made(*args: Any, **options: Any) -> Any:
            socket = make(*args, **options)
            if "unix" not in socket._ws_kwargs:
                _lead(socket, client)
            return socket

        return made

    for name in makers:
        setattr(target, name, leading(getattr(target, name)))

    def undo() -> None:
        for name in makers:
            target.__dict__.pop(name, None)

    return undo


def _lead(socket: Any, client: Any) -> Any:
    """One of its own WebSocket connections, not dialled yet: http.sock speaks plain WebSocket, the agent wss beyond."""
    url, kwargs = socket._url, dict(socket._ws_kwargs)
    socket._url = "ws://" + url.removeprefix("wss://")
    socket._ws_kwargs = kwargs | _over_http_sock(client)

    def undo() -> None:
        socket._url, socket._ws_kwargs = url, kwargs

    return undo


def _over_http_sock(client: Any) -> dict[str, Any]:
    headers = {"X-Jackstay-Bot": bot_name(client)}
    return {"unix": True, "path": str(http_socket(client)), "additional_headers": headers}
