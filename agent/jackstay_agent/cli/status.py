"""`jackstay status`, `stop` and `version`: what an agent sees, for people and for programs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from jackstay_protocols.errors import AgentGone, Outcome

from ..core.attention import Attention, Level, attention, healthy
from ..last_seen import STOPPED
from .bots import unacknowledged
from .duration import shown
from .fleet import Expected, Presence, Seen, look_at
from .root import EXIT_NO_AGENT, EXIT_UNHEALTHY
from .tables import table
from .target import ask_agent, existing_agent, runtime_dir_option

POOL = ("origin", "profile", "live", "ready", "busy", "waiting", "latency_ewma_ms", "loss", "quality", "last_error")
FEED = ("feed", "topics", "sockets", "live", "messages", "url")


@click.command()
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="The whole status as one JSON object.")
@click.option("--timeout", "timeout_s", default=3.0, show_default=True, help="Seconds to wait for an answer.")
def status(name: str | None, runtime_dir: Path | None, as_json: bool, timeout_s: float) -> None:
    """Show what the agent NAME sees (the only one, when there is one).

    Exit codes: 0 it is well, 1 something asks for attention, 3 no agent, or no answer.

    \b
    jackstay status mybot
    jackstay status --json
    jackstay --all status
    """
    paths = existing_agent(name, runtime_dir)
    seen = look_at(Expected(paths.name, paths, ()), timeout_s=timeout_s, patient=False)
    if as_json:
        click.echo(json.dumps(plain(seen), indent=2, default=str))
    elif seen.presence is Presence.UP:
        _show(seen.facts)
    else:
        last = seen.agent.last()
        if last is not None:
            click.echo(f"{seen.agent.name}: {last_known(last)}")
    if seen.presence is not Presence.UP:
        if seen.presence is Presence.REFUSED:
            raise click.ClickException(seen.why)
        raise AgentGone(_absence(seen), outcome=Outcome.FAILED)
    if not healthy(attention(seen.facts)):
        raise SystemExit(EXIT_UNHEALTHY)


@click.command()
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def stop(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Ask the agent NAME to drain and stop.

    \b
    jackstay stop mybot
    jackstay --all stop         one after the other; the first that refuses ends the round
    """
    facts = ask_agent(name, runtime_dir, "stop")
    click.echo(json.dumps(facts) if as_json else f"stopping; {facts['in_flight']} requests in flight are seen through")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def version(as_json: bool) -> None:
    """Versions of jackstay, its wire and the libraries under it.

    \b
    jackstay version --json
    """
    facts = versions()
    click.echo(json.dumps(facts) if as_json else "\n".join(f"{key:9} {value}" for key, value in facts.items()))


def versions() -> dict[str, Any]:
    import platform
    import sqlite3

    import zmq

    from jackstay_protocols.limits import WIRE_VERSION, WIRE_VERSION_MIN

    from ..app import version as own_version

    return {
        "jackstay": own_version(),
        "wire": WIRE_VERSION,
        "wire_min": WIRE_VERSION_MIN,
        "python": platform.python_version(),
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
        "sqlite": sqlite3.sqlite_version,
    }


# ---------------------------------------------------------------- every agent


def show_fleet(seen: list[Seen], *, as_json: bool) -> int:
    """One line an agent, and below it what asks for attention; the worst exit code."""
    codes = {each.agent.name: code_of(each) for each in seen}
    worst = max(codes.values(), default=0)
    if as_json:
        agents = {each.agent.name: {"exit": codes[each.agent.name], **plain(each)} for each in seen}
        click.echo(json.dumps({"agents": agents, "exit": worst}, default=str))
        return worst
    width = max(len(each.agent.name) for each in seen)
    for each in seen:
        for line in fleet_lines(each, width):
            click.echo(line)
    count = {word: sum(each.presence is word for each in seen) for word in Presence}
    unwell = sum(code == EXIT_UNHEALTHY for code in codes.values())
    away = len(seen) - count[Presence.UP] - count[Presence.REFUSED]
    parts = [f"{len(seen)} agents", f"{count[Presence.UP]} up", f"{unwell} ask for attention", f"{away} do not answer"]
    click.echo(", ".join(parts))
    return worst


def fleet_lines(each: Seen, width: int = 0) -> list[str]:
    name = click.style(f"{each.agent.name:<{width}}", bold=True)
    if each.presence is not Presence.UP:
        last = each.agent.last()
        in_order = each.presence is Presence.GONE and last is not None and last.get("state") == STOPPED
        word = STOPPED if in_order else str(each.presence)
        lines = [f"{name}  {click.style(word.upper(), fg='red', bold=True)}  {each.why}"]
        return [*lines, f"{'':<{width}}    {last_known(last)}" if last else f"{'':<{width}}    no last state is kept"]
    facts = each.facts
    queue = facts["queue"]["open"]
    first = (
        f"{facts['state']} for {shown(facts['uptime_s'])}, grade {facts['grade']}, preset {facts['preset']},"
        f" {_bots(facts)}, {queue['recorded']} queued, {queue['unknown']} unknown"
    )
    found = attention(facts)
    mark = click.style("ok  ", fg="green") if healthy(found) else click.style("LOOK", fg="yellow", bold=True)
    return [f"{name}  {mark}  {first}", *(f"{'':<{width}}    {line}" for line in attention_lines(found, each))]


def attention_lines(found: list[Attention], each: Seen) -> list[str]:
    return [f"{one.what}  →  {one.command(each.agent.name)}" for one in found]


def _bots(facts: dict[str, Any]) -> str:
    watched = facts.get("watchdog", {}).get("bots", {})
    states = {bot: each["state"] for bot, each in watched.items()}
    states |= {each["bot"]: "well" for each in facts["bots"] if each["bot"] not in states}
    return ", ".join(f"bot {bot} {state}" for bot, state in sorted(states.items())) or "no bot yet"


def last_known(facts: dict[str, Any]) -> str:
    """The last state an agent told, for people; with how long ago, for it is not of now."""
    at_s = facts["at_us"] / 1e6
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))
    queue = facts.get("queue", {}).get("open", {})
    verb = "stopped in order" if facts.get("state") == STOPPED else f"last seen {facts.get('state')}"
    return (
        f"{verb} {shown(max(0.0, time.time() - at_s))} ago ({clock}Z), pid {facts.get('pid')}: {_bots(facts)},"
        f" {queue.get('recorded', 0)} queued, {queue.get('unknown', 0)} unknown, preset {facts.get('preset')}"
    )


def plain(each: Seen) -> dict[str, Any]:
    """Its whole status with what asks for attention, or why there is none and its last one."""
    if each.presence is Presence.UP:
        found = attention(each.facts)
        rows = [{"level": str(one.level), "what": one.what, "see": one.see} for one in found]
        return {**each.facts, "presence": str(each.presence), "healthy": healthy(found), "attention": rows}
    last = each.agent.last()
    return {
        "agent": each.agent.name,
        "presence": str(each.presence),
        "healthy": False,
        "error": each.why,
        "expected_by": list(each.agent.because),
        "last": last,
    }


def code_of(each: Seen) -> int:
    if each.presence is Presence.UP:
        return 0 if healthy(attention(each.facts)) else EXIT_UNHEALTHY
    return EXIT_UNHEALTHY if each.presence is Presence.REFUSED else EXIT_NO_AGENT


def _absence(seen: Seen) -> str:
    word = "it is unresponsive: " if seen.presence is Presence.UNRESPONSIVE else ""
    return f"{seen.agent.name}: {word}{seen.why}"


# ---------------------------------------------------------------- one agent


def _show(facts: dict[str, Any]) -> None:
    click.echo(
        f"{click.style(facts['agent'], bold=True)} {facts['state']} · {facts['version']} · pid {facts['pid']}"
        f" · up {facts['uptime_s']:.0f} s · grade {facts['grade']} · preset {facts['preset']}"
        f" · answered in {facts['answered_ms']} ms"
    )
    for one in attention(facts):
        level = click.style(one.level, fg="yellow" if one.level is Level.WARN else "cyan")
        click.echo(f"{level}  {one.what}  →  {one.command(facts['agent'])}")
    click.echo(" · ".join(f"{key} {value}" for key, value in facts["requests"].items()))
    watched = facts.get("watchdog", {}).get("bots", {})
    bots = [{**each, "state": watched.get(each["bot"], {}).get("state") or each["state"]} for each in facts["bots"]]
    if bots:
        table(bots, ("bot", "pid", "state", "silent_s", "lease_s", "in_flight"), title="bots")
    else:
        click.echo("bots: none connected yet")
    for bot_id, rows in facts["directives"].items():
        for told in unacknowledged(rows):
            click.echo(f"{bot_id}: {told}")
    if facts["upstreams"]:
        pools = [
            {"origin": origin, "profile": each["profile"], **each["pool"]}
            for origin, each in facts["upstreams"].items()
        ]
        table(pools, POOL, title="upstreams")
    if facts["feeds"]:
        table([_feed(name, each) for name, each in facts["feeds"].items()], FEED, title="feeds")


def _feed(name: str, each: dict[str, Any]) -> dict[str, Any]:
    live = sum(socket["state"] == "live" for socket in each["sockets"])
    return {"feed": name, "topics": len(each["topics"]), "sockets": len(each["sockets"]), "live": live,
            "messages": each["messages"], "url": each["url"]}  # fmt: skip
