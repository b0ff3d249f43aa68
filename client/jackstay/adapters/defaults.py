"""Which client an adapter uses when it is given none, and where that client's agent has its http.sock.

One `Client` per process and one `AsyncClient` per running loop: a bot with five attached objects is still one bot.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from jackstay.client import Client
from jackstay.membership import Whereabouts, default_bot_id

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from jackstay.aio import AsyncClient

_sync: tuple[int, Client] | None = None
_by_loop: WeakKeyDictionary[AbstractEventLoop, AsyncClient] = WeakKeyDictionary()
_holders: WeakKeyDictionary[AbstractEventLoop, set[int]] = WeakKeyDictionary()


def default_client() -> Client:
    """This process's; a forked child gets its own."""
    global _sync
    if _sync is None or _sync[0] != os.getpid() or _sync[1].closed:
        _sync = (os.getpid(), Client())
    return _sync[1]


def default_async_client(holder: object = None) -> AsyncClient:
    """The running loop's. ``holder`` keeps it open until it lets go."""
    from asyncio import get_running_loop

    from jackstay.aio import AsyncClient

    loop = get_running_loop()
    client = _by_loop.get(loop)
    if client is None or client.closed:
        client = _by_loop[loop] = AsyncClient()
        _holders[loop] = set()
    if holder is not None:
        _holders[loop].add(id(holder))
    return client


async def let_go(holder: object) -> None:
    """The last object that used the running loop's client closes it: a loop may end right after."""
    from asyncio import get_running_loop

    loop = get_running_loop()
    held = _holders.get(loop)
    if held is None or id(holder) not in held:
        return
    held.discard(id(holder))
    client = _by_loop.get(loop)
    if not held and client is not None:
        await client.close()


def http_socket(client: Client | AsyncClient | None = None, *, agent: str | None = None) -> Path:
    """http.sock of the client's agent, of ``agent``, or of the only one there is. Raises AgentGone, ValidationError."""
    where = client._where if client is not None else Whereabouts(agent, None, os.environ)
    return where.paths().http


def bot_name(client: Client | AsyncClient | None) -> str:
    return client._bot_id if client is not None else default_bot_id(os.environ)
