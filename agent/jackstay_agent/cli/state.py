"""`jackstay state`: do bot, agent and venue have the same picture of the account, and what is done about it."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from .progress import waiting
from .root import EXIT_UNHEALTHY
from .tables import table
from .target import agent_option, ask_agent

CHECK_WITHIN_S = 120.0
COMPONENTS = ("all", "orders", "positions", "balances", "connections", "queue")


def component_option(function: Any) -> Any:
    return click.option("--component", type=click.Choice(COMPONENTS), default="all", show_default=True)(function)


_ask = partial(ask_agent, timeout_s=CHECK_WITHIN_S)


@click.group()
def state() -> None:
    """One truth: what bot, agent and venue say of the account, where they differ, and the mending.

    \b
    jackstay state summary
    jackstay state check --component orders
    jackstay state reconcile --dry-run
    jackstay state reconcile --expect 2 --why "stream was cut at 03:10"
    """


@state.command()
@agent_option
def summary(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """What was looked at, when, and what stands. Exit code 1 if anything stands or could not be verified."""
    facts = _ask(name, runtime_dir, "state.summary")
    if as_json:
        click.echo(json.dumps(facts))
    else:
        looked = [
            {
                "component": component,
                "found": "consistent" if each["consistent"] else f"{each['discrepancies']} differ ({each['severity']})",
                "checked_at": each["checked_at"][:19],
            }
            for component, each in facts["components"].items()
        ]
        table(looked, ("component", "found", "checked_at"))
        venues = [{"venue": venue, **each, "known": _known(each)} for venue, each in facts["venues"].items()]
        table(venues, ("venue", "known", "foreign_orders"))
        _rows(facts["standing"], facts["standing_total"])
    sys.exit(0 if facts["consistent"] else EXIT_UNHEALTHY)


@state.command()
@component_option
@agent_option
def check(component: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Look now, under the venue's limits. Exit code 1 if anything differs or could not be verified."""
    with waiting("bot, agent and venue are compared"):
        facts = _ask(name, runtime_dir, "state.check", component=component)
    if as_json:
        click.echo(json.dumps(facts))
    elif facts["consistent"]:
        click.echo(f"{facts['component']}: consistent at {facts['at'][:19]}")
    else:
        _rows(facts["discrepancies"], facts["total"])
    sys.exit(0 if facts["consistent"] else EXIT_UNHEALTHY)


@state.command()
@component_option
@click.option("--venue", default="", help="Only this one's.")
@agent_option
def diff(component: str, venue: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """What stands, with what each party says; asks nobody."""
    facts = _ask(name, runtime_dir, "state.diff", component=component, venue=venue)
    if as_json:
        click.echo(json.dumps(facts))
        return
    for each in facts["standing"]:
        click.echo(f"{each['kind']} {each['venue']} {each['symbol']} {each['subject']} for {each['since_s']:.0f} s")
        click.echo(f"  {each['why']}")
        for party, view in each["views"].items():
            click.echo(f"  {party:6} {' '.join(f'{field}={value}' for field, value in view.items())}")
    click.echo(f"{facts['total']} stand")


@state.command()
@component_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--expect", type=int, help="How many discrepancies you mean to mend (see --dry-run).")
@click.option("--cancel-orphans", is_flag=True, help="Cancel orphans at the venue; exclusive accounts only.")
@click.option("--why", default="", help="Recorded with your uid.")
@agent_option
def reconcile(
    component: str,
    dry_run: bool,
    expect: int | None,
    cancel_orphans: bool,
    why: str,
    name: str | None,
    runtime_dir: Path | None,
    as_json: bool,
) -> None:
    """Mend what stands by the venue's evidence, and look again. Exit code 1 if anything is left."""
    if not dry_run and (expect is None or not why):
        raise click.UsageError("--dry-run, or --expect N and --why are expected")
    facts = _ask(
        name, runtime_dir, "state.reconcile", component=component, dry_run=dry_run, expect=expect, why=why,
        cancel_orphans=cancel_orphans,
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps(facts))
    elif dry_run:
        for each in facts["planned"]:
            click.echo(f"would {each}")
        for each in facts["not_possible"]:
            click.echo(f"cannot: {each}")
        click.echo(f"{facts['count']} stand")
    else:
        click.echo("reconciled" if facts["reconciled"] else "not everything could be reconciled")
        _rows(facts["standing"], facts["total"])
    sys.exit(0 if dry_run or facts["reconciled"] else EXIT_UNHEALTHY)


@state.command()
@click.option("--hours", type=float, default=24, show_default=True)
@agent_option
def history(hours: float, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Results of past checks, oldest first."""
    facts = _ask(name, runtime_dir, "state.history", hours=hours)
    if as_json:
        click.echo(json.dumps(facts))
        return
    rows = [
        {
            "at": each["at"][:19],
            "component": each["component"],
            "found": "consistent"
            if each["consistent"]
            else ", ".join(sorted({one["kind"] for one in each["discrepancies"]})),
        }
        for each in facts["results"]
    ]
    table(rows, ("at", "component", "found"))
    click.echo(f"{facts['total']} checks")


def _rows(rows: list[dict[str, Any]], total: int) -> None:
    if rows:
        table(rows, ("severity", "kind", "venue", "symbol", "subject", "why"))
    click.echo(f"{total} stand")


def _known(venue: dict[str, Any]) -> str:
    """How the agent knows of the account there."""
    if not venue["asked"]:
        return "no key: not asked"
    return "told by a stream" if venue["complete"] else "stream" if venue["stream"] else "asked only"
