"""`jackstay recover`: the recovery scenarios that are under way, and starting or ending one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .tables import table
from .target import agent_option, ask_agent


@click.group(invoke_without_command=True)
@agent_option
@click.pass_context
def recover(ctx: click.Context, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """What is being recovered, step by step.

    \b
    jackstay recover
    jackstay recover run network_disconnection venue=binance
    jackstay recover run partial_fill venue=binance symbol=BTCUSDT order_id=7
    jackstay recover cancel network_disconnection binance
    """
    if ctx.invoked_subcommand is not None:
        return
    facts = ask_agent(name, runtime_dir, "recover.list")
    if as_json:
        click.echo(json.dumps(facts))
        return
    if not facts["running"] and not facts["ended"]:
        click.echo("nothing is being recovered, and nothing was since the start")
        return
    rows = [{**each, "done": ", ".join(each["done"])} for each in (*facts["running"], *facts["ended"])]
    table(rows, ("scenario", "what", "state", "step", "done", "left_s", "ago_s", "why"))


@recover.command()
@click.argument("scenario")
@click.argument("pairs", metavar="KEY=VALUE...", nargs=-1)
@agent_option
def run(scenario: str, pairs: tuple[str, ...], name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Start SCENARIO with these facts. Values are JSON where they can be."""
    context: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{pair!r} is no KEY=VALUE")
        context[key] = value if key in ("order_id", "symbol", "venue", "component", "feed") else _value(value)
    facts = ask_agent(name, runtime_dir, "recover.run", scenario=scenario, context=context)
    click.echo(
        json.dumps(facts, default=str) if as_json else f"{scenario} has begun; `jackstay recover` shows its steps"
    )


@recover.command()
@click.argument("scenario")
@click.argument("what", required=False, default="")
@agent_option
def cancel(scenario: str, what: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """End a scenario before its next step; what it holds is let go."""
    facts = ask_agent(name, runtime_dir, "recover.cancel", scenario=scenario, what=what)
    click.echo(json.dumps(facts, default=str) if as_json else f"{scenario} {what} ends before its next step")


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_float=str)  # money stays text
    except ValueError:
        return text
