"""`jackstay connections`: what the agent holds open toward venues, how well it does, and replacing it by hand."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .tables import table
from .target import agent_option, ask_agent

COLUMNS = ("id", "kind", "state", "detail", "latency_ms", "loss", "quality", "reconnects", "last_error")


@click.group()
def connections() -> None:
    """Connections to venues: HTTP pools, market data sockets, user streams.

    \b
    jackstay connections list
    jackstay connections show https://api.binance.com
    jackstay connections rotate spot#1          a successor first, then it goes
    jackstay connections drain https://api.binance.com
    """


@connections.command("list")
@agent_option
def list_(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """All of them with latency, loss, quality, reconnects and the last error."""
    facts = ask_agent(name, runtime_dir, "connections.list")
    if as_json:
        click.echo(json.dumps(facts))
        return
    table(facts["connections"], COLUMNS)
    click.echo(f"{len(facts['connections'])} connections")


@connections.command()
@click.argument("id_", metavar="ID")
@agent_option
def show(id_: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Everything about one, by its id in the list."""
    facts = ask_agent(name, runtime_dir, "connections.show", id=id_)
    if as_json:
        click.echo(json.dumps(facts))
        return
    lines = facts.pop("connections", None)
    for key, value in facts.items():
        click.echo(f"{key:16} {'-' if value in (None, '') else value}")
    if lines:
        table(lines, ("number", "state", "address", "age_s", "idle_s", "served"))


@connections.command()
@click.argument("id_", metavar="ID")
@agent_option
def rotate(id_: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Replace one: its successor is up before it goes, and nothing is lost or doubled."""
    facts = ask_agent(name, runtime_dir, "connections.rotate", id=id_)
    click.echo(json.dumps(facts) if as_json else f"{id_}: {facts['count']} being replaced")


@connections.command()
@click.argument("id_", metavar="ORIGIN")
@agent_option
def drain(id_: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Close an HTTP pool's connections, each once its request is through; the next request dials anew."""
    facts = ask_agent(name, runtime_dir, "connections.drain", id=id_)
    click.echo(json.dumps(facts) if as_json else f"{id_}: {facts['count']} closed, or closing with their answer")
