"""`jackstay patterns` and `jackstay trends`: what the errors say, of a running agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .target import ask_agent, runtime_dir_option


@click.group()
def patterns() -> None:
    """Bursts, loops, incidents with their root, trends and crossings that are coming."""


@patterns.command("list")
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def list_(name: str | None, runtime_dir: Path | None, everything: bool, as_json: bool) -> None:
    """What is going on, newest first; then pairs of errors that keep coming together."""
    facts = ask_agent(name, runtime_dir, "patterns.list", all=everything)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for each in facts["patterns"]:
        _show(each)
    if not facts["patterns"]:
        click.echo(f"nothing out of the usual in {facts['events']} errors")
    for pair in facts["correlations"]:
        click.echo(
            f"{'/'.join(pair['leader'])} is followed by {'/'.join(pair['follower'])} after {pair['lag_s']:g} s:"
            f" {pair['together']} of {pair['of']} times (q {pair['q']:g})"
        )


@patterns.command("show")
@click.argument("pattern_id")
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="What it is anyway.")
def show(pattern_id: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Everything about one pattern, as JSON."""
    facts = ask_agent(name, runtime_dir, "patterns.list", all=True)
    found = [each for each in facts["patterns"] if each["id"] == pattern_id]
    if not found:
        raise click.ClickException(f"no pattern {pattern_id!r}; `jackstay patterns list --all` shows their ids")
    parts = [each for each in facts["patterns"] if each["part_of"] == pattern_id]
    click.echo(json.dumps({**found[0], "parts": parts}, indent=2))


@patterns.command("ack")
@click.argument("pattern_id")
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def acknowledge(pattern_id: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """You know about it: it is not told again while it lasts. Recorded with your uid."""
    facts = ask_agent(name, runtime_dir, "patterns.ack", id=pattern_id)
    click.echo(json.dumps(facts) if as_json else f"{facts['acknowledged']} is not told again while it lasts")


@click.command()
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def trends(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Which way errors, latencies and used allowances go, and when they would cross."""
    facts = ask_agent(name, runtime_dir, "trends.list")
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for each in facts["trends"]:
        click.echo(
            f"{each['component']} {each['error_type']} {each['trend_direction']} over {each['time_period']},"
            f" strength {each['trend_strength']:g}: {sparkline(each['counts'])}"
        )
    for each in facts["precursors"]:
        evidence = each["evidence"]
        click.echo(f"{each['component']} {each['error_type']} rising over {evidence['over']}, {_plain(evidence)}")
    for each in facts["predictions"]:
        click.echo(
            f"{each['component']} {each['error_type']} would reach {each['threshold']:g} in {_minutes(each['in_s'])}"
            f" ({_minutes(each['low_s'])} to {_minutes(each['high_s'])}, 90 %)"
        )
    if not any(facts.values()):
        click.echo("no trend: what there is stays as it is")


def sparkline(counts: list[int]) -> str:
    """A row of counts in one line of a terminal."""
    highest = max(counts, default=0)
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * each / highest) if highest else 0] for each in counts)


def _show(each: dict[str, Any]) -> None:
    state = "over" if each["ended"] else each["severity"]
    part = f", part of {each['part_of']}" if each["part_of"] else ""
    click.echo(
        f"{each['kind']} · {each['component']} · {each['error_type']} [{state}] ×{each['frequency']}"
        f" since {each['first_at']}, confidence {each['confidence']:.3g}{part}"
    )
    click.echo(f"    {_plain(each['evidence'])}")
    click.echo(f"    {each['action']}  ({each['id']})")


def _plain(evidence: dict[str, Any]) -> str:
    if "order" in evidence and isinstance(evidence["order"], list):
        return " → ".join(f"{one['component']}/{one['error_type']} +{one['after_s']:g} s" for one in evidence["order"])
    return ", ".join(f"{key} {value}" for key, value in evidence.items())


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
