"""`jackstay cancel`: an operator cancels a bot's own open orders, by class and symbol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from jackstay_protocols.types import OrderClass

from ..control import ask
from .target import agent_option, existing_agent


@click.command()
@click.option(
    "--class", "classes", multiple=True, type=click.Choice([str(each) for each in OrderClass]), help="Default: entry."
)
@click.option("--symbol", "symbols", multiple=True, help="Only of these symbols, as the venue writes them.")
@click.option("--bot", "bot_id", default="", help="Only of this bot (default: of all that are known here).")
@click.option("--why", default="", help="Recorded with your uid; wanted unless --dry-run.")
@click.option("--expect", type=int, help="With --yes: how many orders you saw; another number is refused.")
@click.option("--yes", is_flag=True, help="Do not ask; for scripts, with --expect.")
@click.option("--dry-run", is_flag=True, help="Only show which.")
@agent_option
def cancel(
    classes: tuple[str, ...],
    symbols: tuple[str, ...],
    bot_id: str,
    why: str,
    expect: int | None,
    yes: bool,
    dry_run: bool,
    name: str | None,
    runtime_dir: Path | None,
    as_json: bool,
) -> None:
    """Cancel open orders that are proved to be this agent's bots' own. Others' orders are never touched.

    \b
    jackstay cancel --dry-run
    jackstay cancel --class entry --class exit --symbol BTCUSDT --why "news"
    """
    if yes and expect is None and not dry_run:
        raise click.UsageError("--yes goes with --expect N, the number of orders you saw")
    if not dry_run and not why.strip():
        raise click.UsageError("--why is wanted: it is recorded with your uid")
    given: dict[str, Any] = {"classes": list(classes), "symbols": list(symbols), "bot": bot_id, "why": why}
    door = existing_agent(name, runtime_dir).control
    facts = ask(door, "cancel", given | {"dry_run": True}, timeout_s=30.0)
    if not as_json:
        _show(facts)
    if not dry_run:
        count = expect if yes else click.prompt(f"type {facts['count']} to cancel them", type=int)
        facts = ask(door, "cancel", given | {"expect": count}, timeout_s=120.0)
    if as_json:
        click.echo(json.dumps(facts))
    elif not dry_run:
        click.echo(f"{facts['cancelled']} cancelled, {facts['left']} left")
        for order, no in facts["failed"].items():
            click.echo(f"  {order}: {no}")
    if not dry_run and (facts["left"] or facts["silent"]):
        raise SystemExit(1)


def _show(facts: dict[str, Any]) -> None:
    for venue, no in facts["silent"].items():
        click.echo(f"{venue} does not show its book ({no}): what is known of it is listed", err=True)
    for each in facts["orders"]:
        price = each["price"] or "at market"
        click.echo(f"  {each['venue']}  {each['symbol']}  {each['side']} {price}  {each['id']}  {each['class']}")
    click.echo(f"{facts['count']} would be cancelled, {len(facts['kept'])} of this agent's bots stay")
