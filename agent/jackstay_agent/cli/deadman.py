"""`jackstay deadman`: the venue's own switch that cancels when nobody renews it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from .bots import SPAN
from .tables import table
from .target import agent_option, ask_agent

_ask = partial(ask_agent, timeout_s=15.0)


@click.group()
def deadman() -> None:
    """The venue's dead-man switch: it cancels there when the agent is gone. Off until you arm it.

    \b
    jackstay deadman arm binance-usdm --window 60s --dry-run
    jackstay deadman arm binance-usdm --window 60s
    jackstay deadman status
    jackstay deadman disarm binance-usdm --why "quiet weekend"
    """


@deadman.command()
@agent_option
def status(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Which switches are armed, and when each fires unless it is renewed."""
    facts = _ask(name, runtime_dir, "deadman.status")
    if as_json:
        click.echo(json.dumps(facts))
        return
    if not facts["switches"]:
        click.echo("no switch is armed")
        return
    rows = [{**each, "symbol": each["symbol"] or "(account)"} for each in facts["switches"]]
    table(rows, ("venue", "symbol", "state", "fires_in_s", "window_s", "renewals", "bot"))


@deadman.command()
@click.argument("venue")
@click.option(
    "--window", "window_s", type=SPAN, required=True, help="The venue cancels so long after the last renewal."
)
@click.option(
    "--symbol", "symbols", multiple=True, help="Where the venue arms per symbol (default: of all open orders)."
)
@click.option("--bot", "bot_id", default="", help="In whose name it is renewed (default: the only bot).")
@click.option("--accept-losing-stops", is_flag=True, help="Arm although protective orders would die, too.")
@click.option("--expect", type=int, help="With --yes: how many orders you saw; another number is refused.")
@click.option("--yes", is_flag=True, help="Do not ask; for scripts, with --expect.")
@click.option("--dry-run", is_flag=True, help="Only show what would die.")
@click.option("--why", default="", help="Recorded with your uid.")
@agent_option
def arm(
    venue: str,
    window_s: float,
    symbols: tuple[str, ...],
    bot_id: str,
    accept_losing_stops: bool,
    expect: int | None,
    yes: bool,
    dry_run: bool,
    why: str,
    name: str | None,
    runtime_dir: Path | None,
    as_json: bool,
) -> None:
    """Arm VENUE's switch, after showing what would die."""
    if yes and expect is None and not dry_run:
        raise click.UsageError("--yes goes with --expect N, the number of orders you saw")
    given: dict[str, Any] = {
        "venue": venue,
        "window_s": window_s,
        "symbols": list(symbols),
        "bot": bot_id,
        "accept_losing_stops": accept_losing_stops,
        "why": why,
    }
    shown = _ask(name, runtime_dir, "deadman.arm", **given, dry_run=True)
    if not as_json:
        _show(shown)
    if not dry_run:
        count = expect if yes else _typed(shown["count"])
        shown = _ask(name, runtime_dir, "deadman.arm", **given, expect=count)
    if as_json:
        click.echo(json.dumps(shown))
    else:
        click.echo("armed" if shown["armed"] else "not armed (dry run)")


@deadman.command()
@click.argument("venue")
@click.option("--why", default="", help="Recorded with your uid.")
@agent_option
def disarm(venue: str, why: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Switch VENUE's switches off, at the venue."""
    facts = _ask(name, runtime_dir, "deadman.disarm", venue=venue, why=why)
    click.echo(json.dumps(facts) if as_json else f"{venue}: {facts['disarmed']} switched off")


def _show(shown: dict[str, Any]) -> None:
    where = ", ".join(shown["symbols"]) or "the whole account"
    click.echo(f"{shown['venue']}, {where}: {shown['count']} open orders would die if it fired now")
    for each in shown["would_die"]:
        click.echo(f"  {each['symbol']}  {each['id']}  {each['class']}")
    click.echo(f"renewing takes {shown['budget_share']:.1%} of the tightest rate budget")


def _typed(count: int) -> int:
    """The operator types the number: who has not read the list does not know it."""
    return int(click.prompt(f"type {count} to arm it", type=int))
