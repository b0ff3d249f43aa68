"""`jackstay run`: one agent in the foreground, until SIGTERM or SIGINT; SIGHUP reads its configuration again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jackstay_protocols.endpoints import AgentPaths, state_folder
from jackstay_protocols.errors import ValidationError

from ..config import Config
from ..own_process import starting
from .target import config_option, load_config, own_paths, runtime_dir_option

if TYPE_CHECKING:
    from ..app import Agent
    from ..handover import Handover
    from ..lifeline import Lifeline
    from ..reloading import Reloader

RECOVERY_S = 120.0  # what the journal's recovery may add to the start's time


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
    import faulthandler

    starting()
    faulthandler.enable()  # a watchdog's SIGABRT then says in the journal where every thread stood
    config, _origin = load_config(name, config_path)
    paths = own_paths(name, runtime_dir)
    runner = _runner()
    with runner:
        successor = runner.run(_run(name, config, config_path, paths, ready_fd))
    if successor is not None:
        successor.become()


def _runner() -> asyncio.Runner:
    if sys.platform == "win32":
        raise click.ClickException("the agent runs on Linux and macOS; on Windows only the client imports")
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def _run(
    name: str, config: Config, config_path: Path | None, paths: AgentPaths, ready_fd: int | None
) -> Handover | None:
    from .. import app
    from ..bot_news import BotNews
    from ..handover import Handover
    from ..last_seen import LastSeen, log_place
    from ..notify import notify
    from ..ports import real_ports

    loop = asyncio.get_running_loop()
    ports = real_ports(loop)
    agent = app.build(config, ports, name=name, paths=paths)
    agent.take_lock()
    handover = Handover(
        agent.request_stop, name=name, config_path=config_path, paths=paths, ports=ports, on_event=agent.event
    )
    reloader = _reloader(agent, name, config_path)
    agent.control.add(reloader.verbs() | handover.verbs(agent.copy_outbox, app.version))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.request_stop)
    notify(f"EXTEND_TIMEOUT_USEC={int(RECOVERY_S * 1e6)}\nSTATUS=recovering the journal")
    await agent.start()
    told = {"log": log_place()}
    last_seen = LastSeen(state_folder(paths, os.environ), lambda: agent.status() | told, loop=loop, wall=ports.wall)
    last_seen.begin()
    agent.telling.listen(BotNews(last_seen.soon))
    lifeline = _lifeline(agent, paths, reloader)
    loop.add_signal_handler(signal.SIGHUP, _reload, reloader)
    if ports.own_process is not None:
        ports.own_process.settled()
    lifeline.ready()
    handover.arrived()
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
    await agent.asked_to_stop()
    lifeline.leaving(f"draining, {agent.bots.in_flight()} requests in flight", stopping=not handover.wanted)
    await agent.stop()
    await last_seen.end()
    lifeline.close()
    ports.close()
    # a stop that was asked for besides is what somebody waits for: it ends this process and begins no other program
    return handover if handover.wanted and agent.stops_asked == 1 else None


def _reload(reloader: Reloader) -> None:
    with suppress(ValidationError):  # it was told: event, status line
        reloader.reload(None)


def _reloader(agent: Agent, name: str, path: Path | None) -> Reloader:
    from ..notify import notify
    from ..reloading import Reloader

    def load() -> tuple[Config, str]:
        config, found = load_config(name, path)
        return config, str(found or "defaults")

    return Reloader(
        agent.config,
        load=load,
        adopt=agent.adopt,
        say=notify,
        clock_us=lambda: int(time.monotonic() * 1e6),
        on_event=agent.event,
    )


def _lifeline(agent: Agent, paths: AgentPaths, reloader: Reloader) -> Lifeline:
    import zmq

    from ..gateway.knock import Knock, beat_question, ping_question
    from ..lifeline import Lifeline, own_env_watchdog_s
    from ..notify import notify

    watchdog_s = own_env_watchdog_s()
    knocks = {}
    if watchdog_s:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        asked = ((paths.bot, beat_question()), (paths.feed, beat_question()), (paths.control, ping_question()))
        knocks = {path.name: Knock(context, path, question) for path, question in asked}
    return Lifeline(
        say=notify,
        call_later=asyncio.get_running_loop().call_later,
        summary=lambda: " · ".join(filter(None, (agent.summary(), reloader.summary()))),
        on_event=agent.event,
        knocks=knocks,
        pulses=agent.pulses,
        hand_work=agent.hand_work,
        watchdog_s=watchdog_s,
    )
