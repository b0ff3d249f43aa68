"""ccxt: an unmodified exchange object, sync or async, trades through the agent (ccxt 4.4 and 4.5).

The seam is the session below ``fetch``: URLs, signing and the whole error mapping stay ccxt's own, which recognises
its exchanges by their true URLs. The one intended difference: an order answered by a 2xx or 3xx that is not the
promised JSON raises RequestTimeout, where plain ccxt returns an order whose id is None.

Never falls back: the seam is put in again before every request, whatever `close()` or the bot did to the session.
"""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, get_running_loop
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from jackstay.client import Client
from jackstay_protocols.errors import Reason, ValidationError

if TYPE_CHECKING:
    from jackstay.aio import AsyncClient

_BASE_MODULE = "ccxt.base.exchange"
_MARK = "_jackstay_undo"

# The agent dials, so a proxy of the bot's would be ignored in silence: say it instead.
_PROXY_SETTINGS = (
    "aiohttp_proxy",
    "httpProxy",
    "httpsProxy",
    "http_proxy",
    "https_proxy",
    "proxies",
    "socksProxy",
    "socks_proxy",
)

_sync_default: tuple[int, Client] | None = None
_async_defaults: WeakKeyDictionary[AbstractEventLoop, AsyncClient] = WeakKeyDictionary()


def knows(target: object) -> bool:
    """True for a ccxt exchange object of any flavour."""
    return any(each.__module__ == _BASE_MODULE for each in type(target).__mro__)


def attach(exchange: Any, client: Client | AsyncClient | None = None) -> None:
    """Put the seam in; a second time, replaces the first. Raises ValidationError for a client of the wrong flavour."""
    for name in _PROXY_SETTINGS:
        if getattr(exchange, name, None):
            raise ValidationError(
                f"{exchange.id}.{name} is set, but the agent dials: remove it and configure the agent's way out",
                reason=Reason.BAD_REQUEST,
            )
    detach(exchange)
    if exchange.synchronous:
        _attach_sync(exchange, client)
    else:
        _attach_async(exchange, client)


def detach(exchange: Any) -> None:
    """Take the seam out; the exchange object is as it was."""
    undo = exchange.__dict__.pop(_MARK, None)
    if undo is not None:
        undo()


# ---------------------------------------------------------------- sync: below requests.Session


def _attach_sync(exchange: Any, client: Any) -> None:
    from .requests import AgentAdapter

    if client is not None and not isinstance(client, Client):
        raise _wrong_client(exchange, client, "jackstay.Client")
    adapter = AgentAdapter(client or _default_client())
    original_fetch = exchange.fetch
    armed: list[Any] = []

    def arm() -> None:
        session = exchange.session
        if session.__dict__.get("get_adapter") is not pick:
            # above any mounted prefix: whatever URL is asked for, this is its adapter
            session.get_adapter = pick
            armed.append(session)

    def pick(url: Any = None) -> AgentAdapter:
        return adapter

    def fetch(*args: Any, **options: Any) -> Any:
        arm()
        return original_fetch(*args, **options)

    def undo() -> None:
        exchange.__dict__.pop("fetch", None)
        for session in armed:
            if session.__dict__.get("get_adapter") is pick:
                del session.get_adapter

    exchange.fetch = fetch
    exchange.__dict__[_MARK] = undo
    arm()


def _default_client() -> Client:
    global _sync_default
    if _sync_default is None or _sync_default[0] != os.getpid():
        _sync_default = (os.getpid(), Client())
    return _sync_default[1]


# ---------------------------------------------------------------- async: instead of aiohttp.ClientSession


def _attach_async(exchange: Any, client: Any) -> None:
    from jackstay.aio import AsyncClient

    from .aiohttp import AgentSession

    if client is not None and not isinstance(client, AsyncClient):
        raise _wrong_client(exchange, client, "jackstay.AsyncClient")
    session = AgentSession(_default_async_client if client is None else lambda: client)
    before = (exchange.session, exchange.own_session, exchange.ssl_context)
    original_open = exchange.open

    def arm() -> None:
        exchange.session = session
        exchange.own_session = False  # close() leaves it alone, open() makes no other
        if exchange.ssl_context is None:
            exchange.ssl_context = False  # 20 ms and 2.6 MB for a context that nothing would use

    def open_armed(*args: Any, **options: Any) -> None:
        arm()
        original_open(*args, **options)

    def undo() -> None:
        exchange.__dict__.pop("open", None)
        exchange.__dict__.pop("get_socks_proxy_session", None)
        exchange.session, exchange.own_session, exchange.ssl_context = before

    exchange.open = open_armed
    exchange.get_socks_proxy_session = lambda proxy: session
    exchange.__dict__[_MARK] = undo
    arm()


def _default_async_client() -> AsyncClient:
    from jackstay.aio import AsyncClient

    loop = get_running_loop()
    client = _async_defaults.get(loop)
    if client is None or client.closed:
        client = _async_defaults[loop] = AsyncClient()
    return client


def _wrong_client(exchange: Any, client: object, wanted: str) -> ValidationError:
    flavour = "sync" if exchange.synchronous else "async"
    return ValidationError(
        f"{exchange.id} is a {flavour} ccxt exchange, its client a {type(client).__name__}; a {wanted} is expected",
        reason=Reason.BAD_REQUEST,
    )
