"""Drop-in routes for the libraries bots already use; each is imported only on use.

`attach` looks at what it is given and picks the adapter; it imports no library that the bot has not imported itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TypeVar

from jackstay_protocols.errors import ValidationError

if TYPE_CHECKING:
    from jackstay.aio import AsyncClient
    from jackstay.client import Client

T = TypeVar("T")

_told_off = False


def attach(target: T, client: Client | AsyncClient | None = None) -> T:
    """Route ``target`` (a ccxt exchange object, sync or async) through the agent; returns it.

    ``client`` defaults to one `Client` or `AsyncClient` per process. With JACKSTAY=off nothing is changed and one
    line on stderr says so. Raises ValidationError for what no adapter knows.
    """
    if off():
        return target
    from . import ccxt

    if ccxt.knows(target):
        ccxt.attach(target, client)
        return target
    raise ValidationError(
        f"no adapter for a {type(target).__module__}.{type(target).__qualname__}; a ccxt exchange object is expected"
    )


def detach(target: T) -> T:
    """Undo `attach`: the object reaches the network directly again. Without an attachment nothing happens."""
    from . import ccxt

    if ccxt.knows(target):
        ccxt.detach(target)
    return target


def off() -> bool:
    """True with JACKSTAY=off (backtests, CI); the first time, says so on stderr."""
    global _told_off
    if os.environ.get("JACKSTAY", "").strip().lower() != "off":
        return False
    if not _told_off:
        _told_off = True
        print("jackstay: off (JACKSTAY=off), traffic goes directly to the exchange", file=sys.stderr)
    return True
