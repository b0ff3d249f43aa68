"""ccxt: an unmodified exchange object, sync, async or pro, trades through the agent (ccxt 4.4 and 4.5).

The seam is the session below ``fetch``: URLs, signing and the whole error mapping stay ccxt's own, which recognises
its exchanges by their true URLs. The one intended difference: an order answered by a 2xx or 3xx that is not the
promised JSON raises RequestTimeout, where plain ccxt returns an order whose id is None.

What the agent refuses is said in ccxt's own exceptions (`_TOLD`). WebSockets of ccxt.pro are aiohttp's own connections
over http.sock. Orders of venues for which ccxt makes no client order id get one, before they are signed: an order whose
answer is lost can be asked for by it.

Never falls back: the seam is put in again before every request, whatever `close()` or the bot did to the session.
"""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING, Any

from jackstay.client import Client
from jackstay_protocols.errors import Reason, TradingBotError, ValidationError

from .defaults import default_async_client, let_go
from .translation import Kind

if TYPE_CHECKING:
    from jackstay.aio import AsyncClient

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

#: The refusal table in ccxt's words (docs/CLIENT.md); other kinds take the way through the library below.
_TOLD = {
    Kind.NOT_NOW: "ExchangeNotAvailable",
    Kind.RATE: "RateLimitExceeded",
    Kind.MAINTENANCE: "OnMaintenance",
    Kind.SAME: "InvalidOrder",
    Kind.TIMEOUT: "RequestTimeout",
    Kind.FINAL: "ExchangeError",
}

# ccxt makes client order ids itself for binance and okx (adapters.md 2.3); these venues take one and get none.
_UNNAMED = {"bybit": ("clientOrderId", "orderLinkId"), "kraken": ("clientOrderId", "cl_ord_id", "userref")}
_PLACING = ("create_order", "createOrder", "create_order_ws", "createOrderWs")
_PLACING_SEVERAL = ("create_orders", "createOrders", "create_orders_ws", "createOrdersWs")


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
    _name_orders(exchange)


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
    adapter = AgentAdapter(client, told=_told)
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


# ---------------------------------------------------------------- async: instead of aiohttp.ClientSession


def _attach_async(exchange: Any, client: Any) -> None:
    from jackstay.aio import AsyncClient

    from .aiohttp import AgentSession

    if client is not None and not isinstance(client, AsyncClient):
        raise _wrong_client(exchange, client, "jackstay.AsyncClient")
    session = AgentSession(lambda: client or default_async_client(exchange), told=_told)
    before = (exchange.session, exchange.own_session, exchange.ssl_context)
    original_open, original_close = exchange.open, exchange.close

    def arm() -> None:
        exchange.session = session
        exchange.own_session = False  # close() leaves it alone, open() makes no other
        if exchange.ssl_context is None:
            exchange.ssl_context = False  # 20 ms and 2.6 MB for a context that nothing would use

    def open_armed(*args: Any, **options: Any) -> None:
        arm()
        original_open(*args, **options)

    async def close_all(*args: Any, **options: Any) -> Any:
        try:
            return await original_close(*args, **options)
        finally:
            await session.close()
            await let_go(exchange)

    def undo() -> None:
        exchange.__dict__.pop("open", None)
        exchange.__dict__.pop("close", None)
        exchange.__dict__.pop("get_socks_proxy_session", None)
        exchange.session, exchange.own_session, exchange.ssl_context = before

    exchange.open = open_armed
    exchange.close = close_all
    exchange.get_socks_proxy_session = lambda proxy: session
    exchange.__dict__[_MARK] = undo
    arm()


# ---------------------------------------------------------------- both


def _told(kind: Kind, error: TradingBotError) -> Exception | None:
    """The refusal as ccxt would say it; None: as the library below says it."""
    from ccxt.base import errors

    name = _TOLD.get(kind)
    return None if name is None else getattr(errors, name)(f"jackstay: {error}")


def _name_orders(exchange: Any) -> None:
    """Client order ids where ccxt would make none; one that the bot gives is never replaced."""
    names = _UNNAMED.get(exchange.id)
    if names is None:
        return
    verbs = [verb for verb in (*_PLACING, *_PLACING_SEVERAL) if hasattr(exchange, verb)]
    originals = {verb: exchange.__dict__.get(verb) for verb in verbs}

    def with_name(params: Any) -> dict[str, Any]:
        given = dict(params or {})
        if not any(given.get(name) for name in names):
            given["clientOrderId"] = f"js{secrets.token_hex(8)}"  # 18 characters are what Kraken takes
        return given

    def named(place: Any) -> Any:
        @functools.wraps(place)
        def placing(
            symbol: Any, type: Any, side: Any, amount: Any, price: Any = None, params: Any = None, **more: Any
        ) -> Any:
            return place(symbol, type, side, amount, price, with_name(params), **more)

        return placing

    def all_named(place: Any) -> Any:
        @functools.wraps(place)
        def placing(orders: Any, *more: Any, **options: Any) -> Any:
            # the bot's own list and dictionaries stay as they are
            return place([{**each, "params": with_name(each.get("params"))} for each in orders], *more, **options)

        return placing

    for verb in originals:
        wrap = all_named if verb in _PLACING_SEVERAL else named
        setattr(exchange, verb, wrap(getattr(exchange, verb)))
    undo = exchange.__dict__[_MARK]

    def undo_all() -> None:
        for verb, before in originals.items():
            if before is None:
                exchange.__dict__.pop(verb, None)
            else:
                setattr(exchange, verb, before)
        undo()

    exchange.__dict__[_MARK] = undo_all


def _wrong_client(exchange: Any, client: object, wanted: str) -> ValidationError:
    flavour = "sync" if exchange.synchronous else "async"
    return ValidationError(
        f"{exchange.id} is a {flavour} ccxt exchange, its client a {type(client).__name__}; a {wanted} is expected",
        reason=Reason.BAD_REQUEST,
    )
