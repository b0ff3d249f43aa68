"""`jackstay exec -- BOT…`: an agent and a bot together; the bot's exit code is ours, signals are passed on.

The agent is its own process here too: it goes on protecting when the bot hangs. When the agent dies it is started
again (with a growing pause); when the bot ends the agent is drained. As PID 1 of a container this process reaps
whatever is left to it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from .target import config_option, own_paths, runtime_dir_option

RESTART_PAUSE_S = (0.1, 0.5, 1.0, 5.0)
AGENT_READY_S = 10.0
AGENT_STOP_S = 15.0
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--name", default="bot", show_default=True, help="The agent's name.")
@config_option
@runtime_dir_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, config_path: Path | None, runtime_dir: Path | None, command: tuple[str, ...]) -> None:
    """Run an agent and a bot together.

    \b
    jackstay exec -- python bot.py --live
    jackstay exec --name basis -c basis.toml -- ./bot
    """
    paths = own_paths(name, runtime_dir)
    agent_command = [sys.executable, "-m", "jackstay_agent.cli", "run", name]
    agent_command += ["--runtime-dir", str(paths.runtime.parent)]
    if config_path is not None:
        agent_command += ["--config", str(config_path)]
    sys.exit(Pair(agent_command, list(command), name, paths.runtime.parent).run())


class Pair:
    """The two processes, from start to the bot's end."""

    def __init__(
        self,
        agent_command: list[str],
        bot_command: list[str],
        name: str,
        runtime_root: Path,
        extra_env: dict[str, str] | None = None,
    ) -> None:
        self._agent_command = agent_command
        self._bot_command = bot_command
        self._env = os.environ | {"JACKSTAY_AGENT": name, "JACKSTAY_RUNTIME_DIR": str(runtime_root)}
        self._env |= extra_env or {}
        self._agent: subprocess.Popen[bytes] | None = None
        self._bot: subprocess.Popen[bytes] | None = None
        self._deaths = 0

    def run(self) -> int:
        for number in FORWARDED:
            signal.signal(number, self._forward)
        self._start_agent()
        try:
            # Its own process group: Ctrl-C reaches the bot once, through us, and never the agent behind our back.
            self._bot = subprocess.Popen(self._bot_command, env=self._env, process_group=0)
        except OSError as error:
            click.echo(f"jackstay: cannot start {self._bot_command[0]!r}: {error.strerror}", err=True)
            self._stop_agent()
            return 127 if isinstance(error, FileNotFoundError) else 126
        code = self._wait()
        self._stop_agent()
        return code

    def _start_agent(self) -> None:
        read_fd, write_fd = os.pipe()
        self._agent = subprocess.Popen(
            [*self._agent_command, "--ready-fd", str(write_fd)], pass_fds=(write_fd,), env=self._env, process_group=0
        )
        os.close(write_fd)
        os.set_blocking(read_fd, False)
        limit_at = time.monotonic() + AGENT_READY_S
        try:
            import select

            ready, _, _ = select.select([read_fd], [], [], max(0.0, limit_at - time.monotonic()))
            if not ready or not os.read(read_fd, 16):
                code = self._agent.poll()
                raise click.ClickException(
                    "the agent did not start" + (f" (exit code {code}); its message stands above" if code else "")
                )
        finally:
            os.close(read_fd)

    def _wait(self) -> int:
        """Reap until the bot ends; its code, or 128 + signal as a shell says it."""
        assert self._bot is not None
        while self._bot.returncode is None:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return 1
            if self._agent is not None and pid == self._agent.pid:
                self._agent.returncode = os.waitstatus_to_exitcode(status)
                self._restart_agent(self._bot)
            elif pid == self._bot.pid:
                self._bot.returncode = os.waitstatus_to_exitcode(status)
        code = int(self._bot.returncode)
        return code if code >= 0 else 128 - code

    def _restart_agent(self, bot: subprocess.Popen[bytes]) -> None:
        """As often as it takes, while the bot lives: what hinders it may be mended meanwhile."""
        while bot.poll() is None:
            pause_s = RESTART_PAUSE_S[min(self._deaths, len(RESTART_PAUSE_S) - 1)]
            self._deaths += 1
            click.echo(f"jackstay: the agent ended; starting it again in {pause_s} s", err=True)
            time.sleep(pause_s)
            try:
                self._start_agent()
            except click.ClickException as error:
                click.echo(f"jackstay: {error.message}", err=True)
            if self._agent is not None and self._agent.poll() is None:
                return

    def _stop_agent(self) -> None:
        agent = self._agent
        if agent is None or agent.returncode is not None:
            return
        agent.terminate()
        try:
            agent.wait(AGENT_STOP_S)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()

    def _forward(self, number: int, _frame: object) -> None:
        if self._bot is not None and self._bot.returncode is None:
            self._bot.send_signal(number)
