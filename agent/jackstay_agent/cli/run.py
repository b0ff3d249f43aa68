"""`jackstay run`: one agent in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click

from jackstay_protocols.endpoints import AgentPaths

from ..config import Config
from .target import config_option, load_config, own_paths, runtime_dir_option


@click.command()
@click.argument("name", default="bot")
@config_option
@runtime_dir_option
@click.option("--ready-fd", type=int, help="Write one line to this descriptor when ready (for supervisors).")
def run(name: str, config_path: Path | None, runtime_dir: Path | None, ready_fd: int | None) -> None:
    """Run the agent NAME in the foreground.

    \b
    jackstay run mybot
    jackstay run mybot -c ./mybot.toml --runtime-dir /tmp/js
    """
    config, _origin = load_config(name, config_path)
    paths = own_paths(name, runtime_dir)
    runner = _runner()
    with runner:
        runner.run(_run(name, config, paths, ready_fd))


def _runner() -> asyncio.Runner:
    if sys.platform == "win32":
        raise click.ClickException("the agent runs on Linux and macOS; on Windows only the client imports")
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def _run(name: str, config: Config, paths: AgentPaths, ready_fd: int | None) -> None:
    import os

    from jackstay_protocols.endpoints import state_folder

    from .. import app
    from ..last_seen import LastSeen, log_place
    from ..notify import notify
    from ..ports import real_ports

    loop = asyncio.get_running_loop()
    ports = real_ports(loop)
    agent = app.build(config, ports, name=name, paths=paths)
    agent.take_lock()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.request_stop)
    await agent.start()
    told = {"log": log_place()}
    last_seen = LastSeen(state_folder(paths, os.environ), lambda: agent.status() | told, loop=loop, wall=ports.wall)
    last_seen.begin()
    notify(f"READY=1\nSTATUS=sockets in {paths.runtime}")
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
    await agent.run_until_stopped()
    await last_seen.end()
    notify("STOPPING=1")
    ports.close()
