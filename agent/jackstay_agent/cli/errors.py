"""`jackstay errors`: what bots reported and venues answered, newest last; kinds of errors with their counts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from ..control import ask
from .tables import table
from .target import agent_option, ask_agent, existing_agent

FOLLOW_EVERY_S = 0.5
LEVELS = ("critical", "high", "medium", "low")


@click.group(invoke_without_command=True)
@click.option("--component", default="", help="Only of this component (a host, or the bot's own word).")
@click.option("--severity", type=click.Choice(LEVELS), help="Only of this severity.")
@click.option("-n", "--last", default=20, show_default=True, type=click.IntRange(0, 1000), help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with those to come, until Ctrl-C.")
@agent_option
@click.pass_context
def errors(
    ctx: click.Context,
    component: str,
    severity: str | None,
    last: int,
    follow: bool,
    name: str | None,
    runtime_dir: Path | None,
    as_json: bool,
) -> None:
    """Errors of bots (`client.report_error`) and of venues, newest last.

    \b
    jackstay errors --severity high
    jackstay errors --component api.binance.com --follow
    jackstay errors kinds
    """
    if ctx.invoked_subcommand is not None:
        return
    socket = existing_agent(name, runtime_dir).control
    wanted = {"component": component, "severity": severity or ""}
    facts = ask(socket, "errors.list", {**wanted, "count": last}, timeout_s=10.0)
    if as_json and not follow:
        click.echo(json.dumps(facts))
        return
    _tell(facts, as_json)
    if not facts["errors"] and not follow:
        click.echo("no errors")
    after = facts["recorded"]
    while follow:
        time.sleep(FOLLOW_EVERY_S)
        facts = ask(socket, "errors.list", {**wanted, "count": 1000, "after": after}, timeout_s=10.0)
        if facts["recorded"] < after:  # a new agent began at 1
            after = 0
            continue
        if facts["oldest_kept"] > after + 1:
            click.echo(f"{facts['oldest_kept'] - after - 1} errors came too fast to be kept", err=True)
        _tell(facts, as_json)
        after = facts["recorded"]


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    for each in facts["errors"]:
        if as_json:
            click.echo(json.dumps(each))
            continue
        about = " ".join(f"{name}={each[name]}" for name in ("bot", "symbol", "order_id") if name in each)
        click.echo(
            f"{each['at'][:19]}Z  {each['severity']:<8}  {each['component']} {each['operation']}: {each['error_type']}"
            f" {each['message']}{f'  ({about})' if about else ''}"
        )
        for cause in each.get("causes", ()):
            click.echo(f"    from {cause}")


@errors.command()
@agent_option
def kinds(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Kinds of errors, the most frequent first."""
    facts = ask_agent(name, runtime_dir, "errors.patterns")
    if as_json:
        click.echo(json.dumps(facts))
        return
    table(facts["patterns"], ("component", "error_type", "count", "severity", "last_seen"))
