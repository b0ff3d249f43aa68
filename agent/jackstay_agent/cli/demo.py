"""`jackstay demo`: play the scenes and say what held."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

import click

from .root import EXIT_UNHEALTHY

_MARKS = {True: ("held", "green"), False: ("DID NOT HOLD", "red"), None: ("not yet", "yellow")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per scene.")
def demo(as_json: bool) -> None:
    """Watch an agent save a bot: sandbox exchange, agent and ccxt bot as real processes, and what goes wrong.

    Ends 0 only if every shown scene held; under a minute.
    """
    try:
        from ..demo import SCENES, Stage, play
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the demo needs {error.name}: pip install 'jackstay[agent,sandbox]' ccxt"
        ) from error
    began = time.monotonic()
    failed = 0
    with Stage() as stage:
        if not as_json:
            click.echo(f"exchange pid {stage.sandbox.pid} · agent pid {stage.agent.pid} · bot pid {stage.bot.pid}\n")
        for number, scene in enumerate(SCENES, 1):
            shown = play(scene, stage)
            failed += shown.held is False
            if as_json:
                click.echo(json.dumps(asdict(shown)))
                continue
            mark, colour = _MARKS[shown.held]
            click.secho(f"{number}. {shown.title}  [{mark}, {shown.took_s:.1f} s]", fg=colour, bold=True)
            click.echo(f"   what happened  {shown.happened}")
            for line in shown.did:
                click.echo(f"   the agent      {line}")
            if shown.proof:
                click.echo(f"   proof          {shown.proof}")
            click.echo()
    if not as_json:
        outcome = f"{failed} scenes did not hold" if failed else "every shown scene held"
        click.echo(f"{outcome}, {time.monotonic() - began:.0f} s")
    if failed:
        sys.exit(EXIT_UNHEALTHY)
