"""The first WebSocket pays for its library: `ws_dial` is `websocket.ws_connect`, loaded when somebody dials.

Five megabytes that an agent without feeds, user streams and WebSocket connections never loads. The import takes some
25 ms of a processor, so it runs beside the loop, which goes on with its calls meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .websocket import WsConnection

_connect: Callable[..., Awaitable[WsConnection]] | None = None


async def ws_dial(url: str, **options: Any) -> WsConnection:
    """Arguments, errors and result of `websocket.ws_connect`."""
    global _connect
    if _connect is None:  # never asked by `sys.modules`: a module is there before it is whole
        _connect = await asyncio.get_running_loop().run_in_executor(None, _load)
    return await _connect(url, **options)


def _load() -> Callable[..., Awaitable[WsConnection]]:
    from .websocket import ws_connect

    return ws_connect
