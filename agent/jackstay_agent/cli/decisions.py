"""`jackstay breakers`, `limits` and `mode`: what decides whether requests leave, and an operator's word on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .duration import Duration, shown
from .tables import table
from .target import F, agent_option, ask_agent

WHY = "Recorded with your uid."
RESULTS = ("ok", "failed", "ignored", "refused", "bypassed")


def _which(function: F) -> F:
    """Which upstream: by host or venue, or all of them."""
    function = click.option("--all", "every", is_flag=True, help="Every upstream.")(function)
    return click.argument("upstream", metavar="HOST|VENUE", required=False)(function)


def _one_or_all(upstream: str | None, every: bool) -> dict[str, Any]:
    if bool(upstream) == every:
        raise click.UsageError("a host or a venue's name, or --all, is expected")
    return {"upstream": upstream or "", "all": every}


# ---------------------------------------------------------------- breakers


@click.group(invoke_without_command=True)
@agent_option
@click.pass_context
def breakers(ctx: click.Context, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Circuit breakers: one per upstream and class (orders, account, market_data, stream_dials).

    Cancels pass an open breaker; the agent probes it itself with a harmless read.

    \b
    jackstay breakers
    jackstay breakers trip binance --class orders --for 10m --why "wrong fills, support ticket 4711"
    jackstay breakers reset binance --why "fixed"
    jackstay breakers disable binance --for 1h --why "their 503s are spurious today"
    """
    if ctx.invoked_subcommand is None:
        _list(name, runtime_dir, as_json)


@breakers.command("list")
@agent_option
def list_breakers(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """State of each, for how long still, and why."""
    _list(name, runtime_dir, as_json)


def _list(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    facts = ask_agent(name, runtime_dir, "breakers.list")
    _breaker_table(facts, as_json)


def _breaker_table(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    if not facts["breakers"]:
        click.echo("no upstream was asked yet")
        return
    rows = [
        {
            **each,
            "left": None if each["left_s"] is None else shown(each["left_s"]),
            "why": None if each["state"] == "closed" else each["why"],
        }
        for each in facts["breakers"]
    ]
    table(rows, ("upstream", "venue", "class", "state", "left", *RESULTS, "why"))


def _force_command(word: str, text: str, *, timed: bool) -> click.Command:
    @_which
    @click.option("--class", "class_", default="", help="orders, account, market_data or stream_dials (default: all).")
    @click.option("--why", required=True, help=WHY)
    @agent_option
    def command(
        upstream: str | None,
        every: bool,
        class_: str,
        why: str,
        name: str | None,
        runtime_dir: Path | None,
        as_json: bool,
        for_s: float | None = None,
    ) -> None:
        args = {**_one_or_all(upstream, every), "class": class_, "word": word, "why": why, "for_s": for_s}
        _breaker_table(ask_agent(name, runtime_dir, "breakers.force", **args), as_json)

    if timed:
        command = click.option("--for", "for_s", type=Duration(), help="How long (90s, 30m, 2h); else until reset.")(
            command
        )
    return click.command(word, help=text)(command)


breakers.add_command(_force_command("trip", "Shut it: nothing but cancels passes until then.", timed=True))
breakers.add_command(_force_command("reset", "Close it, whatever held it open.", timed=False))
breakers.add_command(_force_command("disable", "Let everything pass and count nothing.", timed=True))


# ---------------------------------------------------------------- limits


@click.group(invoke_without_command=True)
@agent_option
@click.pass_context
def limits(ctx: click.Context, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Rate budgets, gates after a 429 or a ban, and stopped loops of equal rejects.

    \b
    jackstay limits
    jackstay limits release binance --why "support lifted the limit"
    jackstay limits unstop binance --why "deposited"
    """
    if ctx.invoked_subcommand is not None:
        return
    facts = ask_agent(name, runtime_dir, "limits.list")
    if as_json:
        click.echo(json.dumps(facts))
        return
    if not facts["upstreams"]:
        click.echo("no upstream was asked yet")
    else:
        table(_limit_rows(facts["upstreams"]), ("upstream", "what", "whose", "used", "of", "left", "why"))
    if facts["book"]:
        why = f", not usable: {facts['book']['degraded']}" if facts["book"]["degraded"] else ""
        click.echo(f"host's book: {facts['book']['file']}{why}")


def _limit_rows(upstreams: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What takes room or lets nothing through, one each."""
    for each in upstreams:
        host = {"upstream": each["upstream"]}
        for budget in each["budgets"]:
            of = f"{budget['limit']:g} in {budget['per_s']:g} s"
            why = "shared by the host's agents; used is this one's since its start" if budget["shared"] else None
            yield {**host, "what": f"budget {budget['budget']}", **budget, "of": of, "why": why}
        for gate in each["gates"]:
            what = f"{'ban' if gate['ban'] else 'gate'} {gate['scope']}"
            yield {**host, **gate, "what": what, "left": shown(gate["left_s"])}
        for ramp in each["ramps"]:
            yield {**host, **ramp, "what": f"slow return {ramp['scope']}", "left": shown(ramp["left_s"])}
        for stop in each["loops_stopped"]:
            why = f"{stop['count']} equal rejects: {stop['reason']}"
            what, whose = "loop stopped", stop["account"] or "no key"
            yield {**host, "what": what, "whose": whose, "left": shown(stop["left_s"]), "why": why}
        if each["waiting"]:
            yield {**host, "what": "waiting for room", "used": each["waiting"]}


@limits.command()
@_which
@click.option("--bans", is_flag=True, help="Bans too: a venue makes them longer if it is asked meanwhile.")
@click.option("--why", required=True, help=WHY)
@agent_option
def release(
    upstream: str | None, every: bool, bans: bool, why: str, name: str | None, runtime_dir: Path | None, as_json: bool
) -> None:
    """Open gates before the venue's instant, onto their slow return."""
    done = ask_agent(name, runtime_dir, "limits.release", **_one_or_all(upstream, every), bans=bans, why=why)
    click.echo(json.dumps(done) if as_json else f"{len(done['opened'])} gates opened")


@limits.command()
@_which
@click.option("--why", required=True, help=WHY)
@agent_option
def unstop(
    upstream: str | None, every: bool, why: str, name: str | None, runtime_dir: Path | None, as_json: bool
) -> None:
    """Let orders go again that were stopped for being refused alike again and again."""
    done = ask_agent(name, runtime_dir, "limits.unstop", **_one_or_all(upstream, every), why=why)
    click.echo(json.dumps(done) if as_json else f"{done['lifted']} loops released")


# ---------------------------------------------------------------- mode


@click.group(invoke_without_command=True)
@agent_option
@click.pass_context
def mode(ctx: click.Context, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """What a venue lets through: normal, conservative (no new entries), maintenance, cancel_only, post_only, halted.

    Cancels and questions pass in every mode.

    \b
    jackstay mode
    jackstay mode hold binance conservative --for 2h --why "CPI at 14:30"
    jackstay mode hold --all halted --why "something is wrong"
    jackstay mode release binance --why "over"
    """
    if ctx.invoked_subcommand is None:
        _modes(ask_agent(name, runtime_dir, "mode.list"), as_json)


def _modes(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    if not facts["holds"]:
        click.echo("normal everywhere")
        return
    rows = [
        {**each, "venue": "(all)" if each["venue"] == "*" else each["venue"], "left": shown(each["left_s"])}
        for each in facts["holds"]
    ]
    table(rows, ("venue", "mode", "left", "by", "why"))


@mode.command()
@click.argument("words", nargs=-1, required=True, metavar="[VENUE] MODE")
@click.option("--all", "every", is_flag=True, help="Every venue.")
@click.option("--for", "for_s", type=Duration(), help="How long (90s, 30m, 2h); else until released.")
@click.option("--why", required=True, help=WHY)
@agent_option
def hold(
    words: tuple[str, ...],
    every: bool,
    for_s: float | None,
    why: str,
    name: str | None,
    runtime_dir: Path | None,
    as_json: bool,
) -> None:
    """Hold a mode over a venue, or over all; replaces the operators' earlier word there."""
    if len(words) != (1 if every else 2):
        raise click.UsageError("VENUE MODE, or --all MODE, is expected")
    args: dict[str, Any] = {
        "venue": "" if every else words[0],
        "all": every,
        "mode": words[-1],
        "for_s": for_s,
        "why": why,
    }
    _modes(ask_agent(name, runtime_dir, "mode.hold", **args), as_json)


@mode.command("release")
@click.argument("venue", required=False)
@click.option("--all", "every", is_flag=True, help="What was held with --all.")
@click.option(
    "--by", "holder", default="", help="Take back what a part of the agent holds, as `jackstay mode` names it."
)
@click.option("--why", required=True, help=WHY)
@agent_option
def release_mode(
    venue: str | None,
    every: bool,
    holder: str,
    why: str,
    name: str | None,
    runtime_dir: Path | None,
    as_json: bool,
) -> None:
    """Take the operators' word back, or overrule one holder by name."""
    if bool(venue) == every:
        raise click.UsageError("a venue, or --all, is expected")
    _modes(ask_agent(name, runtime_dir, "mode.release", venue=venue or "", all=every, by=holder, why=why), as_json)


__all__: list[str] = ["breakers", "limits", "mode"]
