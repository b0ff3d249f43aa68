"""Drop-in routes for the libraries bots already use; each is imported only on use.

`attach` looks at what it is given and picks the adapter; it imports no library that the bot has not imported itself.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from jackstay_protocols.errors import Reason, ValidationError

if TYPE_CHECKING:
    from jackstay.aio import AsyncClient
    from jackstay.client import Client

T = TypeVar("T")

_told_off = False


def attach(target: T, client: Client | AsyncClient | None = None) -> T:
    """Route ``target`` through the agent; returns it.

    A ccxt exchange (sync, async, pro), a `requests.Session`, an `httpx.Client` or `httpx.AsyncClient`, a python-binance
    `Client`, `AsyncClient` or `BinanceSocketManager`. ``client`` defaults to one `Client` per process and one
    `AsyncClient` per running loop. With JACKSTAY=off nothing is changed and one line on stderr says so. Raises
    ValidationError for what no adapter knows.
    """
    if not off():
        _adapter_of(target).attach(target, client)
    return target


def detach(target: T) -> T:
    """Undo `attach`: the object reaches the network directly again. Without an attachment nothing happens."""
    _adapter_of(target).detach(target)
    return target


_BY_CLASS = {
    ("requests.sessions", "Session"): "requests",
    ("httpx._client", "Client"): "httpx",
    ("httpx._client", "AsyncClient"): "httpx",
    ("httpx", "Client"): "httpx",  # httpx shows its classes under its own name
    ("httpx", "AsyncClient"): "httpx",
    ("binance.client", "Client"): "binance",
    ("binance.async_client", "AsyncClient"): "binance",
    ("binance.ws.streams", "BinanceSocketManager"): "binance",
    ("ccxt.base.exchange", "Exchange"): "ccxt",
    ("ccxt.base.exchange", "BaseExchange"): "ccxt",
}


def _adapter_of(target: object) -> Any:
    """By the class's names, so that no library is imported that the bot has not imported itself."""
    for each in type(target).__mro__:
        name = _BY_CLASS.get((each.__module__, each.__name__))
        if name is not None:
            return import_module(f".{name}", __name__)
    advice = ""
    if type(target).__module__.partition(".")[0] == "aiohttp":
        advice = "; for aiohttp: ClientSession(connector=jackstay.adapters.aiohttp.connector())"
    raise ValidationError(
        f"no adapter for a {type(target).__module__}.{type(target).__qualname__}; an object of ccxt, requests, httpx or"
        f" python-binance is expected{advice}"
    )


def off() -> bool:
    """True with JACKSTAY=off (backtests, CI); the first time, says so on stderr. Raises ValidationError for other words
    than on and off: a typing mistake must not send orders the wrong way.
    """
    global _told_off
    word = os.environ.get("JACKSTAY", "").strip().lower()
    if word in ("", "on"):
        return False
    if word != "off":
        raise ValidationError(f"JACKSTAY={word[:20]!r}; on or off is expected", reason=Reason.BAD_REQUEST)
    if not _told_off:
        _told_off = True
        print("jackstay: off (JACKSTAY=off), traffic goes directly to the exchange", file=sys.stderr)
    return True
