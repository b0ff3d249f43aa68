"""`jackstay bot`, `arm` and `watchdog`: who is here, what may be done about a bot that is not well."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from ..core.protection import Preset
from .tables import table
from .target import agent_option, ask_agent, runtime_dir_option

WATCHED_ENOUGH_S = 20 * 3600.0  # of a day; a bot that is restarted or held now and then is never seen for all of it
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")


class Span(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A length of time: 90, 90s, 30m, 2h; seconds as a float."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = _SPAN.fullmatch(str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no length of time; 90s, 30m or 2h are expected", param, ctx)
        return float(found.group(1)) * {"m": 60.0, "h": 3600.0}.get(found.group(2) or "s", 1.0)


SPAN = Span()
NOT_HERE = "has not said hello to this agent since its start"
COLUMNS = ("bot", "state", "process", "held", "cancelling", "why")


@click.group()
def bot() -> None:
    """The bots of an agent: look, hold protection back, announce a restart.

    \b
    jackstay bot list
    jackstay bot hold grid1 --for 30m --why "a breakpoint"
    jackstay bot expect-restart grid1 --within 5m
    """


@bot.command("list")
@agent_option
def list_(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Each bot's state, why it is in it, and what is being done about it."""
    facts = ask_agent(name, runtime_dir, "watchdog")
    click.echo(json.dumps(facts["bots"])) if as_json else _show(facts)


@bot.command()
@click.argument("bot_id", metavar="BOT")
@click.option("--for", "for_s", type=SPAN, required=True, help="At most 2h.")
@click.option("--why", required=True, help="Recorded with your uid.")
@agent_option
def hold(bot_id: str, for_s: float, why: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Cancel nothing of this bot for a while, whatever it looks like (a breakpoint, a migration)."""
    facts = ask_agent(name, runtime_dir, "bot.hold", bot=bot_id, for_s=for_s, why=why)
    click.echo(json.dumps(facts) if as_json else f"{bot_id} is held for {for_s:g} s: nothing of it is cancelled")


@bot.command()
@click.argument("bot_id", metavar="BOT")
@agent_option
def release(bot_id: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """End a hold."""
    facts = ask_agent(name, runtime_dir, "bot.release", bot=bot_id)
    click.echo(json.dumps(facts) if as_json else f"{bot_id} is watched again")


@bot.command("expect-restart")
@click.argument("bot_id", metavar="BOT")
@click.option("--within", "within_s", type=SPAN, default="5m", show_default=True, help="At most 2h.")
@agent_option
def expect_restart(bot_id: str, within_s: float, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Its end and its silence are a restart, not a death: orders stay until it is overdue."""
    facts = ask_agent(name, runtime_dir, "bot.expect_restart", bot=bot_id, back_within_s=within_s)
    click.echo(json.dumps(facts) if as_json else f"{bot_id} is expected back within {within_s:g} s")


@click.command()
@click.argument("name", required=False)
@click.option("--preset", type=click.Choice([str(each) for each in Preset]), required=True)
@click.option("--silence", "silence_s", type=SPAN, help="Silence that counts as stalled (default: twice the lease).")
@click.option("--why", default="", help="Recorded with your uid.")
@click.option("--dry-run", is_flag=True, help="Only show what it would have done in the last 24 h.")
@click.option("--anyway", is_flag=True, help="Arm although it would have acted on a living bot.")
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def arm(
    name: str | None,
    preset: str,
    silence_s: float | None,
    why: str,
    dry_run: bool,
    anyway: bool,
    runtime_dir: Path | None,
    as_json: bool,
) -> None:
    """Say what the agent may do when a bot stalls; `--preset observe` disarms.

    Shows the longest legitimate silence and what the setting would have done in the last 24 hours, and refuses if that
    is not nothing.

    \b
    jackstay arm mybot --preset directional --silence 30s --dry-run
    jackstay arm mybot --preset directional --silence 30s --why "one-way entries"
    """
    facts = ask_agent(
        name, runtime_dir, "arm", preset=preset, silence_s=silence_s, why=why, dry_run=dry_run, anyway=anyway
    )
    if as_json:
        click.echo(json.dumps(facts))
        return
    for bot_id, each in facts["bots"].items():
        longest = each["longest_silence_s"]
        click.echo(
            f"{bot_id}: watched for {_span(each['watched_s'])} of the last 24 h; longest silence of a living bot: "
            f"{'none seen' if longest is None else f'{longest} s'}"
        )
        if each["watched_s"] < WATCHED_ENOUGH_S:
            click.echo("  a short watch: silences that come once an hour or once a day may not have been seen yet")
        for hit in each["would_have"]:
            click.echo(f"  would have cancelled {hit['cancelled']} after {hit['silent_s']} s of silence")
    click.echo(f"{'armed' if facts['armed'] else 'not armed (dry run)'}: {preset}")
    _warn(facts, preset)


@click.command()
@agent_option
def watchdog(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """What is armed, by whom, and how each bot is seen."""
    facts = ask_agent(name, runtime_dir, "watchdog")
    if as_json:
        click.echo(json.dumps(facts))
        return
    silence = "twice its lease" if facts["silence_s"] is None else f"{facts['silence_s']:g} s"
    by = f", armed by {facts['armed_by']}" if facts["armed_by"] else ""
    click.echo(f"preset {facts['preset']}; stalled after {silence}{by}; grade {facts['grade']}")
    _show(facts)


def _span(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _warn(facts: dict[str, Any], preset: str) -> None:
    """What is armed and cannot be done, loudly; under `observe` only that it could not be done."""
    if preset == str(Preset.OBSERVE):
        return
    for each in facts["problems"]:
        click.secho(f"WARNING: {each}", fg="red", bold=True, err=True)


def unacknowledged(rows: list[dict[str, Any]]) -> list[str]:
    """A line per directive that this bot's code does not have yet."""
    return [
        f"directive {each['directive']} not acknowledged for {_span(each['for_s'])}, told {each['told']} time(s)"
        for each in rows
    ]


def _show(facts: dict[str, Any]) -> None:
    _warn(facts, facts["preset"])
    silent = [bot_id for bot_id in facts["directives"] if bot_id not in facts["bots"]]
    if not facts["bots"] and not silent:
        click.echo("no bot has said hello yet")
        return
    absent: dict[str, Any] = {"state": "-", "process": None, "hold": None, "cancelling": [], "why": NOT_HERE}
    bots = facts["bots"] | dict.fromkeys(silent, absent)
    table([_row(bot_id, each) for bot_id, each in bots.items()], COLUMNS)
    for bot_id in bots:
        for line in unacknowledged(facts["directives"].get(bot_id, [])):
            click.echo(f"{bot_id}: {line}")


def _row(bot_id: str, each: dict[str, Any]) -> dict[str, Any]:
    why = each["why"] or "as expected"
    told = "process" in why or " pid " in why or each["state"] == "left"  # who left is looked at no more
    return {
        "bot": bot_id,
        "state": each["state"],
        "process": None if told else each["process"],
        "held": f"{each['hold']['left_s']} s by {each['hold']['by']}" if each["hold"] else None,
        "cancelling": ", ".join(each["cancelling"]),
        "why": why,
    }


@click.group(invoke_without_command=True)
@agent_option
@click.pass_context
def barrier(ctx: click.Context, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Bots that came back and whose orders are not all known yet: no entries until they are.

    \b
    jackstay barrier
    jackstay barrier release grid1 --why "looked at the venue"
    """
    if ctx.invoked_subcommand is not None:
        return
    facts = ask_agent(name, runtime_dir, "barrier.list")
    if as_json:
        click.echo(json.dumps(facts))
        return
    for each in facts["barriers"]:
        late = ", longer than barrier_s" if each["timed_out"] else ""
        click.echo(f"{each['bot']}: {each['why']}, for {each['for_s']} s{late}; unknown: {', '.join(each['unknown'])}")
    if not facts["barriers"]:
        click.echo("no barrier is up")


@barrier.command("release")
@click.argument("bot_id", metavar="BOT")
@click.option("--why", required=True, help="Recorded with your uid.")
@agent_option
def release_barrier(bot_id: str, why: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Let entries through although orders of this bot are unknown: you looked."""
    facts = ask_agent(name, runtime_dir, "barrier.release", bot=bot_id, why=why)
    click.echo(json.dumps(facts) if as_json else f"entries of {bot_id} pass again")
