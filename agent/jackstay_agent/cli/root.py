"""The `jackstay` command: loads each subcommand only when it is used, so that `status` stays quick."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from jackstay_protocols.errors import AgentGone, TradingBotError

from .examples import with_examples

EXIT_UNHEALTHY = 1
EXIT_NO_AGENT = 3

_COMMANDS = {
    "run": ("jackstay_agent.cli.run", "run"),
    "exec": ("jackstay_agent.cli.exec", "exec_"),
    "init": ("jackstay_agent.cli.init", "init"),
    "keys": ("jackstay_agent.cli.keys", "keys"),
    "rehearse": ("jackstay_agent.cli.rehearse", "rehearse"),
    "doctor": ("jackstay_agent.cli.doctor", "doctor"),
    "watch": ("jackstay_agent.cli.watch", "watch"),
    "logs": ("jackstay_agent.cli.logs", "logs"),
    "bench": ("jackstay_agent.cli.bench", "bench"),
    "demo": ("jackstay_agent.cli.demo", "demo"),
    "sandbox": ("jackstay_agent.sandbox.command", "sandbox_group"),
    "status": ("jackstay_agent.cli.status", "status"),
    "stop": ("jackstay_agent.cli.status", "stop"),
    "queue": ("jackstay_agent.cli.orders", "queue"),
    "orders": ("jackstay_agent.cli.orders", "orders"),
    "breakers": ("jackstay_agent.cli.decisions", "breakers"),
    "limits": ("jackstay_agent.cli.decisions", "limits"),
    "errors": ("jackstay_agent.cli.errors", "errors"),
    "mode": ("jackstay_agent.cli.decisions", "mode"),
    "audit": ("jackstay_agent.cli.audit", "audit"),
    "report": ("jackstay_agent.cli.report", "report"),
    "patterns": ("jackstay_agent.cli.patterns", "patterns"),
    "trends": ("jackstay_agent.cli.patterns", "trends"),
    "state": ("jackstay_agent.cli.state", "state"),
    "why": ("jackstay_agent.cli.orders", "why"),
    "bot": ("jackstay_agent.cli.bots", "bot"),
    "barrier": ("jackstay_agent.cli.bots", "barrier"),
    "arm": ("jackstay_agent.cli.bots", "arm"),
    "deadman": ("jackstay_agent.cli.deadman", "deadman"),
    "cancel": ("jackstay_agent.cli.cancel", "cancel"),
    "recover": ("jackstay_agent.cli.recover", "recover"),
    "watchdog": ("jackstay_agent.cli.bots", "watchdog"),
    "connections": ("jackstay_agent.cli.connections", "connections"),
    "feeds": ("jackstay_agent.cli.feeds", "feeds"),
    "completion": ("jackstay_agent.cli.completion", "completion"),
    "config": ("jackstay_agent.cli.config", "config"),
    "reload": ("jackstay_agent.cli.upgrade", "reload"),
    "upgrade": ("jackstay_agent.cli.upgrade", "upgrade"),
    "handover": ("jackstay_agent.cli.upgrade", "handover"),
    "rollback": ("jackstay_agent.cli.upgrade", "rollback"),
    "systemd": ("jackstay_agent.cli.systemd", "systemd"),
    "version": ("jackstay_agent.cli.status", "version"),
}


class LazyGroup(click.Group):
    """Subcommands by name, imported on use; errors become one clear line and the right exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, attribute = place
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            extra = "sandbox" if cmd_name in ("sandbox", "demo", "rehearse", "bench") else "agent"
            raise click.ClickException(
                f"'jackstay {cmd_name}' needs the package {error.name}: pip install 'jackstay[{extra}]'"
            ) from error
        return with_examples(command, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            if ctx.params.get("everyone"):
                from .fan_out import fan_out

                words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
                ctx.exit(fan_out(self, words, keep_going=ctx.params["keep_going"]))
            return super().invoke(ctx)
        except click.UsageError as error:
            takes_name = error.ctx is not None and any("--agent" in each.opts for each in error.ctx.command.params)
            if takes_name and "unexpected extra argument" in error.message:
                raise click.UsageError(f"{error.message}; the agent's name goes behind -a", error.ctx) from None
            raise
        except AgentGone as error:
            click.echo(f"jackstay: {error}", err=True)
            sys.exit(EXIT_NO_AGENT)
        except TradingBotError as error:
            click.echo(f"jackstay: {error}", err=True)
            sys.exit(EXIT_UNHEALTHY)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--all", "everyone", is_flag=True, help="At every agent that should be here; a dead one is GONE.")
@click.option("--keep-going", is_flag=True, help="With --all: change the others although one fails or is gone.")
def main(everyone: bool, keep_going: bool) -> None:
    """jackstay: one small agent beside each trading bot, holding the line to the exchange.

    \b
    jackstay demo                     watch an agent save a bot, in under a minute
    jackstay run mybot -c mybot.toml  run an agent
    jackstay exec -- python bot.py    agent and bot together
    jackstay status                   what it sees
    jackstay --all status             every agent of this host, the dead ones too

    Exit codes: 0 fine, 1 unhealthy or refused, 2 usage, 3 no agent; with --all the worst of them.
    """
