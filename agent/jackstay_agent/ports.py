"""The agent's world as arguments: time, chance, dialling, resolving, doors, disk, threads, processes (DESIGN §9).

`app.build(config, ports)` takes one `Ports`; production gets `real_ports()`, the simulation brings fakes for all.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import zmq

from jackstay_protocols.clock import boot_id, boot_s

from .core.liveness import Process
from .gateway.door import Door, DoorLike
from .logs import make_logger
from .own_process import OwnProcess
from .transport.dial import dial, resolve
from .transport.line_stream import line_stream_connect
from .transport.ws_dial import ws_dial


class OpenDoor(Protocol):
    """Makes a door for a socket path; the door is opened by the gateway that owns it."""

    def __call__(
        self,
        path: Path,
        *,
        on_frame: Callable[[bytes, bytes], None],
        recv_bytes_max: int,
        sndhwm: int,
        rcvhwm: int,
        mode: int,
    ) -> DoorLike: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything impure the agent touches."""

    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]  # boot-time seconds
    wall: Callable[[], float]  # UTC seconds; only toward venues, in the journal and in logs
    boot_id: str
    random: random.Random
    dial: Callable[..., Awaitable[Any]]
    resolve: Callable[..., Awaitable[Any]]
    ws_dial: Callable[..., Awaitable[Any]]
    open_door: OpenDoor
    store: Callable[..., sqlite3.Connection]
    run_blocking: Callable[..., Awaitable[Any]]
    open_executor: Callable[[str], Executor]  # one thread of that name: work is done in the order it is given
    make_token: Callable[[], str]  # an unguessable word for a session
    process_gone: Callable[[int], bool]
    pid: int
    make_logger: Callable[[str, str], Any] = make_logger  # by level and format
    listen: Callable[..., Awaitable[Any]] | None = None  # stream sockets; None: this world has no http.sock
    line_dial: Callable[..., Awaitable[Any]] = line_stream_connect  # long-lived HTTP answers
    close: Callable[[], None] = lambda: None
    watch_process: Callable[[int], Callable[[], Process]] = lambda _pid: lambda: Process.INVISIBLE
    own_process: OwnProcess | None = None  # what the system says of the agent; None: this world has no memory to fill


def process_gone(pid: int) -> bool:
    """True when no such process lives here; a zombie is gone. Pid 0 (another namespace) is never called gone."""
    if pid <= 0:
        return False
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


async def listen(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    *,
    path: Path | None = None,
    mode: int = 0o600,
    address: tuple[str, int] | None = None,
) -> asyncio.Server:
    """A server on a unix socket of this mode, or on a TCP address. Raises OSError."""
    loop = asyncio.get_running_loop()
    if path is None:
        host, port = address or ("127.0.0.1", 0)
        return await loop.create_server(protocol_factory, host, port)
    server = await loop.create_unix_server(protocol_factory, str(path))
    os.chmod(path, mode)
    return server


def watch_process(pid: int) -> Callable[[], Process]:
    """What becomes of the process that has this pid now; a later one under the same pid is another (REUSED)."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return lambda: Process.GONE
    except psutil.Error:
        return lambda: Process.INVISIBLE

    def look() -> Process:
        try:
            if not process.is_running():  # psutil compares the time it was started
                return Process.REUSED if psutil.pid_exists(pid) else Process.GONE
            return _STATES.get(process.status(), Process.RUNNING)
        except psutil.NoSuchProcess:
            return Process.GONE
        except psutil.Error:
            return Process.INVISIBLE

    return look


_STATES = {
    psutil.STATUS_ZOMBIE: Process.ZOMBIE,
    psutil.STATUS_DEAD: Process.GONE,
    psutil.STATUS_STOPPED: Process.STOPPED,
    psutil.STATUS_TRACING_STOP: Process.TRACED,
}


def real_ports(loop: asyncio.AbstractEventLoop) -> Ports:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def open_door(
        path: Path,
        *,
        on_frame: Callable[[bytes, bytes], None],
        recv_bytes_max: int,
        sndhwm: int,
        rcvhwm: int,
        mode: int,
    ) -> DoorLike:
        return Door(
            context,
            path,
            loop=loop,
            on_frame=on_frame,
            recv_bytes_max=recv_bytes_max,
            sndhwm=sndhwm,
            rcvhwm=rcvhwm,
            mode=mode,
        )

    async def run_blocking(function: Callable[..., Any], *args: Any) -> Any:
        return await loop.run_in_executor(None, function, *args)

    return Ports(
        loop=loop,
        clock=boot_s,
        wall=time.time,
        boot_id=boot_id(),
        random=random.Random(),
        dial=dial,
        resolve=resolve,
        ws_dial=ws_dial,
        open_door=open_door,
        store=sqlite3.connect,
        run_blocking=run_blocking,
        open_executor=lambda name: ThreadPoolExecutor(1, thread_name_prefix=name),
        make_token=lambda: secrets.token_hex(16),
        process_gone=process_gone,
        pid=os.getpid(),
        listen=listen,
        close=context.term,
        watch_process=watch_process,
        own_process=OwnProcess(),
    )
